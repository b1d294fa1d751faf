"""Write down the CPU seconds of each test, its fixtures included, as the property `cpu_s`.

Wall seconds of a busy machine say little; `zoo pyramid` reads these from the JUnit report. What a
test's child processes spend is not in them.
"""

import time
from collections.abc import Generator
from typing import Any

import pytest

STARTED: pytest.StashKey[float] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Note when a test began."""
    item.stash[STARTED] = time.process_time()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: Any) -> Generator[None, Any, Any]:
    """Note what it took."""
    try:
        return (yield)
    finally:
        spent = time.process_time() - item.stash[STARTED]
        item.user_properties.append(("cpu_s", round(spent, 4)))
