"""Checks as tests: a class whose methods pytest finds, and a decorator over many specs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from zoo.testing.checks.table import CHECKS
from zoo.testing.engine import as_spec, check_model, chosen_checks
from zoo.testing.report import Outcome, findings_in_words
from zoo.testing.target import importable, load_targets


def parameters(
    targets: Iterable[tuple[str, Any]],
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    tier: Any = "full",
    expected_failures: Mapping[str, str] | None = None,
) -> list[Any]:
    """Give a pytest parameter (origin, spec, check) for every check of every target.

    An expected failure is an xfail with its reason; it fails when the check passes. Markers:
    `zoo_quick` and `zoo_full`.
    """
    expected = dict(expected_failures or {})
    chosen_checks(CHECKS, tuple(expected), (), tier)  # a name that is none is refused
    rows = []
    for origin, spec in targets:
        for check in chosen_checks(CHECKS, only, skip, tier):
            marks = [pytest.mark.zoo_quick if check.tier == "quick" else pytest.mark.zoo_full]
            if check.name in expected:
                marks.append(pytest.mark.xfail(reason=expected[check.name], strict=True))
            label = f"{origin}-{check.name}" if origin else check.name
            rows.append(pytest.param(origin, spec, check.name, marks=marks, id=label))
    return rows


def run_check(origin: str, spec: Any, check: str, seed: int = 0) -> Outcome:
    """Run one check as a test: fail with its findings in words, skip with its reason."""
    __tracebackhide__ = True
    report = check_model(spec, only=(check,), seed=seed, origin=importable(origin))
    outcome = report.outcomes[-1]
    failures = report.failures
    if failures:
        pytest.fail("\n".join(findings_in_words(failures)).strip(), pytrace=False)
    if outcome.status == "skipped":
        pytest.skip(outcome.reason)
    if outcome.status == "error":
        pytest.fail(f"check_{check} could not be run: {outcome.reason}", pytrace=False)
    return outcome


class ModelSuite:
    """One test a check, of one model. Subclass it, name it Test..., and say what to check.

    `spec` is a ModelSpec, a module, a function that builds one, or a target ("pkg.mod:spec").
    """

    spec: Any = None
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    tier: str = "full"
    seed: int = 0
    expected_failures: Mapping[str, str] = {}  # check -> reason

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test a check."""
        if "zoo_row" in metafunc.fixturenames:
            metafunc.parametrize("zoo_row", self.rows())

    @classmethod
    def rows(cls) -> list[Any]:
        """Give one row a check."""
        spec = cls.__dict__.get("spec", cls.spec)
        if isinstance(spec, staticmethod):
            spec = spec.__func__
        if spec is None:
            return []  # the base class itself
        targets = load_targets(spec) if isinstance(spec, str) else [("", spec)]
        made = parameters(
            targets,
            only=cls.only,
            skip=cls.skip,
            tier=cls.tier,
            expected_failures=cls.expected_failures,
        )
        return [pytest.param(row.values, marks=row.marks, id=row.id) for row in made]

    def test_check(self, zoo_row: tuple[str, Any, str]) -> None:
        """Run one check."""
        origin, spec, check = zoo_row
        run_check(origin, spec, check, self.seed)


def parametrize_with_checks(
    specs: Sequence[Any],
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    tier: str = "full",
    expected_failures: Mapping[str, str] | None = None,
) -> Any:
    """Make a decorator for `def test_x(spec, check)`: one test for every spec and check.

    In the test `check(spec)` runs it. Specs as for ModelSuite.
    """
    rows = []
    for number, given in enumerate(specs):
        loaded = load_targets(given) if isinstance(given, str) else [("", given)]
        for origin, spec in loaded:
            label = origin or getattr(spec, "name", "") or f"spec{number}"
            for row in parameters(
                [(label, spec)],
                only=only,
                skip=skip,
                tier=tier,
                expected_failures=expected_failures,
            ):
                name = row.values[2]
                rows.append(pytest.param(spec, Run(origin, name), marks=row.marks, id=row.id))
    return pytest.mark.parametrize(("spec", "check"), rows)


class Run:
    """A check that is called with a spec."""

    def __init__(self, origin: str, name: str) -> None:
        self.origin, self.name = origin, name

    def __call__(self, spec: Any) -> None:
        """Run the check as a test."""
        run_check(self.origin, as_spec(spec, {}), self.name)
