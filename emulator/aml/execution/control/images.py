"""The image of a run in Docker: its base image, and on it the run's conda dependencies.

An image of dependencies is made by running environment.py in a container of
the base image and committing that. It is named by the hash of all that it is
made from, azureml/azureml_<hash>; a lock of that name makes sure that one is
built once. "docker build" would do as well, but for its classic builder: that
one can mount nothing, so this machine's interpreters would be out of its reach.
"""
import configparser
import hashlib
import json
import os
import shutil
import sys
import tempfile

import daemon
import environment
import interpreters
import job as jobs

# Changes when the way of building does.
BUILDER = 2
PULL_SECONDS = 900
ENVS = "/azureml-envs"
BUILD = "/azureml-build"
# What an image was made of, for whoever lists or prunes images of ours.
IMAGE_LABEL = "dev.lazulite.image"
SOURCE_LABEL = "dev.lazulite.source"
# The interpreter of this machine that the image's environment was made with, if it is not the image's own.
INTERPRETER_LABEL = "dev.lazulite.interpreter"
# What is otherwise in it than asked for: a list in JSON.
NOTES_LABEL = "dev.lazulite.notes"

KIT = ("build_image.py", "console.py", "environment.py", "interpreters.py", "packages.py", "spark.py", "job.py", "constraints-2018.txt",
       "constraints-azureml.txt", "constraints-azureml-0.1.68.txt")
# Settings of the package clients that hold in a container as well as here.
CLIENT_SETTINGS = ("PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_BINARY",
                   "PIP_NO_INDEX", "PIP_ONLY_BINARY", "PIP_PRE", "PIP_PREFER_BINARY", "PIP_RETRIES", "PIP_TRUSTED_HOST",
                   "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_HTTP_TIMEOUT", "UV_INDEX",
                   "UV_INDEX_URL", "UV_NO_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
                   "no_proxy")
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

# Finds a Python for our script in whatever image it is.
START = """for python in python3 python /usr/bin/python3 /usr/local/bin/python3 /opt/*conda*/bin/python "$1"/3.*/bin/python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 5))' >/dev/null 2>&1; then
        exec "$python" %s/azureml-setup/build_image.py
    fi
done
echo "No Python 3.5 or later is in the base image, nor one of this machine that runs there: nothing can make the environment."
exit 97
""" % BUILD


class Images(object):
    """The image of one job. Has the interface of environment.Environment."""

    def __init__(self, job, log, stopped, start):
        self._job, self._log, self._stopped, self._start = job, log, stopped, start
        self._environment = environment.Environment(job, log, stopped, start)
        self._daemon = None
        self.name = None    # of the image to run
        self.mounts = []    # what its environment needs of this machine
        self.notes = []     # what is otherwise than asked for, so that Spark runs it

    @property
    def daemon(self):
        """Docker, asked for when it is needed: a machine without one fails the run, not the control script."""
        if self._daemon is None:
            found = daemon.Daemon(self._log)
            found.check()
            self._daemon = found
        return self._daemon

    @property
    def asked(self):
        """Whether Docker has answered, so that something of this run may be there."""
        return self._daemon is not None

    def prepared(self):
        """Whether a run could start at once."""
        try:
            base = self._local()
            if base is None:
                return False
            return self._job.python["userManaged"] or self._made(self._tag(base)) is not None
        except daemon.Failed:
            return False

    def prepare(self):
        """Returns the interpreter to run the script with, as the container sees it."""
        try:
            return self._prepare()
        except daemon.Failed as e:
            raise environment.Failed(str(e))

    def _prepare(self):
        self.daemon.sweep()
        base = self._base()
        if self._job.python["userManaged"]:
            self.name = base["Id"]
            path = self._job.python.get("interpreterPath") or "python"
            self._log.line("User-managed environment: the interpreter is %s of the image %s" % (path, self._job.docker["image"]))
            return path
        tag = self._tag(base)
        if not self._job.autoPrepare and not self._made(tag):
            raise environment.Failed("The image %s is not prepared, and autoPrepareEnvironment is false. Prepare the "
                                     "target first." % tag)
        with self._environment.lock(tag.split("/")[1]):
            made = self._made(tag)
            if made:
                self._log.line("Using the image %s, made before from the same base image and dependencies." % tag)
            else:
                self._build(base, tag)
                made = self._made(tag)
                if not made:
                    raise environment.Failed("The image %s is gone just after it was made." % tag)
        self.name = made["Id"]
        self.notes += json.loads(_label(made, NOTES_LABEL) or "[]")
        lent = _label(made, INTERPRETER_LABEL)
        if lent:
            # bin/python of a version's folder.
            self.mounts.append(os.path.dirname(os.path.dirname(lent)))
        return self._python()

    def _folder(self):
        return "%s/azureml_%s" % (ENVS, self._environment.digest())

    def _python(self):
        return self._folder() + "/bin/python"

    # -- the base image ------------------------------------------------------
    def _local(self):
        """The base image, or its stand-in, if this machine has it."""
        wanted, stand_in = self._job.docker["image"], self._job.docker["standIn"]
        found = self.daemon.image(wanted)
        if found is None and stand_in and stand_in != wanted:
            found = self.daemon.image(stand_in)
            if found and self._log:
                said = "The base image %s is not on this machine: %s stands in for it" % (wanted, stand_in)
                self._log.line(said)
                if self._job.spark:
                    self.notes.append(said)
        return found

    def _base(self):
        wanted = self._job.docker["image"]
        found = self._local()
        if found:
            return found
        said = self._pull(wanted)
        found = self.daemon.image(wanted)
        if found:
            return found
        raise environment.Failed(
            "The base image %s is not on this machine, and could not be pulled (%s). Run \"lazulite images build%s\" there "
            "to make an image that stands in for the SDK's base images, or \"docker load\" or \"docker tag\" one of that "
            "name." % (wanted, said, " --spark" if "/spark" in (self._job.docker["standIn"] or "") else ""))

    def _pull(self, name):
        """Pulls an image; returns what went wrong."""
        config, env = None, dict(os.environ)
        login = self._job.credentials.pop("registry", None)
        try:
            if login:
                # Of no use any longer, whatever becomes of us.
                self._job.save_credentials()
                config = tempfile.mkdtemp(dir=self._job.setup, prefix="docker-config-")
                env = self._login(config, login)
            self._log.line("$ docker pull " + name)
            mark = os.path.getsize(self._log.path)
            code = self._start([self.daemon.path, "pull", name], env=env, limit=PULL_SECONDS)
            if self._stopped():
                raise environment.Stopped()
            if code == 124:
                return "no end after %d seconds" % PULL_SECONDS
            return environment.last_words(self._log.path, mark) if code else "docker pull went well"
        finally:
            if config:
                shutil.rmtree(config, ignore_errors=True)

    def _login(self, config, login):
        """Logs in to the registry by a configuration of our own: docker writes the password into it."""
        env = dict(os.environ, DOCKER_CONFIG=config)
        if not env.get("DOCKER_HOST"):
            # The context that the user's own configuration chooses.
            code, host, _ = self.daemon.ask("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
            if code == 0 and host.strip():
                env["DOCKER_HOST"] = host.strip()
                env.pop("DOCKER_CONTEXT", None)
        registry = self._job.docker["registry"]
        self._log.line("Logging in to %s as %s" % (registry or "Docker Hub", login["username"]))
        arguments = ["login", "--username", login["username"], "--password-stdin"] + ([registry] if registry else [])
        code, out, said = self.daemon.ask(*arguments, input=login["password"].encode("utf-8"), env=env)
        if code:
            raise environment.Failed("The registry %s refuses the user %s: %s" % (
                registry or "Docker Hub", login["username"],
                daemon.last_line(said).replace(login["password"], "***") or "exit code %d" % code))
        return env

    # -- the dependencies ------------------------------------------------------
    def _tag(self, base):
        parts = [BUILDER, base["Id"], self._environment.digest()]
        return "azureml/azureml_" + hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()[:32]

    def _made(self, tag):
        """The image of that name, if all that it needs is here."""
        found = self.daemon.image(tag)
        if found is None:
            return None
        lent = _label(found, INTERPRETER_LABEL)
        return found if not lent or os.access(lent, os.X_OK) else None

    def _build(self, base, tag):
        self._log.line("Making the image %s on %s" % (tag, self._job.docker["image"]))
        lent = lendable()
        kit = tempfile.mkdtemp(dir=self._job.setup, prefix="image-")
        container = None
        try:
            links = self._write_kit(kit, lent)
            # The host's network, for the host's proxies are on its loopback.
            arguments = ["--network", "host", "--entrypoint", "/bin/sh"]
            if _config(base).get("User"):
                arguments += ["--user", "0:0"]
            for path in links + ([lent] if lent else []):
                arguments += ["--mount", daemon.bind(path, path, True)]
            container = self.daemon.create(self._job, arguments, base["Id"], [BUILD + "/start.sh", lent or "/nowhere"])
            self.daemon.copy_in(container, kit, BUILD)
            mark = os.path.getsize(self._log.path)
            code = self._start([self.daemon.path, "start", "--attach", container])
            if self._stopped():
                raise environment.Stopped()
            if code:
                raise environment.Failed(self._why(container, kit, mark, code))
            self._commit(base, tag, container, kit, lent)
        finally:
            shutil.rmtree(kit, ignore_errors=True)
            if container:
                self.daemon.remove(container)
        self._log.line("The image %s is ready." % tag)

    def _write_kit(self, kit, lent):
        """Fills the folder that goes into the container; returns folders that have to be mounted besides."""
        setup = os.path.join(kit, "azureml-setup")
        os.mkdir(setup)
        for name in KIT:
            shutil.copyfile(self._job.file(name), os.path.join(setup, name))
        for path in self._environment.files():
            if path.startswith(self._job.root + os.sep):
                target = os.path.join(kit, os.path.relpath(path, self._job.root))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(path, target)
        with open(os.path.join(kit, "start.sh"), "w") as f:
            f.write(START)
        environ = dict((n, os.environ[n]) for n in CLIENT_SETTINGS if os.environ.get(n))
        environ.update({"PIP_CACHE_DIR": BUILD + "/cache", "UV_CACHE_DIR": BUILD + "/cache", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                        "PIP_ROOT_USER_ACTION": "ignore", "HOME": "/root"})
        if pip_settings(os.path.join(kit, "pip.conf")):
            environ["PIP_CONFIG_FILE"] = BUILD + "/pip.conf"
        bundle = certificates()
        if bundle:
            shutil.copyfile(bundle, os.path.join(kit, "certificates.pem"))
            for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
                environ[name] = BUILD + "/certificates.pem"
        if lent:
            environ["PYENV_ROOT"] = os.path.dirname(lent)
        python = dict(self._job.python)
        jobs.write_json(os.path.join(setup, "job.json"), {"environ": environ, "python": python, "spark": self._job.spark, "lent": lent,
                                                          "folder": self._folder(), "autoPrepare": True})
        jobs.write_json(os.path.join(setup, "credentials.json"), {})
        links = environ.get("PIP_FIND_LINKS", "").split() + environ.get("UV_FIND_LINKS", "").split()
        return sorted(set(os.path.abspath(path) for path in links if os.path.isdir(path)))

    def _why(self, container, kit, mark, code):
        path = os.path.join(kit, "failure.txt")
        if self.daemon.copy_out(container, BUILD + "/failure.txt", path):
            with open(path, "rb") as f:
                return f.read().decode("utf-8", "replace")
        state = self.daemon.state(container)
        if state is None:
            return "Docker went away while the image was made."
        return "The image could not be made: %s" % (
            state.get("Error") or environment.last_words(self._log.path, mark) or "exit code %d" % code)

    def _commit(self, base, tag, container, kit, lent):
        path = os.path.join(kit, environment.READY)
        if not self.daemon.copy_out(container, "%s/%s" % (self._folder(), environment.READY), path):
            raise environment.Failed("The image could not be made: the environment is not in the container.")
        ready = jobs.read_json(path)
        used = ready.get("base") or ""
        config = _config(base)
        # The container's own labels are overwritten, lest what is run of this image be taken for a run of ours.
        labels = {IMAGE_LABEL: "environment", SOURCE_LABEL: self._job.docker["image"],
                  NOTES_LABEL: json.dumps(ready.get("notes") or []),
                  INTERPRETER_LABEL: used if lent and used.startswith(lent + os.sep) else "",
                  daemon.RUN_LABEL: "", daemon.SETUP_LABEL: "", daemon.OWNER_LABEL: ""}
        changes = ["ENTRYPOINT " + json.dumps(config.get("Entrypoint") or []), "CMD " + json.dumps(config.get("Cmd") or [])]
        changes += ["LABEL %s=%s" % (name, json.dumps(value)) for name, value in sorted(labels.items())]
        if config.get("User"):
            changes.append("USER " + config["User"])
        arguments = []
        for change in changes:
            arguments += ["--change", change]
        self.daemon.tell("The image could not be kept", "commit", *(arguments + [container, tag]), seconds=1800)


def _config(image):
    # An imported image may have none.
    return image.get("Config") or {}


def _label(image, name):
    return (_config(image).get("Labels") or {}).get(name) or ""


def lendable():
    """The folder of this machine's pyenv interpreters, for images that have not the one that is asked for."""
    host = os.environ.get("DOCKER_HOST", "")
    if not sys.platform.startswith("linux") or host and not host.startswith("unix:"):
        return None
    for root in interpreters.pyenv_roots():
        versions = os.path.realpath(os.path.join(root, "versions"))
        if os.path.isdir(versions) and os.listdir(versions):
            return versions
    return None


def certificates():
    """The bundle that this machine's own clients check with, or None."""
    for path in [os.environ.get(n) for n in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")] + list(CERTIFICATES):
        if path and os.path.isfile(path):
            return path
    return None


def pip_settings(path):
    """Writes what pip is configured with on this machine, but for certificates, which are elsewhere in a container."""
    merged = configparser.RawConfigParser()
    files = ["/etc/pip.conf", os.path.expanduser("~/.pip/pip.conf"), os.path.expanduser("~/.config/pip/pip.conf"),
             os.environ.get("PIP_CONFIG_FILE", "")]
    try:
        found = merged.read([f for f in files if f and f != os.devnull])
    except configparser.Error:
        return False
    for section in merged.sections():
        for option in ("cert", "client-cert", "cache-dir", "target", "prefix", "user", "log", "require-virtualenv"):
            merged.remove_option(section, option)
    if not found:
        return False
    with open(path, "w") as f:
        merged.write(f)
    return True
