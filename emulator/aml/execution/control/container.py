"""The container of one run: made, started, watched, ended and removed."""
import json
import os
import posixpath
import shutil

import daemon

ROOT = "/azureml-run"
SETUP = ROOT + "/azureml-setup"
# How long the script may take to end when it is told to.
GRACE = 5
GONE = "The connection to Docker on this machine broke in the middle of the run."
# Options of "docker run" that are about who waits for it, which is us.
OURS = ("-d", "--detach", "--rm", "-i", "--interactive", "-t", "--tty", "-it", "-ti", "-di", "-dit", "--sig-proxy")
SECRETS = ("azureml-setup/credentials.json", "azureml-setup/curl.conf")
# Logs that the control script writes: a container that shares nothing has no use for them.
NOT_COPIED = SECRETS + ("azureml-logs/60_control_log.txt", "azureml-logs/80_driver_log.txt")


class Container(object):
    """Where the script of a job runs that asks for Docker."""

    def __init__(self, job, log, images, refs, warn):
        self._job, self._log, self._images, self._refs, self._warn = job, log, images, refs, warn
        self.id = None
        self._mounted = []  # references whose own folder the container has

    @property
    def _daemon(self):
        return self._images.daemon

    def seen(self, path):
        """A path of this machine as the container sees it: the run's folder is elsewhere there."""
        if path == self._job.root or path.startswith(self._job.root + os.sep):
            return posixpath.join(ROOT, *os.path.relpath(path, self._job.root).split(os.sep))
        return path

    def file(self, name):
        return posixpath.join(SETUP, name)

    def interpreter(self, python):
        """A path of the run's folder, or a name on the image's PATH."""
        return posixpath.join(ROOT, python) if "/" in python else python

    # -- the beginning ---------------------------------------------------------
    def _create(self, python):
        arguments = self._arguments(python, self._job.docker)
        self.id = self._daemon.create(self._job, arguments, self._images.name, [self.file("container_init.py")])
        if not self._job.docker["sharedVolumes"]:
            self._daemon.copy_in(self.id, self._job.root, ROOT, NOT_COPIED)
            for ref in self._outside():
                if os.path.isdir(ref.path):
                    self._daemon.copy_in(self.id, ref.path, ref.path)

    def _arguments(self, python, wanted):
        given = [word for word in wanted["arguments"] if word.split("=", 1)[0] not in OURS]
        if len(given) < len(wanted["arguments"]):
            self._log.line("Of the docker arguments %s are left out: the run is waited for and removed in any case."
                           % " ".join(word for word in wanted["arguments"] if word not in given))
        out = ["--interactive", "--workdir", ROOT, "--entrypoint", python]
        # The emulator listens on the loopback of this machine: its own port, or that of the tunnel which leads to it.
        # On the host's network, the container finds it under the same address.
        if not _has(given, "--network", "--net"):
            out += ["--network", "host"]
        else:
            self._log.line("The docker arguments choose the network: the emulator must be reachable there as %s"
                           % (self._job.proxy or self._job.endpoint))
        if wanted["sharedVolumes"]:
            out += ["--mount", daemon.bind(self._job.root, ROOT)]
            for ref in self._outside():
                if os.path.isdir(ref.path):
                    out += ["--mount", daemon.bind(ref.path, ref.path)]
                    self._mounted.append(ref)
        for path in self._images.mounts:
            out += ["--mount", daemon.bind(path, path, True)]
        if wanted["shmSize"] and not _has(given, "--shm-size"):
            out += ["--shm-size", wanted["shmSize"]]
        if wanted["gpu"] and not _has(given, "--gpus", "--runtime"):
            out += self._gpus()
        return out + given

    def _gpus(self):
        if not (os.path.exists("/dev/nvidiactl") or os.path.exists("/proc/driver/nvidia/version")):
            self._warn("gpuSupport is set, and this machine has no NVIDIA GPU: the run is on the CPU.")
            return []
        if shutil.which("nvidia-container-runtime-hook") or shutil.which("nvidia-container-toolkit") or shutil.which("nvidia-ctk"):
            return ["--gpus", "all"]
        code, out, _ = self._daemon.ask("info", "--format", "{{json .Runtimes}}")
        if code == 0 and "nvidia" in json.loads(out):
            return ["--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=all"]
        self._warn("gpuSupport is set, and Docker on this machine cannot hand on its GPU (no NVIDIA container toolkit): "
                   "the run is on the CPU.")
        return []

    def _outside(self):
        """Data references whose folders are not in the run's."""
        return [ref for ref in self._refs.all() if self.seen(ref.path) == ref.path]

    def start(self, python, command, environment, path, spawn):
        """Starts the command; returns the process that stands for it here."""
        self._python = python
        self._create(python)
        child = spawn([self._daemon.path, "start", "--attach", "--interactive", self.id])
        launch = json.dumps({"command": command, "environment": environment, "path": path})
        try:
            # The pipe stays open: its end tells the container that nobody waits any longer.
            child.stdin.write(launch.encode("utf-8") + b"\n")
            child.stdin.flush()
        except OSError:
            pass  # the child says why
        return child

    # -- the end -----------------------------------------------------------------
    def stop(self):
        """Has the script end, by force after a while."""
        self._daemon.ask("stop", "--time", str(GRACE), self.id, seconds=GRACE + 60)

    def result(self, code):
        """(exit code, negative for a signal; what to add to it). Raises daemon.Failed when the script never ran."""
        state = self._daemon.state(self.id)
        if state is None or state.get("Running"):
            raise daemon.Failed(GONE)
        if state.get("Error"):
            raise daemon.Failed("The container could not be started with the interpreter '%s' of the image %s: %s"
                                % (self._python, self._job.docker["image"], state["Error"]))
        code = state.get("ExitCode", code)
        self._take_back()
        memory = " (out of memory)" if code and state.get("OOMKilled") else ""
        if code > 128 and not os.path.exists(self._job.file("failure.json")):
            code = 128 - code
        return code, memory

    def _take_back(self):
        """Copies out what is in no folder that the container shares with this machine."""
        shared = self._job.docker["sharedVolumes"]
        if not shared:
            for path in ("outputs", "logs", "azureml-logs"):
                self._daemon.copy_out(self.id, posixpath.join(ROOT, path), self._job.root)
            for name in ("tracking.json", "failure.json", "substitutions.json"):
                self._daemon.copy_out(self.id, self.file(name), self._job.file(name))
        for ref in self._refs.all():
            if ref.mode != "download" and not (shared and (ref in self._mounted or self.seen(ref.path) != ref.path)):
                os.makedirs(os.path.dirname(ref.path), exist_ok=True)
                self._daemon.copy_out(self.id, self.seen(ref.path), os.path.dirname(ref.path))

    def remove(self):
        """Leaves nothing of the container, and the run's files to the user."""
        if self._images.asked:
            self._daemon.remove_run(self._job)
        if self.id:
            said = self._daemon.give_back(self._images.name, self._job)
            if said:
                self._log.line("Files that the container wrote stay root's: %s" % said)


def _has(arguments, *options):
    return any(word.split("=", 1)[0] in options for word in arguments)
