"""Builds an image in a container of its own: content and environment, each an archive in the workspace's storage.

What it prints is the image's build log. Exit code 0 says that both are there;
otherwise failure.txt says why not, as the last lines of the log do.
"""
import os
import re
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import archive  # noqa: E402
import blobs  # noqa: E402
import environment  # noqa: E402
import job as jobs  # noqa: E402
import place  # noqa: E402
from console import Console  # noqa: E402


class Failed(Exception):
    """The image cannot be built; the text says why."""


class Build(object):
    def __init__(self, spec, console):
        self._spec, self._log = spec, console
        self._root = os.path.join(HERE, "content")

    def _url(self, name):
        address, _, sas = self._spec["store"].partition("?")
        return "%s/%s?%s" % (address, name, sas)

    def run(self):
        started = time.time()
        self._log.line("Building the image %s" % self._spec["id"])
        os.mkdir(self._root)
        for asset in self._spec["assets"]:
            self._place(asset, self._root)
        for model in self._spec["models"]:
            self._model(model)
        self._check()
        made = self._environment()
        content = os.path.join(HERE, "content.tar.gz")
        archive.pack(self._root, content, ".")
        self._log.line("Keeping the content, %d bytes" % os.path.getsize(content))
        blobs.send(content, self._url(self._spec["prefix"] + "content.tar.gz"))
        result = os.path.join(HERE, "result.json")
        jobs.write_json(result, made)
        blobs.send(result, self._url(self._spec["prefix"] + "result.json"))
        self._log.line("The image %s is built (%.1f seconds)." % (self._spec["id"], time.time() - started))

    def _place(self, asset, folder):
        self._log.line("%s %s" % ("Unpacking" if asset["unpack"] else "Copying", asset["path"]))
        if not asset["unpack"]:
            target = os.path.join(folder, asset["path"])
            os.makedirs(os.path.dirname(target), exist_ok=True)
            blobs.fetch(asset["url"], target)
            return
        packed = os.path.join(HERE, "asset")
        blobs.fetch(asset["url"], packed)
        archive.unpack(packed, folder)
        os.unlink(packed)

    def _model(self, model):
        folder = os.path.join(self._root, "azureml-models", model["name"], str(model["version"]))
        os.makedirs(folder)
        for part in model["files"]:
            self._place({"path": part["path"], "url": part["url"], "unpack": model["unpack"]}, folder)

    def _check(self):
        """The driver must compile, and the script that it names must be there."""
        driver = os.path.join(self._root, self._spec["driver"])
        try:
            with open(driver, "rb") as f:
                text = f.read()
            compile(text, self._spec["driver"], "exec")
        except (OSError, SyntaxError, ValueError) as e:
            raise Failed("The driver program %s cannot be used: %s" % (self._spec["driver"], e))
        named = re.search(r"script_location = .*, *'([^']+)'\)|spec_from_file_location\('service_driver', *'([^']+)'",
                          text.decode("utf-8", "replace"))
        if named:
            script = named.group(1) or named.group(2)
            if not os.path.isfile(os.path.join(self._root, script)):
                raise Failed("The execution script %s is not among the image's files." % script)

    def _environment(self):
        env = place.made(self._spec["dependencies"], self._log)
        name = "environments/%s.tar.gz" % place.key(env)
        folder = env.folder()
        if blobs.exists(self._url(name)):
            self._log.line("Using the environment %s, made before from the same dependencies." % os.path.basename(folder))
        else:
            try:
                env.build(folder)
            except environment.Failed as e:
                raise Failed(str(e))
            packed = os.path.join(HERE, "environment.tar.gz")
            archive.pack(folder, packed, os.path.basename(folder))
            self._log.line("Keeping the environment, %d bytes" % os.path.getsize(packed))
            blobs.send(packed, self._url(name))
        return {"environment": name, "folder": folder}


def main():
    spec = jobs.read_json(os.path.join(HERE, "spec.json"))
    console = Console(os.path.join(HERE, "build.log"))
    build = Build(spec, console)
    try:
        build.run()
    except (Failed, blobs.Failed, archive.Bad, OSError) as e:
        console.line("The image could not be built: %s" % e)
        path = os.path.join(tempfile.mkdtemp(), "failure.txt")
        with open(path, "w", encoding="utf-8") as f:
            f.write(str(e))
        blobs.send(path, build._url(spec["prefix"] + "failure.txt"))
        shutil.rmtree(os.path.dirname(path))
        sys.exit(1)


if __name__ == "__main__":
    main()
