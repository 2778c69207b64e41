"""SDK 0.1.68: the Data Science VM, created and attached, and the three kinds of run on it."""
import os
import sys
import tempfile

from azureml.core import Experiment, ScriptRunConfig
from azureml.core.compute import DsvmCompute, RemoteCompute
from azureml.core.compute_target import ComputeTargetException
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import DataReferenceConfiguration, RunConfiguration

from check import project, raises, workspace

ws = workspace("wsvm")
exp = Experiment(ws, "on-vm")

raises(ComputeTargetException, "ComputeTargetNotFound", DsvmCompute, workspace=ws, name="mydsvm")
vm = DsvmCompute.create(ws, name="mydsvm", provisioning_configuration=DsvmCompute.provisioning_configuration(vm_size="Standard_D2_v2"))
vm.wait_for_completion(show_output=True)
assert vm.get_status() == "Succeeded", (vm.get_status(), vm.provisioning_errors)
assert vm.vm_size == "Standard_D2_v2" and vm.address and int(vm.ssh_port), vm.serialize()
assert "password" not in str(vm.serialize()).lower() and "PRIVATE KEY" not in str(vm.serialize())
assert type(ws.compute_targets()["mydsvm"]) is DsvmCompute
raises(ComputeTargetException, "already exists", DsvmCompute.create, ws, name="mydsvm", provisioning_configuration=DsvmCompute.provisioning_configuration())
raises(ComputeTargetException, "Huge", DsvmCompute.create, ws, name="hugevm", provisioning_configuration=DsvmCompute.provisioning_configuration(vm_size="Standard_Huge"))

folder = project(tempfile.mkdtemp(), {
    "train.py": "import os, sys\nfrom azureml.core.run import Run\nrun = Run.get_submitted_run()\n"
                "run.log('acc', 0.5)\nprint('on', os.getcwd(), sys.argv[1:])\nopen('outputs/m.txt', 'w').write('m')\n",
    "three.py": "import sys; sys.exit(3)",
    "plain.py": "print('Hello World (without Azure ML SDK)!')",
    "data.py": "import os, sys\nfolder = sys.argv[2]\nprint(sorted(os.listdir(folder)))\nprint(open(os.path.join(folder, 'a.txt')).read())",
    "sleep.py": "import time\nprint('sleeping', flush=True)\ntime.sleep(600)",
})


def config(interpreter=None):
    c = RunConfiguration(framework="python")
    c.target = vm.name
    c.environment.python.user_managed_dependencies = interpreter is not None
    if interpreter:
        c.environment.python.interpreter_path = interpreter
    return c


def finish(run, want):
    run.wait_for_completion(show_output=True)
    assert run.get_status() == want, run.get_details_with_logs()
    return run


run = finish(exp.submit(ScriptRunConfig(folder, "train.py", arguments=["--x", 1], run_config=config(sys.executable))), "Completed")
assert run.get_metrics() == {"acc": 0.5}, run.get_metrics()
assert "outputs/m.txt" in run.get_file_names()
assert run.get_details()["target"] == "mydsvm"

# Without the SDK in the environment.
plain = finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=config("python3"))), "Completed")
assert "Hello World" in str(plain.get_details_with_logs())

# A data reference, downloaded from the default datastore.
ds = ws.get_default_datastore()
data = project(tempfile.mkdtemp(), {"a.txt": "content of a", "b.txt": "b"})
ds.upload_files([os.path.join(data, "a.txt"), os.path.join(data, "b.txt")], target_path="set", overwrite=True)
c = config("python3")
c.data_references = {ds.name: DataReferenceConfiguration(datastore_name=ds.name, path_on_datastore="set", mode="download", overwrite=True)}
got = finish(exp.submit(ScriptRunConfig(folder, "data.py", arguments=["--data-folder", str(ds.as_download())], run_config=c)), "Completed")
assert "content of a" in str(got.get_details_with_logs()), got.get_details_with_logs()

cancelled = exp.submit(ScriptRunConfig(folder, "sleep.py", run_config=config("python3")))
cancelled.cancel()
cancelled.wait_for_completion(show_output=False)
assert cancelled.get_status() == "Canceled", cancelled.get_status()
failed = finish(exp.submit(ScriptRunConfig(folder, "three.py", run_config=config("python3"))), "Failed")
c = config("python3")
c.target = "nowhere"
raises(Exception, "nowhere", exp.submit, ScriptRunConfig(folder, "plain.py", run_config=c))

if os.environ.get("LAZULITE_TEST_CONDA"):
    system = config()
    system.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["scikit-learn"])
    first = finish(exp.submit(ScriptRunConfig(folder, "train.py", run_config=system)), "Completed")
    assert first.get_metrics() == {"acc": 0.5}
    broken = config()
    broken.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["no-such-package-anywhere"])
    finish(exp.submit(ScriptRunConfig(folder, "train.py", run_config=broken)), "Failed")

# Attach the same machine by key, as somebody's own.
keys = vm.get_credentials()
key = os.path.join(tempfile.mkdtemp(), "key")
with open(key, "w") as f:
    f.write(keys["privateKeyData"])
attached = RemoteCompute.attach(ws, name="attached", username=keys["username"], address=vm.address, ssh_port=vm.ssh_port, private_key_file=key)
attached.wait_for_completion(show_output=True)
assert attached.get_status() == "Succeeded", attached.serialize()
wrong = RemoteCompute.attach(ws, name="wrong", username=keys["username"], address=vm.address, ssh_port=vm.ssh_port, password="not it")
wrong.wait_for_completion(show_output=True)
assert wrong.get_status() == "Failed", wrong.get_status()
gone = RemoteCompute.attach(ws, name="gone", username="u", address="127.0.0.1", ssh_port=1, password="x")
gone.wait_for_completion(show_output=True)
assert gone.get_status() == "Failed", gone.get_status()
c = config("python3")
c.target = "attached"
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=c)), "Completed")
attached.delete()
vm.delete()
import time
deadline = time.time() + 60
while "mydsvm" in ws.compute_targets():
    assert time.time() < deadline
    time.sleep(0.2)
print("ok")
