"""Becomes the spark-submit of a run: started by the control script, in the run's environment, where the script is to run.

    spark_submit.py LAUNCH.json

What goes to driver and executors (variables, the run's token among them) is
in a file of properties that its owner alone can read, and so is on no command
line. That file takes the place of spark-defaults.conf, whose content it begins
with.
"""
from __future__ import print_function

import io
import json
import os
import re
import shutil
import sys
import zipfile

SETUP = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, SETUP)

import spark  # noqa: E402

ENVIRONMENT, PROJECT = "azureml-environment", "azureml-project"
# Not the project's own.
OURS = ("azureml-setup", "azureml-logs", "logs", "outputs")
DRIVER_FILES = ("run_script.py", "spark_driver.py", "spark_session.py", "spark.py", "service.py", "logs.py", "job.py",
                "outputs.py", "blobs.py", "launch.json", "job.json", "ca-bundle.pem")


def main():
    with io.open(sys.argv[1], encoding="utf-8") as f:
        launch = json.load(f)
    wanted = launch["spark"]
    environ = dict(os.environ)
    try:
        home = spark.home(environ, wanted["home"]) or spark.own_home()
        if not spark.java(environ):
            raise spark.NoSpark("Spark needs a Java, and there is none where the run is (no JAVA_HOME, no java on the PATH).")
        spark.check_python(spark.version(home))
        environ["SPARK_HOME"] = home
        submission = Submission(launch, wanted, home, environ)
    except spark.NoSpark as e:
        print(e, file=sys.stderr)
        write(launch["failure"], {"type": "", "message": str(e), "code": 1})
        return 1
    command = submission.command()
    write(launch["substitutions"], {"notes": submission.notes})
    sys.stdout.flush()
    environ["PYSPARK_PYTHON"] = submission.python
    environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.execve(command[0], command, environ)


def write(path, value):
    with io.open(path, "wb") as f:
        f.write(json.dumps(value).encode("ascii"))


class Submission(object):
    """One call of spark-submit. Its notes tell what is otherwise than asked for, or than it was in 2018."""

    def __init__(self, launch, wanted, home, environ):
        self._launch, self._wanted, self._home, self._environ = launch, wanted, home, environ
        master = spark.own_master(environ, home) if wanted["yarn"] else None
        self._yarn = wanted["yarn"] and not master
        # Whoever is elsewhere has none of this machine's files.
        self._apart = self._yarn and not spark.one_machine(environ)
        self._root = os.path.dirname(SETUP)
        self._files, self._archives = [], []
        self.notes = []
        self._note_version()
        if master and not spark.on_loopback(master):
            raise spark.NoSpark("The cluster has no YARN, and nodes that are machines of their own: runs of PySpark need YARN there.")
        if master:
            self.notes.append("The cluster has no YARN: Spark's own master, %s, takes its place, with the driver on the head node" % master)
        self.python = sys.executable
        if self._apart and wanted["managed"]:
            self.python = "./%s/bin/python" % ENVIRONMENT

    def command(self):
        packed = self._pack_project()
        command = [os.path.join(self._home, "bin", "spark-submit")]
        if self._yarn:
            command += ["--master", "yarn", "--deploy-mode", self._wanted["deployMode"]]
        packages = [p for p in self._wanted["packages"] if self._fits(p)]
        for option, values in (("--packages", packages), ("--repositories", packages and self._wanted["repositories"])):
            if values:
                command += [option, ",".join(values)]
        if packed:
            command += ["--py-files", packed]
        cluster = self._yarn and self._wanted["deployMode"] == "cluster"
        if cluster:
            self._archives.append(self._pack_driver() + "#azureml-setup")
            if packed:
                # Under another name: YARN takes each file once, and would leave it out of the one list or the other.
                shutil.copyfile(packed, os.path.join(SETUP, "project-files.zip"))
                self._archives.append(os.path.join(SETUP, "project-files.zip") + "#" + PROJECT)
        bundle = os.path.join(SETUP, "ca-bundle.pem")
        if self._apart and os.path.exists(bundle):
            self._files.append(bundle)
        if self._apart and self._wanted["managed"]:
            prefix = os.path.realpath(sys.prefix)
            self._archives.append(spark.pack(prefix, prefix + ".tar.gz") + "#" + ENVIRONMENT)
        command += ["--properties-file", self._properties(cluster)]
        for option, values in (("--files", self._files), ("--archives", self._archives)):
            if values:
                command += [option, ",".join(values)]
        for name in sorted(self._wanted["configuration"]):
            command += ["--conf", "%s=%s" % (name, self._wanted["configuration"][name])]
        if cluster:
            return command + [os.path.join(SETUP, "spark_driver.py")]
        return command + [os.path.join(SETUP, "run_script.py"), sys.argv[1]]

    def _note(self, text):
        print(text)
        self.notes.append(text)

    def _note_version(self):
        version = spark.version(self._home) or "of an unknown version"
        text = "Spark %s in %s, Scala %s, Python %s" % (version, self._home, spark.scala(self._home) or "of an unknown version",
                                                        sys.version.split()[0])
        if version.split(".")[0] in ("1", "2"):
            print(text)
        else:
            self._note("%s: the script runs with it in the place of the Spark 2 that targets of 2018 had" % text)

    def _fits(self, package):
        """Whether a package is of this Spark's Scala. The SDK of 2018 asks for one of 2.11 on its own account."""
        have, wanted = spark.scala(self._home), re.search(r"_(2\.\d+)$", package.split(":")[1])
        if not have or not wanted or wanted.group(1) == have:
            return True
        self._note("The package %s is built for Scala %s, and this Spark for Scala %s: it is left out" % (package, wanted.group(1), have))
        return False

    def _pack_project(self):
        """A zip of the project, for those who import of it, or have to have all of it, elsewhere."""
        path = os.path.join(SETUP, PROJECT + ".zip")
        count = 0
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as z:
            for folder, folders, names in os.walk(self._root):
                if folder == self._root:
                    folders[:] = [name for name in folders if name not in OURS]
                for name in names:
                    full = os.path.join(folder, name)
                    if os.path.isfile(full):
                        z.write(full, os.path.relpath(full, self._root))
                        count += 1
        return path if count else None

    def _pack_driver(self):
        """A zip of what the driver needs of ours in its container; its token is there, as it is in the driver's variables."""
        path = os.path.join(SETUP, "spark-driver.zip")
        with zipfile.ZipFile(os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"), "w", zipfile.ZIP_DEFLATED) as z:
            for name in DRIVER_FILES:
                full = os.path.join(SETUP, name)
                if os.path.exists(full):
                    z.write(full, name)
            with io.open(os.path.join(SETUP, "credentials.json"), encoding="utf-8") as f:
                secrets = json.load(f)
            kept = dict((n, secrets[n]) for n in ("token", "tokenExpiry") if n in secrets)
            z.writestr("credentials.json", json.dumps(kept))
        return path

    def _properties(self, cluster):
        lines = [spark.defaults(self._environ, self._home).encode("ascii", "backslashreplace").decode("ascii")]
        add = lambda name, value: lines.append("%s=%s" % (escaped(name, True), escaped(value, False)))
        variables = dict((name, self._environ[name]) for name in self._wanted["variables"] if name in self._environ)
        if self._apart:
            for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
                if name in variables:
                    variables[name] = "ca-bundle.pem"
            for name in ("HTTPS_PROXY", "https_proxy"):
                if spark.on_loopback(variables.get(name)):
                    del variables[name]  # it leads away from this machine alone: the others have what is theirs
        # Each Python of the executors is started by a process that was not started here.
        prefixes = ["spark.executorEnv."] + (["spark.yarn.appMasterEnv."] if cluster else [])
        for prefix in prefixes:
            for name, value in sorted(variables.items()):
                add(prefix + name, value)
            add(prefix + "PYSPARK_PYTHON", self.python)
        if cluster:
            add("spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON", self.python)
        if self._yarn:
            add("spark.yarn.tags", spark.tag(self._wanted["runId"]))
            # A second attempt would log all metrics once more; who wants it says so.
            add("spark.yarn.maxAppAttempts", "1")
            if cluster:
                add("spark.yarn.submit.waitAppCompletion", "true")
                add("spark.yarn.report.interval", "200ms")
        path = os.path.join(SETUP, "spark.properties")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
            f.write(("\n".join(lines) + "\n").encode("ascii"))
        return path


def escaped(text, key):
    """A name or a value as Java's properties files have it."""
    out = []
    for i, c in enumerate(u"%s" % text):
        if c == "\\" or key and c in " :=#!" or c == " " and i == 0:
            out.append("\\" + c)
        elif c in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[c])
        elif " " <= c <= "~":
            out.append(c)
        else:
            code = c.encode("utf-16-be")
            pairs = bytearray(code)
            out += ["\\u%02x%02x" % (pairs[j], pairs[j + 1]) for j in range(0, len(pairs), 2)]
    return "".join(out)


if __name__ == "__main__":
    sys.exit(main())
