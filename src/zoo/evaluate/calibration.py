"""Calibration: does a model that says 80 % come out right four times in five?

    bin b: all answers whose confidence falls in it      ECE = sum_b n_b / n |right_b - sure_b|
    Brier = mean (confidence - right)^2

`right_b` is the share of right answers of a bin and `sure_b` its mean confidence. Bins are of equal
width (Guo et al.), or hold equally many answers: where nearly all confidences are high, equal
widths put them into one bin and the error of the others is that of a handful of rows. Both
estimates lie above zero even for a perfectly calibrated model, by about sqrt(bins / n): an error is
to be compared with that of another model on the same rows.

Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015; Guo et
al., On Calibration of Modern Neural Networks, 2017, arXiv:1706.04599; Brier 1950; Nixon et al.,
Measuring Calibration in Deep Learning, 2019, arXiv:1904.01685, for equal mass.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

BINS = 10
OVER = 1e-6  # a softmax in float32 may add up to a little more than one


@dataclass(frozen=True)
class Bin:
    """One point of a reliability curve: answers with a confidence from `low` to `high`."""

    low: float
    high: float
    sure: float  # their mean confidence
    right: float  # share of them that are right
    count: int


def equal_width(confidence: Float[np.ndarray, " n"], bins: int = BINS) -> Int[np.ndarray, " n"]:
    """Give each answer's bin; bin b is from b/bins on and below (b+1)/bins, the last with its end.

    Raises ValueError for confidences outside 0 to 1, which a NaN is.
    """
    check(confidence, bins)
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, confidence, side="right")


def equal_mass(confidence: Float[np.ndarray, " n"], bins: int = BINS) -> Int[np.ndarray, " n"]:
    """Give each answer's bin when the sorted answers are cut into bins of equal counts.

    Equal confidences stay together, in the bin of the first of them, so a bin may hold more and the
    next fewer. Raises ValueError for confidences outside 0 to 1.
    """
    check(confidence, bins)
    ordered = np.sort(confidence)
    first = np.searchsorted(ordered, confidence, side="left")
    return first * bins // max(1, len(confidence))


def reliability(
    confidence: Float[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    *,
    bins: int = BINS,
    mass: bool = False,
) -> tuple[Bin, ...]:
    """Give the points of the reliability curve, lowest first; bins without answers are left out.

    With `mass` the edges of a bin are its smallest and largest confidence.
    """
    place = (equal_mass if mass else equal_width)(confidence, bins)
    points = []
    for b in np.unique(place).tolist():
        sure, hits = confidence[place == b], right[place == b]
        low, high = (float(sure.min()), float(sure.max())) if mass else (b / bins, (b + 1) / bins)
        points.append(Bin(low, high, float(sure.mean()), float(hits.mean()), len(sure)))
    return tuple(points)


def calibration_error(
    confidence: Float[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    *,
    bins: int = BINS,
    mass: bool = False,
) -> float | None:
    """Give the expected calibration error, or None where there are no confidences."""
    points = reliability(confidence, right, bins=bins, mass=mass)
    if not points:
        return None
    return sum(p.count * abs(p.right - p.sure) for p in points) / len(confidence)


def brier(confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> float | None:
    """Give the mean squared error of the confidences, or None where there are none."""
    if not len(confidence):
        return None
    check(confidence, 1)
    return float(((confidence - right) ** 2).mean())


def check(confidence: np.ndarray, bins: int) -> None:
    if bins < 1:
        raise ValueError(f"{bins} bins; expected at least one")
    wrong = confidence[~((confidence >= 0) & (confidence <= 1 + OVER))]
    if len(wrong):
        raise ValueError(f"confidence {wrong[0]}; expected 0 to 1")
