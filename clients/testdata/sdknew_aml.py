"""The last SDK v1: AmlCompute, which is a cluster of Batch AI under its later name, and runs on it."""
import sys
import tempfile
import time

from azureml.core import Environment, Experiment, ScriptRunConfig
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException

from check import project, raises, workspace

ws = workspace("wsaml")
exp = Experiment(ws, "on-aml")
raises(ComputeTargetException, "ComputeTargetNotFound", ComputeTarget, workspace=ws, name="cpu-cluster")
cluster = ComputeTarget.create(ws, "cpu-cluster", AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", min_nodes=1, max_nodes=2))
cluster.wait_for_completion(show_output=True, min_node_count=1, timeout_in_minutes=5)
status = cluster.get_status().serialize()
assert status["currentNodeCount"] >= 1 and status["allocationState"] in ("Steady", "Resizing") and not status["errors"], status
assert status["scaleSettings"] == {"minNodeCount": 1, "maxNodeCount": 2, "nodeIdleTimeBeforeScaleDown": "PT1800S"}, status
assert cluster.provisioning_state == "Succeeded" and not cluster.is_attached and cluster.vm_priority == "Dedicated", cluster.serialize()
assert type(ws.compute_targets["cpu-cluster"]) is AmlCompute
assert len(cluster.list_nodes()) >= 1 and "port" in cluster.list_nodes()[0], cluster.list_nodes()
raises(ComputeTargetException, "Huge", ComputeTarget.create, ws, "huge", AmlCompute.provisioning_configuration(vm_size="Standard_Huge", max_nodes=1))
cluster.update(min_nodes=0, max_nodes=3, idle_seconds_before_scaledown=60)
cluster.wait_for_completion()
cluster.refresh_state()
assert (cluster.scale_settings.minimum_node_count, cluster.scale_settings.maximum_node_count) == (0, 3), cluster.serialize()

folder = project(tempfile.mkdtemp(), {
    "train.py": "from azureml.core import Run\nrun = Run.get_context()\nrun.log('acc', 0.5)\nopen('outputs/m.txt', 'w').write('m')\n",
    "three.py": "import sys; sys.exit(3)",
})
environment = Environment("own")
environment.python.user_managed_dependencies = True
environment.python.interpreter_path = sys.executable


def finish(script, want):
    run = exp.submit(ScriptRunConfig(folder, script, compute_target=cluster, environment=environment))
    run.wait_for_completion(show_output=True, raise_on_error=False)
    assert run.get_status() == want, run.get_details_with_logs()
    return run


run = finish("train.py", "Completed")
assert run.get_metrics() == {"acc": 0.5} and "outputs/m.txt" in run.get_file_names(), run.get_details_with_logs()
finish("three.py", "Failed")
raises(ComputeTargetException, "not supported", cluster.detach)
cluster.delete()
deadline = time.time() + 60
while "cpu-cluster" in ws.compute_targets:
    assert time.time() < deadline
    time.sleep(0.2)
print("ok")
