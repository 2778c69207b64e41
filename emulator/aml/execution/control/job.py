"""What the run service asked for: job.json and credentials.json beside this file."""
import fcntl
import json
import os
import tempfile


class Job(object):
    """The settings of one run. Unknown names are an AttributeError."""

    def __init__(self, setup, part=""):
        self.setup = setup
        self.part = part
        self._values = read_json(os.path.join(setup, "job.json"))
        # The parts of a divided run work in one folder, as they did on Azure's file share; what is a node's own is not there.
        self.node_root = self.root = os.path.dirname(setup)
        shared = os.environ.get("AZ_BATCHAI_SHARED_JOB_TEMP")
        if self._values.get("parts") and shared:
            self.root = os.path.join(shared, "azureml")
        self.credentials = read_json(os.path.join(setup, "credentials.json"))

    def __getattr__(self, name):
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(name)

    def file(self, name):
        """Path of a file of ours."""
        return os.path.join(self.setup, name)

    def own(self, name):
        """Path of a file of ours that each part of a divided run has for itself."""
        if not self.part:
            return self.file(name)
        stem, ending = os.path.splitext(name)
        return self.file("%s-%s%s" % (stem, self.part, ending))

    def ca_file(self):
        """The CA bundle that came with the job, or None."""
        path = self.file("ca-bundle.pem")
        return path if os.path.isfile(path) else None

    def save_credentials(self):
        write_json(self.file("credentials.json"), self.credentials)


def taken(setup):
    """Whether a control script is at work on the run of a folder: it holds the lock."""
    try:
        handle = os.open(os.path.join(setup, "control.lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


def read_json(path):
    with open(path, "rb") as f:
        return json.loads(f.read().decode("utf-8"))


def write_json(path, value):
    """Replaces the file in one step, readable by its owner alone."""
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(json.dumps(value, sort_keys=True).encode("utf-8"))
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
