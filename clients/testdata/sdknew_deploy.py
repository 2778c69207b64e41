"""SDK 1.61: models deployed with an inference configuration, and what the SDK of 2018 made is read alike."""
import json
import os
import tempfile

import requests
from azureml.core import Environment, Model, Webservice
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.model import InferenceConfig
from azureml.core.webservice import AciWebservice
from azureml.exceptions import WebserviceException

from check import project, raises, workspace

SCORE = """
import json, os
def init():
    global factor
    with open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'factor.txt')) as f:
        factor = float(f.read())
    print('the factor is', factor, os.environ['MY_VARIABLE'])

def run(raw):
    return {'result': [factor * n for n in json.loads(raw)['data']]}
"""

ws = workspace("wsdeploynew")
folder = tempfile.mkdtemp()
project(folder, {"src/score.py": SCORE, "src/other.py": SCORE.replace("factor * n", "factor + n"), "factor.txt": "3",
                 "src/bad.py": "def init():\n    raise ValueError('broken on purpose')\ndef run(raw):\n    return raw\n"})
os.chdir(folder)
model = Model.register(ws, model_path="factor.txt", model_name="factor")

environment = Environment("scoring")
environment.python.conda_dependencies = CondaDependencies.create(pip_packages=["six"], pin_sdk_version=False)
# Its own packages alone: azureml-defaults is not needed for this script, and takes a minute to install.
for package in list(environment.python.conda_dependencies.pip_packages):
    if package.startswith("azureml"):
        environment.python.conda_dependencies.remove_pip_package(package)
environment.python.conda_dependencies.set_python_version("3.10")
environment.environment_variables = {"MY_VARIABLE": "a value"}


def config(script):
    return InferenceConfig(entry_script=script, source_directory="src", environment=environment)


deployment = AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, auth_enabled=True, primary_key="my-own-primary-key", tags={"a": "b"})
service = Model.deploy(ws, "new-svc", [model], config("score.py"), deployment)
service.wait_for_deployment(show_output=True)
assert service.state == "Healthy", service.get_logs()
assert ".eastus2.azurecontainer.io" in service.scoring_uri, service.scoring_uri
assert service.environment.environment_variables["MY_VARIABLE"] == "a value" and service.models[0].id == "factor:1"
body = json.dumps({"data": [1, 2.5]})
assert service.run(body) == {"result": [3.0, 7.5]}
assert service.get_keys()[0] == "my-own-primary-key"
post = lambda key: requests.post(service.scoring_uri, body, headers={"Authorization": "Bearer " + key})
assert post("my-own-primary-key").status_code == 200 and post("another").status_code == 401
assert requests.get(service.swagger_uri).json()["info"]["title"] == "new-svc"
assert "the factor is 3.0 a value" in service.get_logs()
service.regen_key("Secondary", set_key="my-own-secondary-key")
assert post("my-own-secondary-key").status_code == 200
raises(WebserviceException, "already contains", Model.deploy, ws, "new-svc", [model], config("score.py"), deployment)

service.update(models=[model], inference_config=config("other.py"))
service.wait_for_deployment(show_output=True)
assert service.state == "Healthy" and service.run(body) == {"result": [4.0, 5.5]}
service.update(tags={"new": "tag"})
assert Webservice(ws, "new-svc").tags == {"new": "tag"}
assert [s.name for s in Webservice.list(ws, model_name="factor")] == ["new-svc"]

again = Model.deploy(ws, "new-svc", [model], config("score.py"), AciWebservice.deploy_configuration(), overwrite=True)
again.wait_for_deployment()
assert again.run(body) == {"result": [3.0, 7.5]}

bad = Model.deploy(ws, "bad-svc", [], config("bad.py"), AciWebservice.deploy_configuration())
raises(WebserviceException, "AciDeploymentFailed", bad.wait_for_deployment)
assert bad.state == "Failed" and "ValueError: broken on purpose" in bad.get_logs()
broken = Environment("broken")
broken.docker.base_dockerfile = "FROM scratch"
raises(WebserviceException, "Dockerfile", Model.deploy, ws, "refused", [], InferenceConfig(entry_script="score.py", source_directory="src", environment=broken))
again.delete()
bad.delete()
assert Webservice.list(ws) == []
print("ok")
