"""SDK 0.1.68: runs on the target "containerinstance": a container group for each, made and removed."""
import os
import sys
import tempfile

from azureml.core import Experiment, ScriptRunConfig
from azureml.core.runconfig import RunConfiguration
from azureml.train.estimator import Estimator

from check import project, raises, workspace

ws = workspace("wsaci")
exp = Experiment(ws, "on-aci")
folder = project(tempfile.mkdtemp(), {
    "train.py": "import os, sys\nfrom azureml.core.run import Run\nrun = Run.get_submitted_run()\n"
                "run.log('acc', 0.5)\nprint('with', sys.argv[1:])\nopen('outputs/m.txt', 'w').write('m')\n",
    "three.py": "import sys; sys.exit(3)",
    "plain.py": "print('Hello World (without Azure ML SDK)!')",
    "sleep.py": "import time\nprint('sleeping', flush=True)\ntime.sleep(600)",
})


def config(interpreter=sys.executable):
    c = RunConfiguration()
    c.target = "containerinstance"
    c.container_instance.region = "eastus"
    c.container_instance.cpu_cores = 1
    c.container_instance.memory_gb = 2
    c.environment.docker.enabled = True
    c.environment.python.user_managed_dependencies = True
    c.environment.python.interpreter_path = interpreter
    return c


def finish(run, want):
    run.wait_for_completion(show_output=True)
    assert run.get_status() == want, run.get_details_with_logs()
    return run


def message(run):
    return run.get_details()["error"]["error"]["message"]


run = finish(exp.submit(ScriptRunConfig(folder, "train.py", arguments=["--x", 1], run_config=config())), "Completed")
assert run.get_metrics() == {"acc": 0.5}, run.get_metrics()
assert "outputs/m.txt" in run.get_file_names()
assert run.get_details()["target"] == "containerinstance", run.get_details()

failed = finish(exp.submit(ScriptRunConfig(folder, "three.py", run_config=config())), "Failed")
assert "3" in message(failed), failed.get_details()

cancelled = exp.submit(ScriptRunConfig(folder, "sleep.py", run_config=config()))
cancelled.cancel()
cancelled.wait_for_completion(show_output=False)
assert cancelled.get_status() == "Canceled", cancelled.get_status()

# What Azure Container Instances refuse.
c = config()
c.container_instance.region = "moonbase"
assert "moonbase" in message(finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=c)), "Failed"))
c = config()
c.container_instance.cpu_cores = 500
finish(exp.submit(ScriptRunConfig(folder, "plain.py", run_config=c)), "Failed")

# What the run service refuses on that target.
c = config()
c.environment.docker.gpu_support = True
raises(Exception, "GPU", exp.submit, ScriptRunConfig(folder, "plain.py", run_config=c))
c = config()
c.framework, c.batchai.node_count = "PythonMpi", 2
raises(Exception, "distributed", exp.submit, ScriptRunConfig(folder, "plain.py", run_config=c))
c = config()
c.environment.docker.enabled = False
raises(Exception, "docker.enabled", exp.submit, ScriptRunConfig(folder, "plain.py", run_config=c))

# No group of a run is left.
import json
import urllib.request

token = ws._auth.get_authentication_header()["Authorization"]
request = urllib.request.Request("https://management.azure.com/subscriptions/%s/resourceGroups/%s/providers/Microsoft.ContainerInstance/containerGroups?api-version=2018-10-01"
                                 % (ws.subscription_id, ws.resource_group), headers={"Authorization": token})
groups = json.loads(urllib.request.urlopen(request).read().decode())["value"]
assert groups == [], groups
print("ok")
