"""HTTP to the run's workspace: events, artifacts, tokens. Standard library only."""
import datetime
import json
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

# The emulator may be restarted under a run: waits between tries grow to this.
MAX_WAIT = 4.0


class Refused(Exception):
    """The service answered, and trying again would not help."""

    def __init__(self, status, text):
        Exception.__init__(self, "HTTP %d: %s" % (status, text))
        self.status = status


class GaveUp(Exception):
    """The service could not be reached in the time allowed."""


class Service(object):
    """Calls made with the run's token."""

    def __init__(self, job, log=None):
        self.job = job
        self.log = log or (lambda text: None)
        self._lock = threading.Lock()
        self._refresh_at = None
        handlers = []
        if job.proxy:
            handlers.append(urllib.request.ProxyHandler({"https": job.proxy}))
        context = ssl.create_default_context(cafile=job.ca_file())
        handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self._plan_refresh()

    # -- transport -------------------------------------------------------
    def request(self, method, url, body=None, headers=None, auth=True,
                timeout=60, give_up=None, quiet=False):
        """Returns (body, headers). Retries what may pass; raises Refused or GaveUp."""
        give_up = self.job.giveUpSeconds if give_up is None else give_up
        deadline = time.time() + give_up
        wait = 0.25
        said = False
        while True:
            try:
                return self._once(method, url, body, headers, auth, timeout)
            except Refused as e:
                if e.status not in (408, 429) and e.status < 500:
                    raise
                problem = e
            except (OSError, EOFError, ValueError, urllib.error.URLError) as e:
                # http.client's errors are OSError or ValueError since 3.5, but for a few.
                problem = e
            except Exception as e:
                if type(e).__module__ != "http.client":
                    raise
                problem = e
            if time.time() + wait > deadline:
                raise GaveUp("%s: %s" % (url.split("?")[0], problem))
            if not said and not quiet:
                said = True
                self.log("The workspace does not answer (%s); trying again." % problem)
            time.sleep(wait)
            wait = min(wait * 2, MAX_WAIT)

    def _once(self, method, url, body, headers, auth, timeout):
        data = body() if callable(body) else body
        request = urllib.request.Request(url, data=data, method=method)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if auth:
            request.add_header("Authorization", "Bearer " + self.token())
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as e:
            with e:
                text = e.read(2000).decode("utf-8", "replace")
            raise Refused(e.code, text)

    def open(self, url, timeout=60):
        """An answer to read piece by piece (a blob), without retries."""
        try:
            return self._opener.open(urllib.request.Request(url), timeout=timeout)
        except urllib.error.HTTPError as e:
            with e:
                text = e.read(2000).decode("utf-8", "replace")
            raise Refused(e.code, text)

    def fetch(self, url, out, tries=5):
        """Writes the content of a URL with a signature to a file; retries what may pass."""
        for attempt in range(1, tries + 1):
            try:
                out.seek(0)
                out.truncate()
                with self.open(url, timeout=300) as answer:
                    shutil.copyfileobj(answer, out)
                return
            except Refused as e:
                if e.status < 500 or attempt == tries:
                    raise
            except (OSError, EOFError, ValueError, urllib.error.URLError) as e:
                if attempt == tries:
                    raise GaveUp("%s: %s" % (url.split("?")[0], e))
            time.sleep(attempt)

    # -- token -----------------------------------------------------------
    def token(self):
        return self.job.credentials["token"]

    def _plan_refresh(self):
        left = seconds_until(self.job.credentials.get("tokenExpiry"))
        self._refresh_at = None if left is None else time.time() + max(left / 2.0, 1.0)

    def refresh_token(self):
        """Takes a new token when half of the old one's life is over."""
        with self._lock:
            if self._refresh_at is None or time.time() < self._refresh_at:
                return
            try:
                body, _ = self.request("GET", self.run_url() + "/token", give_up=5, quiet=True)
                answer = json.loads(body.decode("utf-8"))
                self.job.credentials["token"] = answer["token"]
                self.job.credentials["tokenExpiry"] = answer.get("expiryTimeUtc")
                self.job.save_credentials()
                self._plan_refresh()
            except (Refused, GaveUp, KeyError, ValueError) as e:
                self.log("The run's token could not be renewed: %s" % e)
                self._refresh_at = time.time() + 60

    # -- run history -----------------------------------------------------
    def run_url(self):
        return "%s/history/v1.0%s/experiments/%s/runs/%s" % (
            self.job.endpoint, quote(self.job.workspaceId), quote(self.job.experiment), quote(self.job.runId))

    def event(self, name, give_up=None, quiet=False, **data):
        data["RunId"] = self.job.runId
        self._json("POST", self.run_url() + "/events",
                   {"timestamp": now(), "name": "Microsoft.MachineLearning.Run." + name, "data": data},
                   give_up, quiet)

    def status(self):
        """The run's status in history, or None when it can't be had at once."""
        try:
            body, _ = self.request("GET", self.run_url(), give_up=0, timeout=10, quiet=True)
            return json.loads(body.decode("utf-8")).get("status")
        except (Refused, GaveUp, ValueError):
            return None

    # -- artifacts -------------------------------------------------------
    def artifact_url(self, verb, *rest):
        return "/".join(["%s/artifact/v1.0%s/artifacts/%s" % (self.job.endpoint, quote(self.job.workspaceId), verb)]
                        + [quote(r) for r in rest])

    def append_artifact(self, path, index, data, give_up=None):
        url = self.artifact_url("content/ExperimentRun", self.job.runId, path)
        self.request("POST", "%s?append=true&index=%d" % (url, index), data,
                     {"Content-Type": "application/octet-stream"}, give_up=give_up)

    def forget_artifact(self, path):
        """Drops what an earlier attempt at this run left under a name."""
        try:
            self.request("DELETE", self.artifact_url("metadata/ExperimentRun", self.job.runId, path), quiet=True)
        except Refused as e:
            if e.status != 404:
                raise

    def declare_artifacts(self, paths):
        """Makes the records of artifacts; returns path -> URL to write the content to."""
        answer = self._json("POST", self.artifact_url("batch/metadata/ExperimentRun", self.job.runId),
                            {"paths": [{"path": p} for p in paths]})
        if answer.get("errors"):
            raise Refused(400, json.dumps(answer["errors"]))
        content = answer["artifactContentInformation"]
        return dict((p, content[p]["contentUri"]) for p in paths)

    def _json(self, method, url, value, give_up=None, quiet=False):
        body, _ = self.request(method, url, json.dumps(value).encode("utf-8"),
                               {"Content-Type": "application/json; charset=utf-8"}, give_up=give_up, quiet=quiet)
        return json.loads(body.decode("utf-8")) if body.strip() else {}


def quote(path):
    return urllib.parse.quote(path, safe="/")


def now():
    return _utc().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_until(iso):
    """Seconds from now to an ISO-8601 UTC time; None when there is none."""
    if not iso:
        return None
    try:
        at = datetime.datetime.strptime(iso[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    return (at - _utc()).total_seconds()


def _utc():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
