"""What `pytest --zoo-model` collects: one test a check."""

from typing import Any


def test_model(zoo_model_row: tuple[str, Any, str], record_property: Any) -> None:
    """Run one check; what it saw goes into JUnit's file too."""
    from zoo.testing.suite import run_check

    origin, spec, check = zoo_model_row
    outcome = run_check(origin, spec, check)
    for finding in outcome.findings:  # warnings and notes do not fail
        record_property(
            f"{finding.severity} {finding.kind}", f"{finding.where}: {finding.evidence}"
        )
