"""Calibration errors and reliability curves, by hand, at the edges, and as sklearn has them."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from zoo.evaluate.calibration import (
    Bin,
    brier,
    calibration_error,
    equal_mass,
    equal_width,
    reliability,
)

NOTHING = np.zeros(0)


def answers(*pairs):
    return np.array([p for p, _ in pairs]), np.array([bool(r) for _, r in pairs])


# three answers from 0 to a half, of which one is right, and two above, both right
FIVE = answers((0.1, 0), (0.2, 0), (0.45, 1), (0.8, 1), (0.9, 1))


def test_a_curve_and_its_error_on_paper():
    found = reliability(*FIVE, bins=2)
    assert [(p.low, p.high, p.count) for p in found] == [(0.0, 0.5, 3), (0.5, 1.0, 2)]
    assert [p.sure for p in found] == pytest.approx([0.25, 0.85], rel=1e-12)
    assert [p.right for p in found] == pytest.approx([1 / 3, 1.0], rel=1e-12)
    # 3/5 |1/3 - 1/4| + 2/5 |1 - 0.85|
    assert calibration_error(*FIVE, bins=2) == pytest.approx(0.05 + 0.06, rel=1e-12)
    # (0.01 + 0.04 + 0.3025 + 0.04 + 0.01) / 5
    assert brier(*FIVE) == pytest.approx(0.0805, rel=1e-12)


def test_bins_of_equal_mass_on_paper():
    """Three bins of five answers hold 2, 2 and 1: 0.1 0.2 | 0.45 0.8 | 0.9."""
    found = reliability(*FIVE, bins=3, mass=True)
    assert [(p.low, p.high, p.count) for p in found] == [
        (0.1, 0.2, 2),
        (0.45, 0.8, 2),
        (0.9, 0.9, 1),
    ]
    assert [p.sure for p in found] == pytest.approx([0.15, 0.625, 0.9], rel=1e-12)
    assert [p.right for p in found] == [0.0, 1.0, 1.0]
    wanted = (2 * 0.15 + 2 * 0.375 + 0.1) / 5
    assert calibration_error(*FIVE, bins=3, mass=True) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("confidence", "place"),
    [(0.0, 0), (0.0999, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.95, 9), (1.0, 9), (1 + 1e-7, 9)],
)
def test_a_bin_begins_at_its_edge_and_the_last_ends_with_one(confidence, place):
    assert equal_width(np.array([confidence])).tolist() == [place]


@pytest.mark.parametrize(
    ("confidence", "places"),
    [
        ([0.9, 0.1, 0.5, 0.3], [1, 0, 1, 0]),
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0]),  # equal ones stay together
        ([0.9, 0.2, 0.2, 0.2], [1, 0, 0, 0]),
        ([], []),
    ],
)
def test_equal_mass_cuts_where_half_lie_on_each_side(confidence, places):
    assert equal_mass(np.array(confidence, dtype=np.float64), bins=2).tolist() == places


@pytest.mark.parametrize("mass", [False, True], ids=["width", "mass"])
def test_no_confidences_have_no_error(mass):
    none = np.zeros(0, dtype=bool)
    assert reliability(NOTHING, none, mass=mass) == ()
    assert calibration_error(NOTHING, none, mass=mass) is None
    assert brier(NOTHING, none) is None


@pytest.mark.parametrize("mass", [False, True], ids=["width", "mass"])
def test_a_model_that_is_always_certain_has_one_bin(mass):
    """Certain of four answers and right in three: all is in the last bin, and a quarter is off."""
    sure, right = answers((1.0, 1), (1.0, 1), (1.0, 1), (1.0, 0))
    low = 1.0 if mass else 0.9
    assert reliability(sure, right, mass=mass) == (Bin(low, 1.0, 1.0, 0.75, 4),)
    assert calibration_error(sure, right, mass=mass) == 0.25
    assert brier(sure, right) == 0.25


def test_the_best_and_the_worst():
    sure, right = answers((1.0, 1), (0.0, 0), (1.0, 1))
    assert (calibration_error(sure, right), brier(sure, right)) == (0.0, 0.0)
    assert (calibration_error(sure, ~right), brier(sure, ~right)) == (1.0, 1.0)


@pytest.mark.parametrize("mass", [False, True], ids=["width", "mass"])
def test_the_curve_is_sklearns(mass):
    generator = np.random.default_rng(5)
    sure = generator.beta(3, 1, 240)
    right = generator.random(240) < sure**2
    share, mean = calibration_curve(
        right, sure, n_bins=10, strategy="quantile" if mass else "uniform"
    )
    found = reliability(sure, right, mass=mass)
    assert [p.right for p in found] == pytest.approx(share.tolist(), rel=1e-12)
    assert [p.sure for p in found] == pytest.approx(mean.tolist(), rel=1e-12)
    assert brier(sure, right) == pytest.approx(brier_score_loss(right, sure), rel=1e-12)


@pytest.mark.parametrize("confidence", [-0.1, 1.01, np.nan], ids=["below", "above", "nan"])
@pytest.mark.parametrize("bins", [equal_width, equal_mass])
def test_a_confidence_is_from_nothing_to_one(bins, confidence):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        bins(np.array([0.5, confidence]))


def test_there_is_a_bin_at_least():
    with pytest.raises(ValueError, match="0 bins; expected at least one"):
        equal_width(np.array([0.5]), bins=0)
