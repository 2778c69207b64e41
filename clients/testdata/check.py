"""What the real-client scripts share."""
import os
import time

import requests
from azureml.core.authentication import ServicePrincipalAuthentication

PASSWORD = "Correct-Horse7"


def auth():
    return ServicePrincipalAuthentication(os.environ["AZURE_TENANT_ID"], "1a2c1a2c-0018-4018-8018-c2018102018c", os.environ["AZURE_CLIENT_SECRET"])


def raises(kind, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as e:
        assert text.lower() in str(e).lower(), "%r does not say %r" % (e, text)
        return e
    raise AssertionError("%s raised nothing" % call)


def project(folder, files):
    """Writes a source directory."""
    for name, text in files.items():
        path = os.path.join(folder, name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "w") as f:
            f.write(text)
    return folder


def workspace(name, group="rg-clients"):
    from azureml.core import Workspace
    return Workspace.create(name=name, auth=auth(), subscription_id=os.environ["AZURE_SUBSCRIPTION_ID"], resource_group=group,
                            location="eastus2", create_resource_group=True, exist_ok=True)


def spark_cluster(name, public_key=None, group="rg-clients"):
    """A Spark cluster of HDInsight, as the portal would make it; returns the address of its SSH, for sshuser with PASSWORD or the key."""
    def arm(method, path, version, body=None):
        url = "https://management.azure.com/subscriptions/%s/resourceGroups/%s/providers/%s?api-version=%s" % (
            os.environ["AZURE_SUBSCRIPTION_ID"], group, path, version)
        answer = requests.request(method, url, json=body, headers=auth().get_authentication_header())
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.text else None

    def settled(path, version, limit):
        deadline = time.time() + limit
        while True:
            now = arm("GET", path, version)
            if now["properties"]["provisioningState"] == "Succeeded":
                return
            assert now["properties"]["provisioningState"] != "Failed" and time.time() < deadline, now
            time.sleep(0.5)

    storage, cluster = "Microsoft.Storage/storageAccounts/%sstore" % name, "Microsoft.HDInsight/clusters/" + name
    arm("PUT", storage, "2018-02-01", {"location": "eastus2", "sku": {"name": "Standard_LRS"}, "kind": "Storage", "properties": {}})
    settled(storage, "2018-02-01", 60)
    key = arm("POST", storage + "/listKeys", "2018-02-01")["keys"][0]["value"]
    login = {"linuxOperatingSystemProfile": {"username": "sshuser", "password": PASSWORD}}
    if public_key:
        login["linuxOperatingSystemProfile"]["sshProfile"] = {"publicKeys": [{"certificateData": public_key}]}
    arm("PUT", cluster, "2018-06-01-preview", {"location": "eastus2", "properties": {
        "clusterVersion": "default", "osType": "Linux",
        "clusterDefinition": {"kind": "spark", "configurations": {"gateway": {
            "restAuthCredential.isEnabled": "true", "restAuthCredential.username": "admin", "restAuthCredential.password": PASSWORD}}},
        "storageProfile": {"storageaccounts": [{"name": name + "store.blob.core.windows.net", "isDefault": True, "container": "data", "key": key}]},
        "computeProfile": {"roles": [
            {"name": "headnode", "targetInstanceCount": 2, "hardwareProfile": {"vmSize": "large"}, "osProfile": login},
            {"name": "workernode", "targetInstanceCount": 1, "hardwareProfile": {"vmSize": "large"}, "osProfile": login}]}}})
    settled(cluster, "2018-06-01-preview", 300)
    return name + "-ssh.azurehdinsight.net"
