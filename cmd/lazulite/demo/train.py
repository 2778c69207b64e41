"""The training script of the demo: gradient descent on a line, in plain Python.

It knows nothing of where it runs. With the azureml SDK in its environment it
logs to run history; without it, it only prints.
"""
import argparse
import json
import os
import platform
import random

try:
    from azureml.core import Run
    run = Run.get_submitted_run() if hasattr(Run, "get_submitted_run") else Run.get_context()
except Exception as e:  # the SDK is not installed here, or this is no run
    print("no run history:", e)
    run = None


def log(name, value):
    print("%s = %s" % (name, value))
    if run is not None:
        run.log(name, value)


parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=20)
args = parser.parse_args()

random.seed(2018)
xs = [random.uniform(-1, 1) for _ in range(200)]
ys = [3.0 * x + 0.5 + random.gauss(0, 0.05) for x in xs]

slope = intercept = 0.0
for epoch in range(args.epochs):
    errors = [slope * x + intercept - y for x, y in zip(xs, ys)]
    slope -= args.rate * 2 * sum(e * x for e, x in zip(errors, xs)) / len(xs)
    intercept -= args.rate * 2 * sum(errors) / len(xs)
    mse = sum(e * e for e in errors) / len(errors)
    if epoch % 5 == 4:
        log("mse", mse)

log("slope", slope)
log("intercept", intercept)
print("ran on", platform.node(), "in Python", platform.python_version())
if not os.path.isdir("outputs"):
    os.makedirs("outputs")
with open(os.path.join("outputs", "model.json"), "w") as f:
    json.dump({"slope": slope, "intercept": intercept}, f)
