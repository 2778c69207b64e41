import json
import os
import sys
import tempfile

import requests
from azureml.core import Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
from azureml.core.image import ContainerImage
from azureml.core.webservice import AciWebservice, Webservice

env = os.environ
auth = ServicePrincipalAuthentication(env["AZURE_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"])
ws = Workspace.create(name="benchscore", auth=auth, subscription_id=env["AZURE_SUBSCRIPTION_ID"], resource_group="bench", location="eastus2", exist_ok=True)
os.chdir(tempfile.mkdtemp())
with open("score.py", "w") as f:
    f.write("import json\n\ndef init():\n    pass\n\ndef run(raw):\n    return [3 * n for n in json.loads(raw)['data']]\n")
with open("env.yml", "w") as f:
    f.write("name: e\ndependencies:\n- python=3.6.2\n")
name = "bench-svc-" + sys.argv[1]
service = Webservice.deploy_from_model(ws, name, [], ContainerImage.image_configuration("score.py", "python", conda_file="env.yml"),
                                       AciWebservice.deploy_configuration())
service.wait_for_deployment()
group = "/subscriptions/%s/resourceGroups/bench/providers/Microsoft.ContainerInstance/containerGroups/%s" % (ws.subscription_id, name)
token = auth.get_authentication_header()
shown = requests.get("https://management.azure.com%s?api-version=2018-10-01" % group, headers=token).json()
print(json.dumps({"URI": service.scoring_uri, "Group": group, "Named": "http://%s/score" % shown["properties"]["ipAddress"]["fqdn"]}))
