"""A run in which any test needed a rerun fails, with that test's name.

    pytest -p zoo_pytest.reruns --reruns 2        or, in conftest.py: pytest_plugins = [...]

pytest-rerunfailures turns a flaky test green; this turns the run red again, with exit code 70, so
that a rerun may show a flake and never hide it.  Its own --fail-on-flaky exits 0 under xdist.
"""

from typing import Any

import pytest

EXIT = 70


class Reruns:
    """Count reruns by test; one for each pytest run in this process."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test that is run again; under xdist the controller hears of every worker's."""
        if report.outcome == "rerun":
            self.seen[report.nodeid] = self.seen.get(report.nodeid, 0) + 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name the tests."""
        for name, times in sorted(self.seen.items()):
            terminalreporter.line(f"FLAKY {name}: needed {times} rerun{'s' * (times > 1)}")
        if self.seen:
            terminalreporter.line(f"{len(self.seen)} needed a rerun, so this run has failed")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        """Turn a green run red when a test needed a rerun; other exit codes stay."""
        if self.seen and session.exitstatus == 0:
            session.exitstatus = EXIT


def pytest_configure(config: Any) -> None:
    """Watch where reports come together: without xdist, or in its controller."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reruns(), "zoo_reruns")
