"""The gate's promises, kept: intervals cover, equal models pass, worse ones are told.

Each drawn set is one trial, so counts of trials are binomial; a bound is what a true value leaves
within four standard deviations.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from zoo.evaluate.gate import check_gate
from zoo.evaluate.gate_file import gate_of
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.power import check_power, power
from zoo.evaluate.statistics import bca, draws, interval_of_change


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def ratio_rows(generator, rows):
    """Texts whose bits depend on their bytes, which differ: 1.5 bits a byte in the long run."""
    size = generator.integers(40, 400, rows).astype(np.float64)
    return np.stack([size * (1.5 + 0.3 * generator.standard_normal(rows)), size], axis=1)


def covered(trials, samples, rows=80):
    """Count how many sets' intervals hold 1.5."""
    generator, count = np.random.default_rng(11), 0
    for trial in range(trials):
        parts = ratio_rows(generator, rows)
        total = parts.sum(0)
        drawn = mean(draws(parts, samples=samples, seed=trial))
        low, high = bca(drawn, float(mean(total)), mean(total - parts))
        count += low <= 1.5 <= high
    return count


def holds(count, trials, *, least, most):
    """Tell whether a count fits a chance from `least` to `most`, within four deviations."""
    wide = [4 * math.sqrt(trials * p * (1 - p)) for p in (least, most)]
    return trials * least - wide[0] <= count <= trials * most + wide[1]


def test_a_95_per_cent_interval_covers_so_often():
    """Of 80 rows it errs by about 1 / 80: a coverage of 94 to 96 %."""
    assert holds(covered(300, 400), 300, least=0.94, most=0.96)


@pytest.mark.scheduled
def test_a_95_per_cent_interval_covers_between_93_and_97_of_a_hundred():
    """2,000 sets at 95 %: four deviations are 1.95 points."""
    assert 0.93 <= covered(2000, 2000) / 2000 <= 0.97


@pytest.mark.scheduled
def test_the_interval_of_a_change_of_accuracy_covers_so_often():
    """300 rows of which 8 % break and 3 % mend: the change is -5 points."""
    generator, count = np.random.default_rng(2), 0
    for trial in range(2000):
        kind = generator.choice([0, 1, 2], p=[0.08, 0.03, 0.89], size=300)
        before = np.stack([kind != 1, np.ones(300)], axis=1).astype(np.float64)
        after = np.stack([kind != 0, np.ones(300)], axis=1).astype(np.float64)
        low, high = interval_of_change(before, after, mean, samples=2000, seed=trial)
        count += low <= -0.05 <= high
    assert 0.93 <= count / 2000 <= 0.97


GATE = gate_of(
    {
        "guard": {"drop": 0.1, "power": 0.8, "alarm": 0.05, "churn": 0.04},
        "metric": [
            {"name": "accuracy", "drop": 0.1},
            {"name": "accuracy[odd]", "drop": 0.12, "at_least": 0.5},
            {"name": "bits_per_byte", "rise": 0.5},
        ],
    }
)
ROWS = [
    Row(id=f"r{i}", task="choice", fields={}, segments=("odd",) if i % 2 else ())
    for i in range(120)
] + [Row(id=f"t{i}", task="text", fields={}) for i in range(12)]


def accepted(row, number):
    if row.task == "text":
        return Outcome(id=row.id, answer="", value=300.0, weight=200.0)
    return Outcome(id=row.id, answer="", value=0.0, passed=number % 6 != 0)


ACCEPTED = [accepted(row, number) for number, row in enumerate(ROWS)]


def version(generator, drop):
    """Draw a model that is worse by `drop`: hits break, misses mend, bits move either way."""
    passed = sum(o.passed is True for o in ACCEPTED)
    breaks, mends = (0.02 + drop) * 120 / passed, 0.02 * 120 / (120 - passed)
    result = []
    for outcome in ACCEPTED:
        if outcome.passed is None:
            moved = outcome.value + 20 * generator.standard_normal()
            result.append(replace(outcome, value=moved))
            continue
        turned = bool(generator.random() < (breaks if outcome.passed else mends))
        result.append(replace(outcome, passed=outcome.passed is not turned))
    return result


def refused(trials, drop, seed):
    generator = np.random.default_rng(seed)
    return sum(
        not check_gate(GATE, ROWS, ACCEPTED, version(generator, drop)).ok for _ in range(trials)
    )


@pytest.mark.parametrize(
    "trials", [25, pytest.param(400, marks=pytest.mark.scheduled)], ids=["short", "long"]
)
def test_a_gate_keeps_its_promises(trials):
    """A model as good is refused no more often than `alarm`, a worse one no less than the power."""
    promised = check_power(GATE, ROWS, ACCEPTED)
    assert promised.ok, promised.sentences
    assert holds(refused(trials, 0.0, 5), trials, least=0.0, most=promised.alarm)
    assert holds(refused(trials, 0.1, 6), trials, least=promised.power, most=1.0)


def test_what_is_told_of_sizes_is_what_a_gate_of_that_size_does():
    """The sum over all outcomes, for the rule without what is known of any version."""
    rows = ROWS[:120]
    gate = gate_of({"guard": {"drop": 0.1}, "metric": [{"name": "accuracy", "drop": 0.1}]})
    assert check_power(gate, rows).power == power(120, 0.1, 0.02, 0.01, allowed=0.1)
