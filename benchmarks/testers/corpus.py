"""Buggy models made by editing correct ones.

    <half>/<arch>.py        build, batch, loss, FACTS and perhaps TRAINER: a sound model
    <half>/<arch>_bugs.py   BUGS: edits of that file

An edited source runs as a module of its own, under a name and a path of its own, so that inspect,
tracebacks and pickle see what a user's file would show them. Nothing runs before `spec` is asked.
"""

import importlib
import linecache
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from benchmarks.testers.bug import Bug

from zoo.testing.spec import ModelSpec

HERE = Path(__file__).parent
HALVES = ("dev", "score")
ENDING = "_bugs.py"


def edited(source: str, edits: Sequence[tuple[str, str]], name: str) -> str:
    """Apply the edits in their order.

    Raises ValueError where an old text is not there exactly once, or where nothing changes.
    """
    for old, new in edits:
        count = source.count(old)
        if count != 1:
            raise ValueError(f"{name}: {old!r} occurs {count} times; an edit needs exactly one")
        if old == new:
            raise ValueError(f"{name}: {old!r} is replaced by itself")
        source = source.replace(old, new)
    return source


def run_source(source: str, name: str, path: str) -> ModuleType:
    """Execute a source as the module `name`, as if it lay at `path`."""
    module = ModuleType(name)
    module.__file__ = path
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    sys.modules[name] = module  # pickle and dataclasses look their classes' module up by name
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@dataclass(frozen=True)
class Case:
    """An architecture of one half, with one bug or with none."""

    id: str
    half: str
    arch: str
    bug: Bug | None = None

    def source(self) -> str:
        """Give the source with the bug in it."""
        text = (HERE / self.half / f"{self.arch}.py").read_text(encoding="utf-8")
        return edited(text, self.bug.edits if self.bug else (), self.id)

    def module(self) -> ModuleType:
        """Run the source, once in a process."""
        suffix = self.bug.name if self.bug else "sound"
        stem = f"{self.arch}__{suffix}".replace("-", "_")
        name = f"benchmarks_testers_{self.half}_{stem}"
        if name not in sys.modules:
            run_source(self.source(), name, str(HERE / self.half / f"{stem}.py"))
        return sys.modules[name]

    def spec(self, declared: bool) -> ModelSpec:
        """Describe the model: with build, batch and loss alone, or with all its author knows."""
        module = self.module()
        facts: dict[str, object] = {}
        if declared:
            facts |= {"family": FAMILIES[self.arch]} if self.arch in FAMILIES else {}
            facts |= getattr(module, "FACTS", {})
            facts |= self.bug.facts if self.bug else {}
            facts |= {"trainer": module.TRAINER} if hasattr(module, "TRAINER") else {}
        given = {"build": module.build, "batch": module.batch, "loss": module.loss}
        return ModelSpec(**given | {"name": self.arch} | facts)


# what their authors would call them; the field came after the cases were written
FAMILIES = {"gpt": "gpt2", "bert": "bert", "vit": "vit", "clip": "clip"}


def architectures(half: str) -> list[str]:
    """List the architectures of a half that have bugs, in order."""
    return sorted(path.name.removesuffix(ENDING) for path in (HERE / half).glob(f"*{ENDING}"))


def bugs(half: str, arch: str) -> tuple[Bug, ...]:
    """Read the bugs of one architecture."""
    return tuple(importlib.import_module(f"benchmarks.testers.{half}.{arch}_bugs").BUGS)


def cases(half: str) -> list[Case]:
    """List every bug of a half."""
    return list(_cases(half))


def _cases(half: str) -> Iterator[Case]:
    for arch in architectures(half):
        for bug in bugs(half, arch):
            yield Case(f"{half}/{arch}/{bug.name}", half, arch, bug)


def sound(half: str) -> list[Case]:
    """List the architectures of a half as they are: correct models."""
    return [Case(f"{half}/{arch}/sound", half, arch) for arch in architectures(half)]
