"""SDK 0.1.68: runs in Docker on this machine and on a Data Science VM."""
import os
import shutil
import subprocess
import tempfile
import time

from azureml.core import Experiment, ScriptRunConfig
from azureml.core.compute import DsvmCompute
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import DataReferenceConfiguration, RunConfiguration

from check import project, workspace

BASE = "lazulite/base:latest"
ws = workspace("wsdocker")
exp = Experiment(ws, "in-docker")
folder = project(tempfile.mkdtemp(), {
    "plain.py": "import os, sys\nprint('in', os.getcwd(), os.path.exists('/.dockerenv'), sys.argv[1:], os.environ['COLOUR'])\n"
                "if not os.path.isdir('outputs'):\n    os.makedirs('outputs')\nopen('outputs/m.txt', 'w').write('m')\n",
    "train.py": "import os\nfrom azureml.core.run import Run\nimport sklearn\nrun = Run.get_submitted_run()\nrun.log('acc', 0.5)\n"
                "print('in', os.getcwd(), sklearn.__name__)\nopen('outputs/m.txt', 'w').write('m')\n",
    "three.py": "import sys; sys.exit(3)",
    "sleep.py": "import time\nprint('sleeping', flush=True)\ntime.sleep(600)",
    "data.py": "import os, sys\nprint(sorted(os.listdir(sys.argv[2])), open(os.path.join(sys.argv[2], 'a.txt')).read())",
})


def config(target="local", dependencies=None, image=BASE):
    c = RunConfiguration(framework="python")
    c.target = target
    c.environment.docker.enabled = True
    c.environment.docker.base_image = image
    c.environment.environment_variables = {"COLOUR": "blue and\ngreen"}
    c.environment.python.user_managed_dependencies = dependencies is None
    if dependencies:
        c.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=dependencies)
    return c


def finish(run, want):
    run.wait_for_completion(show_output=True)
    assert run.get_status() == want, run.get_details_with_logs()
    return run


def submit(script, c, *arguments):
    return exp.submit(ScriptRunConfig(folder, script, arguments=list(arguments), run_config=c))


def containers():
    """Runs of ours that have a container."""
    listed = subprocess.check_output(["docker", "ps", "--all", "--format", '{{.Label "dev.lazulite.run"}}']).decode().split()
    return [run for run in listed if run.startswith("in-docker_")]


before = set(containers())
vm = DsvmCompute.create(ws, name="mydsvm", provisioning_configuration=DsvmCompute.provisioning_configuration(vm_size="Standard_D2_v2"))
vm.wait_for_completion(show_output=True)
ds = ws.get_default_datastore()
data = project(tempfile.mkdtemp(), {"a.txt": "content of a"})
ds.upload_files([os.path.join(data, "a.txt")], target_path="set", overwrite=True)

for target in ("local", vm.name):
    for shared in (True, False):
        c = config(target)
        c.environment.docker.shared_volumes = shared
        c.environment.docker.arguments = ["--shm-size", "128m"]
        run = finish(submit("plain.py", c, "--x", 1), "Completed")
        assert "in /azureml-run True ['--x', '1'] blue and\ngreen" in str(run.get_details_with_logs()["logFiles"]).replace("\\n", "\n").replace("\\'", "'"), run.get_details_with_logs()
        assert "outputs/m.txt" in run.get_file_names(), run.get_file_names()
    failed = finish(submit("three.py", config(target)), "Failed")
    assert "exited with code 3" in str(failed.get_details()["error"]), failed.get_details()
    c = config(target)
    c.data_references = {ds.name: DataReferenceConfiguration(datastore_name=ds.name, path_on_datastore="set", mode="download", overwrite=True)}
    got = finish(submit("data.py", c, "--data-folder", str(ds.as_download())), "Completed")
    assert "content of a" in str(got.get_details_with_logs()), got.get_details_with_logs()
    cancelled = submit("sleep.py", config(target))
    deadline = time.time() + 120
    while "azureml-logs/80_driver_log.txt" not in cancelled.get_details()["logFiles"]:
        assert time.time() < deadline, cancelled.get_details_with_logs()
        time.sleep(0.5)
    cancelled.cancel()
    cancelled.wait_for_completion()
    assert cancelled.get_status() == "Canceled", cancelled.get_status()

# What can't be had fails with what to do about it, and the registry's password is nobody's.
c = config(image="no-such-image:1")
c.environment.docker.base_image_registry.address = "127.0.0.1:1"
c.environment.docker.base_image_registry.username = "robot"
c.environment.docker.base_image_registry.password = "hush-0815"
gone = finish(submit("plain.py", c), "Failed")
assert "127.0.0.1:1" in str(gone.get_details()["error"]), gone.get_details()
assert "hush-0815" not in str(gone.get_details_with_logs()), "the password is shown"
c = config(image="no-such-image.invalid/x:1")
gone = finish(submit("plain.py", c), "Failed")
assert "lazulite images build" in str(gone.get_details()["error"]), gone.get_details()

# A GPU that this machine may not have.
c = config()
c.environment.docker.gpu_support = True
gpu = finish(submit("plain.py", c), "Completed")
if not os.path.exists("/dev/nvidiactl"):
    assert "no NVIDIA GPU" in str(gpu.get_details().get("warnings")), gpu.get_details()

if os.environ.get("LAZULITE_TEST_CONDA"):
    first = finish(submit("train.py", config(dependencies=["scikit-learn"])), "Completed")
    assert first.get_metrics() == {"acc": 0.5} and "outputs/m.txt" in first.get_file_names(), first.get_file_names()
    second = finish(submit("train.py", config(vm.name, ["scikit-learn"])), "Completed")
    assert "Using the image azureml/azureml_" in str(second.get_details_with_logs()), second.get_details_with_logs()
    broken = finish(submit("train.py", config(dependencies=["no-such-package-anywhere"])), "Failed")
    assert "no-such-package-anywhere" in str(broken.get_details()["error"]), broken.get_details()

vm.delete()
shutil.rmtree(folder)
deadline = time.time() + 30
while set(containers()) - before:
    assert time.time() < deadline, containers()
    time.sleep(0.5)
print("ok")
