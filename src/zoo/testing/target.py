"""From "pkg.mod:spec" or "file.py:spec" to what is to be checked."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError


class Here:
    """A block in which the working folder can be imported from, as `python -m` does it."""

    def __enter__(self) -> None:
        self.folder = str(Path.cwd())
        self.added = self.folder not in sys.path and "" not in sys.path
        if self.added:
            sys.path.insert(0, self.folder)

    def __exit__(self, *_: object) -> None:
        if self.added and self.folder in sys.path:
            sys.path.remove(self.folder)


def load_targets(text: str) -> list[tuple[str, Any]]:
    """Give (origin, spec) of a target; a module without a name after ":" gives all its ModelSpecs.

    Raises SpecError, which says what is there instead, when nothing of that name is.
    """
    place, name = split(text)
    with Here():
        module = load_module(place)
    if name:
        return [(text, attribute(module, place, name))]
    found = sorted(k for k, v in vars(module).items() if isinstance(v, ModelSpec))
    if not found:
        raise SpecError(
            f"{place} has no ModelSpec; write spec = zoo.testing.ModelSpec(...) in it, or name "
            f"a module class or a function that builds one: {place}:NAME"
        )
    return [(f"{place}:{key}", getattr(module, key)) for key in found]


def split(text: str) -> tuple[str, str]:
    """Cut a target at its last colon, unless that is a drive's."""
    place, colon, name = text.rpartition(":")
    if not colon or "/" in name or "\\" in name or name.endswith(".py"):
        return text, ""
    return place, name


def importable(text: str) -> str:
    """Give a target as an import names it: "docs/net.py:spec" is "net:spec" beside that file."""
    place, name = split(text)
    if not place.endswith(".py"):
        return text
    stem = place.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    return f"{stem}:{name}" if name else stem


def load_module(place: str) -> ModuleType:
    """Import a module by its dotted name or by its file. Raises SpecError, saying what stopped."""
    try:
        if place.endswith(".py") or "/" in place or "\\" in place:
            return from_file(Path(place))
        return importlib.import_module(place)
    except SpecError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and place.startswith(error.name):
            raise SpecError(
                f"no module {error.name!r}; run from the folder that holds it, install it, or "
                "give the file: path/to/file.py:spec"
            ) from None
        raise SpecError(f"{place} imports {error.name!r}, which is not installed") from error
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise SpecError(f"importing {place} raised {type(error).__name__}: {said}") from error


def from_file(path: Path) -> ModuleType:
    """Import a file; its neighbours can be imported by it."""
    if not path.is_file():
        raise SpecError(f"there is no file {path}")
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    taken = path.stem in sys.modules  # by another file, such as the standard library's copy.py
    name = f"{path.stem} of {folder}" if taken else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def attribute(module: ModuleType, place: str, name: str) -> Any:
    """Give a module's attribute. Raises SpecError, naming those that could be meant."""
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            there = ", ".join(sorted(candidates(module))) or "nothing that can be checked"
            raise SpecError(f"{place} has no {name!r}; it has {there}")
        found = getattr(found, part)
    return found


def candidates(module: ModuleType) -> Iterator[str]:
    """Give the names of a module's own specs, modules, classes and functions."""
    for key, value in vars(module).items():
        own = getattr(value, "__module__", module.__name__) == module.__name__
        if not key.startswith("_") and (isinstance(value, ModelSpec) or (callable(value) and own)):
            yield key
