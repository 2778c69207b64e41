"""SDK 0.1.68: an HDInsight cluster, attached by its SSH address, and runs of PySpark on its YARN."""
import os
import subprocess
import tempfile
import time
import zipfile

import requests
from azureml.core import Experiment, ScriptRunConfig
from azureml.core.compute import HDInsightCompute
from azureml.core.compute_target import (BatchAITarget, ComputeTargetException, _SSHBasedComputeTarget, attach_legacy_compute_target,
                                         remove_legacy_compute_target)
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import RunConfiguration, SparkPackage
from azureml.train.estimator import Estimator

from check import PASSWORD, auth, project, raises, spark_cluster, workspace

ARM = "https://management.azure.com/subscriptions/%s/resourceGroups/rg-clients/providers/" % os.environ["AZURE_SUBSCRIPTION_ID"]
ws = workspace("wshdi")
exp = Experiment(ws, "train-on-spark")

KEY, PHRASE = os.path.join(tempfile.mkdtemp(), "key"), "a phrase"
subprocess.check_call(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", PHRASE, "-f", KEY])
with open(KEY + ".pub") as f:
    ADDRESS = spark_cluster("sparky", f.read().strip())
hdi = HDInsightCompute.attach(workspace=ws, name="myhdi", address=ADDRESS, ssh_port=22, username="sshuser", password=PASSWORD)
hdi.wait_for_completion(show_output=True)
assert hdi.provisioning_state == "Succeeded", hdi.serialize()
assert PASSWORD not in str(hdi.serialize())
assert type(ws.compute_targets()["myhdi"]) is HDInsightCompute
assert hdi.get_credentials()["username"] == "sshuser"
twice = raises(ComputeTargetException, "already exists", HDInsightCompute.attach, ws, name="myhdi", address=ADDRESS, username="sshuser", password=PASSWORD)
assert "Response Code: 409" in twice.message, twice.message
raises(ComputeTargetException, "address", HDInsightCompute.attach, ws, name="other", address="", username="sshuser", password=PASSWORD)
wrong = HDInsightCompute.attach(ws, name="wrong", address=ADDRESS, username="sshuser", password="not it")
wrong.wait_for_completion(show_output=True)
assert wrong.provisioning_state == "Failed", wrong.serialize()
wrong.delete()
keyed = HDInsightCompute.attach(ws, name="bykey", address=ADDRESS, username="sshuser", private_key_file=KEY, private_key_passphrase=PHRASE)
locked = HDInsightCompute.attach(ws, name="locked", address=ADDRESS, username="sshuser", private_key_file=KEY, private_key_passphrase="not it")
for compute, want in ((keyed, "Succeeded"), (locked, "Failed")):
    compute.wait_for_completion(show_output=True)
    assert compute.provisioning_state == want, compute.serialize()
    assert "PRIVATE KEY" not in str(compute.serialize())
locked.delete()
raises(ComputeTargetException, "both password and key", HDInsightCompute.attach, ws, name="other", address=ADDRESS, username="sshuser",
       password=PASSWORD, private_key_file=KEY)
# A workspace makes no cluster.
refused = requests.put(ARM + "Microsoft.MachineLearningServices/workspaces/wshdi/computes/made?api-version=2018-03-01-preview",
                       json={"location": "eastus2", "properties": {"computeType": "HDInsight"}}, headers=auth().get_authentication_header())
assert refused.status_code == 400 and "not supported" in refused.text, refused.text

# The files of the older way to name a target, and the run configuration that is kept beside a project.
legacy = tempfile.mkdtemp()
os.mkdir(os.path.join(legacy, "aml_config"))
attach_legacy_compute_target(exp, legacy, BatchAITarget("mycluster", ws.subscription_id, "rg-clients", "c1", "w1"))
assert sorted(n for n in os.listdir(os.path.join(legacy, "aml_config")) if n.startswith("mycluster")) == ["mycluster.compute", "mycluster.runconfig"]
kept = RunConfiguration(framework="pyspark")
kept.target = "myhdi"
kept.save(path=legacy, name="myhdi")
assert RunConfiguration.load(legacy, "myhdi").framework.lower() == "pyspark"
attach_legacy_compute_target(exp, legacy, _SSHBasedComputeTarget("cluster", "legacyhdi", ADDRESS, "sshuser", password=PASSWORD))
with open(os.path.join(legacy, "aml_config", "legacyhdi.compute")) as f:
    text = f.read()
assert "type: cluster" in text and "AzureMlSecret=" in text and PASSWORD not in text, text

TRAIN = """
import os, sys
import numpy
from pyspark.sql import SparkSession
from azureml.core.run import Run
import helper
run = Run.get_context()
spark = SparkSession.builder.appName('mine').getOrCreate()
lines = spark.read.csv('numbers.csv', header=True, inferSchema=True)
run.log('sum', lines.groupBy().sum('n').first()[0])
run.log('executors', spark.sparkContext.parallelize(range(4), 2).map(lambda i: helper.twice(int(numpy.int64(i)))).sum())
run.log('told', spark.sparkContext.parallelize([0], 1).map(lambda i: os.environ['AZUREML_RUN_ID'] + os.environ['EXAMPLE']).first())
run.log('conf', spark.conf.get('spark.sql.shuffle.partitions'))
run.log('mode', spark.conf.get('spark.submit.deployMode'))
import fromjar
run.log('package', spark.sparkContext.parallelize([0], 1).map(lambda i: fromjar.NAME).first())
run.log('python', open('numbers.csv').read().split()[0])
lines.coalesce(1).write.csv('outputs/table')
open('outputs/m.txt', 'w').write('m')
print('arguments', sys.argv[1:])
"""
folder = project(tempfile.mkdtemp(), {
    "numbers.csv": "n\n" + "\n".join(str(i) for i in range(100)) + "\n",
    "helper.py": "def twice(x):\n    return 2 * x\n",
    "train.py": TRAIN,
    "broken.py": "print('a'\nx = = 1\n",
    "hungry.py": "from pyspark import SparkContext\nsc = SparkContext.getOrCreate()\n"
                 "def hog(i):\n    import ctypes\n    ctypes.string_at(0)\n"
                 "sc.parallelize(range(2), 2).foreach(hog)\n",
    "sleep.py": "import time\nprint('sleeping', flush=True)\ntime.sleep(600)\n",
})

# A repository as Maven's are, with a package that has Python in it, as Spark's packages may.
repository = tempfile.mkdtemp()
place = os.path.join(repository, "org", "example", "fromjar", "1.0")
os.makedirs(place)
with zipfile.ZipFile(os.path.join(place, "fromjar-1.0.jar"), "w") as z:
    z.writestr("fromjar.py", "NAME = 'from a package'\n")
with open(os.path.join(place, "fromjar-1.0.pom"), "w") as f:
    f.write("<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId><artifactId>fromjar</artifactId><version>1.0</version></project>")
os.chmod(repository, 0o755)


def config(mode="cluster"):
    c = RunConfiguration(framework="pyspark")
    c.target = hdi.name if mode == "cluster" else keyed.name
    c.hdi.yarn_deploy_mode = mode
    c.environment.environment_variables = {"EXAMPLE": "of the run"}
    c.spark.configuration["spark.sql.shuffle.partitions"] = 3
    c.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["numpy"])
    c.environment.spark.packages = [SparkPackage("org.example", "fromjar", "1.0"), SparkPackage("org.example", "other_2.11", "1.0")]
    c.environment.spark.repositories = ["file://" + repository]
    return c


def finish(run, want):
    began = time.time()
    run.wait_for_completion(show_output=False)
    print(run.id, run.get_status(), "%.1f s" % (time.time() - began), flush=True)
    assert run.get_status() == want, brief(run)
    return run


ALL = 10 ** 9


def brief(run, cut=3000):
    logs = run.get_details_with_logs()["logFiles"]
    return "\n".join([str(run.get_details().get("error"))] + [n + ":\n" + t[-cut:] for n, t in logs.items() if n.startswith("azureml-logs/")])


for mode in ("cluster", "client"):
    run = finish(exp.submit(ScriptRunConfig(folder, "train.py", arguments=["--reg", 0.1], run_config=config(mode))), "Completed")
    assert run.get_metrics() == {"sum": 4950, "executors": 12, "told": run.id + "of the run", "conf": "3", "mode": mode,
                                 "package": "from a package", "python": "n"}, run.get_metrics()
    names = run.get_file_names()
    assert "outputs/m.txt" in names and any(n.startswith("outputs/table/part-") for n in names), names
    assert "arguments ['--reg', '0.1']" in brief(run, ALL), brief(run)
    told = "\n".join(w["message"] for w in run.get_details()["warnings"])
    for word in ("in the place of the Spark 2", "python=3.6.2", "org.example:other_2.11:1.0 is built for Scala 2.11"):
        assert word in told, told
    broken = finish(exp.submit(ScriptRunConfig(folder, "broken.py", run_config=config(mode))), "Failed")
    assert "SyntaxError" in str(broken.get_details()["error"]), broken.get_details()
    if mode == "cluster":
        dead = finish(exp.submit(ScriptRunConfig(folder, "hungry.py", run_config=config(mode))), "Failed")
        assert "Job aborted due to stage failure" in str(dead.get_details()["error"]), dead.get_details()
    cancelled = exp.submit(ScriptRunConfig(folder, "sleep.py", run_config=config(mode)))
    deadline = time.time() + 400
    while "sleeping" not in brief(cancelled, ALL):
        assert time.time() < deadline, brief(cancelled)
        time.sleep(0.5)
    cancelled.cancel()
    deadline = time.time() + 400
    while cancelled.get_status() == "CancelRequested" and time.time() < deadline:
        time.sleep(1)
    assert cancelled.get_status() == "Canceled", cancelled.get_status()

# A target of the older kind.
project(legacy, {"plain.py": "import pyspark\nprint('on', pyspark.SparkContext.getOrCreate().master)\n"})
old = RunConfiguration.load(legacy, "legacyhdi")
assert old.target == "legacyhdi", old.target
old.framework, old.hdi.yarn_deploy_mode = "PySpark", "client"
old.environment = config().environment
run = finish(exp.submit(ScriptRunConfig(legacy, "plain.py", run_config=old)), "Completed")
assert "on yarn" in brief(run, ALL), brief(run)
remove_legacy_compute_target(exp, legacy, "legacyhdi")
assert not os.path.exists(os.path.join(legacy, "aml_config", "legacyhdi.compute"))

# YARN has none of them left.
apps = requests.get("https://sparky.azurehdinsight.net/yarnui/ws/v1/cluster/apps?states=RUNNING,ACCEPTED", auth=("admin", PASSWORD))
assert apps.status_code == 404 or not (apps.json().get("apps") or {}).get("app"), apps.text

bad = config()
bad.hdi.yarn_deploy_mode = "sideways"
raises(Exception, "yarnDeployMode", exp.submit, ScriptRunConfig(folder, "train.py", run_config=bad))
docker = config()
docker.environment.docker.enabled = True
raises(Exception, "Docker are not supported", exp.submit, ScriptRunConfig(folder, "train.py", run_config=docker))

# Estimators, and with them HyperDrive, are not for HDInsight.
raises(ComputeTargetException, "Unsupported compute target type", Estimator, source_directory=folder, compute_target=hdi, entry_script="train.py")

keyed.delete()
hdi.delete()
deadline = time.time() + 60
while "myhdi" in ws.compute_targets():
    assert time.time() < deadline
    time.sleep(0.2)
print("ok")
