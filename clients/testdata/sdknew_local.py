"""The last SDK v1: runs on this machine, from submit to a registered model."""
import contextlib
import io
import os
import sys
import tempfile
import time

from azureml.core import Environment, Experiment, Run, ScriptRunConfig
from azureml.core.model import Model
from azureml.core.runconfig import DockerConfiguration, RunConfiguration

from check import project, raises, workspace

PNG = (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89"
       b"\0\0\0\nIDATx\x9cc\0\1\0\0\5\0\1\r\n-\xb4\0\0\0\0IEND\xaeB`\x82")
TRAIN = """
import os, sys
from azureml.core import Run
run = Run.get_context()
assert run.id == os.environ['AZUREML_RUN_ID'], run.id
assert run.experiment.workspace.name == 'wslocal'
print('arguments', sys.argv[1:])
print('env', os.environ['MY_VARIABLE'])
run.log('acc', 0.9)
for i in range(3):
    run.log('loss', 1.0 / (i + 1), step=i)
run.log('nan', float('nan'))
run.log('flag', True)
run.log_list('list', [1, 2, 3])
run.log_row('row', x=1, y=2.0)
run.log_row('row', x=2, y=3.0)
run.log_table('table', {'a': [1, 2], 'b': ['x', 'y']})
run.log('text', 'hello')
with open('p.png', 'wb') as f:
    f.write(%r)
run.log_image('image', path='p.png')
run.log_confusion_matrix('matrix', {'schema_type': 'confusion_matrix', 'schema_version': '1.0.0',
                                    'data': {'class_labels': ['0', '1'], 'matrix': [[1, 2], [3, 4]]}})
run.tag('stage', 'one')
run.add_properties({'author': 'the script'})
with run.child_run('kid') as child:
    child.log('inner', 7)
for kid in run.create_children(count=2):
    kid.log('inner', 8)
    kid.complete()
os.makedirs('outputs/deep', exist_ok=True)
open('outputs/model.txt', 'w').write('the model')
open('outputs/deep/more.txt', 'w').write('more')
open('extra.txt', 'w').write('extra')
run.upload_file('extra.txt', 'extra.txt')
run.upload_folder('folder', 'outputs')
run.flush()
assert run.get_metrics()['acc'] == 0.9
print('end of script')
""" % PNG

ws = workspace("wslocal")
exp = Experiment(ws, "local")


def config():
    c = RunConfiguration()
    c.environment.python.user_managed_dependencies = True
    c.environment.python.interpreter_path = sys.executable
    c.environment_variables = {"MY_VARIABLE": "a 'quoted' value"}
    return c


folder = project(tempfile.mkdtemp(), {
    "train.py": TRAIN,
    "three.py": "import sys; print('going'); sys.exit(3)",
    "raises.py": "raise ValueError('broken on purpose')",
    "loop.py": "import time\nopen('started', 'w').close()\nwhile True:\n    time.sleep(0.1)",
    "killed.py": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
})


def submit(script, *arguments, **kwargs):
    return exp.submit(ScriptRunConfig(source_directory=folder, script=script, arguments=list(arguments), run_config=config()), **kwargs)


run = submit("train.py", "--alpha", 0.5, "two words", "ünï 'q' \"d\" $HOME", tags={"from": "submit"})
out = io.StringIO()
with contextlib.redirect_stdout(out):
    run.wait_for_completion(show_output=True, raise_on_error=False)
text = out.getvalue()
assert run.get_status() == "Completed", (run.get_details(), text, run.get_all_logs())
assert "['--alpha', '0.5', 'two words', 'ünï \\'q\\' \"d\" $HOME']" in text, text
assert "env a 'quoted' value" in text and "end of script" in text, text
m = run.get_metrics()
assert m["acc"] == 0.9 and m["loss"] == [1.0, 0.5, 1.0 / 3] and m["list"] == [1, 2, 3], m
assert m["nan"] != m["nan"] and m["flag"] is True, m
assert m["row"] == {"x": [1, 2], "y": [2.0, 3.0]} and m["table"] == {"a": [1, 2], "b": ["x", "y"]} and m["text"] == "hello", m
assert m["image"] == "aml://artifactId/ExperimentRun/dcid.%s/p.png" % run.id, m
assert b"class_labels" in run.get_metrics(name="matrix", populate=True)["matrix"].data
assert run.get_metrics(name="acc") == {"acc": 0.9} and run.get_metrics(name="none") == {}
children = list(run.get_children())
assert len(children) == 3 and sorted(c.get_metrics()["inner"] for c in children) == [7, 8, 8], children
assert {c.get_status() for c in children} == {"Completed"}
assert "inner" in str(run.get_metrics(recursive=True))
tags = run.get_tags()
assert tags["stage"] == "one" and tags["from"] == "submit", tags
run.tag("later", "x")
run.remove_tags(["later"])
assert "later" not in run.get_tags()
assert run.get_properties()["author"] == "the script"
run.display_name = "A name"
run.description = "words"
found = Run.get(ws, run.id)
assert (found.display_name, found.description, found.experiment.name) == ("A name", "words", "local")
details = run.get_details()
assert details["target"] == "local" and details["startTimeUtc"] and details["endTimeUtc"], details
assert details["properties"]["ContentSnapshotId"], details
names = run.get_file_names()
for want in ("outputs/model.txt", "outputs/deep/more.txt", "extra.txt", "p.png", "folder/model.txt",
             "azureml-logs/80_driver_log.txt", "azureml-logs/60_control_log.txt"):
    assert want in names, (want, names)
target = os.path.join(tempfile.mkdtemp(), "m.txt")
run.download_file("outputs/model.txt", target)
assert open(target).read() == "the model"
folder_out = tempfile.mkdtemp()
run.download_files(prefix="outputs", output_directory=folder_out)
assert open(os.path.join(folder_out, "outputs", "deep", "more.txt")).read() == "more"
raises(Exception, "nothing.txt", run.download_file, "nothing.txt", target)
restored = run.restore_snapshot(path=tempfile.mkdtemp())
assert os.path.getsize(restored) > 0

model = run.register_model("local-model", model_path="outputs/model.txt", tags={"k": "v"}, model_framework="Custom", model_framework_version="1")
second = run.register_model("local-model", model_path="outputs")
assert (model.version, second.version) == (1, 2), (model.version, second.version)
got = Model(ws, "local-model", version=1)
assert (got.run_id, got.experiment_name, got.model_framework, got.tags) == (run.id, "local", "Custom", {"k": "v"}), got.serialize()
path = got.download(target_dir=tempfile.mkdtemp())
assert open(path).read() == "the model", path
assert sorted(os.listdir(second.download(target_dir=tempfile.mkdtemp()))) == ["deep", "model.txt"]
got.add_tags({"more": "tags"})
got.update(description="better")
assert Model(ws, id="local-model:1").tags == {"k": "v", "more": "tags"} and Model(ws, id="local-model:1").description == "better"
assert [x.version for x in Model.list(ws, name="local-model", latest=True)] == [2]
assert [x.version for x in Model.list(ws, run_id=run.id)] == [2, 1]
os.chdir(os.path.dirname(target))
uploaded = Model.register(ws, model_path="m.txt", model_name="uploaded", tags={"a": "b"}, description="from disk")
assert [x.name for x in Model.list(ws, name="uploaded")] == ["uploaded"]
assert open(uploaded.download(target_dir=tempfile.mkdtemp())).read() == "the model"
uploaded.delete()
assert Model.list(ws, name="uploaded") == []
raises(Exception, "ModelNotFound", Model, ws, "no-such-model")
assert set(ws.models) == {"local-model"} and set(ws.experiments) == {"local"}

# An unchanged project makes no new snapshot; a changed one sends what changed.
assert submit("three.py").get_details()["properties"]["ContentSnapshotId"] == details["properties"]["ContentSnapshotId"]
project(folder, {"deep/new.py": "print('new')"})
changed = submit("deep/new.py")
changed.wait_for_completion()
assert changed.get_details()["properties"]["ContentSnapshotId"] != details["properties"]["ContentSnapshotId"]

# The same run, found again.
assert run.id in [r.id for r in exp.get_runs(tags={"stage": "one"})]
assert run.id in [r.id for r in exp.get_runs(include_children=True)]
assert Run(exp, run.id).get_status() == "Completed"
assert [r.id for r in Run.list(exp, tags="stage")] == [run.id]

for script, words in (("three.py", "3"), ("raises.py", "broken on purpose"), ("killed.py", "9")):
    failed = submit(script)
    raises(Exception, words, failed.wait_for_completion, show_output=False)
    assert failed.get_status() == "Failed", (script, failed.get_status())
    assert words in str(failed.get_details_with_logs()), (script, failed.get_details_with_logs())

looping = submit("loop.py")
run_dir = os.path.join(tempfile.gettempdir(), "azureml_runs", looping.id)
deadline = time.time() + 60
while not os.path.exists(os.path.join(run_dir, "started")):
    assert time.time() < deadline, looping.get_details_with_logs()
    time.sleep(0.1)
assert looping.get_status() == "Running", looping.get_status()
looping.cancel()
looping.wait_for_completion(show_output=False, raise_on_error=False)
assert looping.get_status() == "Canceled", looping.get_status()
deadline = time.time() + 30
while os.popen("pgrep -f '%s[^ ]*/loop.py\\|%s.*loop' || true" % (run_dir, looping.id)).read():
    assert time.time() < deadline, "the cancelled script is still running"
    time.sleep(0.2)

# A command in the place of a script.
command = exp.submit(ScriptRunConfig(source_directory=folder, command=["echo", "said $MY_VARIABLE;", "mkdir -p outputs && echo 1 > outputs/c.txt"], environment=None,
                                     run_config=config()))
command.wait_for_completion()
assert "said a 'quoted' value" in str(command.get_details_with_logs()), command.get_details_with_logs()
assert "outputs/c.txt" in command.get_file_names()

# What is not emulated is refused, and nothing hangs.
for change, words in ((lambda c: setattr(c, "node_count", 2), "nodes"), (lambda c: setattr(c, "communicator", "Mpi"), "MPI"),
                      (lambda c: setattr(c, "target", "nowhere"), "nowhere")):
    c = config()
    change(c)
    raises(Exception, words, exp.submit, ScriptRunConfig(folder, "three.py", run_config=c))
dockered = config()
dockered.docker = DockerConfiguration(use_docker=True)
dockered = exp.submit(ScriptRunConfig(folder, "three.py", run_config=dockered))
raises(Exception, "Docker", dockered.wait_for_completion)
raises(Exception, "No resource of the data plane", Environment("an-environment").register, ws)
raises(Exception, "No resource", lambda: ws.get_default_keyvault().set_secret("a", "b"))

# A child that is submitted from a parent.
with exp.start_logging() as parent:
    submitted = parent.submit_child(ScriptRunConfig(folder, "deep/new.py", run_config=config()))
    submitted.wait_for_completion()
assert [r.id for r in parent.get_children()] == [submitted.id]

# An interactive run.
with exp.start_logging(snapshot_directory=folder) as live:
    live.log("x", 1)
    fig = os.path.join(tempfile.mkdtemp(), "p.png")
    with open(fig, "wb") as f:
        f.write(PNG)
    live.log_image("image", path=fig)
    live.upload_file("outputs/p.png", fig)
    live.upload_files(["a", "b"], [fig, fig])
assert live.get_status() == "Completed", live.get_status()
assert live.get_metrics()["x"] == 1
assert {"a", "b", "outputs/p.png"} <= set(live.get_file_names()), live.get_file_names()
broken = exp.start_logging()
broken.fail(error_details="gave up", error_code="Tired")
assert broken.get_status() == "Failed" and "gave up" in str(broken.get_details()), broken.get_details()

exp.tag("owner", "me")
assert Experiment(ws, "local").tags == {"owner": "me"}
exp.archive()
assert "local" not in [e.name for e in Experiment.list(ws)]
exp.reactivate()
assert "local" in [e.name for e in Experiment.list(ws)]
print("ok")
