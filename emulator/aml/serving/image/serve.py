"""Starts a service's container: takes the image's content and environment out of storage, then becomes the scoring server."""
import os
import shutil
import stat
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import archive  # noqa: E402
import blobs  # noqa: E402
import environment  # noqa: E402
import job as jobs  # noqa: E402
import place  # noqa: E402
from console import Console  # noqa: E402

# As the image of 2018 had them. One worker, for one model in memory; the
# threads take requests in, and the driver gets them one after another.
SERVER = ["-m", "gunicorn.app.wsgiapp", "--workers", "1", "--worker-class", "gthread", "--threads", "8", "--timeout", "300",
          "--keep-alive", "75", "--access-logfile", "-", "--error-logfile", "-"]


def content(spec, root, console):
    if os.path.isdir(root):
        # What a run before left in the container, with what the script wrote there.
        shutil.rmtree(root)
    os.makedirs(root)
    packed = os.path.join(HERE, "content.tar.gz")
    blobs.fetch(spec["content"], packed)
    archive.unpack(packed, root)
    os.unlink(packed)
    console.line("The content of the image %s is in %s" % (spec["imageId"], root))


def interpreter(spec, console):
    """The image's Python; made anew where what was built does not run here."""
    env = place.made(spec["dependencies"], console)
    folder = env.folder()
    python = os.path.join(folder, "bin", "python")
    if not _runs(python):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        packed = os.path.join(HERE, "environment.tar.gz")
        blobs.fetch(spec["environment"], packed)
        archive.trusted(packed, os.path.dirname(folder))
        os.unlink(packed)
        if spec["folder"] != folder:
            _move(folder, spec["folder"])
    if not _runs(python):
        console.line("The environment that was built does not run on this machine: making it anew.")
        env.build(folder)
    console.line("The environment of the image is in %s" % folder)
    return python


def _runs(python):
    if not os.path.isfile(python):
        return False
    child = os.fork()
    if child == 0:
        os.execv(python, [python, "-c", "import gunicorn"])
    return os.waitpid(child, 0)[1] == 0


def _move(folder, before):
    """Scripts of an environment name their interpreter by its path."""
    scripts = os.path.join(folder, "bin")
    for name in os.listdir(scripts):
        path = os.path.join(scripts, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            text = f.read()
        if before.encode() in text and b"\0" not in text:
            mode = stat.S_IMODE(os.stat(path).st_mode)
            with open(path, "wb") as f:
                f.write(text.replace(before.encode(), folder.encode()))
            os.chmod(path, mode)


def secrets(folder):
    """TLS certificate and key, which come as variables, as files; gunicorn's arguments for them."""
    arguments = []
    for name, option in (("AML_APP_SSL_CERTIFICATE", "--certfile"), ("AML_APP_SSL_KEY", "--keyfile")):
        text = os.environ.pop(name, None)
        if text:
            path = os.path.join(folder, name.lower() + ".pem")
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
                f.write(text)
            arguments += [option, path]
    return arguments


def address(port):
    """Where to listen: where containers have their host's network, the platform says which place there stands for their port."""
    return os.environ.get("LAZULITE_LISTEN_%d" % port) or "0.0.0.0:%d" % port


def main():
    spec = jobs.read_json(os.path.join(HERE, "spec.json"))
    console = Console(os.path.join(HERE, "serve.log"))
    root = place.root()
    try:
        content(spec, root, console)
        python = interpreter(spec, console)
    except (blobs.Failed, archive.Bad, environment.Failed, OSError) as e:
        console.line("The service cannot be started: %s" % e)
        sys.exit(1)
    models = spec["models"]
    env = dict(spec["environmentVariables"])
    env.update({
        "AML_APP_ROOT": root, "AML_APP_DRIVER": os.path.join(root, spec["driver"]), "SERVICE_NAME": spec["name"],
        "AZUREML_MODEL_DIR": os.path.join(root, "azureml-models", *([models[0]["name"], str(models[0]["version"])] if len(models) == 1 else [])),
        "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(p for p in (HERE, os.environ.get("PYTHONPATH")) if p),
        "PATH": os.path.dirname(python) + os.pathsep + os.environ.get("PATH", os.defpath),
    })
    arguments = SERVER + secrets(HERE) + ["--bind", address(spec["port"])]
    os.environ.update(env)
    os.chdir(root)
    sys.stdout.flush()
    os.execv(python, [python] + arguments + ["--chdir", root, "start:application()"])


if __name__ == "__main__":
    main()
