"""The door: `python -m zoo` in a process of its own, and what comes out."""

import dataclasses
import json
import os
import subprocess
import sys
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
    """Run `zoo WORDS` and give its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *map(str, words)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        env=environment(**changes),
        timeout=limit,
        cwd=cwd,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)
