"""Makes the run's environment inside a container, of which docker commit makes the run's image.

Started there by the control script outside (images.py), with nothing around
it but the files that were copied in beside it. They are gone when it ends well.
"""
import os
import shutil
import subprocess
import sys

SETUP = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, SETUP)

import environment  # noqa: E402
import job as jobs  # noqa: E402


class Console(object):
    """A log that is this container's output, and a file that failures are looked up in."""

    def __init__(self, path):
        self.path = path
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
            child = subprocess.Popen(command, cwd=os.path.dirname(SETUP), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as e:
            raise environment.Failed("%s could not be started: %s" % (command[0], e))
        for line in iter(child.stdout.readline, b""):
            self.write(line)
        return child.wait()


def main():
    folder = os.path.dirname(SETUP)
    job = jobs.Job(SETUP)
    os.environ.update(job.environ)
    made = environment.Environment(job, Console(os.path.join(folder, "build.log")), lambda: False, None)
    made.lent = job.lent
    made._start = made._log.run
    try:
        made.build(job.folder)
    except environment.Failed as e:
        with open(os.path.join(folder, "failure.txt"), "wb") as f:
            f.write(str(e).encode("utf-8"))
        sys.exit(1)
    os.chdir("/")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
