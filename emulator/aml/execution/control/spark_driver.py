"""The driver of a run in its container on YARN (deploy mode cluster).

What the control script does elsewhere, and can't do from another machine, is
done here: the log and the outputs are sent, and what the script failed of is
left where the control script finds it.
"""
from __future__ import print_function

import os
import shutil
import sys
import threading

SETUP = os.path.join(os.getcwd(), "azureml-setup")
RUN = os.path.join(os.getcwd(), "azureml-run")
sys.path.insert(0, SETUP)

import job as jobs  # noqa: E402
import logs  # noqa: E402
import outputs  # noqa: E402
import run_script  # noqa: E402
import service  # noqa: E402
import spark_session  # noqa: E402

REFRESH = 24.0


def main():
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        if os.environ.get(name) == "ca-bundle.pem":
            os.environ[name] = os.path.abspath("ca-bundle.pem")
    spark_session.copy("azureml-project", RUN)
    setup = os.path.join(RUN, "azureml-setup")
    shutil.copytree(SETUP, setup)
    os.chdir(RUN)
    for name in ("azureml-logs", "logs", "outputs"):
        os.mkdir(name)
    job = jobs.Job(setup)
    job.proxy = os.environ.get("HTTPS_PROXY")  # this machine's own, where it is not the one that submitted
    launch = jobs.read_json(job.file("launch.json"))
    head = os.path.dirname(launch["failure"])
    launch.update(tracking=job.file("tracking.json"), failure=job.file("failure.json"))
    jobs.write_json(job.file("launch.json"), launch)
    log = logs.Log(os.path.join(RUN, "azureml-logs", "80_driver_log.txt"))
    for number in (1, 2):
        os.dup2(log.fileno(), number)
    svc = service.Service(job, log.line)
    streamer = logs.Streamer(svc, RUN, log.line)
    streamer.follow(log.path, True)
    streamer.start()
    done = threading.Event()
    beat = threading.Thread(target=refresh, args=(svc, done))
    beat.daemon = True
    beat.start()
    code = run(job, svc, log, launch)
    streamer.finish()
    done.set()
    report = [job.file(name) for name in ("failure.json", "tracking.json") if os.path.exists(job.file(name))]
    if os.path.isdir(head):
        for path in report:  # it is this machine's
            shutil.copy(path, head)
    sys.exit(code)


def run(job, svc, log, launch):
    sys.argv = ["run_script.py", job.file("launch.json")]
    try:
        run_script.main()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    if launch["track"] and not jobs.read_json(launch["tracking"]).get("sdk"):
        try:
            count = outputs.upload(svc, job.root)
            log.line("%d files of ./outputs and ./logs uploaded (the script's environment has no azureml SDK)" % count)
        except (service.Refused, service.GaveUp, OSError, KeyError) as e:
            log.line("The outputs could not be uploaded: %s" % e)
            run_script.report(launch["failure"], {"type": "", "message": "The outputs could not be uploaded: %s" % e, "code": 1})
            code = code or 1
    if code == 0:
        log.write("The experiment completed successfully. Finalizing run...\n")
    return code


def refresh(svc, done):
    while not done.is_set():
        svc.refresh_token()
        done.wait(REFRESH)


if __name__ == "__main__":
    main()
