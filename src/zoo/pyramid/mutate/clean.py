"""The run without any mutant: it must pass, and shows which tests execute which lines."""

import hashlib
import json
import os
import resource
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.pyramid.mutate.command import PLUGIN, Command, Room
from zoo.pyramid.mutate.mutant import Mutant, MutateError, module_name, shown

TAIL = 15  # lines of output that an error shows
FIRST = 2.0  # seconds of tests that a mutant meets at first
BUILDS = ("__init__", "__post_init__", "__new__", "build", "reset_parameters", "setup")
WATCHED = ("-p", PLUGIN, "-p", "no:cacheprovider", "--assert=plain")
CACHED = ("--lf", "--ff", "--nf", "--sw", "--last-failed", "--failed-first", "--stepwise")


@dataclass(kw_only=True)
class Test:
    """A test as the clean run saw it."""

    id: str
    path: str
    cpu: float
    lines: dict[str, set[int]]


@dataclass(kw_only=True)
class Clean:
    """What the clean run showed; `tests` is None when the command does not run pytest."""

    cpu: float
    wall: float
    imported: set[Path]
    tests: dict[str, Test] | None = None
    early: dict[str, set[int]] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    key: str = ""  # of the command and the files of its tests

    def reaching(self, mutant: Mutant) -> list[str]:
        """Give the tests that execute the statement."""
        return self.executing(str(mutant.path), range(mutant.first, mutant.last + 1))

    def at_import(self, mutant: Mutant) -> bool:
        """Say whether the statement runs while something is imported or collected."""
        lines = range(mutant.first, mutant.last + 1)
        return bool(self.early.get(str(mutant.path), set()).intersection(lines))

    def executing(self, path: str, lines: range) -> list[str]:
        """Give the tests that execute one of these lines."""
        return [t.id for t in (self.tests or {}).values() if t.lines.get(path, set()) & {*lines}]

    def around(self, mutant: Mutant, classes: tuple[int, int] | None) -> list[str]:
        """Give the tests that execute the function; of one that builds an object, the class.

        An object may be built once, for the first of the tests that use it. What runs at import
        may be seen by any test, at first by those that execute anything of the file.
        """
        tests, path = self.tests or {}, str(mutant.path)
        if self.at_import(mutant):
            return sorted(tests, key=lambda one: not tests[one].lines.get(path))
        first, last = mutant.scope
        if mutant.function.split(".")[-1] in BUILDS and classes:
            first, last = classes
        # the line of `def` is executed where the function is made
        body = range(first + 1, last + 1) if last > first else range(first, last + 1)
        wanted = set(body) - self.early.get(path, set())
        return [one.id for one in tests.values() if one.lines.get(path, set()) & wanted]


def first_few(clean: Clean, ids: list[str], kills: dict[str, int]) -> list[str]:
    """Choose what a mutant meets first: tests that killed its neighbours, then the cheap ones.

    One row of each table comes before a second row of any: rows of one table notice the same.
    """
    tests = clean.tests or {}
    ids = sorted(ids, key=lambda i: (-kills.get(i, 0), tests[i].cpu, i))
    rounds: dict[str, int] = defaultdict(int)
    ranked = []
    for place, one in enumerate(ids):
        function = one.partition("[")[0]
        rounds[function] += 1
        ranked.append((0 if kills.get(one) else rounds[function], place, one))
    chosen: list[str] = []
    spent = 0.0
    for _, _, one in sorted(ranked):
        if chosen and spent + tests[one].cpu > FIRST:
            break
        chosen.append(one)
        spent += tests[one].cpu
    return chosen


def extra_args(command: Command) -> list[str]:
    """Give what is added to pytest's arguments."""
    extra = list(WATCHED)
    if any(arg.partition("=")[0] in CACHED for arg in command.args):
        del extra[2:4]
    if any(arg.startswith("--cov") for arg in command.args):
        extra.append("--no-cov")
    return extra


def configure(room: Room, name: str, sources: dict[str, str], **more: Any) -> dict[str, str]:
    """Write what the hook and the plugin read; give the variables that name it."""
    folder = room.folder(name)
    hook = {"sources": sources, "seen": str(room.folder(f"{name}/seen")), "forks": name == "clean"}
    (folder / "hook.json").write_text(json.dumps(hook), encoding="utf-8")
    told = {"out": str(folder / "out.json"), "alone": True, **more}
    (folder / "run.json").write_text(json.dumps(told), encoding="utf-8")
    return {"ZOO_MUTATED": str(folder / "hook.json"), "ZOO_MUTATED_RUN": str(folder / "run.json")}


def clean_run(room: Room, command: Command, paths: Iterable[Path], cwd: Path) -> Clean:
    """Run the command as it is; raise MutateError when it fails or never imports a file."""
    paths = sorted(set(paths))
    folder = room.folder("clean")
    sources = {}
    for number, path in enumerate(paths):
        copy = folder / f"source{number}.py"
        copy.write_bytes(path.read_bytes())
        sources[str(path)] = str(copy)
    told = configure(room, "clean", sources, record=True, files=[str(p) for p in paths])
    environment = {**room.environment(command), **told}
    words = list(command.words)
    if command.python:
        words += extra_args(command)
    else:
        environment["PYTEST_ADDOPTS"] = f"{environment.get('PYTEST_ADDOPTS', '')} -p {PLUGIN}"
    log = folder / "log.txt"
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with open(log, "wb") as out:
        try:
            code = subprocess.run(
                words,
                cwd=cwd,
                env=environment,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                check=False,
            ).returncode
        except OSError as error:
            raise MutateError(f"--command {command.text!r} cannot be started: {error}") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])
        raise MutateError(
            f"--command {command.text!r} fails without any mutant (exit code {code}); "
            f"mend it first. The end of what it printed:\n{tail}"
        )
    notes = notes_of(folder / "seen")
    imported = {Path(n["what"]) for n in notes if n["kind"] == "imported"}
    made = Clean(cpu=cpu, wall=time.monotonic() - began, imported=imported, key=command.text)
    if command.python:
        record = json.loads((folder / "out.json").read_text(encoding="utf-8"))
        if not record.get("done") or not record.get("tests"):
            raise MutateError(f"--command {command.text!r} runs no test; give it some")
        fill(made, record, notes, paths, cwd)
    absent = [path for path in paths if path not in imported]
    if absent:
        raise MutateError(never_imported(command, absent, made, record if command.python else {}))
    return made


def never_imported(
    command: Command, absent: list[Path], clean: Clean, record: dict[str, Any]
) -> str:
    """Say that the command does not see a file, and what may be the cause."""
    names = ", ".join(shown(path) for path in absent)
    found = dict(record.get("modules", []))
    text = f"--command {command.text!r} never imports {names}: every mutant there would survive. "
    for path in absent:
        other = found.get(module_name(path))
        if other and os.path.realpath(other) != str(path):
            return text + (
                f"It imports {module_name(path)} from {other}: name that file, or let the "
                "command see this one (pip install -e ., or PYTHONPATH)"
            )
    return text + (
        "Name tests that use it, or leave it out; a file that is run as a script is read past "
        "the import system: use python -m"
    )


def notes_of(folder: Path) -> list[dict[str, Any]]:
    """Read what the hook wrote in all processes."""
    notes = []
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                notes.append(json.loads(line))
            except ValueError:
                continue
    return notes


def fill(
    clean: Clean, record: dict[str, Any], notes: list[dict[str, Any]], paths: list[Path], cwd: Path
) -> None:
    """Take over what the plugin wrote down."""
    clean.tests = {}
    for test in record["tests"]:
        lines: dict[str, set[int]] = defaultdict(set)
        for path, line in test["lines"]:
            lines[path].add(line)
        clean.tests[test["id"]] = Test(
            id=test["id"], path=test["path"], cpu=test["cpu"], lines=dict(lines)
        )
    early: dict[str, set[int]] = defaultdict(set)
    for path, line in record["early"]:
        early[path].add(line)
    clean.early = dict(early)
    for note in notes:
        if note["kind"] == "imported" and note["pid"] != record["pid"]:
            by_child(clean, note["what"], note["test"])
    names = {module_name(path).split(".")[0] for path in paths}
    clean.modules = [name for name, file in record["modules"] if preloaded(name, file, names, cwd)]
    files = sorted({test.path for test in clean.tests.values()})
    digest = hashlib.sha256(clean.key.encode())
    for file in files:
        digest.update(Path(file).read_bytes())
    clean.key = digest.hexdigest()[:16]


def by_child(clean: Clean, path: str, said: str) -> None:
    """Let a test whose child process imports a file execute all of its lines.

    During set-up it may be a fixture's child, which every test of that test file may share; one
    that belongs to no test, to all.
    """
    tests = clean.tests or {}
    name, _, phase = said.rpartition(" (")
    whole = set(range(1, Path(path).read_bytes().count(b"\n") + 2))
    for test in tests.values():
        shared = name not in tests or (phase == "setup)" and test.path == tests[name].path)
        if shared or test.id == name:
            test.lines[path] = whole


def preloaded(name: str, file: str, never: set[str], cwd: Path) -> bool:
    """Say whether a module may be loaded once for all mutants: nobody's own code is."""
    if name.split(".")[0] in never or name in ("__main__", "sitecustomize", PLUGIN):
        return False
    if not file or "site-packages" in file or "dist-packages" in file:
        return True
    return not Path(file).is_relative_to(cwd) and "zoo-mutate-" not in file and stands_with(file)


def stands_with(file: str) -> bool:
    """Say whether a file is of the standard library: its folder has the name of a Python."""
    return any(part.startswith("python3") for part in Path(file).parts)
