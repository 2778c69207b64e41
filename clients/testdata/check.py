"""What the real-client scripts share."""
import os

from azureml.core.authentication import ServicePrincipalAuthentication


def auth():
    return ServicePrincipalAuthentication(os.environ["AZURE_TENANT_ID"], "1a2c1a2c-0018-4018-8018-c2018102018c", os.environ["AZURE_CLIENT_SECRET"])


def raises(kind, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as e:
        assert text.lower() in str(e).lower(), "%r does not say %r" % (e, text)
        return e
    raise AssertionError("%s raised nothing" % call)


def project(folder, files):
    """Writes a source directory."""
    for name, text in files.items():
        path = os.path.join(folder, name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "w") as f:
            f.write(text)
    return folder


def workspace(name, group="rg-clients"):
    from azureml.core import Workspace
    return Workspace.create(name=name, auth=auth(), subscription_id=os.environ["AZURE_SUBSCRIPTION_ID"], resource_group=group,
                            location="eastus2", create_resource_group=True, exist_ok=True)
