"""The kept PySpark process of one session: statements in on standard input, one
JSON object a line, answers out on what was standard output."""
import ast
import io
import json
import os
import signal
import sys
import threading
import traceback

try:
    from queue import Queue
except ImportError:  # Python 2
    from Queue import Queue

# What Spark's JVM prints goes where standard output was; the answers have a
# way of their own.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
lock = threading.Lock()


def answer(**doc):
    with lock:
        answers.write(json.dumps(doc) + "\n")
        answers.flush()


class Work(object):
    """Which statement runs, so that a cancel hits that one alone."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = None
        self.canceled = set()


work = Work()
queue = Queue()
scope = {"__name__": "__main__", "__builtins__": __builtins__}
count = [0]


def interrupt(number, frame):
    raise KeyboardInterrupt()


def listen():
    for line in iter(sys.stdin.readline, ""):
        doc = json.loads(line)
        if "cancel" not in doc:
            queue.put(doc)
            continue
        with work.lock:
            work.canceled.add(doc["cancel"])
            if work.running == doc["cancel"]:
                context = scope.get("sc")
                if context is not None:
                    threading.Thread(target=context.cancelAllJobs).start()
                os.kill(os.getpid(), signal.SIGUSR1)
    queue.put(None)
    # Whatever runs: nobody is there to hear of it.
    work.lock.acquire()
    if work.running is not None:
        os._exit(1)
    work.lock.release()


def display(value):
    return value if isinstance(value, str) else repr(value)


def magic(code):
    """%json NAME and %table NAME, as Livy has them."""
    word, _, name = code.strip().partition(" ")
    value = scope[name.strip()]
    if word == "%json":
        return {"application/json": value}
    rows = [list(row.values()) if isinstance(row, dict) else list(row) for row in value]
    head = list(value[0].keys()) if value and isinstance(value[0], dict) else [str(i) for i in range(len(rows[0]) if rows else 0)]
    kinds = {bool: "BOOLEAN_TYPE", int: "INT_TYPE", float: "DOUBLE_TYPE", str: "STRING_TYPE"}
    return {"application/vnd.livy.table.v1+json": {
        "headers": [{"name": n, "type": kinds.get(type(rows[0][i]), "STRING_TYPE")} for i, n in enumerate(head)], "data": rows}}


def python(code):
    stripped = code.strip()
    if stripped.startswith("%json ") or stripped.startswith("%table "):
        return magic(stripped)
    tree = ast.parse(code, "<stdin>", "exec")
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, "<stdin>", "exec"), scope)
    if last is not None:
        value = eval(compile(last, "<stdin>", "eval"), scope)
        if value is not None:
            scope["_"] = value
            print(display(value) if not isinstance(value, str) else repr(value))
    return None


def sql(code):
    frame = scope["spark"].sql(code)
    rows = frame.limit(1000).collect()
    return {"application/json": {
        "schema": json.loads(frame.schema.json()),
        "data": json.loads(json.dumps([list(row) for row in rows], default=str))}}


def run(doc):
    said, number = io.StringIO(), count[0]
    count[0] += 1
    old = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = said
    try:
        with work.lock:
            if doc["id"] in work.canceled:
                return {"id": doc["id"], "canceled": True}
            work.running = doc["id"]
        try:
            data = (sql if doc["kind"] == "sql" else python)(doc["code"])
        finally:
            with work.lock:
                work.running = None
        if data is None:
            data = {"text/plain": said.getvalue().rstrip("\n")}
        output = {"status": "ok", "execution_count": number, "data": data}
    except KeyboardInterrupt:
        return {"id": doc["id"], "canceled": True}
    except SystemExit as e:
        return {"id": doc["id"], "exit": e.code if isinstance(e.code, int) else (0 if e.code is None else 1)}
    except BaseException as e:
        kind, value, trace = sys.exc_info()
        # The frames of this file are nobody's.
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        lines = traceback.format_exception(kind, value, trace)
        output = {"status": "error", "execution_count": number, "ename": kind.__name__, "evalue": str(e), "traceback": lines}
        if doc["id"] in work.canceled:
            # Canceling Spark's jobs shows as their failure.
            return {"id": doc["id"], "canceled": True}
    finally:
        sys.stdout, sys.stderr = old
    try:
        json.dumps(output)
    except (TypeError, ValueError) as e:
        output = {"status": "error", "execution_count": number, "ename": type(e).__name__, "evalue": str(e), "traceback": []}
    return {"id": doc["id"], "output": output}


def main():
    signal.signal(signal.SIGUSR1, interrupt)
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    scope.update(spark=spark, sc=spark.sparkContext)
    try:
        from pyspark.sql import SQLContext
        scope["sqlContext"] = SQLContext(spark.sparkContext)
    except Exception:
        pass  # later versions of Spark lack it
    answer(ready=True, application=spark.sparkContext.applicationId, ui=spark.sparkContext.uiWebUrl)
    thread = threading.Thread(target=listen)
    thread.daemon = True
    thread.start()
    while True:
        try:
            doc = queue.get()
            if doc is None:
                break
            answer(running=doc["id"])
            result = run(doc)
        except KeyboardInterrupt:
            continue  # a cancel that came when its statement had just ended
        if "exit" in result:
            spark.stop()
            sys.exit(result["exit"])
        answer(**result)
    spark.stop()


main()
