"""SDK 0.1.68: a registered model becomes an image and a web service that answers."""
import contextlib
import io
import json
import os
import tempfile
import urllib.request

import requests
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.image import ContainerImage, Image
from azureml.core.model import Model
from azureml.core.webservice import AciWebservice, Webservice

from azureml.exceptions import WebserviceException

from check import raises, workspace

SCORE = """
import json
from azureml.core.model import Model

def init():
    global factor
    with open(Model.get_model_path('factor')) as f:
        factor = float(f.read())
    print('the factor is', factor)

def run(raw):
    numbers = json.loads(raw)['data']
    return json.dumps({'result': [factor * n for n in numbers]})
"""

ws = workspace("wsdeploy")
os.chdir(tempfile.mkdtemp())


def write(name, text):
    with open(name, "w") as f:
        f.write(text)


write("factor.txt", "3")
write("score.py", SCORE)
write("env.yml", CondaDependencies.create(pip_packages=["six"]).serialize_to_string())
write("requirements-free.yml", "name: e\ndependencies:\n- python=3.6.2\n- pip:\n  - six\n")
model = Model.register(ws, model_path="factor.txt", model_name="factor", tags={"area": "test"})
assert model.version == 1

# -- an image ----------------------------------------------------------------
config = ContainerImage.image_configuration(execution_script="score.py", runtime="python", conda_file="requirements-free.yml",
                                            tags={"kind": "image"}, description="multiplies")
image = ContainerImage.create(ws, "multiply", [model], config)
image.wait_for_creation(show_output=True)
log = urllib.request.urlopen(image.image_build_log_uri).read().decode()
assert image.creation_state == "Succeeded", log
assert "The environment" in log and "is built" in log, log
assert "sig=" not in log
assert image.version == 1 and image.id == "multiply:1" and image.tags == {"kind": "image"} and image.models[0].id == model.id
assert [i.id for i in Image.list(ws)] == ["multiply:1"] == [i.id for i in Image.list(ws, model_name="factor")]
assert Image.list(ws, model_name="other") == []
image.add_tags({"more": "1"})
assert Image(ws, id="multiply:1").tags == {"kind": "image", "more": "1"}

# -- a service of it -----------------------------------------------------------
deployment = AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, tags={"a": "b"}, description="a service", auth_enabled=True)
service = Webservice.deploy_from_image(ws, "multiply-svc", image, deployment)
service.wait_for_deployment(show_output=True)
assert service.state == "Healthy", (service.error, service.get_logs())
# An object that waited does not look its swagger_uri up again.
service = Webservice(ws, name="multiply-svc")
assert service.scoring_uri.endswith(":80/score") and service.swagger_uri.endswith("/swagger.json"), service.scoring_uri
body = json.dumps({"data": [1, 2.5]})
assert json.loads(service.run(body)) == {"result": [3.0, 7.5]}
primary, secondary = service.get_keys()
post = lambda key, data=body: requests.post(service.scoring_uri, data, headers={"Content-Type": "application/json", "Authorization": "Bearer " + key})
assert post(secondary).status_code == 200
assert post("wrong").status_code == 401 == requests.post(service.scoring_uri, body).status_code
broken = post(primary, "{}")
assert broken.status_code == 502 and broken.headers["x-ms-run-function-failed"] == "True" and "data" in broken.text, broken.text
raises(WebserviceException, "Response Code: 502", service.run, "{}")
swagger = requests.get(service.swagger_uri).json()
assert "/score" in swagger["paths"], swagger
large = json.dumps({"data": [1], "more": "x" * (50 << 20)})
assert post(primary, large).status_code == 200
assert post(primary, "x" * (101 << 20)).status_code == 413
logs = service.get_logs()
assert "the factor is 3.0" in logs and "KeyError: 'data'" in logs, logs
assert primary not in logs and "sig=" not in logs
assert len(service.get_logs(2).splitlines()) <= 2
service.regen_key("Primary")
assert service.get_keys()[0] != primary and service.get_keys()[1] == secondary
assert post(primary).status_code == 401 and post(secondary).status_code == 200
assert [s.name for s in Webservice.list(ws)] == ["multiply-svc"] == [s.name for s in Webservice.list(ws, compute_type="ACI", image_name="multiply")]
raises(WebserviceException, "already a service", Webservice.deploy_from_model, ws, "multiply-svc", [model], config)

# -- updates -------------------------------------------------------------------
service.update(tags={"x": "y"}, description="other words")
assert service.tags == {"x": "y"} and service.state == "Healthy" and service.description == "other words"
service.update(auth_enabled=False)
service.wait_for_deployment()
assert service.state == "Healthy" and requests.post(service.scoring_uri, body).status_code == 200
write("factor.txt", "-1")
newer = Model.register(ws, model_path="factor.txt", model_name="factor")
second = ContainerImage.create(ws, "multiply", [newer], config)
second.wait_for_creation()
assert second.id == "multiply:2"
service.update(image=second)
service.wait_for_deployment()
assert service.state == "Healthy" and service.image_id == "multiply:2"
assert json.loads(service.run(body)) == {"result": [-1.0, -2.5]}
raises(WebserviceException, "Response Code: 409", second.delete)
image.delete()
raises(WebserviceException, "ImageNotFound", Image, ws, id="multiply:1")

# -- from the model, with azureml-core in the environment ----------------------
direct = Webservice.deploy_from_model(ws, "direct", [model], ContainerImage.image_configuration(
    execution_script="score.py", runtime="python", conda_file="env.yml"), AciWebservice.deploy_configuration())
direct.wait_for_deployment(show_output=True)
assert direct.state == "Healthy", (direct.error, direct.get_logs())
assert json.loads(direct.run(body)) == {"result": [3.0, 7.5]}
assert direct.container_resource_requirements.cpu == 0.1 and direct.image.id == "direct:1"

# -- what fails ----------------------------------------------------------------
write("bad.py", "def init():\n    raise ValueError('broken on purpose')\ndef run(raw):\n    return raw\n")
bad = Webservice.deploy_from_model(ws, "bad", [], ContainerImage.image_configuration(
    execution_script="bad.py", runtime="python", conda_file="requirements-free.yml"))
said = io.StringIO()
with contextlib.redirect_stdout(said):
    bad.wait_for_deployment()
assert 'operation "Failed"' in said.getvalue() and "crashed" in said.getvalue(), said.getvalue()
assert bad.state == "Failed" and bad.scoring_uri is None and bad.error["code"] == "AciDeploymentFailed"
assert "ValueError: broken on purpose" in bad.get_logs(), bad.get_logs()
write("no.yml", "name: e\ndependencies:\n- pip:\n  - a-package-that-there-is-not==1\n")
failed = ContainerImage.create(ws, "fails", [], ContainerImage.image_configuration(execution_script="bad.py", runtime="python", conda_file="no.yml"))
failed.wait_for_creation()
assert failed.creation_state == "Failed"
assert "a-package-that-there-is-not" in urllib.request.urlopen(failed.image_build_log_uri).read().decode()
raises(WebserviceException, "NotSupported", ContainerImage.create, ws, "spark", [], ContainerImage.image_configuration(execution_script="score.py", runtime="spark-py"))

for s in (service, direct, bad):
    s.delete()
assert Webservice.list(ws) == []
raises(WebserviceException, "WebserviceNotFound", Webservice, ws, "direct")
second.delete()
print("ok")
