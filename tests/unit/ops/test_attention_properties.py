"""What attention does when its keys, heads, values or padding are changed in a known way."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unit.ops.op_calls import attention_by_hand, mask_of
from unit.property_rows import chosen, drawn, examples, leaves, near, seeds, some
from zoo import ops
from zoo.ops._attention_blocks import dense_keep
from zoo.ops.attention import attend
from zoo.ops.dropout import keep_scale

LONGEST = 2000  # as in test_ops_properties
small = st.sampled_from([2, 3, 1, 4])


def inputs(seed, b, h, t, s, n):
    return drawn(seed, b, h, t, n), drawn(seed + 1, b, h, s, n), drawn(seed + 2, b, h, s, n)


@examples(10)
@given(
    b=small,
    h=small,
    t=some,
    s=some,
    seed=seeds,
    kind=st.integers(0, 6),
    order=st.permutations([4, 2, 5, 0, 3, 1]),
)
def test_keys_rows_and_heads_have_no_order(b, h, t, s, seed, kind, order):
    q, k, v = inputs(seed, b, h, t, s, 3)
    mask = mask_of(seed, kind, b, h, t, s)
    y = ops.attention(q, k, v, mask)
    whole = None if mask is None else mask.expand(b, h, t, s)
    for axis, size in ((3, s), (0, b), (1, h)):
        at = [i for i in order if i < size]
        moved = None if whole is None else whole.index_select(axis, torch.tensor(at))
        if axis == 3:
            near(ops.attention(q, k[:, :, at], v[:, :, at], moved), y, LONGEST, q, k, v)
            continue
        chosen_ = [x.index_select(axis, torch.tensor(at)) for x in (q, k, v, y)]
        near(ops.attention(*chosen_[:3], moved), chosen_[3], LONGEST, q, k, v)


@examples(10)
@given(t=some, more=st.integers(0, 3), seed=seeds, at=st.integers(0, 8))
def test_nothing_later_moves_what_comes_before(t, more, seed, at):
    s = t + more
    q, k, v = inputs(seed, 2, 2, t, s, 3)
    y = ops.attention(q, k, v, causal=True)
    at = at % s
    k2, v2 = k.clone(), v.clone()
    k2[:, :, at] += 5
    v2[:, :, at] -= 7
    changed = ops.attention(q, k2, v2, causal=True)
    first = max(0, at - more)  # the first query that may see key `at`
    assert torch.equal(changed[:, :, :first], y[:, :, :first])
    if at:  # another key stands beside it, so the value shows
        assert not torch.equal(changed[:, :, first], y[:, :, first])
    last = ops.attention(q[:, :, -1:], k, v, causal=True)
    near(last, y[:, :, -1:], LONGEST, q, k, v)


@examples(12)
@given(
    spans=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4),
    holes=st.booleans(),
    causal=st.booleans(),
    seed=seeds,
)
def test_padding_may_stand_anywhere(spans, holes, causal, seed):
    """A row's real tokens get what they would get alone; padding queries get zeros."""
    t = 9
    b = len(spans)
    q, k, v = inputs(seed, b, 2, t, t, 3)
    padding = torch.zeros(b, t, dtype=torch.bool)
    for row, (start, count) in enumerate(spans):
        padding[row, start : start + count] = True
    if holes:
        padding &= drawn(seed + 5, b, t) > -0.7
    mine = leaves(q, k, v)
    y = ops.attention(*mine, padding=padding, causal=causal)
    dy = drawn(seed + 6, *y.shape)
    grads = torch.autograd.grad(y, mine, dy)
    for row in range(b):
        real = padding[row]
        alone = leaves(*(x[row : row + 1, :, real] for x in (q, k, v)))
        expected = ops.attention(*alone, causal=causal)
        near(y[row : row + 1, :, real], expected, LONGEST, q, k, v)
        assert not y[row, :, ~real].any()
        wanted = torch.autograd.grad(expected, alone, dy[row : row + 1, :, real])
        for grad, other in zip(grads, wanted, strict=True):
            near(grad[row : row + 1, :, real], other, LONGEST, q, k, v, dy)
            assert not grad[row, :, ~real].any()


@examples(10)
@given(t=some, s=some, seed=seeds, kind=st.integers(0, 6))
def test_an_output_is_a_mean_of_the_values_that_may_be_seen(t, s, seed, kind):
    q, k, v = inputs(seed, 2, 3, t, s, 4)
    mask = mask_of(seed, kind, 2, 3, t, s)
    seen = torch.ones(2, 3, t, s, dtype=torch.bool) if mask is None else mask.expand(2, 3, t, s)
    some_ = seen.any(-1)
    constant = v[:, :, :1].expand(v.shape)
    y = ops.attention(q, k, constant, mask)
    near(y, constant[:, :, :1] * some_[..., None], LONGEST, q, k, v)
    y = ops.attention(q, k, v, mask)
    within = v[:, :, None].expand(2, 3, t, s, 4)
    high = within.masked_fill(~seen[..., None], -torch.inf).amax(3)
    low = within.masked_fill(~seen[..., None], torch.inf).amin(3)
    slack = LONGEST * 2.0**-53 * float(v.abs().max())
    assert ((y <= high + slack) & (y >= low - slack))[some_].all()
    assert not y[~some_].any()
    # what is added to every key moves all scores of a query alike
    near(ops.attention(q, k + drawn(seed + 4, 4), v, mask), y, LONGEST, q, k + 4, v)


@examples(8)
@given(
    b=small,
    h=small,
    t=some,
    s=some,
    seed=seeds,
    block=st.integers(1, 7),
    causal=st.booleans(),
    kind=st.integers(0, 6),
    rate=st.sampled_from([0.1, 0.9]),
)
def test_tiles_of_any_size_drop_and_derive_as_the_whole_matrix(
    b, h, t, s, seed, block, causal, kind, rate
):
    causal = causal and t <= s
    q, k, v = inputs(seed, b, h, t, s, 3)
    mask = mask_of(seed, kind, b, h, t, s)
    keep = dense_keep(q, k, causal, rate, torch.tensor(seed), block)
    mine, theirs = leaves(q, k, v), leaves(q, k, v)
    y = attend(*mine, mask, causal, None, rate, seed, None, block)
    z = keep.double() * keep_scale(rate)
    eye = torch.eye(s, dtype=torch.float64).expand(b, h, s, s)
    weights = attention_by_hand(theirs[0], theirs[1], eye, mask, causal)
    expected = (weights * z) @ theirs[2]
    near(y, expected, LONGEST, q, k, 10 * v)
    dy = drawn(seed + 6, *y.shape)
    wanted = torch.autograd.grad(expected, theirs, dy)
    for grad, other in zip(torch.autograd.grad(y, mine, dy), wanted, strict=True):
        near(grad, other, LONGEST, q, k, 10 * v, dy)


@examples(8)
@given(t=some, s=some, seed=seeds, scale=st.sampled_from([0.0, 0.3, 1.0, 2.5, -1.0]))
def test_a_scale_may_as_well_stand_on_the_queries(t, s, seed, scale):
    q, k, v = inputs(seed, 1, 2, t, s, 4)
    y = ops.attention(q, k, v, scale=scale)
    near(y, ops.attention(2 * scale * q, k, v), LONGEST, q, k, v)  # 1 / sqrt(4) is the usual one
    near(y, attention_by_hand(q, k, v, scale=scale), LONGEST, q, k, v)


@examples(12)
@given(t=some, s=some, rate=st.floats(-2, 3, width=16), seed=st.none() | seeds)
def test_what_cannot_be_meant_is_refused_with_its_numbers(t, s, rate, seed):
    q, k, v = inputs(3, 1, 2, t, s, 3)
    refused = (
        (f"causal with {t} queries for {s} keys", t > s),
        (f"rate {rate} is outside", not 0 <= rate < 1),
        (f"rate {rate} needs a seed", rate > 0 and seed is None),
    )
    words = next((words for words, bad in refused if bad), None)
    if words is None:
        y = ops.attention(q, k, v, causal=True, rate=rate, seed=seed)
        assert y.isfinite().all()
        return
    with pytest.raises(ValueError, match=f"^attention: {words}"):
        ops.attention(q, k, v, causal=True, rate=rate, seed=seed)


@examples(12)
@given(shape=st.lists(st.integers(0, 4), min_size=1, max_size=4), seed=seeds)
def test_a_mask_fits_or_is_refused_with_both_shapes(shape, seed):
    q, k, v = inputs(seed, 2, 3, 4, 2, 2)
    mask = chosen(seed, 2, *shape).bool()
    target = (2, 3, 4, 2)
    fits = all(m in (1, n) for m, n in zip(shape[::-1], target[::-1], strict=False))
    if fits:
        near(ops.attention(q, k, v, mask), attention_by_hand(q, k, v, mask), LONGEST, q, k, v)
        return
    with pytest.raises(ValueError, match=r"^attention: mask \(.*\) does not broadcast to \(2, 3,"):
        ops.attention(q, k, v, mask)
