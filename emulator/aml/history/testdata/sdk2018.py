"""Drives run history with the unmodified SDK 0.1.68, as a submitted script does, and prints what it read."""
import json
import sys

from azureml.core import Experiment, Run
from azureml.core.authentication import AzureMlTokenAuthentication
from azureml.core.workspace import Workspace

user_token, many = sys.argv[1], int(sys.argv[2])
run = Run.get_context()
out = {"id": run.id, "number": run.number, "status": run.get_status()}

run.log("acc", 0.9)
run.log("loss", 3.5)
run.log("loss", 2.5)
run.log("nan", float("nan"))
run.log("inf", float("-inf"))
run.log("big", 2 ** 62)
run.log("text", "h\u00e9llo")
run.log_list("l", [1, 2, 3])
run.log_row("r", x=1, y=2.0)
run.log_row("r", x=2, y=3.5)
run.log_table("t", {"a": [1, 2], "b": [3, 4]})
for i in range(many):
    run.log("many", i)
run.tag("k", "v")
run.tag("worked")
run.add_properties({"p": "q"})
run._heartbeat()
out["tags"], out["properties"] = run.get_tags(), run.get_properties()

metrics = run.get_metrics()
out["many"] = metrics.pop("many") == list(range(many))
out["nan"] = repr(metrics.pop("nan"))
out["inf"] = repr(metrics.pop("inf"))
out["metrics"] = metrics

for n in range(3):
    child = run.child_run(name="c%d" % n)
    child.log("z", n)
    if n == 0:
        grandchild = child.child_run(name="g")
        grandchild.log("z", 10)
        grandchild.complete()
    if n == 1:
        child.fail()
    else:
        child.complete()
out["children"] = [[c._run_dto["name"], c.get_status()] for c in run.get_children()]
out["descendants"] = len(list(run.get_children(recursive=True)))
out["recursive"] = sorted(m["z"] for m in run.get_metrics(recursive=True).values() if "z" in m)

# As a user outside of the run.
workspace = Workspace(run.experiment.workspace.subscription_id, run.experiment.workspace.resource_group,
                      run.experiment.workspace.name, auth=AzureMlTokenAuthentication(user_token),
                      _location="local", _disable_service_check=True)
experiment = Experiment(workspace, "inter-active")
with experiment.start_logging() as inter:
    inter.log("m", 1)
    inter_id = inter.id
try:
    with experiment.start_logging() as broken:
        broken_id = broken.id
        raise ValueError("on purpose")
except ValueError:
    pass
for n in range(105):
    Run._create(experiment, name="bulk%d" % n)
out["interactive"] = Run(experiment, inter_id).get_status()
out["broken"] = Run(experiment, broken_id).get_status()
runs = list(experiment.get_runs())
out["runs"] = [len(runs), len({r.id for r in runs})]
outside = Run(Experiment(workspace, run.experiment.name), run.id)
details = outside.get_details()
out["details"] = {k: details.get(k) for k in ("runId", "status", "target", "logFiles", "runDefinition")}
out["tagged"] = [r.id for r in outside.experiment.get_runs(tags="worked")]
out["events"] = [e.name.split(".")[-1] for e in outside._client._client.get_events(run.id)]
out["experiments"] = sorted(e.name for e in outside._client._client.list_experiments())
server = outside._client._client
out["filtered"] = [
    [d.run_id for d in server.get_runs(_filter_on_server=True, **f)]
    for f in ({"tags": {"k": "v"}}, {"tags": u"worked"}, {"properties": {"p": "q"}}, {"runtype": u"azureml.scriptrun"})]
try:
    run.experiment.start_logging()
except Exception as e:
    out["forbidden"] = "not authorized" in str(e)
print("RESULT " + json.dumps(out))
