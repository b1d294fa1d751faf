"""The engine: every check from the same state, bugs are findings, words are enough."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from unit.testing.models import Classifier, classifier_spec
from zoo.testing import CheckFailed, SpecError, check_forward, check_model
from zoo.testing.checks.table import CHECKS
from zoo.testing.engine import Check, NotApplicable, chosen_checks, outcome_of
from zoo.testing.finding import KINDS, Finding
from zoo.testing.folding import EVERYWHERE, EXPLAINS
from zoo.testing.guard import fingerprint, generators, settings
from zoo.testing.page import matrix_html, page
from zoo.testing.report import CAUSES, SYMPTOMS, Outcome, Report
from zoo.testing.subject import Subject


def finding(kind="crash", severity="fail", **more):
    said = {"where": "a.b", "evidence": "seen <it>", "explanation": "why", "fix": "do"}
    return Finding(kind=kind, severity=severity, **(said | more))


class Raises(Classifier):
    def forward(self, x):
        raise ZeroDivisionError("too small")


def raising():
    raise ZeroDivisionError("not built")


CRASHES = {
    "in build": (raising, "build() raised ZeroDivisionError: not built"),
    "in forward": (Raises, "a batch of 3 rows raised ZeroDivisionError: too small"),
}


@pytest.mark.parametrize(("build", "said"), CRASHES.values(), ids=CRASHES)
def test_a_model_that_raises_is_one_finding(build, said):
    report = check_model(classifier_spec(build))
    assert [f.kind for f in report.findings] == ["crash"]
    assert report.findings[0].evidence == said
    assert report.findings[0].line.startswith("test_engine.py:")
    assert not report.ok


def test_the_callers_model_and_process_are_left_as_they_were():
    module = Classifier()
    before, set_before, generator = fingerprint(module), settings(), generators()["torch"]
    batch = classifier_spec().batch
    report = check_model(module, batch=batch, loss=classifier_spec().loss)
    assert report.outcomes
    assert fingerprint(module) == before
    assert settings() == set_before
    assert torch.equal(generators()["torch"], generator)


def test_a_check_may_say_that_it_has_nothing_to_say():
    def run(subject):
        raise NotApplicable("no input is causal")

    subject = Subject(classifier_spec())
    outcome = outcome_of(Check(name="x", run=run, about=""), subject, "")
    assert (outcome.status, outcome.reason) == ("skipped", "no input is causal")


def test_what_a_check_raises_is_an_outcome_and_its_findings_stay():
    def run(subject):
        yield finding()
        raise KeyError("k")

    subject = Subject(classifier_spec())
    outcome = outcome_of(Check(name="x", run=run, about=""), subject, "mine:spec")
    assert outcome.status == "found"
    assert outcome.reason == "KeyError: 'k'"
    assert outcome.findings[0].check == "x"
    assert outcome.findings[0].repro.splitlines() == [
        "from zoo.testing import check_x",
        "from mine import spec",
        "check_x(spec)",
    ]


def test_a_check_as_a_function_raises_its_findings_in_words():
    check_forward(classifier_spec())
    with pytest.raises(CheckFailed, match=r"FAIL crash: the model does not run") as caught:
        check_forward(classifier_spec(Raises))
    assert caught.value.findings[0].kind == "crash"


REFUSED = {
    "a number": ((3,), {}, SpecError, r"int cannot be checked; give a ModelSpec"),
    "a field that is none": ((Classifier,), {"casual": "x"}, TypeError, r"did you mean 'causal'"),
    "a check that is none": ((Classifier,), {"only": ("x",)}, KeyError, r"no check is called 'x'"),
    "a class that needs arguments": ((nn.Linear,), {}, SpecError, r"needs in_features, out_feat"),
}


@pytest.mark.parametrize(("given", "facts", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_checked_is_refused(given, facts, error, said):
    with pytest.raises(error, match=said):
        check_model(*given, **facts)


def test_what_a_budget_does_not_reach_is_told():
    report = check_model(classifier_spec(), only=("forward", "modes"), budget=0.0)
    assert [o.status for o in report.outcomes] == ["skipped", "skipped"]
    assert "the budget of 0 s of processor time is spent" in report.outcomes[0].reason


def test_tiers_and_names_choose_checks():
    rows = [Check(name=n, run=list, about="", tier=t) for n, t in (("a", "quick"), ("b", "full"))]
    table = {row.name: row for row in rows}
    assert chosen_checks(table, (), (), "full") == rows
    assert chosen_checks(table, (), (), "quick") == rows[:1]
    assert chosen_checks(table, ("b",), (), "quick") == rows[1:]
    assert chosen_checks(table, (), ("a",), "full") == rows[1:]


def report(*findings):
    outcome = Outcome(check="x", status="found", findings=findings, seconds=0.5)
    skipped = Outcome(check="y", status="skipped", reason="no <loss>")
    return Report(name="Net", outcomes=(outcome, skipped), seconds=1.0, parameters=12)


def test_findings_come_by_severity_and_causes_before_symptoms():
    made = report(
        finding("not-learning"),
        finding("causal-leak", "warn"),
        finding("wrong-gradient"),
        finding("shape"),
    )
    assert [f.kind for f in made.findings] == [
        "shape",
        "wrong-gradient",
        "not-learning",
        "causal-leak",
    ]
    assert len(made.failures) == 3


def test_the_order_names_kinds_that_there_are():
    assert set(CAUSES) | set(SYMPTOMS) <= set(KINDS)
    assert not set(CAUSES) & set(SYMPTOMS)


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no kind of bug is called 'odd'"):
        finding("odd")


def test_a_report_in_words_names_what_was_not_tried():
    text = str(report(finding(line="m.py:3 x = 1", repro="a\nb\nc")))
    assert "Net: 1 checks in 1.0 s, 1 fail" in text
    assert "1. FAIL crash at a.b: the model does not run" in text
    for line in ("m.py:3 x = 1", "seen <it>", "why", "do", "again: a"):
        assert line in text
    assert "not tried (1):\n  y: no <loss>" in text


def test_checks_that_are_not_tried_for_one_reason_share_a_line():
    skipped = [
        Outcome(check=name, status="skipped", reason=reason)
        for name, reason in (("a", "no loss"), ("b", "no mask"), ("c", "no loss"))
    ]
    assert str(Report(name="Net", outcomes=tuple(skipped))).endswith(
        "not tried (3):\n  a, c: no loss\n  b: no mask"
    )


FOLDED = {
    "the mode of a layer in a list": (("unregistered", ""), ("train-eval", ""), True),
    "rows that such a layer joins": (
        ("unregistered", "a"),
        ("batch-leak", "(unregistered BatchNorm2d)"),
        True,
    ),
    "the module around the list": (("unregistered", "a.b"), ("dtype", "a"), True),
    "a module in it": (("unregistered", "a"), ("dtype", "a.b"), True),
    "the dtype of another module": (("unregistered", "a"), ("dtype", "b"), False),
    "a module whose name begins alike": (("unregistered", "a"), ("dtype", "ab"), False),
    "a registered module beside a list of the model": (("unregistered", ""), ("dtype", "a"), False),
    "noise, wherever it shows": (("eval-noise", "a"), ("batch-leak", "b"), True),
    "a leak is not noise": (("eval-noise", ""), ("causal-leak", ""), False),
    "a failure to learn": (("wrong-gradient", "a.b"), ("not-learning", ""), True),
}


@pytest.mark.parametrize(("cause", "finding_", "folds"), FOLDED.values(), ids=FOLDED)
def test_what_follows_from_a_failure_is_marked_and_stands_behind(cause, finding_, folds):
    one = Outcome(check="x", status="found", findings=(finding(cause[0], where=cause[1]),))
    two = Outcome(check="y", status="found", findings=(finding(finding_[0], where=finding_[1]),))
    third = Outcome(check="z", status="found", findings=(finding("range"),))
    made = Report(name="Net", outcomes=(one, two, third))
    assert len(made.failures) == 3
    assert sum(bool(f.because) for f in made.findings) == folds
    assert not made.findings[0].because and made.findings[0].kind == cause[0]
    assert bool(made.findings[-1].because) == folds
    said = f"follows from 1, mend it and run again: {finding_[0]}"
    assert (said in str(made)) == folds
    assert ("1 more that follows" in str(made)) == folds


def test_nothing_follows_from_what_is_not_certain():
    made = report(finding("eval-noise", "warn"), finding("batch-leak", "warn", where=""))
    assert not any(f.because for f in made.findings)


def test_one_bug_in_numbered_layers_is_told_once_with_its_places():
    made = report(*(finding("init", where=f"blocks.{i}.mlp") for i in range(3)), finding("init"))
    assert [f.because for f in made.findings] == [
        "",
        "",
        "init at blocks.0.mlp",
        "init at blocks.0.mlp",
    ]
    assert "also:  the same at blocks.1.mlp, blocks.2.mlp" in str(made)
    assert "the same at blocks.1.mlp, blocks.2.mlp" in page([made])
    assert "2 fail, 2 more that follow" in str(made)
    assert "follows from" not in str(made)


def test_other_lines_or_other_advice_at_numbered_layers_are_other_bugs():
    lines = [finding("init", where=f"blocks.{i}", line=f"m.py:{i} x") for i in range(2)]
    advice = [finding("mask", where=f"blocks.{i}", fix=fix) for i, fix in enumerate("ab")]
    assert not any(f.because for f in report(*lines, *advice).findings)


def test_what_two_checks_see_in_one_line_is_told_once():
    same = finding("wrong-gradient", line="m.py:3 F.backward")
    outcomes = [Outcome(check=c, status="found", findings=(replace_check(same, c),)) for c in "xy"]
    made = Report(name="Net", outcomes=tuple(outcomes))
    assert [f.because for f in made.findings] == ["", "wrong-gradient at a.b"]
    assert "follows from 1, mend it and run again: wrong-gradient at a.b (y)" in str(made)


def replace_check(given, check):
    return dataclasses.replace(given, check=check)


def test_what_explains_and_what_is_explained_are_kinds():
    assert set(EXPLAINS) | {k for kinds in EXPLAINS.values() for k in kinds} <= set(KINDS)
    assert set(EVERYWHERE) <= set(EXPLAINS)


def test_a_report_is_plain_data():
    data = json.loads(json.dumps(report(finding(data={"matrix": [[1.0]]})).to_json()))
    assert data["ok"] is False
    assert data["findings"][0]["where"] == "a.b"
    assert data["checks"][1]["reason"] == "no <loss>"


def test_a_page_escapes_what_it_shows_and_draws_the_matrix():
    matrix = {"matrix": [[1.0, 0.0], [0.5, 1.0]], "rows": "output", "columns": "input"}
    made = page([report(finding(data=matrix), finding("shape", "warn"))])
    assert "seen &lt;it&gt;" in made and "<it>" not in made
    assert "no &lt;loss&gt;" in made
    assert made.count("<article") == 2
    assert made.count("<rect") == 1 + 3  # the frame, and a cell for each that is not zero
    assert "<script" not in made and "http" not in made


def test_what_is_no_matrix_is_not_drawn():
    assert matrix_html(None) == matrix_html({"matrix": []}) == matrix_html([1]) == ""


def test_the_table_of_checks_is_whole():
    for name, check in CHECKS.items():
        assert check.name == name and name.isidentifier()
        assert check.about and len(check.about) <= 90 and not check.about.endswith(".")


def test_facts_are_added_to_a_spec():
    spec = classifier_spec()
    report = check_model(spec, only=("forward",), name="other")
    assert report.name == "other"
    assert dataclasses.replace(spec) == spec
