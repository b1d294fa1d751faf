"""The door: `python -m zoo` in a process of its own, and what comes out."""

import atexit
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 120  # after which a call counts as hung


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a call gave."""

    code: int
    out: str
    err: str

    @property
    def records(self):
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**changes):
    """Give the child's surroundings: one thread, no network, no colours, nothing debugged."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ZOO_", "COV_", "PYTEST"))}
    fixed = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    return kept | fixed | {"PYTHONPATH": str(ROOT / "src")} | changes


def call(*words, stdin="", cwd=None, limit=SECONDS, **changes):
    """Run `zoo WORDS` and give its answer.

    The process is forked from one that has imported torch (`warm`); where something of its
    surroundings is to be otherwise from the start, it is a fresh one.
    """
    words = [*map(str, words)]
    if all(name.startswith("ZOO_") for name in changes):
        return forked(words, stdin, cwd, limit, environment(**changes))
    return fresh(words, stdin, cwd, limit, environment(**changes))


def fresh(words, stdin, cwd, limit, surroundings):
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *words],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        env=surroundings,
        timeout=limit,
        cwd=cwd,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def forked(words, stdin, cwd, limit, surroundings):
    with tempfile.TemporaryDirectory() as place:
        files = {name: Path(place) / name for name in ("stdin", "stdout", "stderr")}
        for name, file in files.items():
            file.write_text(stdin if name == "stdin" else "", encoding="utf-8")
        asked = {name: str(file) for name, file in files.items()} | {
            "words": words,
            "environment": surroundings,
            "cwd": str(cwd or Path.cwd()),
            "limit": limit,
        }
        server = warm()
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = json.loads(server.stdout.readline())["code"]
        out, err = (files[name].read_text(encoding="utf-8") for name in ("stdout", "stderr"))
    if code is None:
        raise subprocess.TimeoutExpired(["zoo", *words], limit, out, err)
    return Answer(code, out, err)


@functools.cache
def warm():
    """Start the process that calls are forked from: one for each worker of pytest."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    )
    atexit.register(server.kill)
    return server
