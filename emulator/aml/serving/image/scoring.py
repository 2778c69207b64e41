"""The scoring server: the driver's init() and run() behind HTTP, as the images of 2018 had them.

gunicorn loads it in the image's own environment (serve.py starts that). The
routes, status codes and headers are those of the Azure ML image: GET / says
Healthy, POST /score is answered with what run() returned, as JSON, and an
exception in run() is a 502 that names it, its traceback in the log.

init() and run() are called on one thread, one after another: that is what
score.py was written for, and libraries that keep state per thread need it.
"""
import hashlib
import hmac
import importlib.util
import json
import os
import queue
import sys
import threading
import traceback
import uuid

# What nginx in front of the image's server let through.
MAX_BODY = 100 << 20
# How much of what is too large is still read.
LINGER = 1 << 30
JSON = "application/json"
HTML = "text/html; charset=utf-8"


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Driver(object):
    """The driver program, on a thread of its own."""

    def __init__(self, path):
        self._path = path
        self._calls = queue.Queue()
        self._thread = threading.Thread(target=self._serve, name="scoring")
        self._thread.daemon = True
        self._thread.start()

    def load(self):
        """Imports the driver and calls its init()."""
        self._do(self._load)

    def run(self, body, headers):
        """What run() returned, as the bytes of the answer and their type."""
        return self._do(lambda: _encode(self._module.run(body, headers)))

    def _load(self):
        spec = importlib.util.spec_from_file_location("main", self._path)
        self._module = importlib.util.module_from_spec(spec)
        sys.modules["main"] = self._module
        spec.loader.exec_module(self._module)
        say("Invoking user's init function")
        self._module.init()
        say("Users's init has completed successfully")

    def _do(self, work):
        call = _Call(work)
        self._calls.put(call)
        call.done.wait()
        if call.error is not None:
            raise call.error
        return call.value

    def _serve(self):
        while True:
            call = self._calls.get()
            try:
                call.value = call.work()
            except BaseException as e:  # SystemExit of a script is its failure, not the server's end.
                call.error = e
            call.done.set()


class _Call(object):
    def __init__(self, work):
        self.work = work
        self.done = threading.Event()
        self.value = None
        self.error = None


class Answer(object):
    """A response: status line, type, body."""

    def __init__(self, status, kind, body, headers=()):
        self.status = status
        self.kind = kind
        self.body = body if isinstance(body, bytes) else body.encode("utf-8")
        self.headers = list(headers)


def _encode(value):
    if hasattr(value, "get_data") and hasattr(value, "status"):
        # A response that the script made by itself (AMLResponse, or Flask's).
        return Answer(value.status, value.headers.get("Content-Type", HTML), value.get_data(),
                      [(k, v) for k, v in value.headers if k.lower() not in ("content-type", "content-length")])
    return Answer("200 OK", JSON, json.dumps(value))


class Application(object):
    """The WSGI application. keys: the keys that open it; empty: it is open."""

    def __init__(self, driver, keys=(), name="ML service", deployment=""):
        self._driver = driver
        self._keys = [k.encode("utf-8") for k in keys]
        self._name = name
        self._deployment = deployment

    def __call__(self, environ, start_response):
        answer = self._answer(environ)
        request = environ.get("HTTP_X_MS_REQUEST_ID") or str(uuid.uuid4())
        headers = [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body))), ("x-ms-request-id", request)]
        if environ.get("HTTP_X_MS_CLIENT_REQUEST_ID"):
            headers.append(("x-ms-client-request-id", environ["HTTP_X_MS_CLIENT_REQUEST_ID"]))
        start_response(answer.status, headers + answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ):
        path, method = environ.get("PATH_INFO") or "/", environ["REQUEST_METHOD"]
        allowed = {"/": ("GET", "HEAD"), "/score": ("POST",), "/swagger.json": ("GET", "HEAD")}.get(path)
        if allowed is None:
            return _page("404 Not Found", "The requested URL was not found on the server.")
        if method not in allowed:
            answer = _page("405 Method Not Allowed", "The method is not allowed for the requested URL.")
            answer.headers.append(("Allow", ", ".join(allowed)))
            return answer
        if path == "/":
            return Answer("200 OK", HTML, "Healthy", [("azureml-model-deployment", self._deployment)])
        if path == "/swagger.json":
            return self._swagger()
        return self._score(environ)

    def _swagger(self):
        # The driver of 2018 writes it in init(), beside itself.
        if os.path.isfile("swagger.json"):
            with open("swagger.json", "rb") as f:
                return Answer("200 OK", JSON, f.read())
        return Answer("200 OK", JSON, json.dumps(swagger(self._name)))

    def _score(self, environ):
        if self._keys and not self._authorized(environ):
            return Answer("401 Unauthorized", HTML, "Unauthorized", [("WWW-Authenticate", "Bearer")])
        try:
            body = _read(environ)
        except TooLarge:
            return _page("413 Request Entity Too Large", "The request is larger than %d bytes." % MAX_BODY)
        except ValueError as e:
            return _page("400 Bad Request", str(e))
        try:
            answer = self._driver.run(body, _headers(environ))
            answer.headers.append(("x-ms-run-function-failed", "False"))
            return answer
        except BaseException as e:
            return _failure(e)

    def _authorized(self, environ):
        scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        given = key.strip().encode("utf-8", "replace")
        # All are compared, whichever fits: how long it takes tells nothing.
        fits = [hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(k).digest()) for k in self._keys]
        return scheme.lower() == "bearer" and any(fits)


class TooLarge(Exception):
    """The body is over the limit."""


def _read(environ):
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length:
        if not length.isdigit():
            raise ValueError("Content-Length is no number.")
        if int(length) > MAX_BODY:
            # A client that has not said all does not hear the answer.
            left = min(int(length), LINGER)
            while left > 0:
                read = len(stream.read(min(left, 1 << 20)))
                left = left - read if read else 0
            raise TooLarge()
        body = stream.read(int(length))
        if len(body) < int(length):
            raise ValueError("The request's body is cut off.")
    else:
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise TooLarge()
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("The request's body is not UTF-8.")


def _headers(environ):
    found = dict((k[5:].replace("_", "-").title(), v) for k, v in environ.items() if k.startswith("HTTP_"))
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            found[name.replace("_", "-").title()] = environ[name]
    return found


def _failure(error):
    """The answer to an exception of run()."""
    say("Encountered Exception: " + "".join(traceback.format_exception(type(error), error, error.__traceback__)))
    failed = [("x-ms-run-function-failed", "True")]
    # azureml.api.exceptions: they say themselves what the answer is.
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and hasattr(error, "to_dict"):
        return Answer("%d %s" % (status, "Bad Request" if status == 400 else "Error"), JSON, json.dumps(error.to_dict()), failed)
    return Answer("502 Bad Gateway", HTML, str(error), failed)


def _page(status, text):
    title = "<title>%s</title>\n<h1>%s</h1>\n<p>%s</p>\n" % (status, status.split(" ", 1)[1], text)
    return Answer(status, HTML, title)


def swagger(name):
    """What there is to say of a service whose driver says nothing of its data."""
    answers = {"200": {"description": "The prediction.", "schema": {"$ref": "#/definitions/ServiceOutput"}},
               "default": {"description": "The service failed.", "schema": {"$ref": "#/definitions/ErrorResponse"}}}
    return {
        "swagger": "2.0",
        "info": {"title": name, "version": "1.0",
                 "description": "API specification for the Azure Machine Learning service " + name},
        "schemes": ["https"], "consumes": [JSON], "produces": [JSON],
        "securityDefinitions": {"Bearer": {"type": "apiKey", "name": "Authorization", "in": "header",
                                           "description": "For example: Bearer abc123"}},
        "paths": {
            "/": {"get": {"operationId": "ServiceHealthCheck", "description": "Whether the service is up.",
                          "responses": {"200": {"description": "It is.", "schema": {"type": "string"}}}}},
            "/score": {"post": {"operationId": "RunMLService", "description": "Runs the model.", "security": [{"Bearer": []}],
                                "parameters": [{"name": "serviceInputPayload", "in": "body", "description": "The input.",
                                                "schema": {"$ref": "#/definitions/ServiceInput"}}],
                                "responses": answers}},
        },
        "definitions": {"ServiceInput": {"type": "object"}, "ServiceOutput": {"type": "object"},
                        "ErrorResponse": {"type": "object", "properties": {
                            "status_code": {"type": "integer", "format": "int32"}, "message": {"type": "string"}}}},
    }


def create(environ=os.environ):
    """The application that serve.py's settings ask for."""
    # Neither the script nor what it starts needs them.
    keys = [environ.pop(n) for n in ("AML_APP_PRIMARY_KEY", "AML_APP_SECONDARY_KEY") if n in environ]
    driver = Driver(environ["AML_APP_DRIVER"])
    driver.load()
    return Application(driver, keys, environ.get("SERVICE_NAME", "ML service"), environ.get("AML_APP_GENERATION", ""))
