"""The import hook: one file has another source in every process of a command.

This file is copied as `sitecustomize.py` into a folder that is put first on PYTHONPATH; it uses the
standard library alone and imports nothing of zoo. ZOO_MUTATED names a JSON file:
{"sources": {real path: file with the source to use}, "seen": folder for notes}.

Loaders are patched rather than finders: whatever finder wins (an editable install, pytest's
pythonpath, jaxtyping's hook), the file is read by `SourceFileLoader`. No .pyc is read or written
for it, since `path_stats` then knows no time. Notes: which process imported a file, during which
test, and that importing it failed.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import MutableMapping
from typing import Any, ClassVar

VARIABLE = "ZOO_MUTATED"
Loader = importlib.machinery.SourceFileLoader
PLAIN = (Loader.get_data, Loader.path_stats, Loader.exec_module)


class State:
    """What was asked for."""

    sources: ClassVar[dict[str, str]] = {}
    names: ClassVar[set[str]] = set()
    seen: ClassVar[list[str]] = []  # the folder for notes, if there is one
    real: ClassVar[dict[str, str]] = {}
    forks: ClassVar[list[bool]] = []
    kept: ClassVar[list[bool]] = []


def real(path: Any) -> str | None:
    """Give the real path of a file that may be replaced, None of any other."""
    text = os.fspath(path)
    if os.path.basename(text) not in State.names:
        return None
    if text not in State.real:
        State.real[text] = os.path.realpath(text)
    found = State.real[text]
    return found if found in State.sources else None


def get_data(self: Any, path: Any) -> bytes:
    """Read a file: another one in place of a mutated one."""
    found = real(path)
    if found is None:
        return PLAIN[0](self, path)
    note("imported", found)
    with open(State.sources[found], "rb") as file:
        return file.read()


def path_stats(self: Any, path: Any) -> Any:
    """Give no time for a mutated file, so that no cache is read or written."""
    if real(path) is not None:
        raise OSError("a mutated file has no cache")
    return PLAIN[1](self, path)


def exec_module(self: Any, module: Any) -> None:
    """Run a module; note when a mutated one cannot be."""
    try:
        PLAIN[2](self, module)
    except BaseException as error:
        if real(self.path) is not None:
            note("broken", f"{type(error).__name__}: {error}")
        raise


def note(kind: str, what: str) -> None:
    """Write down what happened, under the number of this process."""
    if not State.seen:
        return
    record = {
        "kind": kind,
        "what": what[:500],
        "pid": os.getpid(),
        "test": os.environ.get("PYTEST_CURRENT_TEST", ""),
    }
    with (
        contextlib.suppress(OSError),
        open(os.path.join(State.seen[0], f"{os.getpid()}.jsonl"), "a") as file,
    ):
        file.write(json.dumps(record) + "\n")


class Finder(importlib.abc.MetaPathFinder):
    """For loaders that read files by themselves, as pytest's does for packages with plugins."""

    def __init__(self) -> None:
        self.busy: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Ask the other finders; give a mutated file the plain loader."""
        if name in self.busy:
            return None
        self.busy.add(name)
        found = None
        try:
            for other in list(sys.meta_path):
                if other is not self and hasattr(other, "find_spec"):
                    found = other.find_spec(name, path, target)
                if found is not None:
                    break
        finally:
            self.busy.discard(name)
        if found is None or not found.origin or isinstance(found.loader, Loader):
            return found
        if found.has_location and real(found.origin) is not None:
            found.loader = Loader(name, found.origin)
        return found


finder = Finder()


def first() -> None:
    """Put the finder before those that came later."""
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)
    sys.meta_path.insert(0, finder)


def forked() -> None:
    """Note in a forked process which of the files it holds already."""
    for module in list(sys.modules.values()):
        found = real(getattr(module, "__file__", None) or "")
        if found is not None:
            note("imported", found)


def keep(event: str, given: Any) -> None:
    """Give a child process the hook when its environment has another PYTHONPATH."""
    if event != "subprocess.Popen" or not State.sources:
        return
    own = os.path.dirname(os.path.abspath(__file__))
    environment = os.environ if given[3] is None else given[3]
    held = environment.get("PYTHONPATH") if hasattr(environment, "get") else own
    if isinstance(environment, MutableMapping) and own not in (held or "").split(os.pathsep):
        environment["PYTHONPATH"] = os.pathsep.join([own, *([held] if held else [])])
        environment.setdefault(VARIABLE, os.environ.get(VARIABLE, ""))


def install(config: str) -> None:
    """Use the sources that the configuration names, from now on."""
    with open(config, encoding="utf-8") as file:
        told = json.load(file)
    State.sources.update(told["sources"])
    State.names.update(os.path.basename(path) for path in told["sources"])
    State.seen[:] = [told["seen"]] if told.get("seen") else []
    Loader.get_data = get_data  # type: ignore[method-assign]
    Loader.path_stats = path_stats  # type: ignore[method-assign]
    Loader.exec_module = exec_module  # type: ignore[method-assign]
    first()
    if not State.kept:
        State.kept.append(True)
        sys.addaudithook(keep)
    if told.get("forks") and not State.forks and hasattr(os, "register_at_fork"):
        State.forks.append(True)
        os.register_at_fork(after_in_child=forked)


def chain() -> None:
    """Run the sitecustomize that stood there before."""
    own = os.path.dirname(os.path.abspath(__file__))
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != own]
    found = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if found is not None and found.loader is not None:
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)


if __name__ == "sitecustomize":
    if os.environ.get(VARIABLE):
        install(os.environ[VARIABLE])
    chain()
