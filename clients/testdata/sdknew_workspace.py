"""The last SDK v1: workspaces, their dependents, log-in without and with a service principal."""
import os
import shutil
import tempfile

from azureml.core import Workspace
from azureml.core.authentication import MsiAuthentication, ServicePrincipalAuthentication
from azureml.exceptions import WorkspaceException

from check import auth, raises

SUB = os.environ["AZURE_SUBSCRIPTION_ID"]
GROUP = "rg-workspace"

ws = Workspace.create(name="wsone", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2", tags={"a": "b"})
assert (ws.name, ws.location, ws.subscription_id, ws.resource_group) == ("wsone", "eastus2", SUB, GROUP), ws
details = ws.get_details()
for field in ("storageAccount", "keyVault", "applicationInsights"):
    assert "/providers/" in details[field], (field, details)
assert details["provisioningState"] == "Succeeded" and details["workspaceid"] and details["creationTime"], details
assert ws.tags["a"] == "b", ws.tags

raises(WorkspaceException, "exists", Workspace.create, name="wsone", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2")
again = Workspace.create(name="wsone", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2", exist_ok=True)
assert again.get_details()["workspaceid"] == details["workspaceid"]

# A second one finds the group that the first made for its insights.
two = Workspace.create(name="wstwo", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2", hbi_workspace=True)
assert two.get_details()["hbiWorkspace"] is True, two.get_details()
# With resources of its own.
three = Workspace.create(name="wsthree", auth=auth(), subscription_id=SUB, resource_group=GROUP, location="eastus2",
                         storage_account=details["storageAccount"], key_vault=details["keyVault"], app_insights=details["applicationInsights"])
assert three.get_details()["storageAccount"].lower() == details["storageAccount"].lower()

ws.update(friendly_name="A friend", description="what it is for", tags={"c": "d"})
got = Workspace.get("wsone", auth=auth(), subscription_id=SUB, resource_group=GROUP).get_details()
assert (got["friendlyName"], got["description"]) == ("A friend", "what it is for"), got

folder = tempfile.mkdtemp()
os.chdir(folder)
ws.write_config()
assert Workspace.from_config(auth=auth()).name == "wsone"
assert Workspace.from_config(auth=MsiAuthentication()).name == "wsone"
listed = Workspace.list(SUB, auth=auth())
assert {"wsone", "wstwo", "wsthree"} <= set(listed), listed
assert "wsone" in Workspace.list(SUB, auth=auth(), resource_group=GROUP)
raises(Exception, "not found", Workspace, subscription_id=SUB, resource_group=GROUP, workspace_name="nowhere", auth=auth())

bad = ServicePrincipalAuthentication(os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], "wrong")
raises(Exception, "AADSTS7000215", Workspace, subscription_id=SUB, resource_group=GROUP, workspace_name="wsone", auth=bad)

ws.sync_keys()
assert ws.compute_targets == {}, ws.compute_targets
assert {"workspaceblobstore", "workspacefilestore"} <= set(ws.datastores), ws.datastores
assert ws.experiments == {} and ws.models == {}, (ws.experiments, ws.models)
assert ws.images == {} and ws.webservices == {}, (ws.images, ws.webservices)

two.delete(delete_dependent_resources=True, no_wait=False)
raises(Exception, "not found", Workspace, subscription_id=SUB, resource_group=GROUP, workspace_name="wstwo", auth=auth())
shutil.rmtree(folder)
print("ok")
