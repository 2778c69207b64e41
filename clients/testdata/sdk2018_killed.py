"""SDK 0.1.68: runs of PySpark on a cluster whose emulator is killed with kill -9 and started again, which a line on stdin tells."""
import os
import sys
import tempfile
import time

import requests
from azureml.core import Experiment, ScriptRunConfig
from azureml.core.compute import HDInsightCompute
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import RunConfiguration

from check import PASSWORD, auth, project, spark_cluster, workspace

ws = workspace("wskilled")
exp = Experiment(ws, "killed")
hdi = HDInsightCompute.attach(ws, name="myhdi", address=spark_cluster("mortal"), ssh_port=22, username="sshuser", password=PASSWORD)
hdi.wait_for_completion()
assert hdi.provisioning_state == "Succeeded", hdi.serialize()
folder = project(tempfile.mkdtemp(), {
    "short.py": "from pyspark import SparkContext\nfrom azureml.core.run import Run\n"
                "Run.get_context().log('sum', SparkContext.getOrCreate().parallelize(range(10), 2).sum())\n",
    "sleep.py": "import time\nfrom pyspark import SparkContext\nprint('sleeping', flush=True)\n"
                "SparkContext.getOrCreate().parallelize(range(2), 2).foreach(lambda i: time.sleep(600))\n",
})


def submit(script, mode):
    c = RunConfiguration(framework="pyspark")
    c.target, c.hdi.yarn_deploy_mode = hdi.name, mode
    # Two at a time find room on one worker.
    c.spark.configuration.update({"spark.executor.instances": 1, "spark.executor.memory": "512m"})
    c.environment.python.conda_dependencies = CondaDependencies.create()
    c.environment.spark.packages, c.environment.spark.repositories = [], []
    return exp.submit(ScriptRunConfig(folder, script, run_config=c))


def brief(run, cut=3000):
    details = run.get_details_with_logs()
    return "\n".join([run.get_status(), str(details.get("error"))] + [n + ":\n" + t[-cut:] for n, t in details["logFiles"].items()])


def follow(run, done, limit):
    deadline = time.time() + limit
    while not done():
        assert time.time() < deadline and run.get_status() not in ("Failed", "Canceled"), brief(run)
        time.sleep(0.5)


runs = {}
for mode in ("client", "cluster"):
    runs[mode] = submit("sleep.py", mode)
    follow(runs[mode], lambda: "sleeping" in brief(runs[mode], 10 ** 9), 400)
print("running", flush=True)
assert sys.stdin.readline() == "again\n"

# The cluster is there, the run has failed with the reason.
url = "https://management.azure.com/subscriptions/%s/resourceGroups/rg-clients/providers/Microsoft.HDInsight/clusters/mortal?api-version=2018-06-01-preview"
deadline = time.time() + 180
while True:
    shown = requests.get(url % os.environ["AZURE_SUBSCRIPTION_ID"], headers=auth().get_authentication_header()).json()["properties"]
    if shown["clusterState"] == "Running" and shown["provisioningState"] == "Succeeded":
        break
    assert time.time() < deadline, shown
    time.sleep(0.5)
for mode, run in runs.items():
    deadline = time.time() + 180
    while run.get_status() in ("Running", "Preparing", "Queued"):
        assert time.time() < deadline, brief(run)
        time.sleep(0.5)
    error = run.get_details()["error"]["error"]
    print(mode, run.get_status(), error, flush=True)
    assert run.get_status() == "Failed", brief(run)
    assert error["code"] and any(word in error["message"] for word in ("gone", "lost", "ended")), error
after = submit("short.py", "cluster")
after.wait_for_completion(show_output=False)
assert after.get_status() == "Completed" and after.get_metrics() == {"sum": 45}, brief(after)
apps = requests.get("https://mortal.azurehdinsight.net/yarnui/ws/v1/cluster/apps?states=RUNNING,ACCEPTED", auth=("admin", PASSWORD))
assert not (apps.status_code == 200 and (apps.json().get("apps") or {}).get("app")), apps.text
print("ok")
