"""The numbered logs: written to files, and from there sent to the artifact service.

The user's script writes straight into its log file, so nothing that it prints
waits for the network and nothing is held in memory but one batch. There is
no cap: all of the file is sent.
"""
import os
import threading
import time

import service

BATCH = 4 << 20
INTERVAL = 1.0


class Log(object):
    """One log file of ours."""

    def __init__(self, path):
        self.path = path
        self._lock = threading.Lock()
        self._file = open(path, "ab", 0)

    def line(self, text):
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self.write("".join("[%s] %s\n" % (stamp, part) for part in (text.splitlines() or [""])))

    def write(self, text):
        with self._lock:
            self._file.write(text.encode("utf-8", "replace"))

    def fileno(self):
        return self._file.fileno()


class Streamer(threading.Thread):
    """Sends what is appended to files as artifacts of the same name, about once a second."""

    def __init__(self, svc, root, problem):
        threading.Thread.__init__(self)
        self.daemon = True
        self._service = svc
        self._root = root
        self._problem = problem  # told, once for each file, what could not be sent
        self._lock = threading.Lock()
        self._files = []
        self._finish = threading.Event()
        self.complete = True

    def follow(self, path, anew=False):
        """Begins to send a file; anew: what has its name now is another attempt's."""
        artifact = os.path.relpath(path, self._root).replace(os.sep, "/")
        if anew:
            try:
                self._service.forget_artifact(artifact)
            except (service.Refused, service.GaveUp) as e:
                self._problem("The log %s of an earlier attempt could not be removed: %s" % (artifact, e))
        with self._lock:
            self._files.append(_Followed(path, artifact))

    def run(self):
        while True:
            last = self._finish.is_set()
            with self._lock:
                files = list(self._files)
            for followed in files:
                self._send(followed)
            if last:
                return
            self._finish.wait(INTERVAL)

    def finish(self):
        """Returns when all that was written has been sent, or the service given up."""
        self._finish.set()
        self.join()

    def _send(self, followed):
        while not followed.broken:
            with open(followed.path, "rb") as f:
                f.seek(followed.offset)
                data = f.read(BATCH)
            if not data:
                return
            try:
                # A repeated index is the same batch again: the service keeps one.
                self._service.append_artifact(followed.artifact, followed.index, data)
            except (service.Refused, service.GaveUp) as e:
                followed.broken = True
                self.complete = False
                self._problem("The log %s could not be sent any further: %s" % (followed.artifact, e))
                return
            followed.offset += len(data)
            followed.index += 1


class _Followed(object):
    def __init__(self, path, artifact):
        self.path = path
        self.artifact = artifact
        self.offset = 0
        self.index = 0
        self.broken = False
