"""Drives the unmodified azureml SDK 0.1.68 against the services of this package.

The endpoint comes by AZUREML_SERVICE_ENDPOINT and AZUREML_MMS_TEST_ENDPOINT.
What the SDK uploads to blob storage is uploaded by the service's own content
call here: the SDK reaches blob storage at https://*.blob.core.windows.net only.
"""
import os
import sys
import tempfile
import zipfile

import requests

from azureml._base_sdk_common.create_snapshot import create_snapshot
from azureml._base_sdk_common.credentials import get_credentials, set_credentials
from azureml._base_sdk_common.project_context import ARMProjectContext
from azureml._base_sdk_common.project_snapshot_cache import ContentSnapshotCache
from azureml._base_sdk_common.restore_snapshot import RestoreSnapshot
from azureml._base_sdk_common.snapshot_dto import SnapshotDto
from azureml._restclient.artifacts_client import ArtifactsClient
from azureml._restclient.assets_client import AssetsClient
from azureml.core import Datastore, Workspace
from azureml.core.authentication import ArmTokenAuthentication
from azureml.core.model import Model
from azureml.exceptions import AzureMLException, UserErrorException, WebserviceException
from msrest.exceptions import HttpOperationError

SUB = "11111111-1111-1111-1111-111111111111"
auth = ArmTokenAuthentication("user")
context = ARMProjectContext(auth, SUB, "rg", "ws", "exp")
ws = Workspace(SUB, "rg", "ws", auth=auth, _location="eastus2", _disable_service_check=True)


def same(got, want):
    if got != want:
        raise AssertionError("got {!r}, want {!r}".format(got, want))


def raises(kind, text, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except kind as e:
        shown = str(e) + (e.response.text if isinstance(e, HttpOperationError) else "")
        if text not in shown:
            raise AssertionError("{!r} lacks {!r}".format(shown, text))
        return
    raise AssertionError("no " + kind.__name__)


def write(root, path, text):
    path = os.path.join(root, path)
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path, "w") as f:
        f.write(text)


def restore(snapshot):
    folder = tempfile.mkdtemp()
    path = RestoreSnapshot(context).restore_snapshot(snapshot, folder)
    with zipfile.ZipFile(path) as z:
        return {n: z.read(n).decode() for n in z.namelist() if not n.endswith("/")}


def snapshots():
    project = tempfile.mkdtemp()
    write(project, "train.py", "print(1)")
    write(project, "sub/data.txt", "data")
    write(project, "outputs/ignored.txt", "x")
    write(project, ".amlignore", "outputs\n")
    first = create_snapshot(project, context)
    same(restore(first), {".amlignore": "outputs\n", "train.py": "print(1)", "sub/data.txt": "data"})
    same(create_snapshot(project, context), first)  # unchanged: no upload
    write(project, "train.py", "print(2)")
    os.remove(os.path.join(project, "sub", "data.txt"))
    second = create_snapshot(project, context)
    same(restore(second), {".amlignore": "outputs\n", "train.py": "print(2)"})
    same(restore(first)["train.py"], "print(1)")

    # Without its cache the SDK asks for the latest, and finds its project unchanged.
    cache = ContentSnapshotCache(context)
    cache.remove_latest()
    same(create_snapshot(project, context), second)
    # A cache that tells of an unknown parent is dropped, and all is sent anew.
    root, _ = cache.get_latest_snapshot()
    with open(os.path.join(project, "new.txt"), "w") as f:
        f.write("new")
    cache.update_cache(SnapshotDto('{"name":"","type":"Directory","hash":"x","timestamp":"","children":[]}',
                                   "99999999-9999-9999-9999-999999999999"))
    same(restore(create_snapshot(project, context))["new.txt"], "new")

    big = tempfile.mkdtemp()
    for i in range(1100):
        write(big, "f{}.txt".format(i), str(i))
    files = restore(create_snapshot(big, context))
    same(len(files), 1100)
    same(files["f1099.txt"], "1099")

    raises(Exception, "not found", RestoreSnapshot(context).restore_snapshot,
           "99999999-9999-9999-9999-999999999999", None)
    os.symlink("/etc/hostname", os.path.join(project, "link"))
    create_snapshot(project, context)  # the SDK follows links, a link's target is a file


def put(container, path, text):
    url = "{}/artifact/v1.0{}/artifacts/content/ExperimentRun/{}/{}".format(
        os.environ["AZUREML_SERVICE_ENDPOINT"], context.get_workspace_uri_path(), container, path)
    requests.post(url, data=text, headers=auth.get_authentication_header()).raise_for_status()


def artifacts():
    client = ArtifactsClient.create(ws)
    res = client.create_empty_artifacts("ExperimentRun", "run1", ["./outputs/m.txt", "never.txt"])
    same(res.artifacts["./outputs/m.txt"].artifact_id, "ExperimentRun/run1/outputs/m.txt")
    if "sp=rcw" not in res.artifact_content_information["./outputs/m.txt"].content_uri:
        raise AssertionError(res.artifact_content_information)
    same(list(client.get_file_paths("ExperimentRun", "run1")), [])
    put("run1", "outputs/m.txt", "weights")
    put("run1", "outputs/sub/n.txt", "more")
    same(list(client.get_file_paths("ExperimentRun", "run1")), ["outputs/m.txt", "outputs/sub/n.txt"])
    target = os.path.join(tempfile.mkdtemp(), "m.txt")
    client.download_artifact("ExperimentRun", "run1", "outputs/m.txt", target)
    with open(target) as f:
        same(f.read(), "weights")
    raises(UserErrorException, "available files include: outputs/m.txt,outputs/sub/n.txt",
           client.download_artifact, "ExperimentRun", "run1", "never.txt", target)
    same([p for p, _ in client.get_files_by_artifact_prefix_id("ExperimentRun/run1/outputs/sub")], ["outputs/sub/n.txt"])
    client.upload_artifact_content("ExperimentRun", "run1", "logs/a.log", content="one", index=0, append=True)
    client.upload_artifact_content("ExperimentRun", "run1", "logs/a.log", content="one", index=0, append=True)
    same(client.peek_artifact_content(client.get_file_uri("ExperimentRun", "run1", "logs/a.log")).count("one"), 1)
    raises(AzureMLException, "'../x' is not valid", client.create_empty_artifacts, "ExperimentRun", "run1", ["../x"])


def models():
    client = AssetsClient.create(ws)
    prefix = [{"prefix": "ExperimentRun/run1/outputs"}]
    raises(Exception, "ArtifactNotFound", client.create_asset, "m", [{"prefix": "ExperimentRun/run1/none"}], None)
    asset = client.create_asset("m", prefix, None, run_id="run1").json()["id"]
    same(client.get_asset_id("run1", "m"), asset)
    raises(Exception, "AssetNotFound", Model._register_with_asset, ws, "m", "none")
    for version in (1, 2, 3):
        same(Model._register_with_asset(ws, "m", asset, {"area": "x", "n": version}, {"p": "q"}, "text").version, version)
    newest = Model(ws, "m")
    same((newest.id, newest.tags, newest.properties, newest.description), ("m:3", {"area": "x", "n": "3"}, {"p": "q"}, "text"))
    same(Model(ws, "m", version=2).id, "m:2")
    same(Model(ws, id="m:1").version, 1)
    same(Model(ws, "m", tags=[["n", "1"], "area"]).id, "m:1")
    same(sorted(m.id for m in Model.list(ws, name="m", tags=["area"], properties=[["p", "q"]])), ["m:1", "m:2", "m:3"])
    same(Model.list(ws, tags=["none"]), [])
    newest.add_tags({"more": "1"})
    newest.remove_tags(["area"])
    newest.add_properties({"p2": "r"})
    again = Model(ws, id="m:3")
    same((again.tags, again.properties), ({"n": "3", "more": "1"}, {"p": "q", "p2": "r"}))
    newest.update({"only": "this"})
    same(Model(ws, id="m:3").tags, {"only": "this"})
    folder = tempfile.mkdtemp()
    path = newest.download(target_dir=folder, exists_ok=True)
    with open(os.path.join(path, "m.txt")) as f:
        same(f.read(), "weights")
    newest.delete()
    same(Model(ws, "m").id, "m:2")
    raises(WebserviceException, "ModelNotFound", Model, ws, id="m:3")
    raises(WebserviceException, "ModelNotFound", Model, ws, "none")


def datastores():
    own = ws.get_default_datastore() if hasattr(ws, "get_default_datastore") else Datastore.get_default(ws)
    same((own.name, own.datastore_type, own.account_name), ("workspaceblobstore", "AzureBlob", "wsstorage"))
    same(Datastore(ws, "workspacefilestore").datastore_type, "AzureFile")
    args = dict(workspace=ws, datastore_name="mine", container_name="mine", account_name="wsstorage", account_key=own.account_key)
    raises(HttpOperationError, "createIfNotExists", Datastore.register_azure_blob_container, **args)
    mine = Datastore.register_azure_blob_container(create_if_not_exists=True, **args)
    same((mine.container_name, mine.account_key, mine.endpoint, mine.protocol), ("mine", own.account_key, "core.windows.net", "https"))
    raises(HttpOperationError, "already exists", Datastore.register_azure_blob_container, **args)
    args["account_key"], args["sas_token"] = None, "sv=1&sig=s"
    same(Datastore.register_azure_blob_container(overwrite=True, **args).sas_token, "sv=1&sig=s")
    lake = Datastore.register_azure_data_lake(ws, "lake", "store", "tenant", "client", "hush")
    same((lake.datastore_type, lake.client_secret), ("AzureDataLake", "hush"))
    Datastore.register_azure_file_share(ws, "share", "share", "wsstorage", account_key=own.account_key)
    from azureml.data.datastore_client import _DatastoreClient
    same(sorted(d.name for d in _DatastoreClient.list(ws)), ["lake", "mine", "share", "workspaceblobstore", "workspacefilestore"])
    mine.set_as_default()
    same(Datastore(ws).name, "mine")
    own.set_as_default()
    mine.unregister()
    raises(HttpOperationError, "not found", Datastore, ws, "mine")


def secrets():
    set_credentials(context, "box#user name#ab", "pass word")
    same(get_credentials(context, "box#user name#ab"), "pass word")
    raises(requests.HTTPError, "404", get_credentials, context, "none")


if __name__ == "__main__":
    for part in (snapshots, artifacts, models, datastores, secrets):
        part()
        print("ok", part.__name__)
        sys.stdout.flush()
