"""The little of Blob storage that runs need: list, get and put by SAS, streamed."""
import base64
import os
import urllib.parse
import xml.etree.ElementTree

VERSION = "2018-03-28"
BLOCK = 4 << 20
PIECE = 1 << 20


def blob_url(container_url, name):
    """URL of a blob, from a container's URL with its SAS."""
    parts = urllib.parse.urlsplit(container_url)
    path = parts.path.rstrip("/") + "/" + urllib.parse.quote(name, safe="/")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def add_query(url, **query):
    return url + ("&" if "?" in url else "?") + urllib.parse.urlencode(query)


def list_names(svc, container_url, prefix):
    """Names of all blobs under a prefix."""
    marker = ""
    while True:
        query = {"restype": "container", "comp": "list", "prefix": prefix}
        if marker:
            query["marker"] = marker
        body, _ = svc.request("GET", add_query(container_url, **query), headers={"x-ms-version": VERSION}, auth=False)
        root = xml.etree.ElementTree.fromstring(body)
        for name in root.iter("Name"):
            yield name.text or ""
        marker = root.findtext("NextMarker") or ""
        if not marker:
            return


def download(svc, url, path):
    """Writes a blob to a file, whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = path + ".azureml-part"
    with svc.open(url, timeout=120) as answer, open(partial, "wb") as f:
        while True:
            piece = answer.read(PIECE)
            if not piece:
                break
            f.write(piece)
    os.rename(partial, path)


def upload(svc, url, path):
    """Writes a file to a block blob, a block at a time."""
    headers = {"x-ms-version": VERSION}
    if os.path.getsize(path) <= BLOCK:
        with open(path, "rb") as f:
            svc.request("PUT", url, f.read(), dict(headers, **{"x-ms-blob-type": "BlockBlob"}), auth=False)
        return
    names = []
    with open(path, "rb") as f:
        while True:
            data = f.read(BLOCK)
            if not data:
                break
            name = base64.b64encode(("%08d" % len(names)).encode("ascii")).decode("ascii")
            svc.request("PUT", add_query(url, comp="block", blockid=name), data, headers, auth=False)
            names.append(name)
    listed = "".join("<Latest>%s</Latest>" % n for n in names)
    body = '<?xml version="1.0" encoding="utf-8"?><BlockList>%s</BlockList>' % listed
    svc.request("PUT", add_query(url, comp="blocklist"), body.encode("ascii"), headers, auth=False)


def files_below(folder):
    """Paths of all files of a folder, relative to it and with '/'."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(where, name)
            if os.path.isfile(full):
                yield os.path.relpath(full, folder).replace(os.sep, "/")
