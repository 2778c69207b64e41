"""Runs the user's script as __main__, in the interpreter of its environment.

Started by the control script as: run_script.py LAUNCH.json, or by spark-submit
where the framework is PySpark. Runs under any
Python from 2.7 on. Inside the SDK's history context when the SDK can be
imported there and the run collects outputs; says which in "tracking", so that
the control script knows whether the outputs are its to collect.
"""
from __future__ import print_function

import io
import json
import os
import sys
import traceback
import types

# The name __main__ goes to the script; this keeps our own module alive then.
OURS = sys.modules[__name__]


def main():
    with io.open(sys.argv[1], encoding="utf-8") as f:
        launch = json.load(f)
    line_buffer()
    script = native(launch["script"])
    sys.argv = [script] + [native(a) for a in launch["arguments"]]
    # As if the script itself had been started: its own folder comes first, ours is gone.
    setup, sys.path[0] = sys.path[0], os.path.dirname(os.path.abspath(script))
    context = session = None
    raised = []
    try:
        session = spark_session(launch, setup)
        context = history_context() if launch["track"] else None
        report(launch["tracking"], {"sdk": context is not None})
        if context is None:
            execute(script, raised, session)
        else:
            with context:
                execute(script, raised, session)
        code = 0
    except SystemExit as e:
        code = exit_code(e.code, context is None)
        if code:
            report(launch["failure"], {"type": "SystemExit", "message": "sys.exit(%r)" % (e.code,), "code": code})
    except BaseException as e:
        code = 1
        # The SDK's context has shown the script's own exception already.
        if context is None or e not in raised:
            show(script)
        report(launch["failure"], {"type": type(e).__name__, "message": text(e), "code": code})
    if session:
        if code:
            session.leave(launch["failure"])
        else:
            session.remove()
    flush()
    sys.exit(code)


def spark_session(launch, setup):
    """Spark's session, before the SDK and the script, which find it; None where the framework is another."""
    if not launch.get("spark"):
        return None
    sys.path.insert(0, setup)
    try:
        import spark_session as sessions
    finally:
        sys.path.remove(setup)
    return sessions.Session(launch["spark"]["runId"])


def execute(script, raised, session):
    with io.open(script, "rb") as f:
        source = f.read()
    main_module = types.ModuleType("__main__")
    main_module.__dict__.update({"__file__": script, "__package__": None, "__builtins__": __builtins__})
    sys.modules["__main__"] = main_module
    try:
        exec(compile(source, script, "exec", 0, True), main_module.__dict__)
        if session:
            session.collect()
    except BaseException as e:
        raised.append(e)
        raise


def history_context():
    """The SDK's context manager, or None when the SDK is not in this interpreter."""
    try:
        import azureml.core  # noqa: F401
        from azureml.history._tracking import get_history_context
    except ImportError as e:
        if "azureml" not in str(e) and "No module" not in str(e):
            print("The azureml SDK of this environment cannot be imported: %s" % e, file=sys.stderr)
        return None
    except Exception as e:
        print("The azureml SDK of this environment cannot be imported: %s: %s" % (type(e).__name__, e),
              file=sys.stderr)
        return None
    import logging
    return get_history_context(None, None, logging.getLogger("azureml"))


def exit_code(code, say):
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    if say:
        print(code, file=sys.stderr)
    return 1


def show(script):
    kind, value, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    traceback.print_exception(kind, value, trace or sys.exc_info()[2])


def line_buffer():
    """Output shows up line by line although it goes to a file, as UTF-8 whatever the locale."""
    if sys.version_info[0] < 3 or os.environ.get("PYTHONUNBUFFERED"):
        return
    encoding = os.environ.get("PYTHONIOENCODING", "").split(":")[0] or "utf-8"
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(getattr(sys, name).detach(), encoding, "backslashreplace", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (IOError, OSError, ValueError):
            pass


def native(value):
    if sys.version_info[0] < 3:
        return value.encode("utf-8")
    return value


def text(error):
    try:
        return str(error)
    except Exception:
        return repr(error)


def report(path, value):
    with io.open(path + ".new", "wb") as f:
        f.write(json.dumps(value).encode("ascii"))
    os.rename(path + ".new", path)


if __name__ == "__main__":
    main()
