"""Where an image's parts are in its container, and the environment in it."""
import hashlib
import json
import os
import platform
import pwd
import sys

import environment

HERE = os.path.dirname(os.path.abspath(__file__))


def own():
    """Whether this container has a file system of its own: one that is processes of a host is given a home apart."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    return os.environ.get("HOME", home) == home and os.access("/", os.W_OK)


def root():
    """The folder that is the image's: that of the image of 2018, or one at home."""
    return "/var/azureml-app" if own() else os.path.join(os.path.expanduser("~"), "azureml-app")


def envs():
    """The folder of environments."""
    return "/azureml-envs" if own() else os.path.join(os.path.expanduser("~"), ".azureml", "envs")


class Job(object):
    """What environment.py asks about: only dependencies."""

    autoPrepare = True

    def __init__(self, dependencies):
        self.python = {"userManaged": False, "condaDependencies": dependencies}
        self.root = HERE

    def file(self, name):
        return os.path.join(HERE, name)


def made(dependencies, console):
    """The environment of some dependencies."""
    out = environment.Environment(Job(dependencies), console, lambda: False, console.run)
    out.envs = envs()
    return out


def key(env):
    """A name for an environment as this kind of machine makes it."""
    system = [env.digest(), platform.machine(), sys.version_info[:2], os.path.realpath(sys.executable), platform.libc_ver()]
    return hashlib.sha256(json.dumps(system, default=str).encode("utf-8")).hexdigest()[:32]
