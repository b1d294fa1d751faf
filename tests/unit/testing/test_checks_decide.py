"""The small functions by which checks decide: numbers in, an answer out, both sides of an edge."""

import math

import pytest
import torch
from torch import nan

from unit.testing.records import held, plain
from zoo.testing.blame import Place
from zoo.testing.checks import (
    batches,
    causal,
    functions,
    influence_inputs,
    influence_tools,
    learning,
    learning_run,
    losses_input,
    losses_view,
    neutrality_layout,
    padding,
    resuming,
    running_output,
    running_spy,
    signals,
    targets,
    training_rates,
)
from zoo.testing.checks.learning_run import Steps

T = torch.tensor
INF = math.inf
EPS = torch.finfo(torch.float64).eps
GRID = torch.arange(12).view(3, 4)


def shift_of(classes, wanted, counted=None, valid=None):
    classes, wanted = T(classes), T(wanted)
    every = torch.ones_like(classes, dtype=torch.bool)
    return losses_view.shift_of(
        classes,
        every if counted is None else T(counted),
        wanted,
        every if valid is None else T(valid),
    )


STEPS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
CASES = {
    # rates
    "rates that are one": (lambda: training_rates.near(1.0, 1.0 + 9e-7), True),
    "rates that are not": (lambda: training_rates.near(1.0, 1.0 + 2e-6), False),
    "rates of nothing": (lambda: training_rates.near(0.0, 9e-16), True),
    "rates of nearly nothing": (lambda: training_rates.near(0.0, 2e-15), False),
    "a step early": (
        lambda: training_rates.shifted_by(STEPS, [*STEPS[1:], 0.9]),
        ": it runs 1 step early",
    ),
    "a step late": (
        lambda: training_rates.shifted_by(STEPS, [0.9, *STEPS]),
        ": it runs 1 step late",
    ),
    "two early": (
        lambda: training_rates.shifted_by(STEPS, [*STEPS[2:], 0, 0]),
        ": it runs 2 steps early",
    ),
    "two late": (
        lambda: training_rates.shifted_by(STEPS, [9, 9, *STEPS]),
        ": it runs 2 steps late",
    ),
    "three early": (lambda: training_rates.shifted_by(STEPS, [*STEPS[3:], 0, 0, 0]), ""),
    "twice as fast": (
        lambda: training_rates.shifted_by(STEPS, [0.1, 0.3, 0.5, 9, 9, 9]),
        ": it runs 2 times too fast",
    ),
    "thrice as fast": (
        lambda: training_rates.shifted_by([*STEPS, 0.7], [0.1, 0.4, 0.7, 9, 9, 9, 9]),
        ": it runs 3 times too fast",
    ),
    "thrice as fast, by two steps": (
        lambda: training_rates.shifted_by(STEPS, [0.1, 0.4, 9, 9, 9, 9]),
        "",
    ),
    "another schedule": (lambda: training_rates.shifted_by(STEPS, [7.0] * 6), ""),
    # how far a loss fell
    "to its floor": (lambda: learning.gone([3.0, 1.0], 1.0), 1.0),
    "half of the way": (lambda: learning.gone([2.0, nan, 1.5, 1.6], 1.0), 0.5),
    "a third of a loss, and little of the way": (lambda: learning.gone([3.0, 2.0], -7.0), 1 / 3),
    "below zero": (lambda: learning.gone([-2.0, -3.0], -4.0), 0.5),
    "from where it was": (lambda: learning.gone([1.0, 1.0], 1.0), 0.0),
    "at its floor": (lambda: learning.nothing_to_learn(1.001, 1.0), True),
    "above its floor": (lambda: learning.nothing_to_learn(1.0011, 1.0), False),
    "below its floor": (lambda: learning.nothing_to_learn(-1.0, -0.9), True),
    "above a floor below zero": (lambda: learning.nothing_to_learn(-1.0, -1.01), False),
    "numbers of both signs": (
        lambda: learning_run.wave(torch.zeros(2, 2, dtype=torch.float64)),
        torch.arange(4, dtype=torch.float64).sin().view(2, 2),
    ),
    # shifts of labels
    "labels as they are": (lambda: shift_of([[1, 2, 3]], [[1, 2, 3]]), 0),
    "labels one later": (lambda: shift_of([[2, 3, 9]], [[1, 2, 3]]), 1),
    "labels two later": (lambda: shift_of([[3, 4, 9, 9]], [[1, 2, 3, 4]]), 2),
    "labels one before": (lambda: shift_of([[9, 1, 2]], [[1, 2, 3]]), -1),
    "labels two before": (lambda: shift_of([[9, 8, 1, 2]], [[1, 2, 3, 4]]), -2),
    "labels that fit twice": (lambda: shift_of([[1, 1, 1]], [[1, 1, 1]]), None),
    "labels that fit nowhere": (lambda: shift_of([[9, 9, 9]], [[1, 2, 3]]), None),
    "one label a row": (lambda: shift_of([1, 2], [1, 2]), 0),
    "another label in a row": (lambda: shift_of([1, 3], [1, 2]), None),
    "what does not count": (lambda: shift_of([1, 3], [1, 2], [True, False]), 0),
    "what is no label": (
        lambda: shift_of([[2, 9, 9]], [[1, 2, 3]], None, [[False, True, False]]),
        1,
    ),
    "nothing counts": (lambda: shift_of([1, 3], [1, 2], [False, False]), None),
    "three of four agree": (
        lambda: losses_view.agreement(
            T([1, 2, 3, 9]), T([True] * 4), T([1, 2, 3, 4]), T([True] * 4), 0
        ),
        0.75,
    ),
    "shifted by 0": (lambda: losses_view.shifted(GRID, 0, -1), GRID),
    "shifted by 1": (lambda: losses_view.shifted(GRID[:1], 1, -1), T([[1, 2, 3, -1]])),
    "shifted by -2": (lambda: losses_view.shifted(GRID[:1], -2, -1), T([[-1, -1, 0, 1]])),
    "one axis is not shifted": (lambda: losses_view.shifted(GRID[0], 1, -1), GRID[0]),
    "classes are whole": (lambda: losses_view.whole(T([1])), True),
    "yes and no are not": (lambda: losses_view.whole(T([True])), False),
    "reals are not": (lambda: losses_view.whole(T([1.0])), False),
    "complex ones are not": (lambda: losses_view.whole(T([1j])), False),
    "shift, and do not": (
        lambda: targets.advice(1, 0),
        "compare output[:, :-1] with labels[:, 1:]",
    ),
    "shift once": (
        lambda: targets.advice(1, 2),
        "shift once: either the data or the loss, not both",
    ),
    "do not shift": (
        lambda: targets.advice(0, 1),
        "do not shift: compare the output with the labels position by position",
    ),
    "shift by two": (
        lambda: targets.advice(2, 1),
        "compare the output at t with the label at t + 2",
    ),
    "shift, unknown": (
        lambda: targets.advice(1, None),
        "compare the output at t with the label at t + 1",
    ),
    "do not shift, unknown": (
        lambda: targets.advice(0, 2),
        "compare the output at t with the label at t + 0",
    ),
    # what is probabilities, and what is zero
    "rows that sum to 1": (lambda: losses_input.is_simplex([T([[0.5, 0.5], [0.9, 0.1]])]), 1),
    "columns that sum to 1": (lambda: losses_input.is_simplex([T([[0.5, 0.2], [0.5, 0.8]])]), 0),
    "sums of 1 with a sign": (lambda: losses_input.is_simplex([T([[1.5, -0.5]])]), None),
    "sums of nearly 1": (lambda: losses_input.is_simplex([T([[0.5, 0.50002]])]), None),
    "one of two sums to 1": (
        lambda: losses_input.is_simplex([T([[0.5, 0.5]]), T([[1.0, 1.0]])]),
        None,
    ),
    "a sum of one number": (lambda: losses_input.is_simplex([T([[1.0], [1.0]])]), None),
    "a quarter of zeros": (lambda: losses_input.share([T([0.0, 1.0]), T([[2.0], [3.0]])]), 0.25),
    "rows of a softmax": (lambda: batches.sums_to_one(T([[0.5, 0.5], [0.9, 0.1]])), True),
    "columns of a softmax": (lambda: batches.sums_to_one(T([[0.5, 0.2], [0.5, 0.8]])), True),
    "logarithms of a softmax": (
        lambda: batches.sums_to_one(T([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64).log()),
        True,
    ),
    "sums of 1 and a little": (lambda: batches.sums_to_one(T([[0.5, 0.500002]]).double()), False),
    "a channel that sums to 1": (
        lambda: signals.ones_along(T([[0.5, 0.5], [0.9, 0.1009]]), 1),
        True,
    ),
    "a channel that does not": (
        lambda: signals.ones_along(T([[0.5, 0.5], [0.9, 0.102]]), 1),
        False,
    ),
    "a channel of one": (lambda: signals.ones_along(T([[1.0], [1.0]]), 1), False),
    "units of a vector": (lambda: signals.units(T([1, 2])), T([[1], [2]])),
    "units of rows": (lambda: signals.units(GRID), GRID),
    "units of sequences": (lambda: signals.units(GRID.view(1, 3, 4)), GRID),
    "units of pictures": (
        lambda: signals.units(GRID.view(1, 3, 2, 2)),
        GRID.t().contiguous(),
    ),
    # how far apart
    "nothing apart": (lambda: influence_tools.gap(T([1.0, nan]), T([1.0, nan]), 4.0), 0.0),
    "two of four apart": (lambda: influence_tools.gap(T([1.0, 2.0]), T([1.0, 4.0]), 4.0), 0.5),
    "NaN on one side": (lambda: influence_tools.gap(T([1.0, nan]), T([1.0, 2.0]), 4.0), INF),
    "by their own size": (lambda: influence_tools.gap(T([1.0, 2.0]), T([1.0, 4.0])), 0.5),
    "of other shapes": (lambda: influence_tools.gap(T([1.0]), T([1.0, 4.0]), 4.0), INF),
    "the size of numbers": (lambda: influence_tools.scale_of(T([1.0, -3.0, INF, nan])), 3.0),
    "the size of none": (lambda: influence_tools.scale_of(T([INF])), 0.0),
    "runs that agree": (lambda: running_spy.moved({"a": T([1.0])}, {"a": T([1.0])}), ("", 0.0)),
    "the output that differs most": (
        lambda: running_spy.moved(
            {"a": T([1.0, 2.0]), "b": T([1.0]), "c": T([4])},
            {"a": T([1.0, 4.0]), "b": T([0.0]), "c": T([4])},
        ),
        ("b", 1.0),
    ),
    "other outputs": (
        lambda: running_spy.moved({"a": T([1.0]), "b": T([1.0])}, {"a": T([1.0]), "c": T([1.0])}),
        ("b, c", INF),
    ),
    "whole numbers do not round": (lambda: running_spy.rounding(T([1])), 0.0),
    "complex ones round as reals do": (
        lambda: running_spy.rounding(T([1j], dtype=torch.complex128)),
        EPS * running_spy.ROUNDING,
    ),
    "one more differs": (lambda: running_spy.differs(T([1]), T([2])), True),
    "the last bits do not": (
        lambda: running_spy.differs(T([1.0]), T([1.0 + torch.finfo(torch.float32).eps])),
        False,
    ),
    "what a sum can lose in float64": (
        lambda: influence_inputs.digits(T([1.0]).double()),
        64 * EPS,
    ),
    "what it can in float32": (lambda: influence_inputs.digits(T([1.0])), 0.0),
    "gradients that agree": (lambda: functions.same([T([1.0]), None], [T([1.0]), None]), True),
    "none is zero": (lambda: functions.same([None, T([0.0])], [T([0.0]), None]), True),
    "none is not one": (lambda: functions.same([None], [T([0.0, 1.0])]), False),
    "one is not none": (lambda: functions.same([T([1.0])], [None]), False),
    "gradients of other shapes": (lambda: functions.same([T([1.0])], [T([[1.0]])]), False),
    "gradients of no numbers": (lambda: functions.same([T([])], [T([])]), True),
    "gradients just close": (
        lambda: functions.same(
            [T([3.0, 0.0]).double()], [T([3.0, 3.9 * functions.CLOSE]).double()]
        ),
        True,
    ),
    "gradients not close": (
        lambda: functions.same(
            [T([3.0, 0.0]).double()], [T([3.0, 4.1 * functions.CLOSE]).double()]
        ),
        False,
    ),
    "states that differ": (
        lambda: resuming.apart({"a": 1, "b": T([1.0]), "c": 2}, {"a": 1, "b": T([2.0]), "d": 2}),
        ["b", "c", "d"],
    ),
    "NaN is the same NaN": (lambda: resuming.same(T([nan]), T([nan])), True),
    "NaN is no number": (lambda: resuming.same(T([nan]), T([1.0])), False),
    "one in another dtype": (lambda: resuming.same(T([1.0]), T([1])), False),
    "one in another shape": (lambda: resuming.same(T([1.0]), T([[1.0]])), False),
    "a tensor is its number": (lambda: resuming.same(T(2.0), 2), True),
    "a tensor is not another": (lambda: resuming.same(3, T(2.0)), False),
    "a tensor is not nothing": (lambda: resuming.same(T(2.0), None), False),
    "nothing is no tensor": (lambda: resuming.same(None, T(0.0)), False),
    "equal lists": (lambda: resuming.same([1], [1]), True),
    "equal entries": (lambda: running_output.same(T([1]), T([1])), True),
    "entries of other shapes": (lambda: running_output.same(T([1]), T([[1]])), False),
    "entries of other numbers": (lambda: running_output.same(T([1]), T([2])), False),
    "a tensor and its number": (lambda: running_output.same(T(1), 1), False),
    "equal words": (lambda: running_output.same("a", "a"), True),
    "other words": (lambda: running_output.same("a", "b"), False),
    "one and true": (lambda: running_output.same(1, True), False),
}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_as_it_is_worked_out_by_hand(name):
    answer, wanted = CASES[name]
    found = answer()
    assert plain(found) == (pytest.approx(wanted) if isinstance(wanted, float) else plain(wanted))


class Seen:
    """What a causal finding is worded by: how long the sequence is."""

    length = 7


ADVICE = {
    "a reshape": (3, 1.0, "reshape"),
    "a permutation": (3, 1.0, "permute"),
    "a mean": (3, 1.0, "mean"),
    "a logsumexp": (3, 1.0, "logsumexp"),
    "a convolution": (3, 1.0, "conv1d"),
    "one too many": (1, 1.0, "softmax"),
    "two too many": (2, 1.0, ""),
    "three too many": (3, 1.0, "matmul"),
    "all, softly": (6, 9e-4, "matmul"),
    "all, hardly": (6, 1e-3, "matmul"),
}
FIXES = {
    "this reshape mixes": ("a reshape", "a permutation"),
    "this mean runs": ("a mean",),
    "this logsumexp runs": ("a logsumexp",),
    "pad the convolution": ("a convolution",),
    "the mask lets 1 position too": ("one too many",),
    "the mask lets 2 positions too": ("two too many",),
    "the mask is soft": ("all, softly",),
    "hide later positions": ("three too many", "all, hardly"),
}


@pytest.mark.parametrize("name", ADVICE)
def test_what_to_change_for_a_leak_hangs_on_the_op_and_on_how_far_it_sees(name):
    ahead, size, op = ADVICE[name]
    said = causal.advice(ahead, Seen(), size, Place("", "", op) if op else None)
    (start,) = [words for words, names in FIXES.items() if name in names]
    assert said.startswith(start)


def test_what_to_change_for_padding_hangs_on_the_op():
    places = [None, *(Place("", "m.py:1 x", op) for op in ("mean", "var", "view", "matmul"))]
    held(padding.leak("seen", "a", place, soft=False) for place in places)
    held([padding.leak("seen", "a", None, soft=True)])


RATES = {
    "a rate below 0 beside one that is": [[0.1, 0.2], [0.1, -0.2]],
    "a rate that is not finite comes first": [[0.1], [-1.0], [INF]],
    "no rate at all": [[0.0, 0.0], [0.0, 0.0]],
    "a rate of 0 once": [[0.0], [0.1]],
    "no group": [[], []],
    "many rates": [[nan, 1.0, 2.0, 3.0, 4.0]],
}
SCHEDULES = {
    "as it is": lambda step: STEPS[step],
    "one later": lambda step: [0.05, *STEPS][step],
    "of the second group": lambda step: 2 * STEPS[step],
    "with an end": lambda step: {0: 0.1, 1: 0.2, 2: 0.7}[step],
    "of no step": lambda step: {}[step],
}


@pytest.mark.parametrize("name", RATES)
def test_what_is_said_of_rates(name):
    held(training_rates.wrong_rates(RATES[name]))


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_said_of_a_schedule(name):
    held(training_rates.compare(SCHEDULES[name], [[rate, 2 * rate] for rate in STEPS]))


def test_a_gradient_of_zeros_is_seen_and_not_alive():
    steps = Steps.__new__(Steps)
    steps.seen, steps.alive = set(), set()
    made = {name: torch.zeros(2, requires_grad=True) for name in ("none", "zero", "one", "few")}
    made["zero"].grad, made["one"].grad = torch.zeros(2), T([0.0, 1.0])
    made["few"].grad = T([0.0, 0.0]).to_sparse()
    learning_run.note(steps, made)
    assert (steps.seen, steps.alive) == ({"zero", "one", "few"}, {"one"})


def test_numbers_are_laid_out_apart():
    for x in (torch.arange(3.0), GRID, GRID.view(1, 3, 4)):
        made = neutrality_layout.apart_in_memory(x)
        assert torch.equal(made, x)
        assert x.numel() == x.size(-1) == made.numel() or not made.is_contiguous()
    assert neutrality_layout.apart_in_memory(torch.arange(3.0)).stride() == (2,)
    assert neutrality_layout.apart_in_memory(GRID).stride() == (1, 3)
    for x in (T(1.0), torch.zeros(0, 2), GRID.to_sparse()):
        assert neutrality_layout.apart_in_memory(x) is x
