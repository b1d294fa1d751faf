"""A process that has imported torch forks a child for each call: what takes seconds is done once.

Nothing of zoo is imported before the fork, so a child does all that `python -m zoo` does. Calls
come as lines of JSON on stdin, answers go as lines of JSON to stdout.
"""

import atexit
import json
import os
import runpy
import signal
import sys
import time
import traceback


def serve():
    """Answer calls until stdin ends."""
    import numpy  # noqa: F401
    import torch  # noqa: F401

    assert not any(name == "zoo" or name.startswith("zoo.") for name in sys.modules)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            become(asked)
        code = waited(child, asked["limit"])
        print(json.dumps({"code": code}), flush=True)


def waited(child, limit):
    """Give a child's exit code as subprocess does, or None for one that had to be killed."""
    ends = time.monotonic() + limit
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)  # waitpid has no limit of time of its own
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def become(asked):
    """Take on the surroundings of a call, run it, and leave as Python leaves."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY
        os.dup2(os.open(asked[name], flags), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    sys.argv = ["zoo", *asked["words"]]
    try:
        runpy.run_module("zoo", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as leaving:
        code = leaving.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 1
    os._exit(code)


if __name__ == "__main__":
    serve()
