"""A group of two containers by today's azure-mgmt-containerinstance: created, listed, executed in, deleted."""
import os
import time

import msal
import websocket
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerinstance import ContainerInstanceManagementClient, models as m
from azure.mgmt.resource.resources import ResourceManagementClient


class Credential:
    """The service principal of the environment, as azure-identity's has it, which az does not bring along."""

    def __init__(self):
        self.app = msal.ConfidentialClientApplication(
            os.environ["AZURE_CLIENT_ID"], authority="https://login.microsoftonline.com/" + os.environ["AZURE_TENANT_ID"],
            client_credential=os.environ["AZURE_CLIENT_SECRET"])

    def get_token(self, *scopes, **_):
        token = self.app.acquire_token_for_client(list(scopes))
        return AccessToken(token["access_token"], int(time.time()) + token["expires_in"])


subscription = os.environ["AZURE_SUBSCRIPTION_ID"]
ResourceManagementClient(Credential(), subscription).resource_groups.create_or_update("rg", {"location": "westus"})
client = ContainerInstanceManagementClient(Credential(), subscription)


def container(name):
    return m.Container(
        name=name, image="python:3.11", command=["/bin/sh", "-c", "echo from " + name + "; exec sleep 600"],
        environment_variables=[m.EnvironmentVariable(name="KEY", secure_value="not-to-be-seen")],
        resources=m.ResourceRequirements(requests=m.ResourceRequests(cpu=0.5, memory_in_gb=0.5)))


group = m.ContainerGroup(location="westus", os_type="Linux", restart_policy="Never", containers=[container("one"), container("two")])
made = client.container_groups.begin_create_or_update("rg", "pair", group).result()
assert made.provisioning_state == "Succeeded" and made.instance_view.state == "Running", made.as_dict()
assert made.containers[0].environment_variables[0].secure_value is None
for name in ("one", "two"):
    log = client.containers.list_logs("rg", "pair", name, tail=1, timestamps=True).content
    assert log.endswith(" from " + name + "\n") and log[4] == "-", log
session = client.containers.execute_command("rg", "pair", "two", m.ContainerExecRequest(
    command="/bin/sh", terminal_size=m.ContainerExecRequestTerminalSize(rows=12, cols=34)))
proxy = os.environ["HTTPS_PROXY"].split("//")[1].split(":")
ws = websocket.create_connection(session.web_socket_uri, http_proxy_host=proxy[0], http_proxy_port=proxy[1], proxy_type="http", timeout=30,
                                 sslopt={"ca_certs": os.environ["REQUESTS_CA_BUNDLE"]})
ws.send(session.password)
ws.send("stty size; echo $((6*7)); exit\n")
shown = ""
while True:
    try:
        frame = ws.recv()
    except websocket.WebSocketConnectionClosedException:
        break
    if not frame:
        break
    shown += frame
assert "12 34" in shown and "42" in shown, shown
try:
    client.container_groups.begin_create_or_update("rg", "other", m.ContainerGroup(location="brazilsouth", os_type="Linux", containers=[container("one")])).result()
    raise SystemExit("a region without the service took a group")
except HttpResponseError as error:
    assert error.error.code == "LocationNotAvailableForResourceType", error
client.container_groups.begin_delete("rg", "pair").result()
assert not list(client.container_groups.list())
print("ok")
