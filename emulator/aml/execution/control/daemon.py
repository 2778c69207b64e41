"""Docker of this machine, through its own command line, as whoever runs here may use it."""
import json
import os
import shlex
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time

import job as jobs
import processes
import service

# Containers carry the run that they are of, and the folder of the control script that looks after them.
RUN_LABEL = "dev.lazulite.run"
SETUP_LABEL = "dev.lazulite.setup"
OWNER_LABEL = "dev.lazulite.owner"
ASK_SECONDS = 60
# After what time an ended container whose run's folder is not to be seen is nobody's.
FORGOTTEN = 3600


class Failed(Exception):
    """Docker cannot do what a run needs; the text says why."""


class Daemon(object):
    """The docker command. Raises Failed where the machine has none, or its daemon does not answer."""

    def __init__(self, log=None):
        self._log = log
        # A daemon may serve several machines and users: each looks after its own.
        self.owner = "%s/%d" % (socket.gethostname(), os.getuid())
        self.path = shutil.which("docker")
        if self.path is None:
            raise Failed("The run asks for Docker, and there is no 'docker' command on the PATH of this machine (%s)."
                         % os.environ.get("PATH", ""))

    def check(self):
        code, out, said = self.ask("version", "--format", "{{.Server.Version}}")
        if code:
            raise Failed("The run asks for Docker, and the Docker daemon of this machine does not answer: %s"
                         % (last_line(said) or last_line(out) or "docker version: exit code %d" % code))
        self.version = out.strip()

    def ask(self, *arguments, **more):
        """(exit code, output, errors) of a short command; 124 when it takes too long."""
        seconds = more.get("seconds", ASK_SECONDS)
        child = subprocess.Popen([self.path] + list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=more.get("env"))
        processes.keep(child.pid)
        try:
            out, said = child.communicate(more.get("input"), timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return 124, "", "docker %s gave no answer in %d seconds" % (arguments[0], seconds)
        return child.returncode, out.decode("utf-8", "replace"), said.decode("utf-8", "replace")

    def tell(self, failure, *arguments, **more):
        """The output of a command that must go well."""
        code, out, said = self.ask(*arguments, **more)
        if code:
            raise Failed("%s: %s" % (failure, last_line(said) or "exit code %d" % code))
        return out.strip()

    def image(self, name):
        """What docker knows of an image, or None."""
        code, out, said = self.ask("image", "inspect", name)
        if code == 0:
            return json.loads(out)[0]
        if "no such image" in said.lower():
            return None
        raise Failed("Docker cannot be asked for the image %s: %s" % (name, last_line(said)))

    def create(self, job, arguments, image, command):
        """Makes a container that can be found again, whatever becomes of us; returns its id."""
        line = ["create"] + self._labels(job) + arguments + [image] + command
        if self._log:
            self._log.line("$ docker " + " ".join(shlex.quote(word) for word in line))
        out = self.tell("The container could not be made", *line)
        # Warnings may come before the id.
        return out.split()[-1]

    def state(self, container):
        """State of a container, or None when neither it nor its daemon can be found."""
        code, out, _ = self.ask("inspect", "--type", "container", "--format", "{{json .State}}", container)
        return json.loads(out) if code == 0 else None

    # -- files, where nothing is shared ----------------------------------------
    def copy_in(self, container, folder, target, leave_out=()):
        """Puts a folder's files into a container, as root's; leave_out are paths in the folder."""
        def entry(info):
            inside = os.path.relpath("/" + info.name, target).replace(os.sep, "/")
            if inside in leave_out or not (info.isfile() or info.isdir() or info.issym()):
                return None
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            return info
        with tempfile.TemporaryFile() as f:
            with tarfile.open(fileobj=f, mode="w", format=tarfile.PAX_FORMAT) as tar:
                tar.add(folder, arcname=target.strip("/"), filter=entry)
            f.seek(0)
            child = subprocess.Popen([self.path, "cp", "-", container + ":/"], stdin=f, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE)
            processes.keep(child.pid)
            said = child.communicate()[1]
        if child.returncode:
            raise Failed("Files could not be copied into the container: %s" % last_line(said.decode("utf-8", "replace")))

    def copy_out(self, container, path, target):
        """Takes a file or folder out of a container; False where there is none."""
        code, _, said = self.ask("cp", "%s:%s" % (container, path), target, seconds=3600)
        if code and "ould not find the file" not in said and "No such container:path" not in said:
            raise Failed("%s could not be copied out of the container: %s" % (path, last_line(said)))
        return code == 0

    # -- leaving nothing behind ----------------------------------------------
    def _labels(self, job):
        out = []
        for name, value in ((RUN_LABEL, job.runId), (SETUP_LABEL, os.path.realpath(job.setup)), (OWNER_LABEL, self.owner)):
            out += ["--label", "%s=%s" % (name, value)]
        return out

    def remove(self, *containers):
        if containers:
            self.ask("rm", "--force", "--volumes", *containers)

    def of_run(self, job):
        """Its containers: by folder, since runs of two workspaces may have one id."""
        return self._labelled("%s=%s" % (SETUP_LABEL, os.path.realpath(job.setup)))

    def image_of_run(self, job):
        """The image that a container of the run has, or None."""
        for container in self.of_run(job):
            code, out, _ = self.ask("inspect", "--format", "{{.Image}}", container)
            if code == 0:
                return out.strip()
        return None

    def remove_run(self, job, patience=10):
        """Ends and removes all containers of a run. One may be about to appear, so it is asked until there is none."""
        deadline = time.time() + patience
        while True:
            left = self.of_run(job)
            if not left:
                return
            self.remove(*left)
            if time.time() > deadline:
                return
            time.sleep(0.1)

    def sweep(self):
        """Removes the containers of runs of this user whose control script is no more, and could not do it."""
        for container in self._labelled("%s=%s" % (OWNER_LABEL, self.owner)):
            code, out, _ = self.ask("inspect", "--format", '{{index .Config.Labels "%s"}}\n{{.State.Status}}\n{{.State.FinishedAt}}'
                                    % SETUP_LABEL, container)
            if code or not out.strip():
                continue
            setup, status, finished = out.split("\n")[:3]
            if os.path.isdir(setup):
                forgotten = not jobs.taken(setup)
            else:
                # Removed with its run, or in sight of another machine alone: one in a container beside this may have it.
                forgotten = status == "exited" and (service.seconds_until(finished) or 0) < -FORGOTTEN
            if forgotten:
                self.remove(container)
                if self._log:
                    self._log.line("Removed a container that an earlier run left behind (%s)" % os.path.dirname(setup))

    def _labelled(self, label):
        code, out, _ = self.ask("ps", "--all", "--quiet", "--no-trunc", "--filter", "label=" + label)
        return out.split() if code == 0 else []

    def give_back(self, image, job):
        """Makes files that a container wrote as root the user's own, so that who started the run can delete it.

        Returns why it could not be done, or None.
        """
        if os.getuid() == 0 or not foreign(job.root):
            return None
        line = ["run", "--rm", "--network", "none"] + self._labels(job) + [
            "--user", "0:0", "--entrypoint", "chown", "--mount", bind(job.root, "/azureml-run"), image,
            "-R", "-h", "%d:%d" % (os.getuid(), os.getgid()), "/azureml-run"]
        code, _, said = self.ask(*line, seconds=600)
        return last_line(said) if code else None


def bind(source, target, read_only=False):
    """A --mount value; its syntax is CSV, so that any path will do."""
    fields = ["type=bind", "source=" + source, "target=" + target] + (["readonly"] if read_only else [])
    return ",".join('"%s"' % f.replace('"', '""') if set(f) & set(',"\n') else f for f in fields)


def foreign(root):
    """Whether somebody else owns a file of a folder."""
    me = os.getuid()
    for where, folders, names in os.walk(root):
        for name in folders + names:
            try:
                if os.lstat(os.path.join(where, name)).st_uid != me:
                    return True
            except OSError:
                pass
    return False


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
