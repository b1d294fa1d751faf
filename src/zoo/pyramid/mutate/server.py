"""A process that has loaded what tests import, and forks one child a mutant.

It runs as a script in the interpreter of the command, so it uses the standard library alone.
First line of stdin: {"modules": [...], "cwd": path, "path": [...], "never": [...]}; it
answers which modules of `never` are loaded all the same. Then one job a line, answered
by one line each: {"args", "environment", "hook", "log", "cpu", "wall"} -> {"code", "signal",
"cpu", "wall", "late"}. torch gets one thread before the first fork: libgomp's threads do not
survive it.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
import warnings
from typing import Any

PAUSE = 0.01  # seconds between looks at a child


def load(names: list[str]) -> None:
    """Import what can be imported, without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    import pytest  # noqa: F401

    gc.collect()
    gc.freeze()  # a child that walks torch's heap copies it


def child(job: dict[str, Any]) -> int:
    """Run pytest in a forked process; give its exit code."""
    import pytest

    os.setpgid(0, 0)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(job["environment"])
    limit(job["cpu"])
    sys.modules["sitecustomize"].install(job["hook"])
    sys.argv = ["pytest", *job["args"]]
    return int(pytest.main(job["args"]))


def limit(seconds: float) -> None:
    """Let the processor time of this process end."""
    import resource

    whole = max(1, int(seconds + 1))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 5))


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Fork, wait, and say how it ended."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = child(job)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException as error:
            with contextlib.suppress(BaseException):
                print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            os._exit(code)
    late = False
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() - began > job["wall"]:
            late = True
            end(pid)
        time.sleep(PAUSE)
    end(pid)  # what it may have left running
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": ended,
        "cpu": used.ru_utime + used.ru_stime,
        "wall": time.monotonic() - began,
        "late": late or ended == signal.SIGXCPU,
    }


def end(pid: int) -> None:
    """End a child and all of its group."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Serve until stdin ends."""
    told = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")  # what an import prints is no answer
    os.dup2(2, 1)
    os.chdir(told["cwd"])
    sys.path[:] = [*told["path"], *sys.path]
    load(told["modules"])
    wrong = sorted({name for name in sys.modules if name.split(".")[0] in told["never"]})
    print(json.dumps({"wrong": wrong}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
