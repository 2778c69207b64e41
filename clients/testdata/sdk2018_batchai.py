"""SDK 0.1.68: Batch AI clusters, created and attached, and runs on them: one node, MPI, parameter servers, estimators."""
import os
import shutil
import sys
import tempfile
import time

from azureml.core import Experiment, ScriptRunConfig
from azureml.core.compute import BatchAiCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import DataReferenceConfiguration, EnvironmentDefinition, RunConfiguration
from azureml.exceptions import TrainingException
from azureml.train.dnn import PyTorch, TensorFlow
from azureml.train.estimator import Estimator
from azureml.train.hyperdrive import HyperDriveRunConfig, PrimaryMetricGoal, RandomParameterSampling, uniform

from check import project, raises, workspace

ws = workspace("wsbatch")
exp = Experiment(ws, "on-batchai")

raises(ComputeTargetException, "ComputeTargetNotFound", ComputeTarget, workspace=ws, name="traincluster")
wanted = BatchAiCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", vm_priority="lowpriority", autoscale_enabled=True,
                                                   cluster_min_nodes=1, cluster_max_nodes=3)
cluster = ComputeTarget.create(ws, "traincluster", wanted)
cluster.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
status = cluster.status.serialize()
assert status["provisioningState"] == "succeeded" and status["currentNodeCount"] >= 1, status
assert status["scaleSettings"] == {"manual": None, "autoScale": {"maximumNodeCount": 3, "minimumNodeCount": 1, "initialNodeCount": 1}}, status
assert status["vmPriority"] == "lowpriority" and sum(status["nodeStateCounts"].values()) >= 1, status
assert cluster.provisioning_state == "Succeeded" and cluster.vm_size == "STANDARD_D2_V2", cluster.serialize()
assert "PRIVATE KEY" not in str(cluster.serialize())
assert type(ws.compute_targets()["traincluster"]) is BatchAiCompute
assert type(ComputeTarget(workspace=ws, name="traincluster")) is BatchAiCompute
raises(ComputeTargetException, "cannot be changed", ComputeTarget.create, ws, "traincluster", BatchAiCompute.provisioning_configuration(vm_size="STANDARD_D3_V2"))
raises(ComputeTargetException, "Huge", ComputeTarget.create, ws, "huge", BatchAiCompute.provisioning_configuration(vm_size="STANDARD_Huge"))

folder = project(tempfile.mkdtemp(), {
    "train.py": "import os, sys\nfrom azureml.core.run import Run\nrun = Run.get_submitted_run()\n"
                "run.log('acc', 0.5)\nprint('on', os.environ['AZ_BATCHAI_JOB_TEMP'], sys.argv[1:])\nopen('outputs/m.txt', 'w').write('m')\n",
    "three.py": "import sys; sys.exit(3)",
    "plain.py": "print('Hello World (without Azure ML SDK)!')",
    "data.py": "import os, sys\nfolder = sys.argv[sys.argv.index('--data-folder') + 1]\nprint(sorted(os.listdir(folder)))\nprint(open(os.path.join(folder, 'a.txt')).read())",
    "sleep.py": "import time\nprint('sleeping', flush=True)\ntime.sleep(600)",
    "rank.py": "import os\nprint('rank', os.environ['OMPI_COMM_WORLD_RANK'], 'of', os.environ['OMPI_COMM_WORLD_SIZE'])\nprint('on', os.environ['HOME'])",
    "file.py": "import os, sys\nprint('rank', os.environ['OMPI_COMM_WORLD_RANK'], 'of', os.environ['OMPI_COMM_WORLD_SIZE'], 'reads', open(sys.argv[2]).read())",
    # TensorFlow's way of asking who one is, without TensorFlow.
    "sum.py": """
import json, os, socket, socketserver, time
config = json.loads(os.environ["TF_CONFIG"])
task, cluster = config["task"], config["cluster"]
host, port = cluster["ps"][0].rsplit(":", 1)
values = {}

class Variable(socketserver.StreamRequestHandler):
    def handle(self):
        index, value = self.rfile.readline().split()
        values[int(index)] = int(value)
        self.wfile.write(b"%d\\n" % (sum(values.values()) if len(values) == len(cluster["worker"]) else 0))

if task["type"] == "ps":
    socketserver.TCPServer.allow_reuse_address = True
    socketserver.TCPServer(("", int(port)), Variable).serve_forever()
while True:
    try:
        with socket.create_connection((host, int(port)), 5) as s:
            s.sendall(b"%d %d\\n" % (task["index"], 10 ** task["index"]))
            total = int(s.makefile().readline() or 0)
        if total:
            break
    except OSError as e:
        print("waiting for", host, port, e)
    time.sleep(0.2)
print(task["type"], task["index"], "sum", total)
""",
})


def config(interpreter=sys.executable, docker=False):
    c = RunConfiguration(framework="python")
    c.target = cluster.name
    c.environment.docker.enabled = docker
    c.environment.python.user_managed_dependencies = interpreter is not None
    if interpreter:
        c.environment.python.interpreter_path = interpreter
    return c


def finish(run, want):
    run.wait_for_completion(show_output=True)
    assert run.get_status() == want, run.get_details_with_logs()
    return run


def log(run, name):
    logs = run.get_details_with_logs()["logFiles"]
    assert "azureml-logs/" + name in logs, sorted(logs)
    return logs["azureml-logs/" + name]


def service_log(run, name):
    """A log of Batch AI's own; it may come a moment after the run's end."""
    deadline = time.time() + 30
    while not any(("azureml-logs/55_batchai_" + name) in n for n in run.get_file_names()):
        assert time.time() < deadline, run.get_file_names()
        time.sleep(0.2)
    return [text for n, text in run.get_details_with_logs()["logFiles"].items() if "55_batchai_" + name in n]


run = finish(exp.submit(ScriptRunConfig(folder, "train.py", arguments=["--x", 1], run_config=config())), "Completed")
assert run.get_metrics() == {"acc": 0.5}, run.get_metrics()
assert "outputs/m.txt" in run.get_file_names()
assert run.get_details()["target"] == "traincluster" and run.get_details().get("error") is None, run.get_details()

told = service_log(run, "execution.txt")
assert len(told) == 1 and "attempt 1, on 1 node(s): " in told[0], told

# In a container, as a run on Batch AI was by default.
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=config("python3", docker=True))), "Completed")

ds = ws.get_default_datastore()
data = project(tempfile.mkdtemp(), {"a.txt": "content of a", "b.txt": "b"})
ds.upload_files([os.path.join(data, "a.txt"), os.path.join(data, "b.txt")], target_path="set", overwrite=True)
c = config()
c.data_references = {ds.name: DataReferenceConfiguration(datastore_name=ds.name, path_on_datastore="set", mode="mount")}
got = finish(exp.submit(ScriptRunConfig(folder, "data.py", arguments=["--data-folder", str(ds.as_mount())], run_config=c)), "Completed")
assert "content of a" in log(got, "80_driver_log.txt"), got.get_details_with_logs()

failed = finish(exp.submit(ScriptRunConfig(folder, "three.py", run_config=config())), "Failed")
assert "3" in failed.get_details()["error"]["error"]["message"], failed.get_details()

cancelled = exp.submit(ScriptRunConfig(folder, "sleep.py", run_config=config()))
cancelled.cancel()
cancelled.wait_for_completion(show_output=False)
assert cancelled.get_status() == "Canceled", cancelled.get_status()

c = config()
c.max_run_duration_seconds = 2
late = finish(exp.submit(ScriptRunConfig(folder, "sleep.py", run_config=c)), "Failed")
assert "maxRunDurationSeconds" in late.get_details()["error"]["error"]["message"], late.get_details()


def own(interpreter=sys.executable):
    """An environment definition that takes the interpreter as it is."""
    e = EnvironmentDefinition()
    e.docker.enabled = False
    e.python.user_managed_dependencies = True
    e.python.interpreter_path = interpreter
    return e


one = Estimator(source_directory=folder, compute_target=cluster, entry_script="data.py", script_params={"--data-folder": ds.path("set").as_download()},
                use_docker=False, environment_definition=own())
assert "content of a" in log(finish(exp.submit(one), "Completed"), "80_driver_log.txt")
finish(exp.submit(PyTorch(source_directory=folder, compute_target=cluster, entry_script="plain.py", use_docker=False, environment_definition=own())), "Completed")

# What is not emulated says so, by a client that knows neither proxy nor our roots.
tuned = HyperDriveRunConfig(estimator=one, hyperparameter_sampling=RandomParameterSampling({"--lr": uniform(0.1, 0.2)}), primary_metric_name="acc",
                            primary_metric_goal=PrimaryMetricGoal.MAXIMIZE, max_total_runs=2)
raises(TrainingException, "HyperDrive is not emulated", exp.submit, tuned)

# One parameter server and two workers over three nodes: the cluster grows for them.
servers = TensorFlow(source_directory=folder, compute_target=cluster, entry_script="sum.py", node_count=3, worker_count=2, parameter_server_count=1,
                     distributed_backend="ps", use_docker=False, environment_definition=own())
run = finish(exp.submit(servers), "Completed")
for worker in ("0", "1"):
    assert "worker %s sum 11" % worker in log(run, "80_driver_log_worker_%s.txt" % worker), run.get_details_with_logs()
assert cluster.get_status().current_node_count == 3, cluster.status.serialize()

if shutil.which("mpirun"):
    ranks = Estimator(source_directory=folder, compute_target=cluster, entry_script="rank.py", node_count=2, process_count_per_node=2,
                      distributed_backend="mpi", use_docker=False, environment_definition=own())
    run = finish(exp.submit(ranks), "Completed")
    for rank in range(4):
        assert "rank %d of 4" % rank in log(run, "80_driver_log_rank_%d.txt" % rank), run.get_details_with_logs()
    # Of a mounted file each rank has the path: that is how training/04 of the notebooks has its data.
    horovod = PyTorch(source_directory=folder, compute_target=cluster, entry_script="file.py", script_params={"--file": ds.path("set/a.txt")}, node_count=2,
                      distributed_backend="mpi", use_docker=False, environment_definition=own())
    ranked = finish(exp.submit(horovod), "Completed")
    for rank in range(2):
        assert "rank %d of 2 reads content of a" % rank in log(ranked, "80_driver_log_rank_%d.txt" % rank), ranked.get_details_with_logs()
    assert len(service_log(run, "execution-tvm-")) == 2 and len(service_log(run, "stdout-job_prep-tvm-")) == 2, run.get_file_names()

if os.environ.get("LAZULITE_TEST_CONDA"):
    system = config(None)
    system.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["scikit-learn"])
    assert finish(exp.submit(ScriptRunConfig(folder, "train.py", run_config=system)), "Completed").get_metrics() == {"acc": 0.5}

# The same cluster, attached as somebody's own: deleting that compute leaves it alone.
attached = BatchAiCompute.attach(workspace=ws, name="attached", resource_id=cluster.cluster_resource_id)
attached.wait_for_completion(show_output=True, min_node_count=1, timeout_in_minutes=2)
assert attached.get_status().scale_settings.auto_scale.max_node_count == 3, attached.status.serialize()
c = config()
c.target = "attached"
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=c)), "Completed")
raises(ComputeTargetException, "nothere", BatchAiCompute.attach, workspace=ws, name="other", resource_id=cluster.cluster_resource_id.rsplit("/", 1)[0] + "/nothere")
attached.delete()
deadline = time.time() + 60
while "attached" in ws.compute_targets():
    assert time.time() < deadline
    time.sleep(0.2)
assert cluster.get_status().current_node_count >= 1
cluster.delete()
while "traincluster" in ws.compute_targets():
    assert time.time() < deadline + 60
    time.sleep(0.2)
print("ok")
