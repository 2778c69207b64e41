"""Makes the run's environment inside a container, of which docker commit makes the run's image.

Started there by the control script outside (images.py), with nothing around
it but the files that were copied in beside it. They are gone when it ends well.
"""
import os
import shutil
import sys

SETUP = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, SETUP)

import console  # noqa: E402
import environment  # noqa: E402
import job as jobs  # noqa: E402


def main():
    folder = os.path.dirname(SETUP)
    job = jobs.Job(SETUP)
    os.environ.update(job.environ)
    made = environment.Environment(job, console.Console(os.path.join(folder, "build.log"), folder), lambda: False, None)
    made.lent = job.lent
    made._start = made._log.run
    try:
        made.build(job.folder)
    except environment.Failed as e:
        with open(os.path.join(folder, "failure.txt"), "wb") as f:
            f.write(str(e).encode("utf-8"))
        sys.exit(1)
    os.chdir("/")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
