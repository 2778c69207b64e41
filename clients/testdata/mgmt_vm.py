"""Today's management SDKs: a group, a storage account, a template, and the life of a virtual machine with its network."""
import os

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient

subscription = os.environ["AZURE_SUBSCRIPTION_ID"]
credential = DefaultAzureCredential()
groups = ResourceManagementClient(credential, subscription)
storage = StorageManagementClient(credential, subscription)
network = NetworkManagementClient(credential, subscription)
compute = ComputeManagementClient(credential, subscription)
rg, where = "rg-mgmt", "eastus2"


def refused(kind, code, call, *args):
    try:
        answer = call(*args)
        if hasattr(answer, "result"):
            answer = answer.result()
    except kind as e:
        got = e.error.code if getattr(e, "error", None) else str(e)
        assert code in got, "%s, not %s" % (got, code)
        return
    raise AssertionError("%s was not refused" % code)


try:
    ResourceManagementClient(ClientSecretCredential(os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], "wrong"), subscription).resource_groups.get("x")
    raise AssertionError("a wrong secret was taken")
except ClientAuthenticationError as e:
    assert "AADSTS7000215" in str(e), e

assert groups.resource_groups.create_or_update(rg, {"location": where, "tags": {"a": "b"}}).properties.provisioning_state == "Succeeded"
assert rg in [g.name for g in groups.resource_groups.list(filter="tagName eq 'a' and tagValue eq 'b'")]
refused(ResourceNotFoundError, "ResourceGroupNotFound", groups.resource_groups.get, "rg-nowhere")

account = storage.storage_accounts.begin_create(rg, "mgmtclient01", {"location": where, "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}).result()
assert account.primary_endpoints.blob == "https://mgmtclient01.blob.core.windows.net/", account.primary_endpoints
assert len(storage.storage_accounts.list_keys(rg, "mgmtclient01").keys_property or []) == 2

net = network.virtual_networks.begin_create_or_update(rg, "net", {"location": where, "properties": {
    "addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}, "subnets": [{"name": "default", "properties": {"addressPrefix": "10.1.0.0/24"}}]}}).result()
address = network.public_ip_addresses.begin_create_or_update(rg, "ip", {"location": where, "properties": {"publicIPAllocationMethod": "Dynamic"}}).result()
nic = network.network_interfaces.begin_create_or_update(rg, "nic", {"location": where, "properties": {"ipConfigurations": [
    {"name": "one", "properties": {"subnet": {"id": net.subnets[0].id}, "publicIPAddress": {"id": address.id}}}]}}).result()
assert nic.ip_configurations[0].private_ip_address.startswith("10.1.0."), nic.ip_configurations[0]

properties = {
    "hardwareProfile": {"vmSize": "Standard_D2_v2"},
    "storageProfile": {"imageReference": {"publisher": "Canonical", "offer": "UbuntuServer", "sku": "16.04-LTS", "version": "latest"}},
    "osProfile": {"computerName": "vm1", "adminUsername": "mgmt", "adminPassword": "A-long-passw0rd!"},
    "networkProfile": {"networkInterfaces": [{"id": nic.id}]},
}
refused(HttpResponseError, "InvalidParameter", compute.virtual_machines.begin_create_or_update, rg, "vm0",
        {"location": where, "properties": dict(properties, hardwareProfile={"vmSize": "Standard_Nothing"})})
vm = compute.virtual_machines.begin_create_or_update(rg, "vm1", {"location": where, "properties": properties}).result()
assert vm.provisioning_state == "Succeeded" and vm.vm_id, vm
assert not vm.os_profile.admin_password, "the password came back"


def power():
    view = compute.virtual_machines.instance_view(rg, "vm1")
    return [s.code for s in view.statuses if s.code.startswith("PowerState")]


assert power() == ["PowerState/running"], power()
said = compute.virtual_machines.begin_run_command(rg, "vm1", {"commandId": "RunShellScript", "script": ["echo it-is-$((6*7))"]}).result()
assert "it-is-42" in said.value[0].message, said.value[0].message
for verb, state in (("power_off", "stopped"), ("start", "running"), ("restart", "running"), ("deallocate", "deallocated"), ("start", "running")):
    getattr(compute.virtual_machines, "begin_" + verb)(rg, "vm1").result()
    assert power() == ["PowerState/" + state], (verb, power())
assert [v.name for v in compute.virtual_machines.list(rg)] == ["vm1"]
assert any(s.name == "Standard_D2_v2" for s in compute.virtual_machine_sizes.list(where))
refused(HttpResponseError, "InUse", network.network_interfaces.begin_delete, rg, "nic")
compute.virtual_machines.begin_delete(rg, "vm1").result()
refused(ResourceNotFoundError, "ResourceNotFound", compute.virtual_machines.get, rg, "vm1")
network.network_interfaces.begin_delete(rg, "nic").result()
groups.resource_groups.begin_delete(rg).result()
assert not groups.resource_groups.check_existence(rg)
print("ok")
