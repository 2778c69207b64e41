"""The first process in a run's container: starts the command, and sees to its end.

Reads from stdin one line of JSON, the command and its variables, so that no
secret of the run is on a command line, in docker inspect or on a disk. The
open stdin is also the sign that somebody is waiting for this run: when the
control script outside is gone for good, the command is ended. Runs under any
Python from 2.7 on.
"""
from __future__ import print_function

import json
import os
import signal
import sys
import threading
import time

GRACE = 5.0
FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def main():
    launch = json.loads(read_line().decode("utf-8"))
    environ = dict(os.environ)
    for name, value in launch["environment"].items():
        environ[native(name)] = native(value)
    if launch["path"]:
        environ["PATH"] = native(launch["path"]) + os.pathsep + environ.get("PATH", os.defpath)
    command = [native(word) for word in launch["command"]]
    child = os.fork()
    if child == 0:
        run(command, environ)
    for name in FORWARDED:
        signal.signal(getattr(signal, name), lambda number, _: send(child, number))
    watch = threading.Thread(target=end_when_alone, args=(child,))
    watch.daemon = True
    watch.start()
    # Orphans come to the first process of a container; none may stay as a zombie.
    while True:
        try:
            pid, status = os.wait()
        except OSError as e:
            if e.errno == 4:  # EINTR, before Python 3.5
                continue
            raise
        if pid == child:
            break
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # What the command left running ends with us. No cleaning up of threads: one reads stdin.
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def run(command, environ):
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.execvpe(command[0], command, environ)
    except BaseException as e:
        os.write(2, ("%s could not be started: %s\n" % (command[0], e)).encode("utf-8", "replace"))
        os._exit(127)


def read_line():
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            sys.exit("nothing came on stdin")
        data += piece
    return data


def end_when_alone(child):
    while os.read(0, 1 << 16):
        pass
    send(child, signal.SIGTERM)
    time.sleep(GRACE)
    send(child, signal.SIGKILL)


def send(child, number):
    try:
        os.killpg(child, number)
    except OSError:
        pass


def native(value):
    if sys.version_info[0] < 3:
        return value.encode("utf-8")
    return value


if __name__ == "__main__":
    main()
