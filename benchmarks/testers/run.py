"""Run a testing kit over the corpus, or over the correct models, and write what it said.

    python -m benchmarks.testers.run --half dev --tool zoo --declared yes --out dev.jsonl
    python -m benchmarks.testers.run --correct --tool torchtest2 --out alarms.jsonl

Every case has a process of its own with a time limit; one line of JSON a case. Correct models know
by themselves what is declared; `--declared` is for the corpus.
"""

import argparse
import fnmatch
import importlib
import json
import multiprocessing
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from benchmarks.testers import correct_hf, peers
from benchmarks.testers.bug import Bug
from benchmarks.testers.corpus import HALVES, cases
from benchmarks.testers.correct import rows
from benchmarks.testers.said import Said, failures, place

from zoo.testing.spec import ModelSpec

LIMIT = 120.0  # seconds a case


@dataclass(frozen=True)
class Task:
    """One model for one kit."""

    id: str
    declared: str  # "yes", "no"; of a correct model what its id says
    spec: Callable[[], ModelSpec]
    bug: Bug | None = None


def zoo(spec: ModelSpec) -> list[Said]:
    """Ask our own kit."""
    from zoo.testing.engine import check_model

    report = check_model(spec)
    found = [
        Said(
            severity=one.severity,
            kinds=(one.kind,),
            where=one.where,
            check=one.check,
            evidence=one.evidence,
        )
        for one in report.findings
    ]
    broken = [one for one in report.outcomes if one.status == "error"]
    return found + [
        Said(severity="error", kinds=(), check=one.check, evidence=one.reason) for one in broken
    ]


TOOLS: dict[str, Callable[[ModelSpec], list[Said]]] = {"zoo": zoo, **peers.TOOLS}


def built(spec: ModelSpec) -> torch.nn.Module | None:
    """Build the model to look its places up, or give None where it does not build."""
    try:
        return spec.build()
    except Exception:
        return None


def judge(task: Task, said: Sequence[Said], spec: ModelSpec) -> dict[str, Any]:
    """Compare what was said with what is wrong."""
    told = failures(said)
    line: dict[str, Any] = {"caught": bool(told), "findings": [one.short() for one in said]}
    if told:
        line |= {"kinds": list(told[0].kinds), "where": told[0].where, "check": told[0].check}
    if task.bug is not None:
        line |= {"needs": task.bug.needs, "source": task.bug.source}
        line |= {"right_kinds": list(task.bug.kinds), "right_places": list(task.bug.where)}
    if told and task.bug is not None:
        # "formula" came after the cases; it is the kind of a bug that only a reference shows
        right = {*task.bug.kinds, *(["formula"] if task.bug.needs == "reference" else [])}
        line["right_kind"] = bool(set(told[0].kinds) & right)
        line["right_place"] = place(told[0].where, task.bug.where, built(spec))
    return line


def examine(task: Task, tool: str) -> dict[str, Any]:
    """Run the kit on the model; an error of the kit or of the case is told, not raised."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    try:
        spec = task.spec()
        said = TOOLS[tool](spec)
    except Exception as error:
        words = "".join(traceback.format_exception(error)[-3:])
        line: dict[str, Any] = {"caught": False, "findings": [], "error": words[-900:]}
        line |= {"needs": task.bug.needs} if task.bug is not None else {}
        return line | {"seconds": time.perf_counter() - start}
    seconds = time.perf_counter() - start
    return judge(task, said, spec) | {"seconds": seconds}


def child(task: Task, tool: str, answer: Connection) -> None:
    """Do one task in a process of its own, quietly."""
    with open(os.devnull, "w") as nothing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        answer.send(examine(task, tool))
    answer.close()


@dataclass
class Running:
    """A case under way."""

    task: Task
    process: Any
    answer: Connection
    start: float

    def result(self, limit: float) -> dict[str, Any] | None:
        """Give the answer, or why there will be none, or None while it may still come."""
        late = time.monotonic() - self.start > limit
        if self.answer.poll():
            try:
                return dict(self.answer.recv())
            except EOFError:
                self.process.join()
                return self.failed(f"the process ended with {self.process.exitcode}")
        return self.failed(f"no answer in {limit:g} s") if late else None

    def failed(self, why: str) -> dict[str, Any]:
        """Describe a case without an answer: nothing was caught."""
        seconds = time.monotonic() - self.start
        needs = {"needs": self.task.bug.needs} if self.task.bug else {}
        return {"caught": False, "findings": [], "error": why, "seconds": seconds} | needs

    def end(self) -> None:
        """Stop the process and wait for it."""
        self.process.kill()
        self.process.join()
        self.answer.close()


def start(task: Task, tool: str) -> Running:
    """Start a process for the task; it inherits what is already imported."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(task, tool, theirs), daemon=True)
    process.start()
    theirs.close()
    return Running(task, process, ours, time.monotonic())


def run(tasks: list[Task], tool: str, jobs: int, limit: float) -> Iterator[dict[str, Any]]:
    """Give a line a task, as they end."""
    left, running = list(reversed(tasks)), []
    while left or running:
        while left and len(running) < jobs:
            running.append(start(left.pop(), tool))
        wait([one.answer for one in running], timeout=0.5)
        for one in list(running):
            line = one.result(limit)
            if line is not None:
                one.end()
                running.remove(one)
                head = {"id": one.task.id, "tool": tool, "declared": one.task.declared}
                yield head | line


def of_corpus(half: str, declared: bool) -> list[Task]:
    """List the buggy models of a half."""
    word = "yes" if declared else "no"
    return [Task(c.id, word, lambda c=c: c.spec(declared), c.bug) for c in cases(half)]


def of_correct() -> list[Task]:
    """List the correct models; an id that ends in "declared" comes with its facts."""
    return [Task(r.id, "yes" if r.id.endswith("/declared") else "no", r.spec) for r in rows()]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testers.run", description=__doc__)
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--correct", action="store_true", help="run the correct models instead")
    parser.add_argument("--tool", choices=sorted(TOOLS), default="zoo")
    parser.add_argument("--declared", choices=("yes", "no"), default="yes")
    parser.add_argument("--only", metavar="GLOB", help="ids to run, such as 'dev/gpt/*'")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds a case")
    parser.add_argument("--out", type=Path, help="a file to write; printed otherwise")
    given = parser.parse_args(arguments)
    if given.correct == bool(given.half):
        parser.error("give either --half or --correct")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    given = parse(arguments)
    peers.require(given.tool)
    tasks = of_correct() if given.correct else of_corpus(given.half, given.declared == "yes")
    if given.only:
        tasks = [task for task in tasks if fnmatch.fnmatch(task.id, given.only)]
    if any(task.id.startswith("hf/") for task in tasks):
        correct_hf.preload()
    importlib.import_module("torch._dynamo")  # seconds, which every child would spend anew
    caught = errors = 0
    out = given.out.open("w", encoding="utf-8") if given.out else sys.stdout
    for line in run(tasks, given.tool, given.jobs, given.limit):
        caught += line["caught"]
        errors += "error" in line
        print(json.dumps(line), file=out, flush=True)
    if given.out:
        out.close()
    print(
        f"{len(tasks)} models, {caught} called wrong, {errors} without an answer", file=sys.stderr
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
