"""Which models are served, and which version of each is the default: from words, or from TOML.

    gpt2=FOLDER gpt2@2=FOLDER bert=FOLDER          [gpt2]
                                                   default = "2"
                                                   [gpt2.versions]
                                                   1 = "folder"
                                                   2 = "folder"

In words the first version of a model is its default, and is called 1 unless it has a name. In a
file folders are relative to the file; without `default` the first version is it.
"""

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
NAMES = "letters, digits, . _ and -, at most 100"


@dataclass(frozen=True)
class ModelPlan:
    """The folder of each version of one model, and which answers to the model's bare name."""

    versions: dict[str, str]
    default: str


@dataclass(frozen=True)
class Plan:
    """What is served, by model name."""

    models: dict[str, ModelPlan]


def plan_of(words: Sequence[str]) -> Plan:
    """Read `name=FOLDER` and `name@version=FOLDER`; raise ValueError that names the word."""
    found: dict[str, dict[str, str]] = {}
    for word in words:
        name, version, path = parts_of(word)
        versions = found.setdefault(name, {})
        if version in versions:
            why = f"{word}: version {version} of {name} stands there already; "
            raise ValueError(f"{why}name another, as in {name}@{spare(versions)}={path}")
        versions[version] = folder(path, word)
    if not found:
        raise ValueError("no model is named; expected name=FOLDER, as in gpt2=checkpoints/gpt2")
    return Plan({name: ModelPlan(v, next(iter(v))) for name, v in found.items()})


def parts_of(word: str) -> tuple[str, str, str]:
    """Split a word into model, version and folder."""
    key, equals, path = word.partition("=")
    if not equals or not path:
        raise ValueError(f"{word}: expected name=FOLDER or name@version=FOLDER")
    name, at, version = key.partition("@")
    return named(name, word), named(version, word) if at else "1", path


def read_plan(file: str | Path) -> Plan:
    """Read a plan's TOML file; raise ValueError that names the file and what is wrong in it."""
    place = Path(file)
    try:
        table = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{place}: {error.strerror}; expected a plan in TOML") from error
    except ValueError as error:  # of TOML, or not UTF-8
        raise ValueError(f"{place}: {error}") from error
    if not table:
        raise ValueError(f"{place} names no model; expected a table for each, as in [gpt2]")
    return Plan({name: model_plan(name, rows, place) for name, rows in table.items()})


def model_plan(name: str, rows: Any, place: Path) -> ModelPlan:
    """Check the table of one model."""
    where = f"{place}, [{named(name, str(place))}]"
    if not isinstance(rows, dict) or set(rows) - {"default", "versions"}:
        raise ValueError(f"{where}: expected `default` and a table `versions`, nothing else")
    paths = rows.get("versions")
    if not isinstance(paths, dict) or not paths:
        raise ValueError(f'{where}: expected a table [{name}.versions], as in 1 = "folder"')
    versions = {}
    for version, path in paths.items():
        if not isinstance(path, str):
            raise ValueError(f"{where}: version {version} is {path!r}; expected a folder's path")
        versions[named(version, where)] = folder(os.path.join(place.parent, path), where)
    default = rows.get("default", next(iter(versions)))
    if default not in versions:
        known = ", ".join(versions)
        raise ValueError(f'{where}: default is {default!r}; expected one of "{known}"')
    return ModelPlan(versions, default)


def named(name: str, where: str) -> str:
    """Give a name back; raise ValueError when it is none."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{where}: {name!r} is not a name; expected {NAMES}")
    return name


def folder(path: str, where: str) -> str:
    """Give the absolute path of a folder that is there."""
    if not os.path.isdir(path):
        fault = "is a file" if os.path.exists(path) else "is not there"
        raise ValueError(f"{where}: {path} {fault}; expected a checkpoint's folder")
    return os.path.realpath(path)


def spare(versions: dict[str, str]) -> int:
    """Give the first number that is no version yet."""
    return next(n for n in range(1, len(versions) + 2) if str(n) not in versions)
