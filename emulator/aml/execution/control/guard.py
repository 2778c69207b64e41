"""Outlives the control script: when that dies without a word (kill -9), ends the
user's processes and reports the run as failed.

Started by the control script with a pipe as stdin. Each line read is a process
group of the user's; the line "done" means that all is reported. The end of the
pipe without it means that the control script is gone.
"""
import glob
import os
import shutil
import signal
import sys

import daemon
import job as jobs
import processes
import service
import spark

REASON = ("The run's control script was killed before it could tell how the script ended. "
          "What was left of the run was ended; submit it again.")


def main():
    os.setsid()
    setup = os.path.dirname(os.path.abspath(__file__))
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = []
    for line in sys.stdin:
        word = line.strip()
        if word == "done":
            return
        groups.append(int(word))
    job = jobs.Job(setup, part)

    def victims():
        # Where the run is divided, other parts of it carry the same mark.
        marked = set() if part else set(_marked(job.runId))
        return [p for p in set(processes.below((), groups)) | marked if p != os.getpid()]

    if job.docker:
        remove_containers(job)
    processes.kill_tree(victims, grace=1.0)
    if job.spark:
        spark.end(setup)
    if job.ordered:
        return  # how the order ended, its target tells
    state = {"phase": "ended", "status": "Failed", "reported": False,
             "error": {"code": "ServiceError", "message": REASON}}
    try:
        service.Service(job).event("Failed", EndTime=service.now(),
                                   Error={"Code": "ServiceError", "Message": REASON})
        state["reported"] = True
    except (service.Refused, service.GaveUp):
        pass
    jobs.write_json(os.path.join(setup, "state.json"), state)
    for name in ("credentials.json", "curl.conf"):
        try:
            os.unlink(os.path.join(setup, name))
        except OSError:
            pass


def remove_containers(job):
    """What the control script would have done at its end."""
    for pattern in ("docker-config-*", "image-*"):
        for path in glob.glob(job.file(pattern)):
            shutil.rmtree(path, ignore_errors=True)
    try:
        docker = daemon.Daemon()
    except daemon.Failed:
        return
    image = docker.image_of_run(job)
    docker.remove_run(job)
    if image:
        docker.give_back(image, job)


def _marked(run_id):
    """Processes that carry the run's id in their environment (Linux)."""
    marker = ("AZUREML_RUN_ID=" + run_id).encode("utf-8")
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open("/proc/%s/environ" % name, "rb") as f:
                    if marker in f.read().split(b"\0"):
                        yield int(name)
            except OSError:
                pass


if __name__ == "__main__":
    main()
