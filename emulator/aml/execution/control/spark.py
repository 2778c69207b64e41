"""Apache Spark as this machine, or this image, has it: where, which Pythons go with it, and its applications on YARN."""
from __future__ import print_function

import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

# What is installed from PyPI where no Spark is: the last line of versions that runs on a Java of 8 to 17.
REQUIREMENT = "pyspark>=3.5,<3.6"
# Minor version of Spark -> lowest and highest Python that its pyspark works with.
PYTHONS = {"2.1": ((2, 7), (3, 5)), "2.2": ((2, 7), (3, 6)), "2.3": ((2, 7), (3, 6)), "2.4": ((2, 7), (3, 7)),
           "3.0": ((2, 7), (3, 8)), "3.1": ((3, 6), (3, 9)), "3.2": ((3, 6), (3, 10)), "3.3": ((3, 7), (3, 10)),
           "3.4": ((3, 7), (3, 11)), "3.5": ((3, 8), (3, 11)), "4.0": ((3, 9), (3, 13))}
HOMES = ("/usr/hdp/current/spark2-client", "/usr/hdp/current/spark-client", "/spark", "/opt/spark", "/usr/local/spark",
         "/dsvm/tools/spark/current")
_LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")


class NoSpark(Exception):
    """There is no Spark; the text says where it was looked for."""


def home(environ, lent=None):
    """SPARK_HOME of a Spark that is installed apart from any Python environment, or None. lent is a folder
    that has one where the machine is the emulator's own; it comes last."""
    places = [environ.get("SPARK_HOME")]
    command = _which("spark-submit", environ)
    if command:
        places.append(os.path.dirname(os.path.dirname(os.path.realpath(command))))
    for place in places + list(HOMES) + [lent]:
        if place and os.access(os.path.join(place, "bin", "spark-submit"), os.X_OK):
            return place
    return None


def own_home():
    """SPARK_HOME of the pyspark in the environment of this interpreter. Raises NoSpark."""
    for folder in sys.path:
        place = os.path.join(folder, "pyspark")
        if os.access(os.path.join(place, "bin", "spark-submit"), os.X_OK):
            return place
    raise NoSpark("There is no Spark on this machine (no SPARK_HOME, no spark-submit on the PATH), nor is pyspark a package "
                  "of the run's environment.")


def version(place):
    """Version of the Spark in a folder, or None when it does not tell."""
    for name in ("version.py", os.path.join("python", "pyspark", "version.py")):
        try:
            with io.open(os.path.join(place, name), encoding="utf-8") as f:
                found = re.search(r"__version__\s*(?::\s*str\s*)?=\s*[\"']([0-9][^\"']*)", f.read())
        except (IOError, OSError):
            continue
        if found:
            return found.group(1)
    return None


def scala(place):
    """Version of Scala (2.12) that the Spark in a folder is built with, or None."""
    folder = os.path.join(place, "jars")
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        found = re.match(r"scala-library-(\d+\.\d+)\.", name)
        if found:
            return found.group(1)
    return None


def pythons(spark):
    """(lowest, highest) Python of a version of Spark; None: any is tried."""
    return PYTHONS.get(".".join((spark or "").split(".")[:2]))


def check_python(spark):
    """Raises NoSpark when this interpreter is none that a version of Spark works with."""
    low, high = pythons(spark) or ((0,), (99,))
    if not low <= tuple(sys.version_info[:2]) <= high:
        raise NoSpark("Spark %s works with Python %d.%d to %d.%d, and the run's interpreter is Python %s (%s)."
                      % ((spark,) + low + high + (sys.version.split()[0], sys.executable)))


def java(environ):
    """Path of the Java that Spark will find, or None."""
    if environ.get("JAVA_HOME"):
        path = os.path.join(environ["JAVA_HOME"], "bin", "java")
        return path if os.access(path, os.X_OK) else None
    return _which("java", environ)


def _which(name, environ):
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    # A login shell may have made PATH anew: Hadoop's commands are beside its configuration, too.
    folders += [os.path.join(os.path.dirname(environ[v].rstrip("/")), "bin") for v in ("HADOOP_CONF_DIR", "YARN_CONF_DIR") if environ.get(v)]
    for folder in folders:
        path = os.path.join(folder, name)
        if folder and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


# -- YARN ----------------------------------------------------------------------
def configuration(environ, name):
    """Properties of one of Hadoop's files of configuration; {} when it is not there."""
    for variable in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        folder = environ.get(variable) or "/etc/hadoop/conf"
        try:
            root = xml.etree.ElementTree.parse(os.path.join(folder, name)).getroot()
        except (IOError, OSError, xml.etree.ElementTree.ParseError):
            continue
        return dict((p.findtext("name"), p.findtext("value")) for p in root.iter("property"))
    return {}


def own_master(environ, place=None):
    """URL of Spark's own master where a cluster has that in the place of YARN, or None."""
    if configuration(environ, "yarn-site.xml"):
        return None
    found = re.search(r"(?m)^spark\.master[ =\t]+(spark://\S+)", defaults(environ, place))
    return found.group(1) if found else None


def defaults(environ, place=None):
    """Text of spark-defaults.conf; of the Spark in a folder where nothing else is said."""
    folder = environ.get("SPARK_CONF_DIR") or os.path.join(place or "", "conf")
    try:
        with io.open(os.path.join(folder, "spark-defaults.conf"), encoding="latin-1") as f:
            return f.read()
    except (IOError, OSError):
        return ""


def one_machine(environ):
    """Whether all of the cluster is this machine: nobody else reaches a resource manager on the loopback."""
    site = configuration(environ, "yarn-site.xml")
    host = site.get("yarn.resourcemanager.hostname") or site.get("yarn.resourcemanager.address") or ""
    return not site or host.startswith(_LOOPBACK)


def on_loopback(url):
    """Whether a URL leads to the machine itself."""
    host = (url or "").split("://")[-1]
    return host.startswith(_LOOPBACK)


def shared_folder(run_id):
    """Where the run's files are in the cluster's file system, from the user's home there."""
    return "azureml_runs/" + run_id


def tag(run_id):
    """By which the run's application is known to YARN."""
    return "azureml-" + run_id


def end(setup):
    """Ends the run's application on YARN, if there is one; returns its id, or None."""
    try:
        with io.open(os.path.join(setup, "job.json"), encoding="utf-8") as f:
            job = json.load(f)
    except (IOError, OSError, ValueError):
        return None
    yarn = _which("yarn", os.environ)
    if not (job.get("spark") or {}).get("yarn") or not yarn:
        return None
    found = _submitted(os.path.dirname(setup)) or _listed(yarn, job["runId"])
    if found:
        _call([yarn, "application", "-kill", found])
    return found


def remove_shared(job):
    """Takes away what the driver did not come to take from the cluster's file system."""
    hdfs = _which("hdfs", os.environ)
    if hdfs and _apart(os.environ):
        _call([hdfs, "dfs", "-rm", "-r", "-f", "-skipTrash", shared_folder(job.runId)])


def shared_file(job, name):
    """Content of a file that the driver left for us in the cluster's file system, or None."""
    hdfs = _which("hdfs", os.environ)
    return _call([hdfs, "dfs", "-cat", shared_folder(job.runId) + "/" + name]) if hdfs and _apart(os.environ) else None


def _apart(environ):
    """Whether the cluster's file system is another than its machines'."""
    return not configuration(environ, "core-site.xml").get("fs.defaultFS", "file:").startswith("file:")


def _submitted(root):
    folder = os.path.join(root, "azureml-logs")
    for name in ("70_spark_submit_log.txt", "80_driver_log.txt"):
        try:
            with io.open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                for line in f:
                    found = re.search(r"Submitted application (application_\d+_\d+)", line)
                    if found:
                        return found.group(1)
        except (IOError, OSError):
            pass
    return None


def _listed(yarn, run_id):
    said = _call([yarn, "application", "-list", "-appStates", "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING", "-appTags", tag(run_id)])
    found = re.search(r"application_\d+_\d+", said or "")
    return found.group(0) if found else None


def _call(command):
    """What a command of Hadoop's prints, or None when it fails."""
    environ = dict(os.environ)
    environ.pop("AZUREML_RUN_ID", None)  # it is no process of the run
    try:
        child = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        out = child.communicate(timeout=60)[0]
    except (OSError, subprocess.SubprocessError):
        return None
    return out.decode("utf-8", "replace") if child.returncode == 0 else None


def pack(folder, path):
    """Packs an environment for the other machines of a cluster, once."""
    if not os.path.exists(path):
        made = shutil.make_archive(path + ".%d" % os.getpid(), "gztar", folder)
        os.rename(made, path)
    return path


if __name__ == "__main__":
    end(sys.argv[1])
