"""The driver's hands on a remote machine: sent over SSH to "python3 -", never installed.

    unpack DIR          unpack azureml-setup/{project,setup}.zip into the run's folder
    follow DIR          print azureml-setup/state.json, one line a change, until the run ended or is gone
    cancel DIR RUNID    have the run end; what does not end by itself is killed
    started DIR         whether a control script ever took up the run
    clean DIR...        remove run folders; "--all" also the environments
    diagnostics DIR     the run's folder as a zip, without its secrets
"""
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile

SECRETS = ("credentials.json", "curl.conf", "project.zip", "setup.zip")
# How long a run's own guard may take to report what killed the control script.
GUARD = 6.0
START = 30.0
# How long a cancelled run may take to end by itself.
GRACE = 15.0


def unpack(run):
    setup = os.path.join(run, "azureml-setup")
    for name, mask in (("project.zip", 0o755), ("setup.zip", 0o700)):
        path = os.path.join(setup, name)
        if not os.path.exists(path):
            continue
        with zipfile.ZipFile(path) as z:
            for info in z.infolist():
                mode = info.external_attr >> 16
                if stat.S_ISLNK(mode):
                    raise SystemExit("symbolic link in %s: %s" % (name, info.filename))
                target = z.extract(info, run)
                if mode and not os.path.isdir(target):
                    os.chmod(target, (mode & 0o777 & mask) | 0o600)
        os.unlink(path)
    for name in ("credentials.json", "curl.conf"):
        if os.path.exists(os.path.join(setup, name)):
            os.chmod(os.path.join(setup, name), 0o600)


def alive(setup):
    """Whether a control script holds the run's lock."""
    try:
        handle = os.open(os.path.join(setup, "control.lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


def read_state(setup):
    try:
        with open(os.path.join(setup, "state.json")) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def follow(run):
    setup = os.path.join(run, "azureml-setup")
    shown, beat = None, time.time()
    since = time.time()
    while True:
        state = read_state(setup)
        living = alive(setup)
        if living:
            since = time.time()
        if state != shown:
            shown = state
            say(state)
        if state.get("phase") == "ended" and not living:
            return
        if not living and time.time() - since > (GUARD if state else START):
            say({"phase": "gone", "said": tail(os.path.join(setup, "control.out"))})
            return
        if time.time() - beat > 10:
            beat = time.time()
            say({})
        time.sleep(0.1)


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def tail(path):
    try:
        with open(path, "rb") as f:
            return f.read()[-2000:].decode("utf-8", "replace")
    except OSError:
        return ""


def cancel(run, run_id):
    setup = os.path.join(run, "azureml-setup")
    if not os.path.isdir(setup):
        return
    with open(os.path.join(setup, "killfile"), "w") as f:
        f.write(run_id)
    deadline = time.time() + GRACE
    while alive(setup) and time.time() < deadline:
        time.sleep(0.1)
    kill(setup, run_id)


def started(run):
    say(bool(read_state(os.path.join(run, "azureml-setup"))))


def kill(setup, run_id):
    end_application(setup)
    remove_containers(setup)
    for _ in range(50):
        left = [p for p in marked(run_id) if p != os.getpid()]
        if alive(setup):
            left.append(read_state(setup).get("pid"))
        left = [p for p in left if p]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.1)
    raise SystemExit("processes of the run are still there: %s" % left)


def end_application(setup):
    """The run's application on YARN that its control script did not come to end."""
    path = os.path.join(setup, "spark.py")
    try:
        with open(os.path.join(setup, "job.json")) as f:
            wanted = json.load(f).get("spark") and read_state(setup).get("phase") != "ended"
    except (OSError, ValueError):
        return
    if wanted and os.path.exists(path):
        subprocess.call([sys.executable, path, setup], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def remove_containers(setup):
    """Containers of the run that its control script did not come to end."""
    try:
        with open(os.path.join(setup, "job.json")) as f:
            wanted = json.load(f).get("docker")
    except (OSError, ValueError):
        return
    docker = shutil.which("docker") if wanted else None
    if not docker:
        return
    listed = subprocess.Popen([docker, "ps", "-aq", "--filter", "label=dev.lazulite.setup=" + os.path.realpath(setup)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    found = listed.communicate()[0].decode("ascii", "replace").split()
    if found:
        subprocess.call([docker, "rm", "-f", "-v"] + found, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def marked(run_id):
    marker = ("AZUREML_RUN_ID=" + run_id).encode("utf-8")
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/environ" % name, "rb") as f:
                    if marker in f.read().split(b"\0"):
                        yield int(name)
            except OSError:
                pass


def clean(*runs):
    done = []
    for run in runs:
        if run == "--all":
            home = os.path.expanduser("~")
            base = os.path.join(home, "azureml_runs")
            found = [os.path.join(base, n) for n in sorted(os.listdir(base))] if os.path.isdir(base) else []
            done += remove_runs(found)
            for folder in ("envs", "locks"):
                path = os.path.join(home, ".azureml", folder)
                if os.path.isdir(path):
                    shutil.rmtree(path)
                    done.append("Removed managed environment directory " + path)
        else:
            done += remove_runs([run])
    say(done)


def remove_runs(runs):
    done = []
    for run in runs:
        if os.path.isdir(run) and not alive(os.path.join(run, "azureml-setup")):
            shutil.rmtree(run)
            done.append("Removed temporary run directory " + run)
    return done


def diagnostics(run):
    if not os.path.isdir(run):
        raise SystemExit("the folder %s is not there" % run)
    base = os.path.basename(run)
    with tempfile.TemporaryFile() as out:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as z:
            for where, _, names in os.walk(run):
                for name in names:
                    full = os.path.join(where, name)
                    if os.path.isfile(full) and not (name in SECRETS and where.endswith("azureml-setup")):
                        z.write(full, os.path.join(base, os.path.relpath(full, run)))
        out.seek(0)
        shutil.copyfileobj(out, sys.stdout.buffer)


if __name__ == "__main__":
    {"unpack": unpack, "started": started, "follow": follow, "cancel": cancel, "clean": clean,
     "diagnostics": diagnostics}[sys.argv[1]](*sys.argv[2:])
