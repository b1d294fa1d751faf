"""One run of Locust in a process of its own, and what its records say."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load.items import PATHS as VERB_PATHS
from benchmarks.load.offline import fault
from benchmarks.load.serving import ROOT, Serving, place
from benchmarks.load.stats import Asked

LOCUST = ROOT / ".venv" / "load"  # where `make` puts the extra `load`
PATHS = frozenset(VERB_PATHS.values())
SAMPLE = 1.0  # seconds between looks at the server's processes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does: users who ask for `seconds`, or arrivals at `rates`: (a second, seconds)."""

    users: int = 0
    seconds: float = 0.0
    rates: tuple[tuple[float, float], ...] = ()
    even: bool = False  # arrivals evenly spaced
    nonsense: float = 0.0  # share
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """What a run came to."""

    asked: list[Asked]
    variants: list[tuple[int, str]]  # (item, what was said)
    footprints: list[dict[str, float]] = field(default_factory=list)
    client: dict[str, float] = field(default_factory=dict)  # how late, and how busy it was


def drive(server: Serving, items: Path, plan: Plan, out: Path, *, key: str | None = None) -> Run:
    """Let Locust carry a plan out and watch the server meanwhile. Raises RuntimeError."""
    out.parent.mkdir(parents=True, exist_ok=True)
    records, told = out.with_suffix(".records.json"), out.with_suffix(".locust.txt")
    where = {"host": server.host, "port": server.port, "key": key}
    whole = vars(plan) | where | {"items": str(items), "out": str(records)}
    plan_file = out.with_suffix(".plan.json")
    plan_file.write_text(json.dumps(whole))
    users = str(plan.users or 1)
    command = ["locust", "-f", str(ROOT / "benchmarks/load/locustfile.py"), "--headless"]
    options = ["--users", users, "--spawn-rate", users, "--host", server.url, "--only-summary"]
    paths = os.pathsep.join((str(LOCUST), str(ROOT / "src"), str(ROOT)))
    around = os.environ | {"PYTHONPATH": paths, "ZOO_LOAD_PLAN": str(plan_file)}
    records.unlink(missing_ok=True)
    with told.open("w") as file:
        locust = subprocess.Popen(
            [sys.executable, "-m", *command, *options], env=around, stdout=file, stderr=file
        )
    footprints = watch(server, locust)
    if not records.is_file():
        raise RuntimeError(f"Locust left no records: {told.read_text()[-2000:]}")
    found = json.loads(records.read_text())
    variants = [(number, said) for number, said in found["variants"]]
    return Run([Asked(*row) for row in found["rows"]], variants, footprints, found["client"])


def watch(server: Serving, locust: "subprocess.Popen[bytes]") -> list[dict[str, float]]:
    """Look at the server's processes until Locust is done."""
    begun, found = time.perf_counter(), []
    while True:
        found.append(server.footprint() | {"at": time.perf_counter() - begun})
        try:
            locust.wait(SAMPLE)
        except subprocess.TimeoutExpired:
            continue
        return found


def judged(run: Run, items: Sequence[Any], expected: Sequence[Any]) -> tuple[list[bool], list[str]]:
    """Say of each variant whether it is the offline answer, and in words how others differ."""
    answers = {one.variant for one in run.asked if one.status == 200}
    right, faults = [], []
    for variant, (number, said) in enumerate(run.variants):
        item = items[number]
        judge = item["good"] and variant in answers
        wrong = fault(item, expected[number], said) if judge else None
        right.append(wrong is None)
        if wrong is not None:
            faults.append(f"{item['name']}: {wrong}"[:300])
    return right, faults


def counts(run: Run, items: Sequence[Any]) -> dict[str, float]:
    """Count as /metrics does: requests by path and status, and the tokens that answers name."""
    paths = [item["path"] if item["path"] in PATHS else "other" for item in items]
    found: Counter[str] = Counter()
    for one in run.asked:
        if not one.status:
            continue  # no answer, and so none of the server's
        found[place(paths[one.item], one.status)] += 1
        if one.status == 200:
            for name, count in tokens(run.variants[one.variant][1]).items():
                found[name] += count
    return {name: float(count) for name, count in found.items() if count}


def tokens(said: str) -> dict[str, int]:
    """Read the tokens that an answer counts."""
    usage = json.loads(said).get("usage") or {}
    return {
        "prompt_tokens": usage.get("prompt_tokens") or 0,
        "new_tokens": usage.get("completion_tokens") or 0,
    }
