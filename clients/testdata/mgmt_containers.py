"""Today's azure-mgmt-containerinstance: a group runs, its log and state are read, it is stopped, started and deleted; what is refused."""
import os
import time

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

subscription = os.environ["AZURE_SUBSCRIPTION_ID"]
credential = DefaultAzureCredential()
rg, where = "rg-mgmt-aci", "eastus"
ResourceManagementClient(credential, subscription).resource_groups.create_or_update(rg, {"location": where})
client = ContainerInstanceManagementClient(credential, subscription)


def group(command, policy="Never", location=where, cpu=0.5):
    return {"location": location, "properties": {"osType": "Linux", "restartPolicy": policy, "containers": [{"name": "main", "properties": {
        "image": "python:3.11", "command": ["/bin/sh", "-c", command], "environmentVariables": [{"name": "KEY", "secureValue": "not-to-be-seen"}],
        "resources": {"requests": {"cpu": cpu, "memoryInGB": 0.5}}}}]}}


def refused(kind, code, call, *args):
    try:
        call(*args)
    except kind as e:
        assert e.error and code in e.error.code, (code, e.error)
        return
    raise AssertionError("%s was not refused" % code)


def until(what, holds):
    deadline = time.time() + 60
    while not holds():
        assert time.time() < deadline, what
        time.sleep(0.1)


def state(name):
    return client.container_groups.get(rg, name).containers[0].instance_view.current_state


made = client.container_groups.begin_create_or_update(rg, "one", group("echo hello $KEY; exec sleep 600")).result()
assert made.provisioning_state == "Succeeded", made.as_dict()
assert "not-to-be-seen" not in str(made.as_dict()), made.as_dict()
assert client.containers.list_logs(rg, "one", "main").content == "hello not-to-be-seen\n"
client.container_groups.stop(rg, "one")
assert client.container_groups.get(rg, "one").instance_view.state == "Stopped"
client.container_groups.begin_start(rg, "one").result()
until("it runs again", lambda: state("one").state == "Running")
assert [g.name for g in client.container_groups.list_by_resource_group(rg)] == ["one"]

client.container_groups.begin_create_or_update(rg, "ends", group("exit 3")).result()
until("it has failed", lambda: client.container_groups.get(rg, "ends").instance_view.state == "Failed")
assert state("ends").exit_code == 3

refused(HttpResponseError, "ServiceUnavailable", client.container_groups.begin_create_or_update, rg, "large", group("true", cpu=64))
refused(ResourceNotFoundError, "ResourceNotFound", client.container_groups.get, rg, "large")
assert [u.name.value for u in client.location.list_usage(where)]
for name in ("one", "ends"):
    client.container_groups.begin_delete(rg, name).result()
    refused(ResourceNotFoundError, "ResourceNotFound", client.container_groups.get, rg, name)
print("ok")
