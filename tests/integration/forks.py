"""A process that has imported training once and forks a child for each run: a kill costs no import.

python forks.py      reads a JSON line {"config": ..., "out": ..., "kill": n or null}, a run
                     each; answers {"pid": ...} at once and {"code": ..., "said": ...} at the end
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

# what training imports when it needs it; here no child should have to
LATE = (
    "zoo.train.run",
    "zoo.data.reader",
    "zoo.data.check",
    "zoo.train.plot",
    "matplotlib.pyplot",
    "pandera.pandas",
)


def serve():
    """Answer until stdin ends."""
    import torch

    torch.set_num_threads(1)
    for name in LATE:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            child(asked, writing)
        os.close(writing)
        print(json.dumps({"pid": pid}), flush=True)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "said": said}), flush=True)


def child(asked, writing):
    """Train, and leave without coming back."""
    from zoo.train.config import RunConfig
    from zoo.train.run import train
    from zoo.train.settings import from_table

    terminated = []
    signal.signal(signal.SIGTERM, lambda *_: terminated.append(True))

    def stop():
        """Die after so many steps, if asked to; end well after SIGTERM."""
        if asked.get("kill") is not None:
            asked["kill"] -= 1
            if asked["kill"] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return bool(terminated)

    code = 0
    try:
        config = from_table(RunConfig, asked["config"])
        outcome = train(
            config, asked["out"], stop=stop, quiet=True, fallback=asked.get("fallback", False)
        )
        said = json.dumps({"step": outcome.step, "stopped": outcome.stopped})
    except Exception as error:
        known = (ValueError, RuntimeError)
        said = f"{type(error).__name__}: {error}" if isinstance(error, known) else ""
        said = said or traceback.format_exc()
        code = 2
    os.write(writing, said.encode())
    os.close(writing)
    os._exit(code)


class Forks:
    """The forking process, seen from a test."""

    def __init__(self):
        here = Path(__file__)
        self.pid = None  # of the child that runs
        self.process = subprocess.Popen(
            [sys.executable, str(here)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def start(self, config, out, **options):
        """Begin a run in a child; give its pid. One that a failed test has left is ended first."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.end()
        asked = {"config": config, "out": str(out), **options}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        self.pid = json.loads(self.process.stdout.readline())["pid"]
        return self.pid

    def end(self):
        """Wait for the child; give its exit code, and what it said."""
        answer = json.loads(self.process.stdout.readline())
        self.pid = None
        return answer["code"], answer["said"]

    def run(self, config, out, **options):
        self.start(config, out, **options)
        return self.end()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


if __name__ == "__main__":
    serve()
