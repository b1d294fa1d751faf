"""Rows of checks: how a suite is told what to check, and how each outcome ends a test."""

from types import MappingProxyType

import pytest
from torch import nn

from unit.testing.models import Classifier, classifier_spec
from zoo.testing import engine
from zoo.testing.checks.table import CHECKS
from zoo.testing.finding import Finding
from zoo.testing.report import Outcome
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError
from zoo.testing.suite import ModelSuite, Run, parameters, parametrize_with_checks, run_check

SPEC = classifier_spec(name="mine")
QUICK = [name for name, check in CHECKS.items() if check.tier == "quick"]


def build():
    return Classifier()


def rows(made):
    return [(row.id, [mark.name for mark in row.marks]) for row in made]


def test_rows_have_an_origin_a_spec_a_check_and_marks():
    made = parameters(
        [("", SPEC), ("pkg:b", build)],
        only=("forward", "positions"),
        expected_failures={"positions": "why"},
    )
    tiers = {name: f"zoo_{CHECKS[name].tier}" for name in ("forward", "positions")}
    assert rows(made) == [
        ("forward", [tiers["forward"]]),
        ("positions", [tiers["positions"], "xfail"]),
        ("pkg:b-forward", [tiers["forward"]]),
        ("pkg:b-positions", [tiers["positions"], "xfail"]),
    ]
    assert [row.values for row in made[1:3]] == [
        ("", SPEC, "positions"),
        ("pkg:b", build, "forward"),
    ]


def test_rows_are_those_of_a_tier_without_those_that_are_left_out():
    assert [r.id for r in parameters([("", SPEC)], tier="quick")] == QUICK
    assert [r.id for r in parameters([("", SPEC)])] == list(CHECKS)
    assert [r.id for r in parameters([("", SPEC)], tier="quick", skip=QUICK[1:])] == QUICK[:1]
    assert parameters([]) == []
    with pytest.raises(KeyError, match="'a'"):
        parameters([("", SPEC)], skip=("a",))


class Suite(ModelSuite):
    spec = SPEC
    only = ("forward", "modes")
    skip = ("modes",)
    expected_failures = MappingProxyType({"forward": "known"})


class OfFunction(ModelSuite):
    spec = build
    tier = "quick"


class OfStatic(ModelSuite):
    spec = staticmethod(build)
    only = ("forward",)


class OfTarget(ModelSuite):
    spec = "unit.testing.models:Classifier"
    only = ("forward",)


class Inherits(OfStatic):
    skip = ()


def test_a_suite_gives_a_row_a_check():
    (row,) = Suite.rows()
    assert row.values == (("", SPEC, "forward"),)
    assert [(m.name, m.kwargs) for m in row.marks][1:] == [
        ("xfail", {"reason": "known", "strict": True})
    ]
    assert row.id == "forward"
    made = OfFunction.rows()
    assert [r.id for r in made] == QUICK and made[0].values[0][1] is build
    assert OfStatic.rows()[0].values == (("", build, "forward"),)
    assert Inherits.rows()[0].values == (("", build, "forward"),)
    (target,) = OfTarget.rows()
    origin = "unit.testing.models:Classifier"
    assert target.values == ((origin, Classifier, "forward"),)
    assert target.id == f"{origin}-forward"


class Asked:
    """Notes what a suite asks pytest for."""

    def __init__(self, *names):
        self.fixturenames, self.given = names, []

    def parametrize(self, *given):
        self.given.append(given)


def test_only_a_test_that_takes_a_row_gets_rows():
    asked, other = Asked("zoo_row"), Asked("tmp_path")
    Suite().pytest_generate_tests(asked)
    Suite().pytest_generate_tests(other)
    assert [name for name, _ in asked.given] == ["zoo_row"] and other.given == []
    assert [row.id for row in asked.given[0][1]] == ["forward"]


def test_a_suites_test_runs_its_row_under_its_seed():
    seeds = []

    def seeded(size):
        import torch

        seeds.append(torch.initial_seed())
        return classifier_spec().batch(size)

    suite = Suite()
    spec = ModelSpec(build=Classifier, batch=seeded)
    suite.test_check(("", spec, "forward"))
    first = set(seeds)
    seeds.clear()
    suite.seed = 7
    suite.test_check(("", spec, "forward"))
    assert {s + 7 for s in first if s >= 1000} <= set(seeds)
    assert Suite.seed == 0


def test_a_decorator_makes_a_row_of_every_spec_and_check():
    given = [SPEC, build, "unit.testing.models:Classifier", nn.Linear(2, 2)]
    mark = parametrize_with_checks(
        given, only=("forward", "modes"), skip=("modes",), expected_failures={"forward": "x"}
    )
    assert (mark.name, mark.args[0]) == ("parametrize", ("spec", "check"))
    made = mark.args[1]
    origin = "unit.testing.models:Classifier"
    assert [row.id for row in made] == [
        f"{label}-forward" for label in ("mine", "spec1", origin, "spec3")
    ]
    assert [row.values[0] for row in made] == [SPEC, build, Classifier, given[3]]
    assert [(row.values[1].origin, row.values[1].name) for row in made] == [
        ("", "forward"),
        ("", "forward"),
        (origin, "forward"),
        ("", "forward"),
    ]
    assert all([m.name for m in row.marks][1:] == ["xfail"] for row in made)
    quick = parametrize_with_checks([SPEC], tier="quick", skip=QUICK[1:]).args[1]
    assert [row.id for row in quick] == [f"mine-{QUICK[0]}"]
    assert len(parametrize_with_checks([SPEC]).args[1]) == len(CHECKS)


class Raises(Classifier):
    def forward(self, x):
        raise ZeroDivisionError("too small")


def test_a_test_fails_skips_or_gives_its_outcome():
    outcome = run_check("", SPEC, "forward")
    assert (outcome.check, outcome.status) == ("forward", "passed")
    with pytest.raises(pytest.skip.Exception, match="causal"):
        run_check("", SPEC, "causality")
    with pytest.raises(pytest.fail.Exception) as failed:
        run_check("dir/net.py:spec", classifier_spec(Raises), "forward")
    said = str(failed.value)
    assert said.startswith("1. FAIL crash: the model does not run\n")
    assert "from net import spec" in said and failed.value.pytrace is False
    with pytest.raises(pytest.fail.Exception, match="FAIL crash"):
        Run("", "forward")(classifier_spec(Raises))
    Run("a:b", "forward")(SPEC)


class Unreadable:
    """A fact that no check can read."""

    def __contains__(self, name):
        raise KeyError("read")


def test_a_check_that_cannot_be_run_fails_in_words():
    spec = classifier_spec(may_ignore=Unreadable())
    report = engine.check_model(spec, only=("inputs_matter",))
    (outcome,) = report.outcomes
    assert (outcome.status, outcome.reason, outcome.findings) == ("error", "KeyError: 'read'", ())
    said = "^check_inputs_matter could not be run: KeyError: 'read'$"
    with pytest.raises(pytest.fail.Exception, match=said) as failed:
        run_check("", spec, "inputs_matter")
    assert failed.value.pytrace is False
    with pytest.raises(RuntimeError, match=said):
        engine.assert_check("inputs_matter", spec, {})


def test_what_a_check_says_is_kept_with_its_time_and_its_example():
    def run(subject):
        yield Finding(
            kind="init", severity="warn", where="a", evidence="e", explanation="x", fix="f"
        )
        yield Finding(
            kind="mask", severity="fail", where="b", evidence="e", explanation="x", fix="f"
        )

    from zoo.testing.guard import Untouched
    from zoo.testing.subject import Subject

    with Untouched():
        subject = Subject(SPEC)
    outcome = engine.outcome_of(engine.Check(name="odd", run=run, about=""), subject, "m:s")
    assert (outcome.check, outcome.status, outcome.reason) == ("odd", "found", "")
    assert [f.kind for f in outcome.findings] == ["mask", "init"]
    assert {f.check for f in outcome.findings} == {"odd"}
    again = "from zoo.testing import check_odd\nfrom m import s\ncheck_odd(s)"
    assert {f.repro for f in outcome.findings} == {again}
    assert 0 < outcome.seconds < 5


REPROS = {
    ("forward", ""): "from yours import spec\nmodel = spec.build()\nmodel(**spec.batch(3))",
    ("forward", "a.b:c"): "from a.b import c\nmodel = c.build()\nmodel(**c.batch(3))",
    (
        "modes",
        "a.b",
    ): "from zoo.testing import check_modes\nfrom a.b import spec\ncheck_modes(spec)",
    ("modes", ":c"): "from zoo.testing import check_modes\nfrom yours import c\ncheck_modes(c)",
}


@pytest.mark.parametrize(("given", "lines"), REPROS.items(), ids=map(str, REPROS))
def test_three_lines_show_a_finding_again(given, lines):
    assert engine.repro(*given) == lines


def test_the_first_line_of_an_error_is_enough():
    assert engine.first_line(ValueError("a\nb")) == "a"
    assert engine.first_line(ValueError()) == ""
    assert engine.first_line(ValueError("x" * 400)) == "x" * 300


def test_a_report_has_a_name_a_time_and_a_number_of_parameters():
    report = engine.check_model(SPEC, only=("forward",))
    assert (report.name, report.parameters) == ("mine", 111)
    assert 0 < report.seconds < 30
    assert engine.check_model(Classifier, only=("forward",)).name == "Classifier"

    def nothing():
        raise ZeroDivisionError("not built")

    broken = engine.check_model(classifier_spec(nothing), seed=3)
    assert (broken.name, broken.parameters) == ("ModelSpec", 0)
    assert engine.check_model(classifier_spec(nothing, name="n")).name == "n"


def test_a_model_that_does_not_run_has_one_outcome():
    report = engine.check_model(classifier_spec(Raises), only=("modes",), origin="m:s")
    (outcome,) = report.outcomes
    assert (outcome.check, outcome.status) == ("forward", "found")
    (found,) = outcome.findings
    assert found.check == "forward" and found.repro == engine.repro("forward", "m:s")
    assert report.parameters == 111 and report.name == "Raises"


def test_what_a_budget_leaves_is_said():
    report = engine.check_model(SPEC, only=("forward", "modes"), budget=-2.5)
    assert report.outcomes == tuple(
        Outcome(
            check=name,
            status="skipped",
            reason="the budget of -2.5 s of processor time is spent; give a larger one",
        )
        for name in ("forward", "modes")
    )
    assert engine.BUDGET == 150.0


def test_a_check_as_a_function_says_all_of_it():
    with pytest.raises(engine.CheckFailed) as failed:
        engine.assert_check("forward", SPEC, {"build": Raises, "name": "odd"})
    lines = str(failed.value).splitlines()
    assert lines[:3] == ["odd: check_forward", "", "1. FAIL crash: the model does not run"]
    assert [f.kind for f in failed.value.findings] == ["crash"]
    assert engine.CheckFailed("x").findings == ()
    assert engine.assert_check("causality", SPEC, {}) is None


def test_facts_that_are_none_are_refused_with_the_nearest():
    facts = {"name": "a", "causal": "x"}
    assert engine.checked(facts) is facts
    with pytest.raises(TypeError) as refused:
        engine.checked({"lable": 1})
    assert str(refused.value) == "ModelSpec has no field 'lable'; did you mean 'labels'?"
    with pytest.raises(TypeError) as refused:
        engine.checked({"zzzzzz": 1})
    assert str(refused.value) == "ModelSpec has no field 'zzzzzz'"
    with pytest.raises(TypeError):
        engine.as_spec(SPEC, {"zzzzzz": 1})
    with pytest.raises(SpecError) as refused:
        engine.as_spec(3, {})
    assert str(refused.value) == (
        "int cannot be checked; give a ModelSpec, a torch.nn.Module, or a function that builds one"
    )
    assert engine.as_spec(SPEC, {}) is SPEC
    assert engine.as_spec(SPEC, {"name": "b"}).name == "b"
