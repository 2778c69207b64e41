"""sparkmagic of PyPI, which notebooks on HDInsight use: its magics over a cluster's Livy, in an IPython of this process."""
import json
import os
import time

import requests

PASSWORD = "A-long-passw0rd!"
GROUP = "https://management.azure.com/subscriptions/%s/resourceGroups/rg-magic" % os.environ["AZURE_SUBSCRIPTION_ID"]

token = requests.post("https://login.microsoftonline.com/%s/oauth2/token" % os.environ["AZURE_TENANT_ID"], data={
    "grant_type": "client_credentials", "resource": "https://management.core.windows.net/",
    "client_id": os.environ["AZURE_CLIENT_ID"], "client_secret": os.environ["AZURE_CLIENT_SECRET"]}).json()["access_token"]


def arm(method, path, version, body=None):
    answer = requests.request(method, GROUP + path + "?api-version=" + version, json=body, headers={"Authorization": "Bearer " + token})
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.text else None


def succeeded(path, version):
    deadline = time.time() + 240
    while True:
        state = arm("GET", path, version)["properties"]["provisioningState"]
        if state == "Succeeded":
            return
        assert state != "Failed" and time.time() < deadline, (path, state)
        time.sleep(0.5)


def role(name, count):
    return {"name": name, "targetInstanceCount": count, "hardwareProfile": {"vmSize": "large"},
            "osProfile": {"linuxOperatingSystemProfile": {"username": "sshuser", "password": PASSWORD}}}


arm("PUT", "", "2018-05-01", {"location": "eastus2"})
storage = "/providers/Microsoft.Storage/storageAccounts/magicstore01"
arm("PUT", storage, "2018-02-01", {"location": "eastus2", "sku": {"name": "Standard_LRS"}, "kind": "Storage", "properties": {}})
succeeded(storage, "2018-02-01")
key = arm("POST", storage + "/listKeys", "2018-02-01")["keys"][0]["value"]
cluster = "/providers/Microsoft.HDInsight/clusters/magic"
arm("PUT", cluster, "2018-06-01-preview", {"location": "eastus2", "properties": {
    "clusterVersion": "default", "osType": "Linux",
    "clusterDefinition": {"kind": "spark", "configurations": {"gateway": {
        "restAuthCredential.isEnabled": "true", "restAuthCredential.username": "admin", "restAuthCredential.password": PASSWORD}}},
    "storageProfile": {"storageaccounts": [{"name": "magicstore01.blob.core.windows.net", "isDefault": True, "container": "data", "key": key}]},
    "computeProfile": {"roles": [role("headnode", 2), role("workernode", 1)]}}})
succeeded(cluster, "2018-06-01-preview")

# As on HDInsight, Livy wants a header of all that write: sparkmagic's settings have it there.
os.mkdir(os.path.expanduser("~/.sparkmagic"))
with open(os.path.expanduser("~/.sparkmagic/config.json"), "w") as f:
    json.dump({"custom_headers": {"X-Requested-By": "admin"}, "livy_session_startup_timeout_seconds": 300}, f)

from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from IPython.utils.capture import capture_output  # noqa: E402

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "sparkmagic.magics")


def line(text):
    """A line of %spark; what it says."""
    with capture_output() as said:
        shell.run_line_magic("spark", text)
    return said.stdout + said.stderr + "".join(str(o.data) for o in said.outputs)


def cell(code, options=""):
    """A cell of %%spark; what it says."""
    with capture_output() as said:
        shell.run_cell_magic("spark", options, code)
    return said.stdout + said.stderr + "".join(str(o.data) for o in said.outputs)


URL = "https://magic.azurehdinsight.net/livy"
wrong = line("add -s wrong -l python -u %s -a admin -p nothing -t Basic_Access" % URL)
assert "401" in wrong, wrong
began = time.time()
added = line("add -s one -l python -u %s -a admin -p %s -t Basic_Access" % (URL, PASSWORD))
assert "application_" in added and "idle" in added, added
print("session after %.1f s" % (time.time() - began))
assert "499500" in cell("x = sc.parallelize(range(1000)).sum()\nprint(x)"), cell("print(x)")
failed = cell("1 / 0")
assert "ZeroDivisionError" in failed, failed
cell("spark.createDataFrame([(1, 'a'), (2, 'b')], ['n', 't']).createOrReplaceTempView('v')")
said = cell("select n, t from v order by n", "-c sql -o frame -q")
frame = shell.user_ns.get("frame")
assert frame is not None and frame["t"].tolist() == ["a", "b"], (said, frame)
known = line("info")
assert "Name: one" in known and "application_" in known, known
logged = line("logs -s one")
assert "stdout: " in logged and "YARN Diagnostics: " in logged, logged
line("delete -s one")
left = requests.get(URL + "/sessions", auth=("admin", PASSWORD)).json()
assert left["total"] == 0, left
print("ok")
