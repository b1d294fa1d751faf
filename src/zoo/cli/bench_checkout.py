"""Code of `benchmarks/`, which stands in a checkout and is no part of the package."""

import importlib
import sys
from pathlib import Path
from typing import Any

from zoo.cli import UsageError


def of_checkout(module: str) -> Any:
    """Import a module of the checkout that one stands in; raise UsageError where there is none."""
    file = Path(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise UsageError(f"there is no {file.parent} here; run it in a checkout of zoo")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(module)
