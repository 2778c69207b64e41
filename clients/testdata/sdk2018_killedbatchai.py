"""SDK 0.1.68: waits for two runs on a Batch AI cluster of one node, while the emulator is killed and comes back."""
import os
import sys
import tempfile
import threading
import time

from azureml.core import Experiment, ScriptRunConfig
from azureml.core.compute import BatchAiCompute, ComputeTarget
from azureml.core.runconfig import RunConfiguration

from msrest.exceptions import AuthenticationError, ClientRequestError
from requests.exceptions import RequestException

from check import project, workspace

traces = tempfile.mkdtemp()
ws = workspace("wskilled")
exp = Experiment(ws, "killed")
cluster = ComputeTarget.create(ws, "one", BatchAiCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", autoscale_enabled=True, cluster_min_nodes=1,
                                                                                    cluster_max_nodes=1))
cluster.wait_for_completion()
folder = project(tempfile.mkdtemp(), {"train.py": """
import os, sys, time
with open(sys.argv[1], "a") as f:
    f.write("begun\\n")
    f.flush()
    time.sleep(float(sys.argv[2]))
    f.write("done\\n")
"""})


def submit(name, seconds):
    c = RunConfiguration(framework="python")
    c.target = cluster.name
    c.environment.docker.enabled = False
    c.environment.python.user_managed_dependencies = True
    c.environment.python.interpreter_path = sys.executable
    return exp.submit(ScriptRunConfig(folder, "train.py", arguments=[os.path.join(traces, name), seconds], run_config=c))


def wait(run):
    """As its user does: the SDK itself gives up where nobody listens, at its token request, and is asked to wait again."""
    interrupted = 0
    while True:
        try:
            run.wait_for_completion(show_output=True)
            return interrupted
        except (AuthenticationError, ClientRequestError, RequestException) as e:
            interrupted += 1
            assert interrupted < 200, e
            time.sleep(0.1)


first = submit("first", 600)
while not os.path.exists(os.path.join(traces, "first")):
    time.sleep(0.1)
second = submit("second", 1)
while second.get_status() != "Queued":
    time.sleep(0.1)
threading.Timer(3, lambda: print("\nrunning", flush=True)).start()  # in the middle of the wait
wait(first)
details = first.get_details()
assert details["status"] == "Failed", details
assert "The emulator ended while the job ran" in details["error"]["error"]["message"], details
wait(second)
assert second.get_status() == "Completed", second.get_details_with_logs()
for name, want in (("first", "begun\n"), ("second", "begun\ndone\n")):
    with open(os.path.join(traces, name)) as f:
        assert f.read() == want, name
assert [r.id for r in exp.get_runs()] == [second.id, first.id]
print("ok")
