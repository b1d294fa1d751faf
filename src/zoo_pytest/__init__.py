"""The pytest plugin: `pytest --zoo-model=pkg.mod:spec` checks a model with no test file.

A package of its own, since pytest imports it at every start: nothing of zoo, and no torch, is
loaded before a model is asked for.
"""

from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).with_name("model_tests.py")
ROWS: pytest.StashKey[list[Any]] = pytest.StashKey()


def pytest_addoption(parser: Any) -> None:
    """Add the options."""
    group = parser.getgroup("zoo", "checks of PyTorch models")
    group.addoption(
        "--zoo-model",
        action="append",
        default=[],
        metavar="PKG.MOD:SPEC",
        help="check a model: a ModelSpec, a module class or a function that builds one; repeatable",
    )
    group.addoption(
        "--zoo-tier", choices=("quick", "full"), default="full", help="which checks (default: full)"
    )
    group.addoption(
        "--zoo-only", action="append", default=[], metavar="CHECK", help="this check; repeatable"
    )
    group.addoption(
        "--zoo-expect",
        action="append",
        default=[],
        metavar="CHECK=REASON",
        help="a check that fails for a reason that is known; it must fail; repeatable",
    )


def pytest_configure(config: Any) -> None:
    """Register the markers; with --zoo-model and no paths, collect the model's checks alone."""
    config.addinivalue_line("markers", "zoo_quick: a check of a model that takes moments")
    config.addinivalue_line("markers", "zoo_full: a check of a model that takes longer")
    if not config.getoption("--zoo-model"):
        return
    asked = config.args_source is config.ArgsSource.ARGS
    config.args = [*(config.args if asked else []), str(TESTS)]


def pytest_sessionstart(session: Any) -> None:
    """Load the models that --zoo-model names: what cannot be loaded is a usage error (exit 4)."""
    config = session.config
    if not config.getoption("--zoo-model"):
        return
    from zoo.testing.subject import SpecError
    from zoo.testing.suite import parameters
    from zoo.testing.target import load_targets

    expected = dict(pair.partition("=")[::2] for pair in config.getoption("--zoo-expect"))
    try:
        targets = [t for text in config.getoption("--zoo-model") for t in load_targets(text)]
        config.stash[ROWS] = parameters(
            targets,
            only=config.getoption("--zoo-only"),
            tier=config.getoption("--zoo-tier"),
            expected_failures=expected,
        )
    except (SpecError, KeyError) as error:
        raise pytest.UsageError(str(error.args[0])) from None


def pytest_generate_tests(metafunc: Any) -> None:
    """Make one test for every check of every model that --zoo-model names."""
    if "zoo_model_row" not in metafunc.fixturenames:
        return
    rows = metafunc.config.stash.get(ROWS, [])
    metafunc.parametrize(
        "zoo_model_row", [pytest.param(row.values, marks=row.marks, id=row.id) for row in rows]
    )
