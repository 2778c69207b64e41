"""SDK 0.1.68: workspaces, their dependents, log-in without and with a service principal."""
import os
import shutil
import tempfile

from azureml.core import Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
from azureml.exceptions import ProjectSystemException, WorkspaceException

from check import auth, raises

SUB = os.environ["AZURE_SUBSCRIPTION_ID"]
GROUP = "rg-workspace"

ws = Workspace.create(name="wsone", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2")
assert (ws.name, ws.location, ws.subscription_id, ws.resource_group) == ("wsone", "eastus2", SUB, GROUP), ws
details = ws.get_details()
for field in ("storageAccount", "keyVault", "containerRegistry", "applicationInsights", "batchaiWorkspace"):
    assert "/providers/" in details[field], (field, details)
assert details["provisioningState"] == "Succeeded", details

# A name that is taken, with and without exist_ok.
raises(WorkspaceException, "exists", Workspace.create, name="wsone", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2")
again = Workspace.create(name="wsone", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2", exist_ok=True)
assert again.get_details()["workspaceid"] == details["workspaceid"]

# The notebooks pass no auth: the MSI endpoint of the environment logs them in.
os.environ.pop("AZURE_CLIENT_ID", None)
plain = Workspace(subscription_id=SUB, resource_group=GROUP, workspace_name="wsone")
assert plain.name == "wsone"

folder = tempfile.mkdtemp()
os.chdir(folder)
plain.write_config()
assert Workspace.from_config().name == "wsone"
listed = Workspace.list(SUB, auth=auth())
assert "wsone" in listed, listed
assert "wsone" in Workspace.list(SUB, auth=auth(), resource_group=GROUP)
raises(ProjectSystemException, "not found", Workspace, subscription_id=SUB, resource_group=GROUP, workspace_name="nowhere", auth=auth())

bad = ServicePrincipalAuthentication(os.environ["AZURE_TENANT_ID"], "1a2c1a2c-0018-4018-8018-c2018102018c", "wrong")
raises(Exception, "AADSTS70002", Workspace, subscription_id=SUB, resource_group=GROUP, workspace_name="wsone", auth=bad)

ws._sync_keys()
ws.delete(delete_dependent_resources=True)
raises(ProjectSystemException, "not found", Workspace, subscription_id=SUB, resource_group=GROUP, workspace_name="wsone", auth=auth())
shutil.rmtree(folder)
print("ok")
