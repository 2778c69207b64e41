"""The last SDK v1: the Data Science VM, created and attached, runs on it, and the datastores."""
import os
import sys
import tempfile
import time

from azureml.core import Datastore, Experiment, ScriptRunConfig
from azureml.core.compute import ComputeTarget, DsvmCompute, RemoteCompute
from azureml.core.compute_target import ComputeTargetException
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import RunConfiguration
from azureml.data.data_reference import DataReference

from check import project, raises, workspace

ws = workspace("wsvm")
exp = Experiment(ws, "on-vm")

raises(ComputeTargetException, "ComputeTargetNotFound", ComputeTarget, workspace=ws, name="mydsvm")
vm = ComputeTarget.create(ws, "mydsvm", DsvmCompute.provisioning_configuration(vm_size="Standard_D2_v2"))
vm.wait_for_completion(show_output=True)
assert vm.get_status() == "Succeeded", (vm.get_status(), vm.provisioning_errors)
assert vm.vm_size == "Standard_D2_v2" and vm.address and int(vm.ssh_port), vm.serialize()
assert "password" not in str(vm.serialize()).lower() and "PRIVATE KEY" not in str(vm.serialize())
assert type(ws.compute_targets["mydsvm"]) is DsvmCompute and not ws.compute_targets["mydsvm"].is_attached
raises(ComputeTargetException, "already exists", ComputeTarget.create, ws, "mydsvm", DsvmCompute.provisioning_configuration())
raises(ComputeTargetException, "Huge", ComputeTarget.create, ws, "hugevm", DsvmCompute.provisioning_configuration(vm_size="Standard_Huge"))

folder = project(tempfile.mkdtemp(), {
    "train.py": "import os, sys\nfrom azureml.core import Run\nrun = Run.get_context()\n"
                "run.log('acc', 0.5)\nprint('on', os.getcwd(), sys.argv[1:])\nopen('outputs/m.txt', 'w').write('m')\n",
    "three.py": "import sys; sys.exit(3)",
    "plain.py": "import os\nprint('Hello World (without Azure ML SDK)!')\nopen('out.txt', 'w').write('sent back')\n",
    "data.py": "import os, sys\nfolder = sys.argv[2]\nprint(sorted(os.listdir(folder)))\nprint(open(os.path.join(folder, 'a.txt')).read())",
    "sleep.py": "import time\nprint('sleeping', flush=True)\ntime.sleep(600)",
})


def config(interpreter=None, target="mydsvm"):
    c = RunConfiguration()
    c.target = target
    c.environment.python.user_managed_dependencies = interpreter is not None
    if interpreter:
        c.environment.python.interpreter_path = interpreter
    return c


def finish(run, want):
    run.wait_for_completion(show_output=True, raise_on_error=False)
    assert run.get_status() == want, run.get_details_with_logs()
    return run


run = finish(exp.submit(ScriptRunConfig(folder, "train.py", arguments=["--x", 1], run_config=config(sys.executable))), "Completed")
assert run.get_metrics() == {"acc": 0.5}, run.get_metrics()
assert "outputs/m.txt" in run.get_file_names()
assert run.get_details()["target"] == "mydsvm"

# Without the SDK in the environment; and sent as a zip, as the SDK can be told to.
plain = finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=config("python3"))), "Completed")
assert "Hello World" in str(plain.get_details_with_logs())
os.environ["AML_FORCE_EXECUTE_WITH_ZIP"] = "1"
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=config("python3"))), "Completed")
del os.environ["AML_FORCE_EXECUTE_WITH_ZIP"]

# The default datastore.
ds = ws.get_default_datastore()
data = project(tempfile.mkdtemp(), {"a.txt": "content of a", "b/b.txt": "b"})
assert ds.upload_files([os.path.join(data, "a.txt")], target_path="set", overwrite=True, show_progress=False) is not None
ds.upload(data, target_path="whole", overwrite=True, show_progress=True)
back = tempfile.mkdtemp()
assert ds.download(back, prefix="whole", show_progress=False) == 2
assert open(os.path.join(back, "whole", "b", "b.txt")).read() == "b"
raises(Exception, "", ds.upload_files, [os.path.join(data, "none.txt")])
files = Datastore.get(ws, "workspacefilestore")
files.upload(data, target_path="whole", overwrite=True, show_progress=False)
back = tempfile.mkdtemp()
files.download(back, prefix="whole", show_progress=False)
assert open(os.path.join(back, "whole", "a.txt")).read() == "content of a"
mine = Datastore.register_azure_blob_container(ws, "mine", ds.container_name, ds.account_name, account_key=ds.account_key)
raises(Exception, "already exists", Datastore.register_azure_blob_container, ws, "mine", ds.container_name, ds.account_name, account_key=ds.account_key)
Datastore.register_azure_blob_container(ws, "mine", ds.container_name, ds.account_name, account_key=ds.account_key, overwrite=True)
mine.set_as_default()
assert ws.get_default_datastore().name == "mine" and set(ws.datastores) == {"mine", "workspaceblobstore", "workspacefilestore"}
ds.set_as_default()
mine.unregister()
assert "mine" not in ws.datastores

# A data reference, downloaded from the default datastore; another uploaded to it.
got = DataReference(ds, data_reference_name="got", path_on_datastore="set", mode="download", overwrite=True)
sent = DataReference(ds, data_reference_name="sent", path_on_datastore="results", mode="upload", path_on_compute="out.txt", overwrite=True)
c = config("python3")
c.data_references = {"got": got.to_config()}
done = finish(exp.submit(ScriptRunConfig(folder, "data.py", arguments=["--data-folder", str(got)], run_config=c)), "Completed")
assert "content of a" in str(done.get_details_with_logs()), done.get_details_with_logs()
c = config("python3")
c.data_references = {"sent": sent.to_config()}
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=c)), "Completed")
back = tempfile.mkdtemp()
assert ds.download(back, prefix="results", show_progress=False) == 1, os.listdir(back)

cancelled = exp.submit(ScriptRunConfig(folder, "sleep.py", run_config=config("python3")))
cancelled.cancel()
finish(cancelled, "Canceled")
finish(exp.submit(ScriptRunConfig(folder, "three.py", run_config=config("python3"))), "Failed")
raises(Exception, "nowhere", exp.submit, ScriptRunConfig(folder, "plain.py", run_config=config("python3", target="nowhere")))

if os.environ.get("LAZULITE_TEST_CONDA"):
    system = config()
    system.environment.python.conda_dependencies = CondaDependencies.create(pip_packages=["tabulate"])
    finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=system)), "Completed")

# Attach the same machine by key, as somebody's own.
keys = vm.get_credentials()
key = os.path.join(tempfile.mkdtemp(), "key")
with open(key, "w") as f:
    f.write(keys["privateKeyData"])


def attach(name, **how):
    target = ComputeTarget.attach(ws, name, RemoteCompute.attach_configuration(**how))
    try:
        target.wait_for_completion(show_output=True)
    except ComputeTargetException as e:
        return target, str(e)
    return target, ""


attached, why = attach("attached", username=keys["username"], address=vm.address, ssh_port=vm.ssh_port, private_key_file=key)
assert attached.get_status() == "Succeeded" and attached.is_attached, (attached.serialize(), why)
wrong, why = attach("wrong", username=keys["username"], address=vm.address, ssh_port=vm.ssh_port, password="not it")
assert wrong.get_status() == "Failed" and "refuses to log in" in why, (wrong.get_status(), why)
gone, why = attach("gone", username="u", address="127.0.0.1", ssh_port=1, password="x")
assert gone.get_status() == "Failed" and why, (gone.get_status(), why)
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=config("python3", target="attached"))), "Completed")


def absent(name):
    deadline = time.time() + 60
    while name in ws.compute_targets:
        assert time.time() < deadline, name
        time.sleep(0.2)


raises(ComputeTargetException, "detach", attached.delete)
attached.detach()
absent("attached")
# The machine is still there, and goes with the compute that made it.
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=config("python3"))), "Completed")
vm.delete()
vm.wait_for_completion(is_delete_operation=True)
absent("mydsvm")
print("ok")
