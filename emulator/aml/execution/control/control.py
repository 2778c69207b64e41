"""The control script of one run: prepares its environment, runs the user's
script, sends its logs, and reports what really happened to run history.

    control.py               do the run that job.json beside it describes
    control.py check         say whether its environment is prepared: "true" or "false"
    control.py prepare       make this node ready for the parts of a divided run
    control.py part          be one part: the rank that MPI says
    control.py part ROLE N   be one part: worker or ps N
"""
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

SETUP = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, SETUP)

import container  # noqa: E402
import daemon  # noqa: E402
import datarefs  # noqa: E402
import environment  # noqa: E402
import images  # noqa: E402
import job as jobs  # noqa: E402
import logs  # noqa: E402
import ordered  # noqa: E402
import outputs  # noqa: E402
import processes  # noqa: E402
import service  # noqa: E402
import spark  # noqa: E402

KILL_POLL = 0.2
HEARTBEAT = 24.0
STATUS_POLL = 5.0
CANCELED = 128 + signal.SIGTERM
FINISHED = "The experiment completed successfully. Finalizing run..."


class RunFailed(Exception):
    """The run cannot go on; the text is its error."""


class Canceled(Exception):
    """Somebody wants the run to end."""


class Control(object):
    """One run from its first heartbeat to its terminal event."""

    def __init__(self, setup, part=None, log="60_control_log"):
        self.job = jobs.Job(setup, part.name if part else "")
        self._part = part
        self._suffix = "_" + part.name if part else ""
        # The SDK of 2018 makes outputs itself, and falls over another part of the run that does so at the same moment.
        for folder in ("azureml-logs", "logs", "outputs"):
            os.makedirs(os.path.join(self.job.root, folder), exist_ok=True)
        self.log = logs.Log(self._log_file(log))
        self.service = service.Service(self.job, self.log.line)
        self.streamer = logs.Streamer(self.service, self.job.root, self.log.line)
        self.refs = datarefs.DataReferences(self.job, self.service, self.log)
        self.environment = make_environment(self.job, self.log, self.stopping, self.command)
        self.container = None
        if self.job.docker:
            self.container = container.Container(self.job, self.log, self.environment, self.refs, self.warn)
            self.refs.seen = self.container.seen
        self._cancel = threading.Event()
        self._done = threading.Event()
        self._children = []
        self._guard = None
        # Where YARN has the driver, that sends its log and its outputs itself.
        self._elsewhere = bool(self.job.spark and self.job.spark["yarn"] and self.job.spark["deployMode"] == "cluster" and
                               not spark.own_master(os.environ))

    def _log_file(self, name):
        return os.path.join(self.job.root, "azureml-logs", name + self._suffix + ".txt")

    # -- the run -----------------------------------------------------------
    def run(self):
        """Returns the exit code that this process ends with."""
        signal.signal(signal.SIGTERM, lambda *a: self._cancel.set())
        signal.signal(signal.SIGINT, lambda *a: self._cancel.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        processes.adopt_orphans()
        self._start_guard()
        self.state("preparing")
        self.streamer.follow(self.log.path, self.job.ordered)
        self.streamer.start()
        for work in (self._watch, self._beat):
            thread = threading.Thread(target=work)
            thread.daemon = True
            thread.start()
        self.log.line("Run %s in %s" % (self.job.runId, self.job.root))
        # Of a machine of ours, whose GPUs are simulated or none.
        if os.environ.get("LAZULITE_NOTICE") and (not self._part or self._part.first):
            self.warn(os.environ["LAZULITE_NOTICE"])
        status, error, code = "Completed", None, 0
        try:
            code = self._work()
            if code:
                status, error = "Failed", self._script_error(code)
        except (Canceled, environment.Stopped):
            status = "Canceled"
        except (RunFailed, environment.Failed, daemon.Failed, datarefs.Failed) as e:
            status, error = "Failed", {"code": "UserError", "message": str(e)}
        except Exception as e:
            self.log.line(traceback.format_exc())
            status = "Failed"
            error = {"code": "ServiceError", "message": "The control script failed: %s: %s" % (type(e).__name__, e)}
        self._end(status, error, code)
        if not self.job.ordered or status == "Completed":
            return 0
        return CANCELED if status == "Canceled" else code & 0xFF or 1

    def _work(self):
        self._check_canceled()
        if self.job.ordered and not self._part:
            self._fetch_project()
        python = self.environment.prepare()
        for note in self.environment.notes:
            self.tell(note)
        self._check_canceled()
        if self.job.prepareOnly:
            self.log.line("The target is prepared.")
            return 0
        script = os.path.join(self.job.root, self.job.script)
        if not self.job.command and not os.path.isfile(script):
            raise RunFailed("The script '%s' is not in the project folder." % self.job.script)
        if self._part:
            self.refs.recall(self.job.file("fetched.json"))
        else:
            self.refs.fetch(self.stopping)
        self._check_canceled()
        self.service.event("Start", StartTime=service.now())
        code = self._script(python)
        if self._cancel.is_set():
            raise Canceled()
        self._collect()
        if code == 0:
            self.refs.send()
            if not self._elsewhere:
                self.driver.write(FINISHED + "\n")
        return code

    def _fetch_project(self):
        try:
            ordered.fetch_project(self.job, self.service)
        except (service.Refused, service.GaveUp, OSError, ValueError) as e:
            raise RunFailed("The project could not be fetched: %s" % e)

    def prepare(self):
        """Makes this node ready for the parts of the run; returns the exit code."""
        signal.signal(signal.SIGTERM, lambda *a: self._cancel.set())
        processes.adopt_orphans()
        self._start_guard()
        self.streamer.follow(self.log.path, True)
        self.streamer.start()
        error = None
        try:
            self._fetch_project()
            self.environment.prepare()
            self.refs.fetch(self.stopping)
            self.refs.remember(self.job.file("fetched.json"))
            self.log.line("The node %s is prepared for %d parts of the run." % (ordered.node(os.environ), self.job.parts))
        except (RunFailed, environment.Failed, datarefs.Failed) as e:
            error = {"code": "UserError", "message": str(e)}
        except environment.Stopped:
            return CANCELED
        except Exception as e:
            self.log.line(traceback.format_exc())
            error = {"code": "ServiceError", "message": "The control script failed: %s: %s" % (type(e).__name__, e)}
        if error:
            self.log.line("The node could not be prepared: %s" % error["message"])
            ordered.leave_reason(self.job, self.service, error)
        self.streamer.finish()
        self._tell_guard("done")
        return 1 if error else 0

    def _script(self, python):
        """Runs the user's script; returns its exit code, negative for a signal."""
        self.driver = logs.Log(self._log_file("70_spark_submit_log" if self._elsewhere else "80_driver_log"))
        self.streamer.follow(self.driver.path, self.job.ordered)
        file = self.container.file if self.container else self.job.own
        launch = {"script": self.job.script, "arguments": [self.refs.expand(a) for a in self.job.arguments],
                  "track": self.job.trackOutputs, "tracking": file("tracking.json"), "failure": file("failure.json"), "substitutions": file("substitutions.json")}
        env, folder = self._script_environment(), None
        if self.job.spark:
            launch["spark"] = dict(self.job.spark, runId=self.job.runId, variables=sorted(self._variables),
                                   managed=not self.job.python["userManaged"])
        jobs.write_json(self.job.own("launch.json"), launch)
        if self.container:
            # Whoever the image's user is.
            os.chmod(self.job.own("launch.json"), 0o644)
            python = self.container.interpreter(python)
        program = self.container.file if self.container else self.job.file
        command = [python, program("spark_submit.py" if self.job.spark else "run_script.py"), file("launch.json")]
        if self.job.command:
            # A command finds the environment's programs first, as in one that was activated.
            command = ["/bin/sh", "-c", self.job.command]
            folder = os.path.dirname(os.path.abspath(python)) if os.sep in python else None
        started = time.time()
        child = self._start_script(python, command, env, folder)
        self.state("running", scriptPid=child.pid)
        self.log.line("The script runs in the container %s" % self.container.id[:12] if self.container
                      else "The script runs as process %d" % child.pid)
        limit = self.job.maxRunSeconds
        reap_at = started
        while True:
            try:
                code = child.wait(timeout=KILL_POLL)
                break
            except subprocess.TimeoutExpired:
                pass
            if time.time() > reap_at:
                processes.reap()
                reap_at = time.time() + 2
            if self._cancel.is_set():
                self.log.line("Ending the script")
                self._end_script()
                code = child.wait()
                break
            if limit and time.time() - started > limit:
                self._end_script()
                child.wait()
                raise RunFailed("The run took longer than maxRunDurationSeconds (%d) and was ended." % limit)
        left = self._victims()
        if left:
            self.log.line("The script left %d processes behind; ending them" % len(left))
            self._kill()
        self._circumstance = ""
        if self.job.spark and code:
            self._end_application()
        if self.container and not self._cancel.is_set():
            code, self._circumstance = self.container.result(code)
        for note in _report(self.job.own("substitutions.json")).get("notes", []):
            self.tell(note)
        self.log.line("The script %s" % (processes.describe_exit(code) + self._circumstance if code else "ended well"))
        return code

    def _start_script(self, python, command, env, folder):
        try:
            if self.container:
                return self.container.start(python, command, env, folder, self._spawn_waiting)
            if folder:
                env["PATH"] = folder + os.pathsep + env.get("PATH", os.defpath)
            return self._spawn(command, self.driver, env)
        except OSError as e:
            raise RunFailed("%s could not be started: %s" % (command[0], e))

    def _spawn_waiting(self, command):
        """A docker command, which has something to be told on its stdin."""
        return self._spawn(command, self.driver, dict(os.environ), subprocess.PIPE)

    def _end_application(self):
        ended = spark.end(self.job.setup)
        if ended:
            self.log.line("Ended %s on YARN, if it was not over" % ended)
        if self._elsewhere and not os.path.exists(self.job.own("failure.json")):
            left = spark.shared_file(self.job, "failure.json")
            if left:
                with open(self.job.own("failure.json"), "w") as f:
                    f.write(left)
        spark.remove_shared(self.job)

    def _end_script(self):
        if self.container:
            self.container.stop()
        self._kill()

    def _collect(self):
        if not self.job.trackOutputs or self._elsewhere or _report(self.job.own("tracking.json")).get("sdk"):
            return
        try:
            count = outputs.upload(self.service, self.job.root)
            self.log.line("%d files of ./outputs and ./logs uploaded (the script's environment has no azureml SDK)"
                          % count)
        except (service.Refused, service.GaveUp, OSError, KeyError) as e:
            raise RunFailed("The outputs could not be uploaded: %s" % e)

    def _script_error(self, code):
        failure = _report(self.job.own("failure.json"))
        if code > 0 and failure.get("type") == "":
            text = failure["message"]
        elif code > 0 and failure.get("type") not in (None, "SystemExit"):
            text = "User program failed with %s: %s" % (failure["type"], failure["message"])
        else:
            text = "User program %s%s" % (processes.describe_exit(code), self._circumstance)
            if failure.get("message"):
                text += ": " + failure["message"]
        return {"code": "UserError", "message": text[:8000]}

    def _end(self, status, error, code):
        if self.container:
            self.container.remove()
        if status == "Canceled":
            self.log.line("The run was cancelled")
        elif error:
            self.log.line("The run failed: %s" % error["message"])
        else:
            self.log.line("The run completed")
        # All log text goes out before the terminal event: clients read the log once more then, and no further.
        self.streamer.finish()
        reported = self._report_end(status, error)
        self._done.set()
        self.state("ended", status=status, error=error, exitCode=code,
                   reported=reported, logsSent=self.streamer.complete)
        self._tell_guard("done")
        if self._part:
            return  # the other parts of this node have need of the secrets
        for name in ("credentials.json", "curl.conf"):
            try:
                os.unlink(self.job.file(name))
            except OSError:
                pass

    def _report_end(self, status, error):
        if self._part:
            # The run ends when all parts have: the run service sees that.
            if error:
                ordered.leave_reason(self.job, self.service, error)
            return True
        data = {"EndTime": service.now()}
        if error:
            data["Error"] = {"Code": error["code"], "Message": error["message"]}
        try:
            self.service.event(status, **data)
        except (service.Refused, service.GaveUp) as e:
            self.log.line("The end of the run could not be reported: %s" % e)
            if error and self.job.ordered:
                ordered.leave_reason(self.job, self.service, error)
            return False
        return True

    def state(self, phase, **more):
        """What the run service's driver follows on a remote machine."""
        jobs.write_json(self.job.own("state.json"), dict(more, phase=phase, pid=os.getpid()))

    # -- processes -----------------------------------------------------------
    def command(self, command, env=None, limit=None):
        """Runs a command of ours with its output in the control log; returns its exit code, 124 if limit seconds were too few."""
        try:
            child = self._spawn(command, self.log, env or dict(os.environ))
        except OSError as e:
            raise environment.Failed("%s could not be started: %s" % (command[0], e))
        started = time.time()
        while True:
            try:
                return child.wait(timeout=KILL_POLL)
            except subprocess.TimeoutExpired:
                late = limit and time.time() - started > limit
                if late or self._cancel.is_set():
                    self._kill()
                    code = child.wait()
                    return 124 if late else code

    def _spawn(self, command, log, env, stdin=subprocess.DEVNULL):
        child = subprocess.Popen(command, cwd=self.job.root, env=env, stdin=stdin, stdout=log.fileno(),
                                 stderr=subprocess.STDOUT, start_new_session=True)
        processes.keep(child.pid)
        self._children.append(child)
        self._tell_guard(str(child.pid))
        return child

    def _victims(self):
        mine = [p for p, (parent, _) in processes.table().items() if parent == os.getpid()]
        groups = [c.pid for c in self._children]
        return processes.below(mine + groups, groups, but=(os.getpid(), self._guard.pid))

    def _kill(self):
        processes.kill_tree(self._living)

    def _living(self):
        for child in self._children:
            child.poll()
        return self._victims()

    def _start_guard(self):
        self._guard = subprocess.Popen([sys.executable, self.job.file("guard.py"), self.job.part], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.keep(self._guard.pid)

    def _tell_guard(self, word):
        try:
            self._guard.stdin.write((word + "\n").encode("ascii"))
            self._guard.stdin.flush()
        except OSError:
            pass

    # -- being told to end -----------------------------------------------------
    def stopping(self):
        return self._cancel.is_set()

    def _check_canceled(self):
        if self._cancel.is_set():
            raise Canceled()

    def _watch(self):
        """The kill file, and now and then whether history wants the run to end."""
        next_look = time.time() + STATUS_POLL
        while not self._done.is_set():
            if os.path.exists(self.job.file("killfile")):
                self._cancel.set()
                return
            if time.time() > next_look:
                if self.service.status() in ("CancelRequested", "Canceled"):
                    self._cancel.set()
                    return
                next_look = time.time() + STATUS_POLL
            self._done.wait(KILL_POLL)

    def _beat(self):
        while not self._done.is_set():
            try:
                self.service.event("Heartbeat", give_up=5, quiet=True, TimeToLiveSeconds=120)
            except (service.Refused, service.GaveUp):
                pass
            self.service.refresh_token()
            self._done.wait(HEARTBEAT)

    def warn(self, text):
        """Tells of something that is done otherwise than asked, in the log and in the run's details."""
        self.log.line(text)
        self.tell(text)

    def tell(self, text):
        """A warning of the run, of something that a log has already."""
        try:
            self.service.event("Warning", Source="execution", Message=text)
        except (service.Refused, service.GaveUp) as e:
            self.log.line("The warning could not be reported: %s" % e)

    # -- the script's variables --------------------------------------------------
    def _script_environment(self):
        job = self.job
        # A container has its image's variables, and none of this machine's.
        env = {} if self.container else dict(os.environ)
        for name in ("PYTHONHOME", "__PYVENV_LAUNCHER__"):
            env.pop(name, None)
        for name, value in job.environmentVariables.items():
            if name in job.azureml or name.startswith("AZUREML_ARM_"):
                self.log.line("Environment variable %s is the service's own: the run configuration's value is not used"
                              % name)
            else:
                env[name] = value
        env.update(job.azureml)
        env["AZUREML_RUN_TOKEN"] = self.service.token()
        if job.credentials.get("tokenExpiry"):
            env["AZUREML_RUN_TOKEN_EXPIRY"] = str(
                int(time.time() + (service.seconds_until(job.credentials["tokenExpiry"]) or 0)))
        env.update(self.refs.variables())
        if self._part:
            env.update(self._part.variables(os.environ))
        if job.ordered:
            env.pop("AZUREML_SETUP_URL", None)  # ours alone
        if job.proxy:
            for name in ("HTTPS_PROXY", "https_proxy"):
                if name in job.environmentVariables:
                    self.log.line("Environment variable %s is the service's own: the run configuration's value is "
                                  "not used" % name)
                env[name] = job.proxy
        if job.ca_file():
            for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
                env[name] = self.refs.seen(job.ca_file())
        # What was set for the script, and is not of this machine.
        before = {} if self.container else os.environ
        self._variables = [name for name in env if env[name] != before.get(name)]
        return env


def _report(path):
    """What the script's side wrote, {} when it did not."""
    try:
        return jobs.read_json(path)
    except (OSError, ValueError):
        return {}


def claim(job):
    """Only one control script for each run, or part. False when another has, or had, this one."""
    handle = os.open(job.own("control.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(40):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return not os.path.exists(job.own("state.json"))
        except OSError:
            # A follower looks at the lock for an instant; another control script keeps it.
            time.sleep(0.05)
    return False


def detach():
    """A session of its own: no terminal and no closing connection ends it."""
    try:
        os.setsid()
    except OSError:
        if os.fork():
            os._exit(0)
        os.setsid()


def make_environment(job, log, stopped, start):
    return (images.Images if job.docker else environment.Environment)(job, log, stopped, start)


def check():
    ready = make_environment(jobs.Job(SETUP), None, lambda: False, None).prepared()
    print("true" if ready else "false")


def main():
    os.chdir(os.path.dirname(SETUP))
    words = sys.argv[1:]
    if words == ["check"]:
        check()
        return 0
    job = jobs.Job(SETUP)
    if not job.ordered:
        detach()
        return Control(SETUP).run() if claim(job) else 0
    # Whoever runs the order waits for this process; what it writes is the user's own.
    os.umask(0o022)
    os.makedirs(job.root, exist_ok=True)
    os.chdir(job.root)
    if words == ["prepare"]:
        return Control(SETUP, log="55_batchai_stdout-job_prep-" + ordered.node(os.environ)).prepare()
    part = ordered.part(words[1:], os.environ) if words[:1] == ["part"] else None
    if not claim(jobs.Job(SETUP, part.name if part else "")):
        return 0
    return Control(SETUP, part).run()


if __name__ == "__main__":
    sys.exit(main())
