"""Process trees: the user's script with all that it started."""
import ctypes
import os
import signal
import subprocess
import time

GRACE = 5.0


def adopt_orphans():
    """Makes orphans below us our children (Linux), so that none is lost from the tree."""
    try:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except (AttributeError, OSError):
        pass


def table():
    """pid -> (parent pid, process group), zombies left out."""
    return dict((pid, row[:2]) for pid, row in _rows().items() if row[2] != "Z")


def _rows():
    """pid -> (parent pid, process group, state letter)."""
    rows = {}
    if not os.path.isdir("/proc/self"):
        ps = subprocess.Popen(["ps", "-axo", "pid=,ppid=,pgid=,stat="], stdout=subprocess.PIPE)
        for line in ps.communicate()[0].decode("ascii", "replace").splitlines():
            fields = line.split()
            if len(fields) == 4 and int(fields[0]) != ps.pid:
                rows[int(fields[0])] = (int(fields[1]), int(fields[2]), fields[3][0])
        return rows
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as f:
                # The command, in parentheses, may hold blanks.
                fields = f.read().rsplit(b")", 1)[1].split()
            rows[int(name)] = (int(fields[1]), int(fields[2]), fields[0].decode("ascii"))
        except (OSError, IndexError):
            continue
    return rows


def below(roots, groups=(), but=()):
    """Pids of the trees under roots, and of the process groups; those in but (with their trees) left out."""
    rows = table()
    found = set()
    frontier = set(p for p in roots if p not in but)
    while frontier:
        found |= frontier
        frontier = set(p for p, (parent, _) in rows.items()
                       if parent in frontier and p not in found and p not in but)
    found |= set(p for p, (_, group) in rows.items() if group in groups)
    return [p for p in found if p in rows and p not in but]


def kill_tree(victims, grace=GRACE):
    """Ends what victims() lists: SIGTERM, then SIGKILL after grace seconds. Asks anew until none is left."""
    send(victims(), signal.SIGTERM)
    deadline = time.time() + grace
    while time.time() < deadline:
        reap()
        if not victims():
            return
        time.sleep(0.05)
    deadline = time.time() + 10
    while time.time() < deadline:
        left = victims()
        if not left:
            return
        send(left, signal.SIGKILL)
        reap()
        time.sleep(0.05)


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


_kept = set()


def keep(pid):
    """Leaves the exit code of this child to whoever started it."""
    _kept.add(pid)


def reap():
    """Collects adopted children that ended, so that they do not stay as zombies."""
    me = os.getpid()
    for pid, (parent, _, state) in _rows().items():
        if parent == me and state == "Z" and pid not in _kept:
            try:
                os.waitpid(pid, os.WNOHANG)
            except OSError:
                pass


def describe_exit(code):
    """Words for a Popen.returncode that is not 0."""
    if code < 0:
        return "killed by signal %d%s" % (-code, _signal_name(-code))
    return "exited with code %d" % code


def _signal_name(number):
    try:
        return " (%s)" % signal.Signals(number).name
    except ValueError:
        return ""
