"""Measure one item: answers, then times and limits in turns, then memory."""

import contextlib
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed import stats
from benchmarks.speed.clock import Took, in_turns
from benchmarks.speed.families import quiet, threads
from benchmarks.speed.items import Item
from benchmarks.speed.job import Absent, Answer, Job, Side, difference
from benchmarks.speed.limits import MEMORY, WEIGHT_BYTES, Limits
from benchmarks.speed.live import Live
from benchmarks.speed.work import bytes_of, flop_of, seconds_of

PLAIN = "float32"  # what any side may compute in
ROOT = Path(__file__).parents[2]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class How:
    """How to measure: which peers, which modes of zoo, how long."""

    against: tuple[str, ...] = ("hf", "ctranslate2", "ctranslate2-int8")
    modes: tuple[str, ...] | None = None  # None: those of the item
    rounds: int = 7
    threads: int = 1
    tiny: bool = False
    rss: bool = True
    least: float = 0.05  # seconds of a sample


def measure(item: Item, how: How, say: Say = lambda line: None) -> dict[str, Any]:
    """Measure an item; the record says everything, what is absent and why among it."""
    count = item.sizes.threads or how.threads
    clock = "cpu" if count == 1 else "wall"  # waiting threads spin, and that is processor time
    with contextlib.ExitStack() as stack:
        stack.enter_context(threads(count))
        job = item.job(tiny=how.tiny)
        sides, absent = built(job, wanted(item, job, how), say)
        stack.enter_context(quiet())
        answers, warm = asked(sides)
        kinds = {side.arithmetic for side in sides.values() if side.arithmetic is not None}
        limits = None
        if job.work:
            limits = Limits(job.work, kinds | {PLAIN}, memory=1 << 20 if how.tiny else MEMORY)
        times = in_turns(
            {name: side.call for name, side in sides.items()},
            how.rounds,
            least=0.0 if how.tiny else how.least,
            each_round=limits.round if limits else lambda: None,
            warm=warm,
        )
        found = {
            name: described(job, side, times[name], clock, limits) for name, side in sides.items()
        }
        for name, side in sides.items():
            found[name]["live"] = live_bytes(side)
        del sides
        gc.collect()
        for name in found if how.rss else ():
            found[name]["rss"] = rss_bytes(item, name, count, tiny=how.tiny)
    for name, reason in absent.items():
        found[name] = {"absent": reason}
    return {
        "item": item.name,
        "group": item.group,
        "does": item.does,
        "curve": item.curve,
        "x": item.x,
        "size": "tiny" if how.tiny else "full",
        "threads": count,
        "clock": clock,
        "rounds": how.rounds,
        "unit": job.unit,
        "count": job.count,
        "flop": flop_of(job.work),
        "limits": limits.record(clock) if limits else {},
        "sides": found,
        "pairs": paired(found, answers, job, clock),
    }


def wanted(item: Item, job: Job, how: How) -> list[str]:
    """Give the sides to measure: zoo's modes, and the peers that this item has."""
    modes = item.modes if how.modes is None else how.modes
    ours = [name for name in job.sides if name in modes]
    return ours + [name for name in how.against if name in job.sides]


def built(job: Job, names: Sequence[str], say: Say) -> tuple[dict[str, Side], dict[str, str]]:
    """Build each side, and note why some cannot be."""
    sides: dict[str, Side] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            sides[name] = job.sides[name]()
        except Absent as reason:
            absent[name] = str(reason)
            say(f"  {name}: {reason}")
    return sides, absent


def asked(sides: dict[str, Side]) -> tuple[dict[str, Answer], dict[str, Took]]:
    """Ask each side for its answer; say how long that took where it was a call and more."""
    answers: dict[str, Answer] = {}
    warm: dict[str, Took] = {}
    for name, side in sides.items():
        if side.answer is not None:
            began = time.process_time(), time.perf_counter()
            answers[name] = side.answer()
            spent = Took(time.process_time() - began[0], time.perf_counter() - began[1])
            warm |= {name: spent} if side.warm else {}
    return answers, warm


def described(
    job: Job, side: Side, times: Sequence[Took], clock: str, limits: Limits | None
) -> dict[str, Any]:
    """Say how long a side took, how much it did a second, and how near to the limit that is."""
    cpu, wall = ([getattr(t, name) for t in times] for name in ("cpu", "wall"))
    seconds = stats.summary(cpu if clock == "cpu" else wall)["median"]
    record: dict[str, Any] = {
        "cpu": cpu,
        "wall": wall,
        "seconds": seconds,
        "a_second": job.count / seconds if seconds else math.inf,
    }
    kind = side.arithmetic
    flops = best(limits, kind, clock) if limits and kind else 0.0
    if limits and kind and flops and seconds:
        size = WEIGHT_BYTES[kind]
        least = seconds_of(job.work, flops, limits.bytes(clock), size)
        record |= {
            "arithmetic": kind,
            "flops": flop_of(job.work) / seconds,
            "bytes": bytes_of(job.work, size) / seconds,
            "limit_seconds": least,
            "of_limit": least / seconds,
        }
    return record


def best(limits: Limits, kind: str, clock: str) -> float:
    """FLOP/s in an arithmetic, or in float32 where that is faster: some processors emulate less."""
    return max(limits.flops(name, clock) or 0.0 for name in (kind, PLAIN))


def live_bytes(side: Side) -> int | None:
    """Bytes of tensors that lived at once above the model; None where torch does not see them."""
    if side.opaque:
        return None
    for module in side.modules:
        module.zero_grad(set_to_none=True)
    gc.collect()
    with Live() as live:
        side.call()
    return live.peak


def rss_bytes(item: Item, name: str, count: int, *, tiny: bool) -> int | None:
    """Peak resident set of a process of its own that builds one side and runs it twice."""
    command = [sys.executable, "-m", "benchmarks.speed.child", item.name, name, str(count)]
    done = subprocess.run(
        [*command, *(["--tiny"] if tiny else [])],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    return int(json.loads(done.stdout)["rss"]) if done.returncode == 0 else None


def paired(
    found: dict[str, Any], answers: dict[str, Answer], job: Job, clock: str
) -> list[dict[str, Any]]:
    """Compare each of zoo's modes with each peer, round by round."""
    here = [name for name in found if "absent" not in found[name]]
    pairs = []
    for one in (name for name in here if name.startswith("zoo")):
        for other in (name for name in here if not name.startswith("zoo")):
            ours, theirs = found[one], found[other]
            other_clock = "wall" if clock == "cpu" else "cpu"
            pairs.append(
                {
                    "ours": one,
                    "peer": other,
                    "ratio": stats.summary(stats.ratios(theirs[clock], ours[clock])),
                    f"ratio_{other_clock}": stats.summary(
                        stats.ratios(theirs[other_clock], ours[other_clock])
                    ),
                    "live": share(ours["live"], theirs["live"]),
                    **agreement(answers.get(one), answers.get(other), job, coarser(ours, theirs)),
                }
            )
    return pairs


def share(ours: int | None, theirs: int | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def coarser(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Name the arithmetic of the two that rounds more."""
    kinds = {side.get("arithmetic", "float32") for side in (ours, theirs)}
    return next((k for k in ("int8", "bfloat16", "float16") if k in kinds), "float32")


def agreement(one: Answer | None, other: Answer | None, job: Job, kind: str) -> dict[str, Any]:
    """Say whether both sides computed the same: `same` is None where nothing can be compared.

    Tokens are the same or not; other numbers may differ by what rounding does. Where no bound
    holds, tokens alone decide. A `fault` is a difference beyond rounding: no comparison at all.
    """
    if one is None or other is None:
        return {"same": None}
    shared = [key for key in one if key in other]
    said: dict[str, Any] = {}
    verdicts: list[bool] = []
    if "tokens" in shared:
        a, b = one["tokens"], other["tokens"]
        said["tokens"] = a.numel()
        alike = (a == b).long().cumprod(-1) if a.shape == b.shape else a.new_zeros(1)
        said["tokens_same"] = int(alike.sum())
        verdicts.append(said["tokens_same"] == said["tokens"])
    numbers = [key for key in shared if key != "tokens"]
    if numbers:
        said["difference"] = difference(
            {key: one[key] for key in numbers}, {key: other[key] for key in numbers}
        )
        said["bound"] = job.bound(kind)
        if said["bound"] is not None:
            verdicts.append(said["difference"] <= said["bound"])
            said["fault"] = not verdicts[-1]
    return said | {"same": all(verdicts) if verdicts else None}
