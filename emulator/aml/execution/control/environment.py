"""The Python environment of a run: the user's own interpreter, or one made from conda dependencies.

Made environments live in ~/.azureml/envs/azureml_<hash of the dependencies>.
A lock of the same name in ~/.azureml/locks makes sure that one is built once;
a file inside it, written last, says that it is whole.
"""
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import interpreters
import job as jobs
import packages
import spark

READY = "azureml-environment.json"
# Changes when the way of building does, so that no environment of the old way is taken for one of the new.
BUILDER = 6
PROBE_SECONDS = 25
# Lowest and highest Python that the last line of the SDK v1 installs and runs in, with all that it brings.
SDK_PYTHONS = ((3, 8), (3, 10))
# The Python of azureml 0.1.68, which is what its name alone stands for.
AZUREML_PYTHON = [("=", "3.6")]
CONDA_TOOLS = ("mamba", "micromamba", "conda")


class Failed(Exception):
    """The environment cannot be had; the text says why."""


class Stopped(Exception):
    """The run was cancelled meanwhile."""


class Environment(object):
    """The environment of one job. stopped() says whether the run is to end."""

    # A folder of interpreters that are another machine's, taken only where none of this one fits.
    lent = None

    def __init__(self, job, log, stopped, start):
        self._job = job
        self._log = log
        self._stopped = stopped
        self._start = start  # starts a command with its output in the log
        self._python = job.python
        self.home = os.path.expanduser("~/.azureml")
        self.envs = os.path.join(self.home, "envs")
        self._spark = self._find_spark(job.spark.get("home")) if getattr(job, "spark", None) else None
        self.base = None  # the interpreter that a virtual environment was made with
        self.notes = []  # what is otherwise than asked for, so that Spark runs it

    # -- asking ------------------------------------------------------------
    @staticmethod
    def _find_spark(lent):
        """Version of the Spark that runs the script, and whether it has to come with the environment."""
        home = spark.home(os.environ, lent)
        if home is None:
            return {"version": spark.REQUIREMENT.split("=")[1].split(",")[0], "package": True}
        return {"version": spark.version(home), "package": False}

    def managed(self):
        return not self._python["userManaged"]

    def folder(self):
        return os.path.join(self.envs, "azureml_" + self.digest())

    def digest(self):
        """Name of the environment: a hash of all that it is made from."""
        conda = self._python.get("condaDependencies") or {}
        parts = {"builder": BUILDER, "dependencies": conda.get("dependencies") or [],
                 "channels": conda.get("channels") or [], "files": []}
        for path in self.files():
            with open(path, "rb") as f:
                parts["files"].append(hashlib.sha256(f.read()).hexdigest())
        if self._spark:
            parts["spark"] = self._spark
        text = json.dumps(parts, sort_keys=True).encode("utf-8")
        return hashlib.sha256(text).hexdigest()[:32]

    def prepared(self):
        """Whether a run could start at once."""
        if not self.managed():
            try:
                interpreters.resolve(self._python.get("interpreterPath"), self._job.root, os.environ)
                return True
            except interpreters.NoInterpreter:
                return False
        return self._ready() is not None

    def _ready(self):
        try:
            made = jobs.read_json(os.path.join(self.folder(), READY))
            self.notes = made.get("notes") or []
            return made["python"] if os.access(made["python"], os.X_OK) else None
        except (OSError, ValueError, KeyError):
            return None

    # -- making ------------------------------------------------------------
    def prepare(self):
        """Returns the interpreter to run the script with. Raises Failed or Stopped."""
        if not self.managed():
            try:
                path = interpreters.resolve(self._python.get("interpreterPath"), self._job.root, os.environ)
            except interpreters.NoInterpreter as e:
                raise Failed(str(e))
            self._log.line("User-managed environment: the interpreter is %s" % path)
            return path
        folder = self.folder()
        if not self._job.autoPrepare and not self._ready():
            raise Failed("The environment %s is not prepared, and autoPrepareEnvironment is false. "
                         "Prepare the target first." % os.path.basename(folder))
        with self.lock(os.path.basename(folder)):
            made = self._ready()
            if made:
                self._log.line("Using the environment %s, made before from the same dependencies." % folder)
                return made
            return self.build(folder)

    def lock(self, name):
        locks = os.path.join(self.home, "locks")
        os.makedirs(locks, exist_ok=True)
        return _Lock(os.path.join(locks, name + ".lock"), self._log, self._stopped)

    def build(self, folder):
        """Makes the environment in a folder; returns its interpreter."""
        # Whatever is there without its last file was left by a builder that died.
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        started = time.time()
        self._log.line("Making the environment %s" % folder)
        try:
            tool = self._conda()
            python = self._build_conda(tool, folder) if tool else self._build_venv(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        jobs.write_json(os.path.join(folder, READY), {"python": python, "base": self.base, "notes": self.notes})
        self._log.line("The environment is ready (%.1f seconds)." % (time.time() - started))
        return python

    # -- conda -------------------------------------------------------------
    def _conda(self):
        """A conda tool whose channels answer, or None."""
        for tool in CONDA_TOOLS:
            path = shutil.which(tool)
            if not path:
                continue
            try:
                code = subprocess.call([path, "search", "--json", "python"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PROBE_SECONDS)
            except (OSError, subprocess.SubprocessError):
                code = -1
            if code == 0:
                return path
            self._log.line("%s is here, but its channels do not answer: not used." % path)
        self._log.line("No conda whose channels can be reached: making a virtual environment from PyPI instead.")
        return None

    def _build_conda(self, tool, folder):
        # JSON is YAML: conda reads the dependencies as they came.
        spec = self._job.file("environment.yml")
        jobs.write_json(spec, self._python.get("condaDependencies") or {})
        if os.path.basename(tool) == "micromamba":
            command = [tool, "create", "-y", "-p", folder, "-f", spec]
        else:
            command = [tool, "env", "create", "-p", folder, "-f", spec]
        self._run(command, "conda could not make the environment")
        return os.path.join(folder, "bin", "python")

    # -- venv --------------------------------------------------------------
    def _build_venv(self, folder):
        specs, lines = self._split()
        bounds = [b for s in specs if s.name == "python" for b in s.bounds]
        have = interpreters.installed()
        try:
            if self._spark:
                have = self._with_spark(specs, lines, bounds, have)
            if not any(s.name == "python" for s in specs):
                have = [(v, p) for v, p in have if v[0] == 3]
                if not self._spark and packages.of_2018(lines):
                    bounds = AZUREML_PYTHON
                    self._log.line("No Python is named: taking 3.6, which azureml of October 2018 was made for")
            version, base, note = self._choose(bounds, have)
        except interpreters.NoInterpreter as e:
            raise Failed(str(e))
        self.base = base
        if note:
            self._log.line(note)
        has_gpu = os.path.exists("/dev/nvidia0") or os.path.exists("/proc/driver/nvidia/version")
        wanted, stood = [], set()
        for spec in specs:
            if spec.name == "python":
                continue
            requirement, said = packages.to_pip(spec, has_gpu)
            if said:
                self._log.line(said)
            if spec.channel:
                self._log.line("%s: from PyPI, not from the channel %s" % (spec.name, spec.channel))
            if requirement:
                wanted.append(requirement)
                stood.add(packages.name_of(requirement))
        python = self._venv(folder, version, base)
        for line in lines:
            if not has_gpu:
                line, said = packages.of_processor(line)
                if said:
                    self._log.line(said)
            wanted.append(self._absolute(line))
        if self._spark:
            wanted = self._of_spark_time(version, wanted)
        if version >= (3, 8) and any(w.lower().startswith("azureml-") for w in wanted) and not _names(wanted, "setuptools"):
            # It imports pkg_resources without asking for it: conda's Pythons bring that, and setuptools has it no longer.
            wanted.append("setuptools<81")
        if self._spark and self._spark["package"] and not _names(wanted, "pyspark"):
            self._note("There is no Spark here apart from Python's packages: installing %s" % spark.REQUIREMENT)
            wanted.append(spark.REQUIREMENT)
        if wanted:
            self._install(folder, version, python, wanted, stood)
        return python

    def _with_spark(self, specs, lines, bounds, have):
        """The Pythons that go with Spark's version."""
        version = self._spark["version"]
        for bound in [b for s in specs if s.name == "pyspark" for b in s.bounds if "=" in b[0]]:
            version = bound[1] if self._spark["package"] else version
        limits = spark.pythons(version)
        if not limits:
            return have
        low, high = limits
        told = "Spark %s" % version
        if low >= SDK_PYTHONS[0] and any(line.lower().startswith("azureml-") for line in lines):
            high = min(high, SDK_PYTHONS[1])
            told += " and the SDK that goes with it"
        fitting = [(v, p) for v, p in have if low <= v[:2] <= high]
        told += " %s with Python %s to %s" % ("work" if " and " in told else "works", interpreters.dotted(low), interpreters.dotted(high))
        if not fitting:
            raise Failed("%s, and none of these is on this machine (there are %s)."
                         % (told, ", ".join(interpreters.dotted(v) for v, _ in have)))
        if bounds and not any(packages.admits(bounds, v) for v, _ in fitting):
            self._note("%s, not with python%s, which is asked for"
                       % (told, ",".join(op.replace("==", "=") + v for op, v in bounds)))
        return fitting

    def _note(self, text):
        self.notes.append(text)
        self._log.line(text)

    def _of_spark_time(self, version, wanted):
        """Takes the pin off azureml's packages of 2018, which none of the Pythons of a Spark of today can install."""
        out = []
        for line in wanted:
            match = re.match(r"(azureml-[\w-]+)\s*==\s*0\.", line)
            if match and version >= (3, 8):
                self._note("%s can't be installed in Python %s, which Spark %s needs: taking the newest version"
                           % (line, interpreters.dotted(version), self._spark["version"]))
                line = match.group(1) + ">=1.40"
            out.append(line)
        return out

    def _choose(self, bounds, have):
        own = [(v, p) for v, p in have if not (self.lent and p.startswith(self.lent + os.sep))]
        if own and len(own) < len(have):
            chosen = interpreters.choose(bounds, own)
            if chosen[2] is None:
                return chosen
        return interpreters.choose(bounds, have)

    def _venv(self, folder, version, base):
        uv = shutil.which("uv") if version >= (3, 8) else None
        if uv:
            self._run([uv, "venv", "--python", base, folder], "uv could not make the environment")
        elif version < (3,):
            self._run([base, "-m", "virtualenv", folder], "Python %s needs virtualenv to make an environment"
                      % interpreters.dotted(version))
        else:
            self._run([base, "-m", "venv", folder], "The virtual environment could not be made")
        return os.path.join(folder, "bin", "python")

    def _install(self, folder, version, python, wanted, stood):
        requirements = os.path.join(folder, "requirements.txt")
        extra = []
        if version[:2] in ((3, 5), (3, 6)):
            if any(w.lower().startswith("azureml-") for w in wanted):
                extra = ["-c", self._job.file(self._constraints(wanted))]
        uv = shutil.which("uv") if version >= (3, 8) else None
        if uv:
            command = [uv, "pip", "install", "--python", python, "-r", requirements] + extra
        else:
            if version < (3, 7):
                # The pip that such a Python brings cannot read today's wheels.
                try:
                    self._run([python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-q",
                               "pip==20.3.4", "wheel", "setuptools"], "pip could not be brought up to date")
                except Failed as e:
                    self._log.line("%s; going on with the pip that is there" % e)
            command = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-r",
                       requirements] + extra
        if version[:2] in ((3, 5), (3, 6)):
            try:
                self._solve(command + ["-c", self._era(folder, wanted)], requirements, wanted, stood)
                return
            except Failed:
                self._log.line("The versions of October 2018 do not go with what is asked for: leaving the choice to pip.")
        self._solve(command, requirements, wanted, stood)

    def _solve(self, command, requirements, wanted, stood):
        """Installs, with the nearest version of a package that conda's channels had (its name is in stood) and PyPI has not."""
        while True:
            with open(requirements, "wb") as f:
                f.write(("\n".join(wanted) + "\n").encode("utf-8"))
            mark = os.path.getsize(self._log.path)
            try:
                return self._run(command, "The packages could not be installed")
            except Failed:
                missed, versions = packages.missed(self._since(mark))
                if missed not in wanted or packages.name_of(missed) not in stood:
                    raise
                if versions is None:
                    versions = self._versions(command[:3], missed)
                instead = packages.nearest(missed, versions)
                if instead is None:
                    raise
                at = wanted.index(missed)
                self._log.line("%s is not on PyPI, in whose versions conda's are looked for: taking the nearest, %s" % (wanted[at], instead))
                wanted[at] = instead

    def _versions(self, pip, missed):
        """Versions that PyPI has of a package; pips of one time tell them by their old resolver alone."""
        mark = os.path.getsize(self._log.path)
        try:
            self._run(pip + ["install", "--no-input", "--no-deps", "--use-deprecated=legacy-resolver", missed], "")
        except Failed:
            pass
        return packages.missed(self._since(mark))[1]

    def _since(self, mark):
        """What the log has from a mark on."""
        with open(self._log.path, "rb") as f:
            f.seek(mark)
            return f.read().decode("utf-8", "replace")

    def _constraints(self, wanted):
        """The pinned set that goes with the azureml version asked for; without one, the default's."""
        pinned = any(w.lower().startswith("azureml-") and "==" in w for w in wanted)
        if not pinned:
            self._log.line("azureml packages without a version: taking 0.1.68 and what it was made with")
            return "constraints-azureml-0.1.68.txt"
        return "constraints-azureml.txt"

    def _era(self, folder, wanted):
        """What a channel of October 2018 had of the packages that are asked for without a version."""
        bounded = set(packages.name_of(w) for w in wanted if re.search(r"[=<>!~@]", w))
        with open(self._job.file("constraints-2018.txt")) as f:
            lines = [line.strip() for line in f if "==" in line]
        kept = [line for line in lines if packages.canonical(line.split("==")[0]) not in bounded]
        named = set(packages.canonical(w) for w in wanted)
        taken = [line for line in kept if packages.canonical(line.split("==")[0]) in named]
        if taken:
            self._log.line("without a version, as of October 2018: " + ", ".join(taken))
        path = os.path.join(folder, "constraints-2018.txt")
        with open(path, "w") as f:
            f.write("\n".join(kept) + "\n")
        return path

    def _split(self):
        """(conda specs, pip lines) of the dependencies."""
        specs, lines = [], []
        for dependency in (self._python.get("condaDependencies") or {}).get("dependencies") or []:
            if isinstance(dependency, dict):
                lines += [str(line) for line in dependency.get("pip") or []]
                continue
            try:
                specs.append(packages.Spec(str(dependency)))
            except packages.BadSpec as e:
                raise Failed(str(e))
        return specs, lines

    def files(self):
        """Paths of the requirement files that the dependencies refer to, and of those that these do."""
        found, lines = [], []
        for dependency in (self._python.get("condaDependencies") or {}).get("dependencies") or []:
            if isinstance(dependency, dict):
                lines += [(str(line), self._job.root) for line in dependency.get("pip") or []]
        while lines:
            line, folder = lines.pop(0)
            path = _referred(line, folder)
            if path and path not in found and os.path.isfile(path):
                found.append(path)
                with open(path, "rb") as f:
                    text = f.read().decode("utf-8", "replace")
                lines += [(more, os.path.dirname(path)) for more in text.splitlines()]
        return found

    def _absolute(self, line):
        path = _referred(line, self._job.root)
        if not path:
            return line
        return line.strip().split("=" if "=" in line.split()[0] else None, 1)[0] + " " + path

    def _run(self, command, failure):
        """Runs a command with its output in the log; its last words go into the failure."""
        self._log.line("$ " + " ".join(command))
        mark = os.path.getsize(self._log.path)
        code = self._start(command)
        if self._stopped():
            raise Stopped()
        if code:
            if unreachable(self._log.path, mark):
                failure += ": no package index answers"
            raise Failed("%s: %s" % (failure, last_words(self._log.path, mark) or "exit code %d" % code))


def _names(requirements, package):
    return any(re.match(package + r"\b", w, re.I) for w in requirements)


def _referred(line, folder):
    """Path of the file that a pip line refers to (-r, -c), from a folder; or None."""
    for option in ("-r ", "--requirement ", "--requirement=", "-c ", "--constraint ", "--constraint="):
        if line.strip().startswith(option):
            return os.path.normpath(os.path.join(folder, line.strip()[len(option):].strip()))
    return None


# pip's words and uv's for an index that there is no way to, as apart from one that has not the package.
_NO_WAY = re.compile(r"NewConnectionError|ConnectTimeoutError|ProxyError|Failed to establish a new connection|dns error|"
                     r"Temporary failure in name resolution|Name or service not known|Network is unreachable|"
                     r"tcp connect error|tunnel error|operation timed out|Network connectivity is disabled")


def unreachable(path, mark):
    """Whether a package installer complained, from a place of the log on, that it gets to no index."""
    with open(path, "rb") as f:
        f.seek(mark)
        return bool(_NO_WAY.search(f.read().decode("utf-8", "replace")))


def last_words(path, mark):
    """What a solver said at the end: its ERROR lines, else its last lines."""
    with open(path, "rb") as f:
        f.seek(max(mark, os.path.getsize(path) - 65536))
        lines = [l.strip() for l in f.read().decode("utf-8", "replace").splitlines() if l.strip()]
    errors = [l for l in lines if "error" in l.lower() or l.startswith(("Could not find", "No matching", "cause:", "Because"))]
    return " | ".join((errors or lines)[-4:])[-1500:]


class _Lock(object):
    """A file lock that the kernel lets go when its holder dies."""

    def __init__(self, path, log, stopped):
        self._path, self._log, self._stopped = path, log, stopped

    def __enter__(self):
        said = False
        while True:
            handle = open(self._path, "a")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # "clean" may have removed the file while we waited: then another holds its successor.
                if os.path.exists(self._path) and os.fstat(handle.fileno()).st_ino == os.stat(self._path).st_ino:
                    self._handle = handle
                    return self
            except OSError:
                if not said:
                    said = True
                    self._log.line("Another run is making this environment; waiting for it.")
            handle.close()
            if self._stopped():
                raise Stopped()
            time.sleep(0.2)

    def __exit__(self, *exc):
        self._handle.close()
