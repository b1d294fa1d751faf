"""Checks as tests: rows, marks and reasons."""

import pytest

from unit.testing.models import Classifier, classifier_spec
from zoo.testing.checks.table import CHECKS
from zoo.testing.suite import ModelSuite, parameters, parametrize_with_checks, run_check


class Raises(Classifier):
    def forward(self, x):
        raise ZeroDivisionError("too small")


def test_there_is_a_row_for_every_check():
    rows = parameters([("mine:spec", classifier_spec())])
    assert [row.id for row in rows] == [f"mine:spec-{name}" for name in CHECKS]
    for row in rows:
        tier = CHECKS[row.values[2]].tier
        assert [mark.name for mark in row.marks] == [f"zoo_{tier}"]


def test_an_expected_failure_is_a_strict_xfail_with_its_reason():
    (row,) = parameters(
        [("", classifier_spec())], only=["forward"], expected_failures={"forward": "known"}
    )
    mark = row.marks[1]
    assert (mark.name, mark.kwargs) == ("xfail", {"reason": "known", "strict": True})


def test_an_expected_failure_of_no_check_is_refused():
    with pytest.raises(KeyError, match="no check is called 'fortune'"):
        parameters([("", classifier_spec())], expected_failures={"fortune": "x"})


def test_a_suite_without_a_spec_has_no_rows():
    assert ModelSuite.rows() == []


class TestClassifier(ModelSuite):
    spec = classifier_spec()
    only = ("forward",)


class TestBuilder(ModelSuite):
    spec = Classifier
    only = ("forward",)


@parametrize_with_checks([classifier_spec(name="named")], only=["forward"])
def test_a_decorated_test_runs_its_check(spec, check):
    check(spec)


def test_a_bug_fails_in_words():
    with pytest.raises(pytest.fail.Exception, match=r"FAIL crash.*\n.*\n.*too small"):
        run_check("", classifier_spec(Raises), "forward")
