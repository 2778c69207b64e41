"""The command line of SDK 0.1.68, `python -m azureml._cli` (in the extension: `az ml`): a project's whole life, and targets attached by it."""
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile

from azure.cli.core import get_default_cli
from azure.cli.core._profile import Profile

from azureml.core import Workspace
from azureml.core.compute import BatchAiCompute, DsvmCompute, RemoteCompute

from check import auth, project, workspace

HOME = tempfile.mkdtemp()


def ml(*words, **kwargs):
    """One command. Gives what it printed; refused is what it has to say if it is to fail."""
    refused = kwargs.get("refused")
    p = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "azureml._cli"] + list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=HOME)
    out = p.communicate()[0].decode()
    if refused is None:
        assert p.returncode == 0, (words, out)
    else:
        assert p.returncode != 0 and refused in out, (words, p.returncode, out)
    return out


def document(out):
    """The JSON that a command ends with."""
    return json.loads(out[out.index("{"):])


def started(out):
    return re.search(r'"RunId": "([^"]+)"|RunId: (\S+)', out).group(1) or re.search(r"RunId: (\S+)", out).group(1)


def configured(name, **values):
    """Changes lines of a run configuration, as its user does in an editor."""
    path = os.path.join(HOME, "aml_config", name + ".runconfig")
    with open(path) as f:
        text = f.read()
    for key, value in values.items():
        text, n = re.subn(r"(?m)^(\s*%s:).*$" % key, r"\1 %s" % value, text)
        assert n, (key, text)
    with open(path, "w") as f:
        f.write(text)


# az login --service-principal, by az's own code.
Profile(cli_ctx=get_default_cli(), async_persist=False).find_subscriptions_on_login(False, os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"], True, os.environ["AZURE_TENANT_ID"])

ws = workspace("other", group="rg-cli")
where = ["-w", "wscli", "-g", "rg-cli"]
ml("workspace", "create", "-n", "wscli", "-g", "rg-none", "-l", "eastus2", refused="Resource group was not found")
made = document(ml("workspace", "create", "-n", "wscli", "-g", "rg-cli", "-l", "eastus2"))
assert made["type"] == "Microsoft.MachineLearningServices/workspaces" and made["resourceGroup"] == "rg-cli", made
listed = ml("workspace", "list", "-g", "rg-cli")
assert "wscli" in listed and "other" in listed, listed
# 0.1.68 sends the one as the other.
assert document(ml("workspace", "update", "-n", "wscli", "-g", "rg-cli", "-f", "Ours"))["description"] == "Ours"
assert document(ml("workspace", "show", "-n", "wscli", "-g", "rg-cli"))["description"] == "Ours"
ml("workspace", "resync-keys", "-n", "wscli", "-g", "rg-cli")
ml("workspace", "share", "-n", "wscli", "-g", "rg-cli", "--user", "somebody@contoso.com", "--role", "Reader", refused="Microsoft.Authorization")
ml("workspace", "show", "-n", "nosuch", "-g", "rg-cli", refused="Workspace not found")

project(HOME, {"train.py": "import sys\nfrom azureml.core import Run\nrun = Run.get_context()\nrun.log('accuracy', 0.9)\nprint('trained with', sys.argv[1:])\n",
               "plain.py": "print('Hello World (without Azure ML SDK)!')\n", "sleep.py": "import time\nprint('sleeping', flush=True)\ntime.sleep(600)\n",
               "three.py": "import sys; sys.exit(3)\n"})
ml("run", "submit", "-c", "local", "train.py", refused="No cache found for current project")
ml("project", "attach", "--experiment-name", "byhand", "--path", HOME, *where)
assert document(ml("project", "show"))["Experiment name"] == "byhand"

configured("local", userManagedDependencies="true", interpreterPath=sys.executable)
out = ml("run", "submit", "-c", "local", "train.py", "--epochs", "3")
assert "trained with ['--epochs', '3']" in out and "completed successfully" in out, out
run = started(out)
assert '"Completed"' in ml("run", "status", "-r", run), ml("run", "status", "-r", run)
ml("run", "diagnostics", "-r", run, "-d", os.path.join(HOME, "diagnostics.zip"))
with zipfile.ZipFile(os.path.join(HOME, "diagnostics.zip")) as z:
    assert any(name.endswith("control.log") or "control" in name for name in z.namelist()), z.namelist()
out = ml("run", "submit", "-c", "local", "three.py")
assert "SystemExit: 3" in out and '"Failed"' in ml("run", "status", "-r", started(out)), out
asleep = started(ml("run", "submit", "-c", "local", "--async", "sleep.py"))
ml("run", "cancel", "-r", asleep)
assert "Cancel" in ml("run", "status", "-r", asleep)
ml("run", "prepare", "-c", "local")
ml("run", "clean", "-r", run, "-t", "local")
ml("run", "status", "-r", "byhand_1_none", refused="Not Found")

# A machine, attached to the workspace by its address and key.
vm = DsvmCompute.create(ws, name="machine", provisioning_configuration=DsvmCompute.provisioning_configuration(vm_size="Standard_D2_v2"))
vm.wait_for_completion()
login = vm.get_credentials()
project(HOME, {"key": login["privateKeyData"]})
out = ml("computetarget", "attach", "remote", "-n", "mine", "-u", login["username"], "--private-key-file", os.path.join(HOME, "key"), "-a", vm.address, "--ssh-port", str(vm.ssh_port), *where)
assert "submitted successfully" in out, out
mine = RemoteCompute(Workspace.get("wscli", auth=auth(), subscription_id=os.environ["AZURE_SUBSCRIPTION_ID"], resource_group="rg-cli"), "mine")
mine.wait_for_completion()
assert mine.provisioning_state == "Succeeded" and mine.address == vm.address, mine.serialize()
out = ml("run", "submit", "-c", "local", "-t", "mine", "train.py")
assert "trained with []" in out and '"Completed"' in ml("run", "status", "-r", started(out)), out

# A cluster, attached to the project.
nodes = BatchAiCompute.create(ws, "nodes", BatchAiCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", autoscale_enabled=False, cluster_min_nodes=1, cluster_max_nodes=1))
nodes.wait_for_completion()
ids = nodes.cluster_resource_id.split("/")
ml("computetarget", "attach", "batchai", "-n", "batch", "--subscription-id", ids[2], "-g", ids[4], "--batchai-workspace-name", ids[8], "--cluster-name", ids[10], "--node-count", "1")
configured("batch", userManagedDependencies="true", interpreterPath="python3")
out = ml("run", "submit", "-c", "batch", "plain.py")
assert "Hello World" in out and '"Completed"' in ml("run", "status", "-r", started(out)), out

ml("project", "detach", "--path", HOME)
ml("run", "submit", "-c", "local", "train.py", refused="No cache found for current project")
ml("workspace", "delete", "-n", "wscli", "-g", "rg-cli", "--all-resources")
ml("workspace", "show", "-n", "wscli", "-g", "rg-cli", refused="Workspace not found")
print("ok")
