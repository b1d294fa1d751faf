"""The import hook: one file has another source in every process of a command.

This file is copied as `sitecustomize.py` into a folder that is put first on PYTHONPATH; it uses the
standard library alone and imports nothing of zoo. ZOO_MUTATED names a JSON file:
{"sources": {real path: file with the source to use}, "seen": folder for notes}.

Loaders are patched rather than finders: whatever finder wins (an editable install, pytest's
pythonpath, jaxtyping's hook), the file is read by `SourceFileLoader`. No .pyc is read or written
for it, since `path_stats` then knows no time. Notes: which process imported a file, during which
test, and that importing it failed.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys

VARIABLE = "ZOO_MUTATED"
Loader = importlib.machinery.SourceFileLoader
PLAIN = (Loader.get_data, Loader.path_stats, Loader.exec_module)

state = {"sources": {}, "names": set(), "seen": "", "real": {}, "forks": False}


def real(path):
    """Give the real path of a file that may be replaced, None of any other."""
    text = os.fspath(path)
    if os.path.basename(text) not in state["names"]:
        return None
    if text not in state["real"]:
        state["real"][text] = os.path.realpath(text)
    found = state["real"][text]
    return found if found in state["sources"] else None


def get_data(self, path):
    found = real(path)
    if found is None:
        return PLAIN[0](self, path)
    note("imported", found)
    with open(state["sources"][found], "rb") as file:
        return file.read()


def path_stats(self, path):
    if real(path) is not None:
        raise OSError("a mutated file has no cache")
    return PLAIN[1](self, path)


def exec_module(self, module):
    try:
        return PLAIN[2](self, module)
    except BaseException as error:
        if real(self.path) is not None:
            note("broken", f"{type(error).__name__}: {error}")
        raise


def note(kind, what):
    """Write down what happened, under the number of this process."""
    if not state["seen"]:
        return
    record = {
        "kind": kind,
        "what": str(what)[:500],
        "pid": os.getpid(),
        "test": os.environ.get("PYTEST_CURRENT_TEST", ""),
    }
    try:
        with open(os.path.join(state["seen"], f"{os.getpid()}.jsonl"), "a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError:
        pass


class Finder(importlib.abc.MetaPathFinder):
    """For loaders that read files by themselves, as pytest's does for packages with plugins."""

    def __init__(self):
        self.busy = set()

    def find_spec(self, name, path=None, target=None):
        if name in self.busy:
            return None
        self.busy.add(name)
        try:
            for finder in sys.meta_path:
                found = None
                if finder is not self and hasattr(finder, "find_spec"):
                    found = finder.find_spec(name, path, target)
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


def first():
    """Put the finder before those that came later."""
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)
    sys.meta_path.insert(0, finder)


def forked():
    for found in state["sources"]:
        if any(
            os.path.realpath(getattr(m, "__file__", None) or "") == found
            for m in list(sys.modules.values())
        ):
            note("imported", found)


def install(config):
    """Use the sources that the configuration names, from now on."""
    with open(config, encoding="utf-8") as file:
        told = json.load(file)
    state["sources"] = told["sources"]
    state["names"] = {os.path.basename(path) for path in told["sources"]}
    state["seen"] = told.get("seen", "")
    Loader.get_data, Loader.path_stats, Loader.exec_module = get_data, path_stats, exec_module
    first()
    if not state["forks"] and hasattr(os, "register_at_fork") and told.get("forks"):
        state["forks"] = True
        os.register_at_fork(after_in_child=forked)


def chain():
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
