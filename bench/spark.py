import json
import os
import socket
import tempfile
import time

import paramiko
import requests
from azureml.core import Experiment, ScriptRunConfig, Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
from azureml.core.compute import HDInsightCompute
from azureml.core.runconfig import RunConfiguration

TURNS = 3
SCRIPT = "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\nprint(spark.range(1000).groupBy().sum('id').first()[0])\n"
PASSWORD = "Correct-Horse7"
env = os.environ
auth = ServicePrincipalAuthentication(env["AZURE_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"])
ws = Workspace.create(name="benchspark", auth=auth, subscription_id=env["AZURE_SUBSCRIPTION_ID"], resource_group="bench", location="eastus2", exist_ok=True)


def arm(method, path, version, body=None):
    url = "https://management.azure.com/subscriptions/%s/resourceGroups/bench/providers/%s?api-version=%s" % (env["AZURE_SUBSCRIPTION_ID"], path, version)
    answer = requests.request(method, url, json=body, headers=auth.get_authentication_header())
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.text else None


def settled(path, version):
    deadline = time.time() + 240
    while True:
        state = arm("GET", path, version)["properties"]["provisioningState"]
        if state == "Succeeded":
            return
        assert state != "Failed" and time.time() < deadline, state
        time.sleep(0.5)


account, cluster = "Microsoft.Storage/storageAccounts/benchspark", "Microsoft.HDInsight/clusters/benchspark"
arm("PUT", account, "2018-02-01", {"location": "eastus2", "sku": {"name": "Standard_LRS"}, "kind": "Storage", "properties": {}})
settled(account, "2018-02-01")
key = arm("POST", account + "/listKeys", "2018-02-01")["keys"][0]["value"]
login = {"linuxOperatingSystemProfile": {"username": "sshuser", "password": PASSWORD}}
arm("PUT", cluster, "2018-06-01-preview", {"location": "eastus2", "properties": {
    "clusterVersion": "default", "osType": "Linux",
    "clusterDefinition": {"kind": "spark", "configurations": {"gateway": {
        "restAuthCredential.isEnabled": "true", "restAuthCredential.username": "admin", "restAuthCredential.password": PASSWORD}}},
    "storageProfile": {"storageaccounts": [{"name": "benchspark.blob.core.windows.net", "isDefault": True, "container": "data", "key": key}]},
    "computeProfile": {"roles": [
        {"name": "headnode", "targetInstanceCount": 2, "hardwareProfile": {"vmSize": "large"}, "osProfile": login},
        {"name": "workernode", "targetInstanceCount": 1, "hardwareProfile": {"vmSize": "large"}, "osProfile": login}]}}})
settled(cluster, "2018-06-01-preview")

HOST = "benchspark-ssh.azurehdinsight.net"
hdi = HDInsightCompute.attach(ws, name="hdi", address=HOST, ssh_port=22, username="sshuser", password=PASSWORD)
hdi.wait_for_completion()
folder = tempfile.mkdtemp()
with open(os.path.join(folder, "job.py"), "w") as f:
    f.write(SCRIPT)
experiment = Experiment(ws, "bench")

# The head node by SSH, through the proxy as any client of ours gets there.
address, port = env["HTTPS_PROXY"].split("//")[1].strip("/").split(":")
tunnel = socket.create_connection((address, int(port)))
tunnel.sendall(("CONNECT %s:22 HTTP/1.1\r\nHost: %s:22\r\n\r\n" % (HOST, HOST)).encode())
said = b""
while not said.endswith(b"\r\n\r\n"):
    said += tunnel.recv(1)
assert b" 200 " in said.split(b"\r\n")[0] + b" ", said
head = paramiko.SSHClient()
head.set_missing_host_key_policy(paramiko.AutoAddPolicy())
head.connect(HOST, username="sshuser", password=PASSWORD, sock=tunnel)


def plain(mode):
    begun = time.time()
    _, out, err = head.exec_command("spark-submit --master yarn --deploy-mode %s job.py" % mode)
    printed, complained = out.read(), err.read()
    assert out.channel.recv_exit_status() == 0, printed + complained
    return time.time() - begun


def submit(mode):
    config = RunConfiguration(framework="pyspark")
    config.target, config.hdi.yarn_deploy_mode = hdi.name, mode
    # The interpreter that spark-submit takes too.
    config.environment.python.user_managed_dependencies, config.environment.python.interpreter_path = True, "python3"
    config.environment.spark.packages, config.environment.spark.repositories = [], []
    begun = time.time()
    run = experiment.submit(ScriptRunConfig(folder, "job.py", run_config=config))
    run.wait_for_completion(show_output=False)
    assert run.get_status() == "Completed", run.get_details_with_logs()
    return time.time() - begun


stdin, out, _ = head.exec_command("cat > job.py")
stdin.write(SCRIPT)
stdin.channel.shutdown_write()
assert out.channel.recv_exit_status() == 0
submit("client")  # warms up
figures = {}
for mode in ("client", "cluster"):
    turns = [(submit(mode), plain(mode)) for _ in range(TURNS)]
    figures[mode] = {"Run": sorted(t[0] for t in turns)[TURNS // 2], "Plain": sorted(t[1] for t in turns)[TURNS // 2]}
print(json.dumps(figures))
