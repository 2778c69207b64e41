"""The Spark session that a run's script finds, with its project where Spark looks for relative paths.

Relative paths are of the cluster's default file system for Spark, and of the
working folder for Python. Where these are two, the project is copied to the
first; what Spark writes to outputs there is copied to the second, where outputs
are collected. (The SDK has its own way to collect them from there, for a
AZUREML_TARGET_TYPE of "cluster"; it needs HDInsight's tools to decrypt keys.)
"""
from __future__ import print_function

import os
import shutil
import sys

import spark

OURS = ("azureml-setup", "azureml-logs", "logs", "outputs")


class Session(object):
    """Opened before the script, ended after it."""

    def __init__(self, run_id):
        from pyspark.sql import SparkSession
        self._spark = SparkSession.builder.getOrCreate()
        context = self._spark.sparkContext
        self._path = context._jvm.org.apache.hadoop.fs.Path
        self._fs = self._path(".").getFileSystem(context._jsc.hadoopConfiguration())
        self._folder = None
        print("Spark application %s on %s" % (context.applicationId, context.master))
        sys.stdout.flush()
        if self._fs.getScheme() != "file":
            self._folder = self._path(self._fs.getHomeDirectory(), spark.shared_folder(run_id))
            self._share()

    def _share(self):
        self._fs.mkdirs(self._folder)
        for name in sorted(os.listdir(".")):
            if name not in OURS:
                self._fs.copyFromLocalFile(False, True, self._path("file://" + os.path.abspath(name)), self._path(self._folder, name))
        self._fs.setWorkingDirectory(self._folder)
        print("Relative paths are of %s for Spark" % self._folder.toString())

    def collect(self):
        """Brings what Spark wrote to outputs here."""
        if not self._folder:
            return
        there = self._path(self._folder, "outputs")
        if not self._fs.exists(there):
            return
        for status in self._fs.listStatus(there):
            name = status.getPath().getName()
            self._fs.copyToLocalFile(False, status.getPath(), self._path("file://" + os.path.abspath(os.path.join("outputs", name))), True)

    def leave(self, *files):
        """Puts files where the control script of the run finds them."""
        if self._folder and not self._gone():
            for name in files:
                if os.path.exists(name):
                    self._fs.copyFromLocalFile(False, True, self._path("file://" + os.path.abspath(name)),
                                               self._path(self._folder, os.path.basename(name)))

    def remove(self):
        if self._folder and not self._gone():
            self._fs.delete(self._folder, True)

    def _gone(self):
        # The script may have stopped Spark; its Java goes on.
        try:
            self._fs.exists(self._folder)
            return False
        except Exception:
            return True


def copy(source, target):
    """A folder of YARN's, which others see too, as one of our own."""
    if os.path.isdir(source):
        shutil.copytree(source, target)
    else:
        os.makedirs(target)
