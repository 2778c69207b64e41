"""Data references: a datastore's files as a folder of the run.

"mount" is a folder that is filled before the script starts and whose new and
changed files are sent back at its end: no file system in user space is assumed.
"""
import os

import blobs
import job as jobs
import service


class Failed(Exception):
    """A data reference cannot be honoured; the text says why."""


class DataReferences(object):
    """All references of one job."""

    def __init__(self, job, svc, log):
        self._svc = svc
        self._log = log
        self._refs = [_Reference(job, spec) for spec in job.dataReferences]
        # How the script sees a path of this machine.
        self.seen = lambda path: path

    def all(self):
        return list(self._refs)

    def variables(self):
        """AZUREML_DATAREFERENCE_<name> of each."""
        return dict(("AZUREML_DATAREFERENCE_" + r.name, self.seen(r.target)) for r in self._refs)

    def expand(self, argument):
        """Puts the paths in for $AZUREML_DATAREFERENCE_<name>."""
        for name, path in sorted(self.variables().items(), key=lambda item: -len(item[0])):
            argument = argument.replace("${%s}" % name, path).replace("$" + name, path)
        return argument

    def fetch(self, stopped):
        """Before the script: fills the folders of download and mount."""
        for ref in self._refs:
            if ref.mode == "upload":
                os.makedirs(os.path.dirname(ref.path) or ".", exist_ok=True)
                continue
            if ref.mode == "mount":
                self._log.line("Data reference %s: mount is a folder kept in step (no FUSE): files are copied in now, "
                               "and what the script writes there is copied back at its end." % ref.name)
            self._fetch(ref, stopped)

    def _fetch(self, ref, stopped):
        count, alone = 0, None
        try:
            os.makedirs(ref.path, exist_ok=True)
            for name in blobs.list_names(self._svc, ref.container, ref.prefix):
                if stopped():
                    return
                local = ref.local(name)
                if local is None:
                    continue
                if os.path.exists(local) and not ref.overwrite and ref.mode == "download":
                    self._log.line("Data reference %s: %s exists already and overwrite is false: kept"
                                   % (ref.name, local))
                    continue
                blobs.download(self._svc, blobs.blob_url(ref.container, name), local)
                ref.fetched[local] = _stamp(local)
                count += 1
                if ref.mode == "mount" and name == ref.prefix:
                    alone = local
            if alone and count == 1:
                # What is mounted is one file: its path is the script's, as it was on Azure.
                ref.target = alone
        except (service.Refused, service.GaveUp, OSError) as e:
            raise Failed("Data reference %s: the files of datastore %s could not be copied: %s"
                         % (ref.name, ref.datastore, e))
        self._log.line("Data reference %s: %d files from datastore %s in %s"
                       % (ref.name, count, ref.datastore, ref.path))

    def remember(self, path):
        """Keeps what was copied in, for the parts of the run on this node."""
        jobs.write_json(path, dict((r.name, [r.target, r.fetched]) for r in self._refs))

    def recall(self, path):
        """Takes up what remember kept."""
        kept = jobs.read_json(path)
        for ref in self._refs:
            if ref.name in kept:
                ref.target, fetched = kept[ref.name]
                ref.fetched = dict((name, tuple(stamp)) for name, stamp in fetched.items())

    def send(self):
        """After the script: copies back what upload and mount are for."""
        for ref in self._refs:
            if ref.mode in ("upload", "mount"):
                self._send(ref)

    def _send(self, ref):
        if not os.path.exists(ref.path):
            raise Failed("Data reference %s: %s does not exist, so there is nothing to upload." % (ref.name, ref.path))
        if os.path.isfile(ref.target):
            files = [(ref.target, ref.prefix or os.path.basename(ref.path))]
        else:
            files = [(os.path.join(ref.path, name), "/".join(p for p in (ref.prefix, name) if p))
                     for name in blobs.files_below(ref.path)]
        count = 0
        try:
            there = set()
            if ref.mode == "upload" and not ref.overwrite:
                there = set(blobs.list_names(self._svc, ref.container, ref.prefix))
            for local, name in files:
                if name in there:
                    self._log.line("Data reference %s: target already exists, skipping the upload of %s"
                                   % (ref.name, name))
                    continue
                if ref.fetched.get(local) == _stamp(local):
                    continue
                blobs.upload(self._svc, blobs.blob_url(ref.container, name), local)
                count += 1
        except (service.Refused, service.GaveUp, OSError) as e:
            raise Failed("Data reference %s: %s could not be copied to datastore %s: %s"
                         % (ref.name, ref.path, ref.datastore, e))
        self._log.line("Data reference %s: %d files to datastore %s" % (ref.name, count, ref.datastore))


class _Reference(object):
    def __init__(self, job, spec):
        self.name = spec["name"]
        self.mode = spec["mode"]
        self.datastore = spec["datastore"]
        self.overwrite = spec["overwrite"]
        self.container = job.credentials["containers"][self.name]
        self.prefix = (spec["path"] or "").strip("/")
        self.fetched = {}
        on_compute = spec["pathOnCompute"] or os.path.join("azureml-data", self.name)
        self.path = os.path.normpath(os.path.join(job.node_root, os.path.expanduser(on_compute)))
        self.target = self.path  # what the script is told

    def local(self, name):
        """Where a blob goes: below the folder, by its name below the prefix. None: not one of this reference."""
        if name == self.prefix:
            rest = name.rsplit("/", 1)[-1]
        elif not self.prefix:
            rest = name
        elif name.startswith(self.prefix + "/"):
            rest = name[len(self.prefix) + 1:]
        else:
            return None
        path = os.path.normpath(os.path.join(self.path, rest))
        # A blob may be named "../x"; no file of it may land outside.
        return path if rest and path.startswith(self.path + os.sep) else None


def _stamp(path):
    state = os.stat(path)
    return state.st_size, state.st_mtime
