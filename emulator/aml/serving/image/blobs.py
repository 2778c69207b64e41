"""Blobs by SAS URL, with nothing but the standard library."""
import base64
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request

TRIES = 60
WAIT = 1.0
BLOCK = 32 << 20


class Failed(Exception):
    """Storage does not give or take a blob; the text says why, and holds no signature."""


def fetch(url, path):
    """Downloads a blob into a file."""
    temporary = path + ".part"

    def once():
        with _open("GET", url) as answer, open(temporary, "wb") as f:
            shutil.copyfileobj(answer, f, 1 << 20)
        os.rename(temporary, path)
    _patiently(url, once)


def exists(url):
    """Whether a blob is there."""
    def once():
        try:
            _open("HEAD", url).close()
            return True
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return False
            raise
    return _patiently(url, once)


def send(path, url):
    """Uploads a file as a block blob, in blocks, so that its size does not matter."""
    names = []
    with open(path, "rb") as f:
        while True:
            block = f.read(BLOCK)
            if not block and names:
                break
            name = base64.b64encode(b"%08d" % len(names)).decode("ascii")
            _put(url + "&comp=block&blockid=" + name.replace("=", "%3D").replace("+", "%2B").replace("/", "%2F"), block)
            names.append(name)
    listing = "<?xml version='1.0' encoding='utf-8'?><BlockList>%s</BlockList>" % "".join(
        "<Latest>%s</Latest>" % name for name in names)
    _put(url + "&comp=blocklist", listing.encode("ascii"))


def _put(url, data):
    _patiently(url, lambda: _open("PUT", url, data).close())


def _open(method, url, data=None):
    request = urllib.request.Request(url, data=data, method=method)
    request.add_header("x-ms-version", "2018-03-28")
    if data is not None:
        request.add_header("Content-Type", "application/octet-stream")
    return urllib.request.urlopen(request, timeout=60, context=_tls())


def _tls():
    bundle = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle if bundle and os.path.isfile(bundle) else None)


def _patiently(url, once):
    """Tries again while storage cannot be reached: it may be starting."""
    for tried in range(TRIES):
        try:
            return once()
        except urllib.error.HTTPError as e:
            if e.code < 500:
                raise Failed("%s: %s %s" % (bare(url), e.code, e.headers.get("x-ms-error-code") or e.reason))
            last = e
        except (OSError, ValueError) as e:
            last = e
        time.sleep(WAIT)
    raise Failed("%s: %s" % (bare(url), last))


def bare(url):
    """The URL without its signature."""
    return url.split("?", 1)[0]
