"""The other testing kits, as the benchmark calls them."""

import importlib.util

from benchmarks.testers.peer_pytest_torch import pytest_torch
from benchmarks.testers.peer_torchtest2 import torchtest2

TOOLS = {"torchtest2": torchtest2, "pytest-torch": pytest_torch}
VERSIONS = {"torchtest2": "0.1.0", "pytest-torch": "1.1.1"}


def require(tool: str) -> None:
    """Say how to install a kit that is not there. Raises SystemExit."""
    if tool in TOOLS and importlib.util.find_spec(tool.replace("-", "_")) is None:
        raise SystemExit(
            f"{tool} is not installed; in an environment of its own (it is a pytest plugin or "
            f"wants its own pins): pip install {tool}=={VERSIONS[tool]}"
        )
