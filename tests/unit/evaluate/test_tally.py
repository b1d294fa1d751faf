"""Metrics: which rows count where, what they make, on paper and as sklearn has it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from zoo.evaluate.calibration import calibration_error
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.tally import STATISTICS, tally


def row(name, task="choice", **known):
    return Row(id=name, task=task, **({"fields": {}} | known))


def made(name, passed=None, **known):
    return Outcome(id=name, **({"answer": "a", "value": 1.0, "passed": passed} | known))


def choices(passed, **known):
    """Give a row a letter of `passed`: "x" passes, "." fails."""
    names = [f"c{i}" for i in range(len(passed))]
    return (
        [row(name, **known) for name in names],
        [made(name, letter == "x") for name, letter in zip(names, passed, strict=True)],
    )


def values(rows, outcomes):
    return {name: metric.value for name, metric in tally(rows, outcomes).items()}


def test_accuracy_counts_rows_whose_answer_is_known():
    rows, outcomes = choices("xx.x")
    rows += [row("i", test="inv"), row("d", test="dir"), row("t", task="text")]
    outcomes += [made("i", True), made("d", False), made("t", value=30.0, weight=12.0)]
    assert values(rows, outcomes) == {
        "accuracy": 0.75,
        "invariance": 1.0,
        "direction": 0.0,
        "bits_per_byte": 2.5,
    }
    assert tally(rows, outcomes)["accuracy"].rows == ("c0", "c1", "c2", "c3")


def test_a_perturbed_twin_counts_under_its_perturbation_alone():
    rows, outcomes = choices("xxxxx", segments=("names",))
    twins = [
        replace(r, id=f"{r.id}@typos", under="typos", of=r.id, segments=("under:typos",))
        for r in rows
    ]
    after = [replace(o, id=f"{o.id}@typos", passed=o.id == "c0") for o in outcomes]
    assert values(rows + twins, outcomes + after) == {
        "accuracy": 1.0,
        "accuracy[names]": 1.0,
        "accuracy[under:typos]": 0.2,
    }


@pytest.mark.parametrize(("count", "told"), [(4, False), (5, True)])
def test_a_segment_has_a_metric_when_five_of_its_rows_count(count, told):
    rows, outcomes = choices("x.x.xx.")
    rows = [replace(r, segments=("few",) if i < count else ()) for i, r in enumerate(rows)]
    rows.append(row("i", test="inv", segments=("few",)))  # counts for another metric
    outcomes.append(made("i", True))
    assert ("accuracy[few]" in tally(rows, outcomes)) is told
    assert "invariance[few]" not in tally(rows, outcomes)


def test_bits_are_summed_before_they_are_divided():
    rows = [row(f"t{i}", task="text", segments=("old",)) for i in range(5)]
    outcomes = [made(f"t{i}", value=10.0 * i, weight=5.0 + i) for i in range(5)]
    found = tally(rows, outcomes)
    assert found.keys() == {"bits_per_byte", "bits_per_byte[old]"}
    assert found["bits_per_byte"].value == pytest.approx(100 / 35, rel=1e-12)
    assert [m.larger_is_better for m in found.values()] == [False, False]


def test_recall_counts_ranks():
    rows = [row(f"r{i}", task="retrieve") for i in range(4)]
    outcomes = [made(f"r{i}", rank <= 5, value=rank) for i, rank in enumerate([1.0, 5.0, 6.0, 2.0])]
    assert values(rows, outcomes) == {"accuracy": 0.75, "recall@1": 0.25, "recall@5": 0.75}


@pytest.mark.parametrize("seed", range(3))
def test_f1_is_sklearns_over_the_classes_that_labels_name(seed):
    generator = np.random.default_rng(seed)
    labels = generator.choice(["cat", "dog", "owl"], 40)
    answers = np.where(generator.random(40) < 0.6, labels, generator.choice(["cat", "ant"], 40))
    rows = [row(f"l{i}", task="label", fields={"label": k}) for i, k in enumerate(labels.tolist())]
    outcomes = [
        made(f"l{i}", bool(k == labels[i]), answer=k) for i, k in enumerate(answers.tolist())
    ]
    wanted = f1_score(labels, answers, labels=["cat", "dog", "owl"], average="macro")
    assert values(rows, outcomes)["macro_f1"] == pytest.approx(wanted, rel=1e-12)


def test_the_calibration_error_is_that_of_answers_known_to_be_right_or_wrong():
    rows, outcomes = choices("xx.x.x")
    sure = [0.95, 0.9, 0.85, 1.0, 0.3, 0.05]
    outcomes = [
        replace(o, right=o.passed, confidence=c) for o, c in zip(outcomes, sure, strict=True)
    ]
    right = np.array([o.passed for o in outcomes])
    rows += [row("i", test="inv"), row("u"), row("n")]
    outcomes += [made("i", True, right=True, confidence=0.1), made("u", confidence=0.2)]
    outcomes += [made("n", True, right=True)]
    found = tally(rows, outcomes)["ece"]
    assert found.value == pytest.approx(calibration_error(np.array(sure), right), rel=1e-12)
    assert found.rows == tuple(f"c{i}" for i in range(6))
    assert not found.larger_is_better


def test_a_metric_is_the_statistic_of_its_parts_and_has_an_interval():
    rows, outcomes = choices("x.xxxx.xxxxx.xxx")
    metric = tally(rows, outcomes)["accuracy"]
    assert metric.parts.tolist() == [[float(o.passed), 1.0] for o in outcomes]
    low, high = metric.interval()
    assert 0.4 < low < metric.value == 13 / 16 < high <= 1


def test_a_change_is_of_the_same_rows():
    rows, outcomes = choices("xxxxx.....")
    before, after = tally(rows, outcomes), tally(*choices("xxxx......"))
    low, high = before["accuracy"].change(after["accuracy"])
    assert low < -0.1 < high <= 0
    fewer = tally(rows[:9], outcomes[:9])
    with pytest.raises(ValueError, match=r"two accuracy of different rows .* 'c9' is in one"):
        before["accuracy"].change(fewer["accuracy"])
    turned = tally(rows[::-1], outcomes)
    with pytest.raises(ValueError, match="their order differs"):
        before["accuracy"].change(turned["accuracy"])


@pytest.mark.parametrize(
    ("rows", "outcomes", "sentence"),
    [
        (["a", "b"], ["a"], "1 without a partner; the first is 'b', a row without its outcome"),
        (["a"], ["a", "b"], "the first is 'b', an outcome without its row"),
        (["a"], ["a", "a"], "two outcomes of row 'a'"),
        (["a", "a"], ["a"], "two rows are called 'a'"),
    ],
    ids=["no-outcome", "no-row", "outcome-twice", "row-twice"],
)
def test_each_row_has_one_outcome(rows, outcomes, sentence):
    with pytest.raises(ValueError, match=sentence):
        tally([row(name) for name in rows], [made(name, True) for name in outcomes])


def test_no_rows_have_no_metrics():
    assert tally([], []) == {}


@pytest.mark.parametrize("kind", STATISTICS)
def test_a_draw_without_a_row_that_counts_is_no_number(kind):
    """A ratio of nothing must not pass for a good one; numpy warns of nothing either."""
    assert math.isnan(float(STATISTICS[kind](np.zeros(4))))
