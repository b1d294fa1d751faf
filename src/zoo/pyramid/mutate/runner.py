"""Run a command once for each mutant.

A command that runs pytest is served by processes that have loaded what the tests import (torch,
numpy, ...) and fork a child a mutant; the mutated package, the tests and conftest are imported by
the child alone. Everything else is a process of its own, which sees the mutant through the hook.
"""

import json
import os
import queue
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.pyramid.mutate.clean import (
    Clean,
    clean_run,
    configure,
    extra_args,
    first_few,
    notes_of,
)
from zoo.pyramid.mutate.command import PLUGIN, Command, Room, read_command
from zoo.pyramid.mutate.mutant import Mutant, MutateError, mutated
from zoo.pyramid.mutate.results import Result
from zoo.pyramid.mutate.serving import Server, run_alone
from zoo.pyramid.mutate.source import Source

TIMES = 5.0  # the processor time of the same tests without a mutant
SPARE = 10.0  # seconds more: imports, and a machine with other work
SLOWER = 10.0  # wall time for processor time, before a mutant that waits for ever is given up


class Session:
    """One run of a command over mutants."""

    spare = SPARE

    def __init__(self, command: Command, cwd: Path, room: Room, clean: Clean, fork: bool) -> None:
        self.command, self.cwd, self.room, self.clean = command, cwd, room, clean
        self.fork = fork and command.python is not None and hasattr(os, "fork")
        self.environment = room.environment(command)
        self.kills: dict[str, Counter[str]] = defaultdict(Counter)  # function -> test -> kills
        self.sound: dict[str, bool] = {}  # test -> it passes without a mutant when chosen alone
        self.sources: dict[Path, Source] = {}
        self.numbers = iter(range(10**9))
        self.local = threading.local()
        self.servers: list[Server] = []
        self.lock = threading.Lock()

    def close(self) -> None:
        """End the servers and remove the folder."""
        for server in self.servers:
            server.close()
        self.room.close()

    def judge(self, mutant: Mutant) -> Result:
        """Say what becomes of a mutant."""
        if self.clean.tests is None:
            return self.verdict(mutant, self.once(mutant, None), None)
        reaching = self.clean.reaching(mutant)
        around = self.clean.around(mutant, self.class_of(mutant))
        if not reaching and not self.clean.at_import(mutant):
            return Result(mutant=mutant, verdict="survived", reached=0)
        count = None if self.clean.at_import(mutant) else len(reaching)
        near = reaching or [t for t in around if self.touches(t, mutant)] or around
        left = [t for t in dict.fromkeys([*near, *around]) if self.sound.get(t, True)]
        asked, cpu = 0, 0.0
        with self.lock:
            kills = dict(self.kills[f"{mutant.path}:{mutant.function}"])
        chosen = first_few(self.clean, [t for t in near if t in set(left)] or left, kills)
        while chosen:
            result = self.verdict(mutant, self.once(mutant, chosen), count)
            asked, cpu = asked + len(chosen), cpu + result.cpu
            if result.verdict == "killed" and not self.holds(result.test, chosen):
                left = [t for t in left if t != result.test]
                chosen = [t for t in chosen if t != result.test]
                continue
            if result.verdict != "survived":
                with self.lock:
                    self.kills[f"{mutant.path}:{mutant.function}"][result.test] += 1
                return replace(result, tests=asked, cpu=cpu)
            done = set(chosen)
            left = [t for t in left if t not in done]
            chosen = left
        return Result(mutant=mutant, verdict="survived", tests=asked, reached=count, cpu=cpu)

    def touches(self, test: str, mutant: Mutant) -> bool:
        """Say whether a test executes anything of a mutant's file."""
        return bool((self.clean.tests or {})[test].lines.get(str(mutant.path)))

    def class_of(self, mutant: Mutant) -> tuple[int, int] | None:
        """Give the lines of the class around a mutant."""
        if mutant.path not in self.sources:
            self.sources[mutant.path] = Source(mutant.path)
        return self.sources[mutant.path].class_lines(mutant.first)

    def holds(self, test: str, chosen: list[str]) -> bool:
        """Say whether a test that killed passes without a mutant, among the same others."""
        if test not in self.sound:
            ended = self.once(None, chosen)
            failed = [f["id"] for f in ended["out"].get("failed", [])]
            self.sound[test] = test not in failed
        return self.sound[test]

    def once(self, mutant: Mutant | None, chosen: list[str] | None) -> dict[str, Any]:
        """Run the command once; give how it ended and what hook and plugin wrote."""
        with self.lock:
            name = f"run{next(self.numbers)}"
        folder = self.room.folder(name)
        sources = {}
        if mutant is not None:
            (folder / "source.py").write_bytes(mutated(mutant))
            sources[str(mutant.path)] = str(folder / "source.py")
        more: dict[str, Any] = {"chosen": chosen}
        seconds = self.clean.cpu
        if chosen is not None and self.clean.tests is not None:
            wanted, tests = set(chosen), self.clean.tests
            more["paths"] = list(dict.fromkeys(t.path for t in tests.values() if t.id in wanted))
            seconds = sum(tests[t].cpu for t in chosen)
        cpu = TIMES * seconds + self.spare
        told = configure(self.room, name, sources, **more)
        job: dict[str, Any] = {
            "args": [*self.command.args, *extra_args(self.command), "-x"],
            "environment": told,
            "hook": str(folder / "hook.json"),
            "log": str(folder / "log.txt"),
            "cpu": cpu,
            "wall": SLOWER * cpu,
        }
        if self.fork:
            ended = self.server().ask(job)
        else:
            words = list(self.command.words)
            if self.command.python:
                words += job["args"][len(self.command.args) :]
            else:
                add = f"{self.environment.get('PYTEST_ADDOPTS', '')} -p {PLUGIN}"
                told["PYTEST_ADDOPTS"] = add
            ended = run_alone(words, job, self.environment, self.cwd)
        out = folder / "out.json"
        ended["out"] = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
        ended["notes"] = notes_of(folder / "seen")
        log = folder / "log.txt"
        ended["tail"] = log.read_text(errors="replace").splitlines()[-3:] if log.is_file() else []
        shutil.rmtree(folder, ignore_errors=True)
        return ended

    def server(self) -> Server:
        """Give the server of this thread."""
        if getattr(self.local, "server", None) is None:
            never = {m.split(".")[0] for m in self.own}
            self.local.server = Server(self.room, self.command, self.cwd, self.clean, never)
            with self.lock:
                self.servers.append(self.local.server)
        server: Server = self.local.server
        return server

    own: frozenset[str] = frozenset()  # names of the mutated modules

    def verdict(self, mutant: Mutant, ended: dict[str, Any], reached: int | None) -> Result:
        """Read a verdict out of how a run ended."""
        out, broken = ended["out"], [n for n in ended["notes"] if n["kind"] == "broken"]
        cpu = ended["cpu"]

        def made(verdict: str, why: str = "", test: str = "") -> Result:
            return Result(
                mutant=mutant, verdict=verdict, why=why, test=test, reached=reached, cpu=cpu
            )

        if broken:
            return made("broken", f"it cannot be imported: {broken[0]['what']}")
        if out.get("failed"):
            return made("killed", out["failed"][0]["why"], out["failed"][0]["id"])
        if out.get("uncollected"):
            return made("broken", f"tests cannot be collected: {out['uncollected'][0]['why']}")
        if ended["late"]:
            last = f", in {out['last']}" if out.get("last") else ""
            return made("timeout", f"still running after {ended['wall']:.0f} s{last}")
        if ended["code"] is None:
            return made("error", f"ended by signal {ended['signal']}")
        if ended["code"] == 0:
            return made("survived")
        said = " / ".join(line.strip() for line in ended["tail"] if line.strip())[-200:]
        if self.command.python or ended["code"] in (126, 127):
            return made("error", f"exit code {ended['code']}: {said}")
        return made("killed", f"exit code {ended['code']}: {said}")


def run_mutants(
    mutants: Iterable[Mutant],
    command: str | Sequence[str],
    *,
    cwd: Path | str | None = None,
    jobs: int = 1,
    fork: bool = True,
    spare: float = SPARE,
    started: Callable[[Clean], Iterable[Result]] | None = None,
) -> Iterator[Result]:
    """Run the command without a mutant, then once for each; give results as they come.

    A mutant may take TIMES the processor time of its tests, and `spare` seconds.
    `started` is told what the clean run showed, and gives results that are known already.
    Raises MutateError when the command cannot be run, fails, or never imports a mutated file.
    """
    mutants = list(mutants)
    if not mutants:
        raise MutateError("there are no mutants to run")
    asked = read_command(command)
    room, where = Room(), Path(cwd or Path.cwd()).resolve()
    session = None
    try:
        clean = clean_run(room, asked, {m.path for m in mutants}, where)
        known = list(started(clean)) if started is not None else []
        yield from known
        have = {result.mutant.id for result in known}
        session = Session(asked, where, room, clean, fork)
        session.spare = spare
        session.own = frozenset(m.id.partition(":")[0] for m in mutants)
        yield from spread(session, [m for m in mutants if m.id not in have], jobs)
    finally:
        if session is not None:
            session.close()
        room.close()


def spread(session: Session, mutants: list[Mutant], jobs: int) -> Iterator[Result]:
    """Judge mutants in so many threads, each with a server of its own."""
    waiting: queue.Queue[Mutant] = queue.Queue()
    answers: queue.Queue[Result | BaseException] = queue.Queue()
    for mutant in mutants:
        waiting.put(mutant)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                mutant = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                answers.put(session.judge(mutant))
            except BaseException as error:
                answers.put(error)
                return

    for _ in range(max(1, min(jobs, len(mutants)))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in mutants:
            answer = answers.get()
            if isinstance(answer, BaseException):
                raise answer
            yield answer
    finally:
        stop.set()
