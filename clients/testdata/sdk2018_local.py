"""SDK 0.1.68: runs on this machine, from submit to a registered model."""
import contextlib
import io
import os
import sys
import tempfile
import time

from azureml.core import Experiment, Run, ScriptRunConfig
from azureml.core.model import Model
from azureml.core.runconfig import RunConfiguration

from check import project, raises, workspace

TRAIN = """
import os, sys
from azureml.core.run import Run
run = Run.get_submitted_run()
assert run.id == os.environ['AZUREML_RUN_ID']
print('arguments', sys.argv[1:])
print('env', os.environ['MY_VARIABLE'])
run.log('acc', 0.9)
for i in range(3):
    run.log('loss', 1.0 / (i + 1))
run.log_list('list', [1, 2, 3])
run.log_row('row', x=1, y=2.0)
run.log_row('row', x=2, y=3.0)
run.log_table('table', {'a': [1, 2], 'b': ['x', 'y']})
run.log('text', 'hello')
run.tag('stage', 'one')
with run.child_run() as child:
    child.log('inner', 7)
os.makedirs('outputs/deep', exist_ok=True)
open('outputs/model.txt', 'w').write('the model')
open('outputs/deep/more.txt', 'w').write('more')
open('extra.txt', 'w').write('extra')
run.upload_file('extra.txt', 'extra.txt')
print('end of script')
"""

ws = workspace("wslocal")
exp = Experiment(ws, "local")


def config():
    c = RunConfiguration()
    c.environment.python.user_managed_dependencies = True
    c.environment.python.interpreter_path = sys.executable
    c.environment.environment_variables = {"MY_VARIABLE": "a 'quoted' value"}
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
    run.wait_for_completion(show_output=True)
text = out.getvalue()
assert run.get_status() == "Completed", (run.get_details(), text)
assert "['--alpha', '0.5', 'two words', 'ünï \\'q\\' \"d\" $HOME']" in text, text
assert "env a 'quoted' value" in text and "end of script" in text, text
assert "Streaming azureml-logs/80_driver_log.txt" in text, text
m = run.get_metrics()
assert m["acc"] == 0.9 and m["loss"] == [1.0, 0.5, 1.0 / 3] and m["list"] == [1, 2, 3], m
assert m["row"] == {"x": [1, 2], "y": [2.0, 3.0]} and m["table"] == {"a": [1, 2], "b": ["x", "y"]} and m["text"] == "hello", m
children = list(run.get_children())
assert len(children) == 1 and children[0].get_metrics() == {"inner": 7}, children
assert "inner" in str(run.get_metrics(recursive=True))
tags = run.get_tags()
assert tags["stage"] == "one" and tags["from"] == "submit", tags
details = run.get_details()
assert details["target"] == "local" and details["startTimeUtc"] and details["endTimeUtc"], details
assert details["properties"]["ContentSnapshotId"], details
names = run.get_file_names()
for want in ("outputs/model.txt", "outputs/deep/more.txt", "extra.txt", "azureml-logs/80_driver_log.txt", "azureml-logs/60_control_log.txt"):
    assert want in names, (want, names)
target = os.path.join(tempfile.mkdtemp(), "m.txt")
run.download_file("outputs/model.txt", target)
assert open(target).read() == "the model"
raises(Exception, "nothing.txt", run.download_file, "nothing.txt", target)
model = run.register_model("local-model", model_path="outputs/model.txt")
second = run.register_model("local-model", model_path="./outputs")
assert (model.version, second.version) == (1, 2), (model.version, second.version)
got = Model(ws, "local-model", version=1)
path = got.download(target_dir=tempfile.mkdtemp())
assert open(path).read() == "the model", path
uploaded = Model.register(ws, model_path=target, model_name="uploaded", tags={"a": "b"}, description="from disk")
assert [x.name for x in Model.list(ws, name="uploaded")] == ["uploaded"]
uploaded.delete()
assert Model.list(ws, name="uploaded") == []

# The same run, found again.
assert [r.id for r in exp.get_runs() if r.id != children[0].id][0] == run.id
assert Run(exp, run.id).get_status() == "Completed"

for script, words in (("three.py", "3"), ("raises.py", "broken on purpose"), ("killed.py", "9")):
    failed = submit(script)
    failed.wait_for_completion(show_output=False)
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
looping.wait_for_completion(show_output=False)
assert looping.get_status() == "Canceled", looping.get_status()
deadline = time.time() + 30
while os.popen("pgrep -f '%s[^ ]*/loop.py\\|%s.*loop' || true" % (run_dir, looping.id)).read():
    assert time.time() < deadline, "the cancelled script is still running"
    time.sleep(0.2)

# An interactive run.
with exp.start_logging() as live:
    live.log("x", 1)
    fig = os.path.join(tempfile.mkdtemp(), "p.png")
    with open(fig, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
    live.log_image("image", path=fig)
    live.upload_file("outputs/p.png", fig)
assert live.get_status() == "Completed", live.get_status()
assert live.get_metrics()["x"] == 1
print("ok")
