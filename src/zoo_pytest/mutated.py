"""What pytest tells `zoo mutate`: which lines each test executes, and which test fails first.

`zoo mutate` copies this file into a folder of its own and loads it with -p, so that it works
wherever pytest does: it needs the standard library and pytest alone. ZOO_MUTATED_RUN names a JSON
file: {"out": where to write, "record": whether to note lines, "chosen": ids or null, "files"}.

Lines that a fixture of a wider scope executes belong to every test that asks for it. What a child
process executes is not seen here: `zoo mutate` learns from the import hook that there was one.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "ZOO_MUTATED_RUN"


class Watch:
    """One run: what was asked for, and what was seen of it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.files = {os.path.realpath(path) for path in told.get("files", [])}
        self.real: dict[str, str | None] = {}
        self.now: set[tuple[str, int]] = set()  # what executes at present belongs here
        self.early: set[tuple[str, int]] = set()  # at import and collection
        self.fixtures: dict[int, set[tuple[str, int]]] = {}
        self.tests: list[dict[str, Any]] = []
        self.failed: list[dict[str, str]] = []
        self.uncollected: list[dict[str, str]] = []
        self.last = ""

    def of_interest(self, name: str) -> str | None:
        """Give the real path of a watched file."""
        if name not in self.real:
            found = os.path.realpath(name) if name.endswith(".py") else ""
            self.real[name] = found if found in self.files else None
        return self.real[name]

    def trace(self, frame: Any, event: str, arg: Any) -> Any:
        """Watch the lines of the files of interest, and nothing else."""
        name = frame.f_code.co_filename
        path = self.real[name] if name in self.real else self.of_interest(name)
        if path is None:
            return None
        self.now.add((path, frame.f_lineno))

        def line(frame: Any, event: str, arg: Any) -> Any:
            if event == "line":
                self.now.add((path, frame.f_lineno))
            return line

        return line

    def start(self, where: set[tuple[str, int]]) -> Any:
        """Watch; give what has to be put back by `stop`."""
        before = (self.now, sys.gettrace())
        self.now = where
        sys.settrace(self.trace)
        threading.settrace(self.trace)
        return before

    def stop(self, before: Any) -> None:
        """End what `start` began."""
        self.now = before[0]
        sys.settrace(before[1])
        threading.settrace(before[1])

    def write(self, done: bool) -> None:
        """Write what is known; whole or not at all."""
        out = Path(self.told["out"])
        record: dict[str, Any] = {
            "done": done,
            "failed": self.failed,
            "uncollected": self.uncollected,
            "last": self.last,
        }
        if self.told.get("record") and done:
            record["tests"] = self.tests
            record["pid"] = os.getpid()
            record["early"] = sorted(self.early)
            record["modules"] = loaded()
        fresh = out.with_suffix(".part")
        fresh.write_text(json.dumps(record), encoding="utf-8")
        os.replace(fresh, out)


def loaded() -> list[list[str]]:
    """Give the names of the modules that are loaded, and their files."""
    found = []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is not None and isinstance(name, str) and spec.name == name:
            found.append([name, str(getattr(module, "__file__", None) or "")])
    return found


WATCH: list[Watch] = []  # one, or none


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: Any) -> None:
    """Begin; run in this process, each test once, and collect what was chosen alone."""
    path = os.environ.get(VARIABLE)
    if not path or hasattr(config, "workerinput"):
        return
    watch = Watch(json.loads(Path(path).read_text(encoding="utf-8")))
    WATCH[:] = [watch]
    hook = sys.modules.get("sitecustomize")
    if hasattr(hook, "install") and hasattr(hook, "first"):
        hook.first()  # type: ignore[union-attr]  # before pytest's own import hook
    if watch.told.get("alone"):  # no workers and no reruns: a test that fails has failed
        for name, value in (("numprocesses", None), ("dist", "no"), ("tx", []), ("reruns", 0)):
            if hasattr(config.option, name):
                setattr(config.option, name, value)
    if watch.told.get("paths"):
        config.args = list(watch.told["paths"])
    if watch.told.get("record"):
        watch.start(watch.early)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Keep what was chosen, in the order of the files."""
    if not WATCH or WATCH[0].told.get("chosen") is None:
        return
    chosen = set(WATCH[0].told["chosen"])
    left = [item for item in items if item.nodeid not in chosen]
    items[:] = [item for item in items if item.nodeid in chosen]
    config.hook.pytest_deselected(items=left)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Iterator[None]:
    """Note what a fixture executes that more than one test may use."""
    if not WATCH or not WATCH[0].told.get("record") or fixturedef.scope == "function":
        return (yield)
    lines = WATCH[0].fixtures.setdefault(id(fixturedef), set())
    before = WATCH[0].start(lines)
    try:
        return (yield)
    finally:
        WATCH[0].stop(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: Any) -> Iterator[None]:
    """Note what a test executes, its set-up included, and the processor time that it took."""
    if not WATCH:
        return (yield)
    watch = WATCH[0]
    watch.last = item.nodeid
    if not watch.told.get("record"):
        return (yield)
    lines: set[tuple[str, int]] = set()
    began = time.process_time()
    before = watch.start(lines)
    try:
        return (yield)
    finally:
        watch.stop(before)
        for name, defs in item._fixtureinfo.name2fixturedefs.items():
            for one in defs if name in item.fixturenames else ():
                lines |= watch.fixtures.get(id(one), set())
        watch.tests.append(
            {
                "id": item.nodeid,
                "path": str(item.path),
                "cpu": time.process_time() - began,
                "lines": sorted(lines),
            }
        )


def pytest_collectreport(report: Any) -> None:
    """Note what cannot be collected."""
    if WATCH and report.failed:
        WATCH[0].uncollected.append({"id": report.nodeid, "why": last_line(report.longrepr)})
        WATCH[0].write(done=False)


def pytest_runtest_logreport(report: Any) -> None:
    """Note a test that fails, at once: the process may not live to the end."""
    if WATCH and report.failed:
        why = last_line(report.longrepr)
        WATCH[0].failed.append({"id": report.nodeid, "when": report.when, "why": why})
        WATCH[0].write(done=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: Any) -> None:
    """Write all down."""
    if WATCH and not hasattr(session.config, "workerinput"):
        if WATCH[0].told.get("record"):
            WATCH[0].stop((set(), None))
        WATCH[0].write(done=True)


def last_line(longrepr: Any) -> str:
    """Give the last telling line of a failure."""
    crash = getattr(longrepr, "reprcrash", None)
    text = str(getattr(crash, "message", None) or longrepr or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    picked = lines[0] if crash is not None and lines else lines[-1] if lines else ""
    return picked[:300]
