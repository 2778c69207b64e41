import json
import os
import subprocess
import sys
import tempfile
import time

import requests
from azureml.core import Experiment, ScriptRunConfig, Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
from azureml.core.runconfig import RunConfiguration

env = os.environ
auth = ServicePrincipalAuthentication(env["AZURE_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"])
ws = Workspace.create(name="bench", auth=auth, subscription_id=env["AZURE_SUBSCRIPTION_ID"], resource_group="bench", location="eastus2", exist_ok=True)
folder = tempfile.mkdtemp()
script = os.path.join(folder, "empty.py")
open(script, "w").close()
config = RunConfiguration()
config.environment.python.user_managed_dependencies = True
config.environment.python.interpreter_path = sys.executable
experiment = Experiment(ws, "bench")


def submit():
    begun = time.time()
    run = experiment.submit(ScriptRunConfig(folder, "empty.py", run_config=config))
    run.wait_for_completion(show_output=False)
    assert run.get_status() == "Completed", run.get_details_with_logs()
    return time.time() - begun


def direct():
    begun = time.time()
    subprocess.check_call([sys.executable, script])
    return time.time() - begun


submits, directs = sorted(submit() for _ in range(5)), sorted(direct() for _ in range(5))
with experiment.start_logging() as run:
    begun = time.time()
    for i in range(1000):
        run.log("x", i)
    logs = time.time() - begun
session = requests.Session()
body = json.dumps({"runId": "r", "metricId": "m", "metricType": "azureml.v1.scalar", "name": "x", "cells": [{"x": 1}]})
begun = time.time()
for i in range(1000):
    session.post(sys.argv[1], data=body, verify=False)
posts = time.time() - begun
print(json.dumps({"Submit": submits[2], "Direct": directs[2], "Logs": logs, "Posts": posts}))
