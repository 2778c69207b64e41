"""A training script that needs nothing but Python 3, and notes on disk what
was acknowledged to it.

    train.py --mark FILE --acked FILE --count N --pause S --exit CODE

It appends its run's id to --mark when it starts, logs N metrics by the
environment that the SDK would read, and appends the number of each to --acked
once the service has answered 200. Where the service is away it goes on trying.
"""
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
import uuid


def arg(name, default=""):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def note(path, text):
    if path:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, (text + "\n").encode())
        os.close(handle)


def log(name, value):
    e = os.environ
    run = e["AZUREML_RUN_ID"]
    url = "%s/history/v1.0%s/runs/%s/metrics" % (e["AZUREML_SERVICE_ENDPOINT"].rstrip("/"), e["AZUREML_EXPERIMENT_SCOPE"], run)
    now = time.time()
    body = {"runId": run, "metricId": str(uuid.uuid4()), "metricType": "azureml.v1.scalar", "name": name, "numCells": 1,
            "createdUtc": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now)), "description": "", "cells": [{name: value}],
            "schema": {"numProperties": 1, "properties": [{"propertyId": name, "name": name, "type": "int"}]}}
    context = ssl.create_default_context(cafile=e["SSL_CERT_FILE"])
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), {
            "Content-Type": "application/json", "Authorization": "Bearer " + e["AZUREML_RUN_TOKEN"]})
        try:
            urllib.request.urlopen(request, context=context, timeout=20).read()
            return
        except urllib.error.HTTPError as error:
            sys.exit("HTTP %d: %s" % (error.code, error.read().decode()))
        except Exception as error:
            print("again:", error, flush=True)
            if time.time() - now > 90:
                raise
            time.sleep(0.1)


note(arg("--mark"), os.environ["AZUREML_RUN_ID"])
print("began", os.getpid(), flush=True)
os.makedirs("outputs", exist_ok=True)
with open("outputs/model.txt", "w") as f:
    f.write("weights of " + os.environ["AZUREML_RUN_ID"])
for i in range(int(arg("--count", "3"))):
    log("n", i)
    note(arg("--acked"), str(i))
    time.sleep(float(arg("--pause", "0")))
print("ended", flush=True)
sys.exit(int(arg("--exit", "0")))
