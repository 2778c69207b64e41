"""Trains one script on two compute targets with the unmodified azureml SDK.

Run by `lazulite demo` in an environment that points the SDK at lazulite; the
calls are those that the documents of October 2018 show.
"""
import os
import shutil
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")

import azureml.core
from azureml.core import Experiment, ScriptRunConfig, Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
from azureml.core.compute import DsvmCompute
from azureml.core.compute_target import ComputeTargetException
from azureml.core.runconfig import RunConfiguration

started = time.time()


def say(text):
    print("[%5.1f s] %s" % (time.time() - started, text))
    sys.stdout.flush()


env = os.environ
auth = ServicePrincipalAuthentication(env["AZURE_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"])
say("azureml SDK %s on Python %s" % (azureml.core.VERSION, sys.version.split()[0]))
ws = Workspace.create(name="demo", auth=auth, subscription_id=env["AZURE_SUBSCRIPTION_ID"], resource_group="lazulite-demo",
                      location="eastus2", create_resource_group=True, exist_ok=True)
say("workspace %s in %s" % (ws.name, ws.location))

folder = tempfile.mkdtemp(prefix="lazulite-demo-")
shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "train.py"), folder)

try:
    vm = DsvmCompute(workspace=ws, name="demo-vm")
    say("found compute target demo-vm")
except ComputeTargetException:
    say("creating compute target demo-vm, a Data Science VM")
    vm = DsvmCompute.create(ws, name="demo-vm", provisioning_configuration=DsvmCompute.provisioning_configuration(vm_size="Standard_D2_v2"))
    vm.wait_for_completion(show_output=False)
say("demo-vm is %s" % vm.provisioning_state)

experiment = Experiment(ws, "demo")
rows, runs, failed = [], [], False
for target in ("local", "demo-vm"):
    config = RunConfiguration()
    config.target = target
    config.environment.python.user_managed_dependencies = True
    # The SDK is in this interpreter, so the run in it can log.
    config.environment.python.interpreter_path = sys.executable
    begun = time.time()
    run = experiment.submit(ScriptRunConfig(source_directory=folder, script="train.py", arguments=["--rate", 0.3], run_config=config))
    run.wait_for_completion(show_output=False)
    status, metrics = run.get_status(), run.get_metrics()
    say("%s: run %s %s" % (target, run.id, status))
    if status != "Completed":
        failed = True
        print(run.get_details_with_logs() if hasattr(run, "get_details_with_logs") else run.get_details())
        continue
    runs.append(run)
    rows.append((target, run.id, metrics["mse"][-1], metrics["slope"], metrics["intercept"], time.time() - begun))

if rows:
    print()
    print("%-10s %-30s %10s %8s %10s %8s" % ("target", "run", "mse", "slope", "intercept", "seconds"))
    for row in rows:
        print("%-10s %-30s %10.5f %8.3f %10.3f %8.1f" % row)
    print()
    model = runs[0].register_model(model_name="demo-line", model_path="outputs/model.json")
    say("registered model %s version %s" % (model.name, model.version))
shutil.rmtree(folder, ignore_errors=True)
if failed:
    sys.exit(1)
print("""
Where to look next:
  lazulite up --detach && eval "$(lazulite env)"   keep it up and point this shell's clients at it
  az login --service-principal -u $AZURE_CLIENT_ID -p $AZURE_CLIENT_SECRET --tenant $AZURE_TENANT_ID
  lazulite doctor                                  what this machine could do more of""")
