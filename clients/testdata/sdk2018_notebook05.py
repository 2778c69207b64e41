"""The notebook 05.train-in-spark as it stands, with the cluster's address and login filled in: sdk2018_notebook05.py RUNNER NOTEBOOKS."""
import os
import shutil
import subprocess
import sys
import tempfile

from azureml.core import Experiment

from check import PASSWORD, spark_cluster, workspace

runner, notebooks = sys.argv[1:]
folder = os.path.join(tempfile.mkdtemp(), "05.train-in-spark")
shutil.copytree(os.path.join(notebooks, "01.getting-started", "05.train-in-spark"), folder)
ws = workspace("wsnotebook05")
ws.write_config(path=folder)
address = spark_cluster("iris")
subprocess.check_call([sys.executable, "-W", "ignore", runner, os.path.join(folder, "05.train-in-spark.ipynb"), "--set", "<myhdi-ssh>.azurehdinsight.net=" + address,
                       "--set", "<ssh-username>=sshuser", "--set", "<ssh-pwd>=" + PASSWORD])
runs = list(Experiment(ws, "train-on-spark").get_runs())
assert sorted(run.get_details()["target"] for run in runs) == ["containerinstance", "myhdi"], [run.get_details() for run in runs]
for run in runs:
    run.wait_for_completion(show_output=False)
    logs = run.get_details_with_logs()["logFiles"]
    driver = [text for name, text in logs.items() if "driver" in name]
    assert run.get_status() == "Completed", (run.get_details(), logs)
    metrics = run.get_metrics()
    print(run.id, run.get_details()["target"], metrics, [w["message"] for w in run.get_details()["warnings"]], flush=True)
    assert metrics["Regularization Rate"] == 0.01 and 0.6 < metrics["Accuracy"] <= 1, metrics
    assert any("Accuracy is %s" % metrics["Accuracy"] in text for text in driver), logs
print("ok")
