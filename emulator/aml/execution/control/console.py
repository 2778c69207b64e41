"""The log of what makes an environment inside a container."""
import subprocess
import sys

import environment


class Console(object):
    """A log that is this container's output, and a file that failures are looked up in."""

    def __init__(self, path, folder=None):
        self.path = path
        self._folder = folder  # in which commands run
        self._file = open(path, "ab", 0)

    def line(self, text):
        self.write((text + "\n").encode("utf-8", "replace"))

    def write(self, data):
        self._file.write(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def run(self, command):
        """Runs a command with its output here; returns its exit code."""
        try:
            child = subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as e:
            raise environment.Failed("%s could not be started: %s" % (command[0], e))
        for line in iter(child.stdout.readline, b""):
            self.write(line)
        return child.wait()
