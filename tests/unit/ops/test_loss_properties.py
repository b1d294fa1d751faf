"""What the losses do when their rows, their classes or their logits are changed in a known way."""

import importlib

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from unit.ops.op_calls import IGNORE, labels_of, loss_by_hand
from unit.property_rows import chosen, drawn, examples, leaves, near, seeds, some
from zoo import ops
from zoo.ops.linear_cross_entropy import chunked

LONGEST = 2000  # as in test_ops_properties
# in zoo.ops these names are the functions
CONTRASTIVE, SIGMOID = (
    importlib.import_module(f"zoo.ops.{name}") for name in ("contrastive", "pairwise_sigmoid")
)


@examples(12)
@given(rows=st.integers(0, 6), v=some, seed=seeds, shift=st.integers(-40, 40))
def test_what_all_logits_of_a_row_have_in_common_does_not_count(rows, v, seed, shift):
    x, labels = drawn(seed, rows, v), labels_of(seed, v, rows)
    moved = x + shift * drawn(seed + 1, rows, 1)
    near(ops.cross_entropy(moved, labels), ops.cross_entropy(x, labels), LONGEST, moved)
    (dx,) = torch.autograd.grad(ops.cross_entropy(*(y := leaves(x)), labels), y)
    near(dx.sum(-1), torch.zeros(rows, dtype=x.dtype), LONGEST, x)


@examples(12)
@given(rows=st.integers(0, 6), v=some, seed=seeds, order=st.permutations([4, 2, 5, 0, 3, 1]))
def test_classes_and_rows_have_no_order(rows, v, seed, order):
    x, labels = drawn(seed, rows, v), labels_of(seed, v, rows)
    expected = ops.cross_entropy(x, labels, smoothing=0.1)
    at = [i for i in order if i < rows]
    near(ops.cross_entropy(x[at], labels[at], smoothing=0.1), expected, LONGEST, x)
    columns = torch.tensor([i for i in order if i < v])  # new column j is the old columns[j]
    renamed = torch.where(labels == IGNORE, labels, columns.argsort()[labels.clamp_min(0)])
    near(ops.cross_entropy(x[:, columns], renamed, smoothing=0.1), expected, LONGEST, x)


@examples(12)
@given(rows=st.integers(1, 6), cut=st.integers(0, 6), v=some, seed=seeds)
def test_a_sum_is_that_of_its_parts_and_a_mean_is_weighed_by_what_counts(rows, cut, v, seed):
    x, labels = drawn(seed, rows, v), labels_of(seed, v, rows)
    parts = [(x[:cut], labels[:cut]), (x[cut:], labels[cut:])]
    sums = [ops.cross_entropy(*part, reduction="sum") for part in parts]
    near(ops.cross_entropy(x, labels, reduction="sum"), sums[0] + sums[1], LONGEST, x)
    counts = [(part[1] != IGNORE).sum() for part in parts]
    means = [ops.cross_entropy(*part) for part in parts]
    weighed = sum(m * c for m, c in zip(means, counts, strict=True)) / max(1, sum(counts))
    near(ops.cross_entropy(x, labels), weighed, LONGEST, x)


@examples(12)
@given(rows=st.integers(0, 6), v=some, seed=seeds, share=st.integers(0, 8))
def test_smoothing_mixes_the_loss_with_that_of_all_classes(rows, v, seed, share):
    x, labels = drawn(seed, rows, v), labels_of(seed, v, rows)
    none, all_ = (ops.cross_entropy(x, labels, smoothing=e) for e in (0.0, 1.0))
    e = share / 8
    mixed = ops.cross_entropy(x, labels, smoothing=e)
    near(mixed, (1 - e) * none + e * all_, LONGEST, x)


@examples(10)
@given(
    rows=st.integers(0, 9),
    width=st.integers(0, 4),
    v=some,
    at_once=st.integers(1, 10),
    seed=seeds,
    bias=st.booleans(),
    smooth=st.booleans(),
)
def test_chunks_of_any_size_give_one_loss(rows, width, v, at_once, seed, bias, smooth):
    x, w = leaves(drawn(seed, rows, width), drawn(seed + 1, v, width))
    c = drawn(seed + 2, v).requires_grad_() if bias else None
    labels, smoothing = labels_of(seed, v, rows), 0.2 if smooth else 0.0
    mine = chunked(x, w, labels, c, IGNORE, smoothing, "mean", at_once)
    theirs = loss_by_hand(torch.nn.functional.linear(x, w, c), labels, smoothing, "mean")
    near(mine, theirs, LONGEST, x, w)
    inputs = [t for t in (x, w, c) if t is not None]
    dy = drawn(seed + 3)
    wanted = torch.autograd.grad(theirs, inputs, dy, allow_unused=True)
    for grad, other in zip(torch.autograd.grad(mine, inputs, dy), wanted, strict=True):
        near(grad, torch.zeros_like(grad) if other is None else other, LONGEST, x, w, dy)


def pairs_of(seed, n, width):
    x, y = drawn(seed, n, width), drawn(seed + 1, n, width)
    return x, y, drawn(seed + 2).exp(), drawn(seed + 3)


@examples(10)
@given(
    n=st.integers(0, 6),
    width=st.integers(0, 4),
    seed=seeds,
    order=st.permutations([4, 2, 5, 0, 3, 1]),
)
def test_pairs_have_no_order_and_no_first_side(n, width, seed, order):
    x, y, scale, bias = pairs_of(seed, n, width)
    at = [i for i in order if i < n]
    for loss in (ops.contrastive, lambda x, y, s: ops.pairwise_sigmoid(x, y, s, bias)):
        expected = loss(x, y, scale)
        near(loss(x[at], y[at], scale), expected, LONGEST, x, y, scale)
        near(loss(y, x, scale), expected, LONGEST, x, y, scale)


@examples(10)
@given(
    n=st.integers(0, 9),
    width=st.integers(1, 4),
    seed=seeds,
    rows=st.integers(1, 10),
    dense=st.integers(0, 10),
)
def test_pairs_in_chunks_of_any_size_give_one_loss_and_gradient(n, width, seed, rows, dense):
    x, y, scale, bias = pairs_of(seed, n, width)
    dy = drawn(seed + 4)
    for chunks, whole in (
        (lambda *a: CONTRASTIVE.in_chunks(*a, rows, dense), ops.contrastive),
        (lambda *a: SIGMOID.in_chunks(*a, rows), ops.pairwise_sigmoid),
    ):
        floats = (x, y, scale) if whole is ops.contrastive else (x, y, scale, bias)
        mine, theirs = leaves(*floats), leaves(*floats)
        one, other = chunks(*mine), whole(*theirs)
        near(one, other, LONGEST, *floats)
        for grad, wanted in zip(
            torch.autograd.grad(one, mine, dy), torch.autograd.grad(other, theirs, dy), strict=True
        ):
            near(grad, wanted, LONGEST, dy, *floats)


@examples(10)
@given(width=st.integers(1, 5), seed=seeds)
def test_one_pair_alone_has_nothing_to_be_confused_with(width, seed):
    x, y, scale, _ = pairs_of(seed, 1, width)
    near(ops.contrastive(x, y, scale), torch.zeros((), dtype=x.dtype), LONGEST, x, y, scale)


@pytest.mark.parametrize("op", ["cross_entropy", "linear_cross_entropy"])
@examples(15)
@example(rows=3, v=4, seed=0, at=1, wrong=4)
@given(
    rows=some,
    v=some,
    seed=seeds,
    at=st.integers(0, 5),
    wrong=st.integers(-2, 8) | st.integers(-(2**62), 2**62),
)
def test_a_label_that_names_no_class_is_refused_by_its_number(op, rows, v, seed, at, wrong):
    labels = chosen(seed, v, rows)
    labels[at % rows] = wrong
    x, w = drawn(seed, rows, v), torch.eye(v, dtype=torch.float64)
    act = {
        "cross_entropy": lambda: ops.cross_entropy(x, labels),
        "linear_cross_entropy": lambda: ops.linear_cross_entropy(x, w, labels),
    }[op]
    if 0 <= wrong < v or wrong == IGNORE:
        assert act().isfinite()
        return
    with pytest.raises(IndexError, match=rf"^{op}: label {wrong} is outside \[0, {v}\) and not"):
        act()


@examples(7)
@given(rows=st.integers(0, 3), counted=st.booleans())
def test_no_classes_are_refused_whether_a_row_counts_or_not(rows, counted):
    labels = torch.full((rows,), 0 if counted else IGNORE)
    for act in (
        lambda: ops.cross_entropy(drawn(0, rows, 0), labels, smoothing=0.1),
        lambda: ops.linear_cross_entropy(drawn(0, rows, 2), drawn(0, 0, 2), labels),
    ):
        with pytest.raises(ValueError, match=rf": \({rows}, 0\) has no classes to choose from"):
            act()


@examples(10)
@given(smoothing=st.floats(-3, 3, width=16), reduction=st.sampled_from(["mean", "sum", "none", ""]))
def test_options_that_mean_nothing_are_refused_by_name(smoothing, reduction):
    x, labels = drawn(0, 3, 4), torch.tensor([0, 1, 3])
    if 0 <= smoothing <= 1 and reduction in ("mean", "sum"):
        assert ops.cross_entropy(x, labels, smoothing=smoothing, reduction=reduction) > 0
        return
    words = f"smoothing {smoothing} is outside" if not 0 <= smoothing <= 1 else f"{reduction!r} is"
    with pytest.raises((ValueError, TypeCheckError), match=words):
        ops.cross_entropy(x, labels, smoothing=smoothing, reduction=reduction)
