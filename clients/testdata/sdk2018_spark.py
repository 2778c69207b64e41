"""SDK 0.1.68: runs of PySpark on one machine: sdk2018_spark.py TARGET, which is local, vm, or one of them with -docker, or aci."""
import os
import shutil
import sys
import tempfile

from azureml.core import Experiment, ScriptRunConfig
from azureml.core.compute import DsvmCompute
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import DEFAULT_MMLSPARK_CPU_IMAGE, RunConfiguration

from check import project, workspace

place, _, docker = sys.argv[1].partition("-")
ws = workspace("ws-" + sys.argv[1])
exp = Experiment(ws, "spark-on-" + sys.argv[1])
target = "local"
if place == "vm":
    vm = DsvmCompute.create(ws, name="mydsvm", provisioning_configuration=DsvmCompute.provisioning_configuration(vm_size="Standard_D2_v2"))
    vm.wait_for_completion(show_output=True)
    assert vm.provisioning_state == "Succeeded", vm.serialize()
    target = vm.name
elif place == "aci":
    target = "containerinstance"

folder = project(tempfile.mkdtemp(), {
    "numbers.csv": "n\n" + "\n".join(str(i) for i in range(100)) + "\n",
    "helper.py": "def twice(x):\n    return 2 * x\n",
    "train.py": """
import os, sys
from pyspark.sql import SparkSession
from azureml.core.run import Run
import numpy
import helper
run = Run.get_context()
spark = SparkSession.builder.appName('mine').getOrCreate()
lines = spark.read.csv('numbers.csv', header=True, inferSchema=True)
run.log('sum', lines.groupBy().sum('n').first()[0])
run.log('twice', spark.sparkContext.parallelize(range(4), 2).map(lambda i: helper.twice(int(numpy.int64(i)))).sum())
run.log('told', spark.sparkContext.parallelize([0], 1).map(lambda i: os.environ['AZUREML_RUN_ID'] + os.environ['EXAMPLE']).first())
run.log('partitions', spark.conf.get('spark.sql.shuffle.partitions'))
run.log('docker', os.path.exists('/.dockerenv'))
run.log('spark', spark.version)
lines.coalesce(1).write.csv('outputs/table')
print('arguments', sys.argv[1:])
""",
    "failing.py": "from pyspark import SparkContext\nsc = SparkContext.getOrCreate()\nsc.parallelize(range(4), 2).map(lambda i: 1 // (i - 2)).collect()\n",
    "broken.py": "print('a'\nx = = 1\n",
    "three.py": "import sys\nprint('going')\nsys.exit(3)\n",
})


def config():
    c = RunConfiguration(framework="pyspark")
    c.target = target
    c.spark.configuration["spark.sql.shuffle.partitions"] = 3
    c.environment.environment_variables = {"EXAMPLE": "of the run"}
    c.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["numpy"])
    if docker or place == "aci":
        c.environment.docker.enabled = True
        c.environment.docker.base_image = DEFAULT_MMLSPARK_CPU_IMAGE
    c.container_instance.region = "eastus2"
    c.container_instance.cpu_cores = 1
    c.container_instance.memory_gb = 2
    return c


ALL = 10 ** 9


def brief(run, cut=4000):
    details = run.get_details_with_logs()
    return "\n".join([str(details.get("error")), str(details.get("warnings"))] +
                     [n + ":\n" + t[-cut:] for n, t in details["logFiles"].items() if n.startswith("azureml-logs/")])


def finish(script, want, c, *arguments):
    run = exp.submit(ScriptRunConfig(folder, script, arguments=list(arguments), run_config=c))
    run.wait_for_completion(show_output=False)
    print(run.id, script, run.get_status(), flush=True)
    assert run.get_status() == want, brief(run)
    return run


run = finish("train.py", "Completed", config(), "--reg", 0.1)
metrics = run.get_metrics()
version = metrics.pop("spark")
# A VM that is a container says of itself what a container of the run would.
inside = metrics.pop("docker")
assert inside or not docker, metrics
assert metrics == {"sum": 4950, "twice": 12, "told": run.id + "of the run", "partitions": "3"}, metrics
assert any(n.startswith("outputs/table/part-") for n in run.get_file_names()), run.get_file_names()
assert "arguments ['--reg', '0.1']" in brief(run, ALL), brief(run)
# What is otherwise than asked for is told.
told = "\n".join(w["message"] for w in run.get_details()["warnings"])
for word in ["Spark %s in" % version, "python=3.6.2", "azureml-defaults" if "azureml-defaults==" in brief(run, ALL) else "", "mmlspark_2.11:0.12"]:
    assert word in told, told
if docker:
    assert "The base image %s is not on this machine: lazulite/spark:latest stands in for it" % DEFAULT_MMLSPARK_CPU_IMAGE in told, told

failed = finish("failing.py", "Failed", config())
assert "ZeroDivisionError" in str(failed.get_details()["error"]), failed.get_details()
# An environment that was made before is what it was when it was made.
assert "python=3.6.2" in str(failed.get_details()["warnings"]), failed.get_details()
if place != "aci":  # where each run makes its environment anew
    broken = finish("broken.py", "Failed", config())
    assert "SyntaxError" in str(broken.get_details()["error"]), broken.get_details()
    three = finish("three.py", "Failed", config())
    # The SDK in the run's environment has its own words for it, where it comes first.
    assert any(word in str(three.get_details()["error"]) for word in ("exited with code 3", "SystemExit: 3")), three.get_details()

if target == "local" and not docker:
    # The interpreter of this SDK is too old for the Spark of this machine.
    c = config()
    c.environment.python.user_managed_dependencies = True
    old = finish("train.py", "Failed", c)
    assert "works with Python 3.8 to 3.11" in str(old.get_details()["error"]), old.get_details()
if docker:
    # An image without Spark, and without a Java to run the one from PyPI.
    c = config()
    c.environment.docker.base_image = "lazulite/base:latest"
    c.environment.python.user_managed_dependencies = True
    none = finish("train.py", "Failed", c)
    assert "no Spark" in str(none.get_details()["error"]), none.get_details()

if place == "vm":
    vm.delete()
shutil.rmtree(folder)
print("ok")
