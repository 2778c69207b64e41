"""What a run does for itself where no machine was made ready for it: on the nodes
of a Batch AI job, in a container instance. It fetches its project, and where it
is divided into parts (MPI ranks, TensorFlow's workers and parameter servers),
each part finds out which it is, and the first that fails leaves the reason.
"""
import fcntl
import json
import os
import stat
import tempfile
import zipfile

import service

# Variables by which the MPI implementations tell a process its rank.
RANKS = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


class Part(object):
    """One process of a divided run."""

    def __init__(self, role, index):
        self.role, self.index = role, index
        self.name = "%s_%d" % (role, index)

    @property
    def first(self):
        """Whether this is the part whose log clients show."""
        return self.index == 0 and self.role in ("rank", "worker")

    def variables(self, environ):
        """What the script has to know of the others."""
        if self.role == "rank":
            return {}
        return {"TF_CONFIG": json.dumps({
            "cluster": {"ps": _hosts(environ.get("AZ_BATCHAI_PS_HOSTS")),
                        "worker": _hosts(environ.get("AZ_BATCHAI_WORKER_HOSTS"))},
            "task": {"type": self.role, "index": self.index}, "environment": "cloud"})}


def part(words, environ):
    """The part that a command line, or MPI, names."""
    if words:
        return Part(words[0], int(words[1]))
    for name in RANKS:
        if environ.get(name, "").isdigit():
            return Part("rank", int(environ[name]))
    return Part("rank", 0)


def node(environ):
    """A name of this node, as Batch AI's logs have it."""
    return environ.get("AZ_BATCH_NODE_ID") or environ.get("HOSTNAME") or os.uname()[1]


def _hosts(text):
    return [host.strip() for host in (text or "").split(",") if host.strip()]


def fetch_project(job, svc):
    """Brings the project into the run's folder, once where several nodes share it."""
    if job.root == job.node_root:
        _unpack_project(job, svc)
        return
    with open(job.root + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = job.root + ".ready"
        if not os.path.exists(ready):
            _unpack_project(job, svc)
            open(ready, "w").close()


def _unpack_project(job, svc):
    url = job.credentials.get("project")
    handle, path = tempfile.mkstemp(dir=job.setup, suffix=".zip")
    try:
        with os.fdopen(handle, "wb") as out:
            svc.fetch(url, out)
        with zipfile.ZipFile(path) as z:
            for info in z.infolist():
                mode = info.external_attr >> 16
                if stat.S_ISLNK(mode):
                    raise ValueError("symbolic link in the project: %s" % info.filename)
                target = z.extract(info, job.root)
                if mode and not os.path.isdir(target):
                    os.chmod(target, (mode & 0o755) | 0o600)
    finally:
        os.unlink(path)


def leave_reason(job, svc, error):
    """Puts why the run failed where the run service looks; the first reason stays."""
    url = job.credentials.get("failure")
    if not url:
        return
    body = json.dumps(error).encode("utf-8")
    try:
        svc.request("PUT", url, body, {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*",
                                       "Content-Type": "application/json"}, auth=False, give_up=10)
    except service.Refused as e:
        if e.status not in (409, 412):
            svc.log("The reason of the failure could not be left: %s" % e)
    except service.GaveUp as e:
        svc.log("The reason of the failure could not be left: %s" % e)
