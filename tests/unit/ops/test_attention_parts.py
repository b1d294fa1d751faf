"""The parts of attention by themselves: masks, tiles, what the kernel is given, shapes alone."""

import math

import pytest
import torch

from zoo.ops._attention_blocks import (
    SCORES,
    Tile,
    blocks_backward,
    blocks_backward_shapes,
    blocks_forward,
    blocks_forward_shapes,
    cut,
    heads_last,
    overlap,
    parts,
    scores,
    signed,
    tile_keep,
    tiles,
    weights_,
    within,
)
from zoo.ops._attention_dense import dense_backward, dense_forward, dense_jvp, span_mask, visible
from zoo.ops._attention_flash import (
    additive,
    flash_backward,
    flash_forward,
    kernel_dtype,
    own_edge,
    part_additive,
    unit_stride,
)
from zoo.ops.attention import attend, four_axes, one_seed, use_padding
from zoo.ops.dropout import keep_mask
from zoo.testing.opinfo import randint, randn

B, H, T, S, N = 2, 3, 4, 6, 5
META = torch.device("meta")
LOW = [torch.bfloat16, torch.float16]


def qkv(dtype=torch.float64, t=T):
    drawn = randn(B, H, t, N), randn(B, H, S, N, seed=1), randn(B, H, S, N, seed=2)
    return [x.to(dtype) for x in drawn]


def a_mask(*shape):
    return randint(3, *shape, seed=5) > 0


def edge(t, s):
    return torch.arange(s) <= torch.arange(t)[:, None] + s - t


def tile(rows, queries, keys):
    return Tile(slice(*rows), slice(*queries), slice(*keys))


# what may be seen


def test_what_may_be_seen_is_all_that_is_asked_for_together():
    q, k, _ = qkv()
    mask, spans = a_mask(B, 1, T, S), ((0, 1, 1, 5), (1, 2, 0, 6))
    real = span_mask(spans, B, T, S, q.device)
    assert visible(q, k, None, False, None) is None
    assert visible(q, k, mask, False, None) is mask
    assert torch.equal(visible(q, k, None, True, None), edge(T, S)[None, None])
    assert torch.equal(visible(q, k, mask, True, None), mask & edge(T, S))
    assert torch.equal(visible(q, k, None, False, spans), real)
    assert torch.equal(visible(q, k, mask, True, spans), mask & edge(T, S) & real)
    assert visible(q, k, mask, True, spans).dtype == real.dtype == torch.bool


def test_one_query_sees_all_keys_without_a_mask():
    q, k, _ = qkv(t=1)
    assert visible(q, k, None, True, None) is None
    assert visible(q[:, :, :0], k, None, True, None) is None


def test_spans_as_a_mask_have_a_row_for_each_of_the_batch_and_one_for_all_heads():
    real = span_mask(((1, 2, 2, 4),), 3, 4, 6, torch.device("cpu"))
    assert real.shape == (3, 1, 4, 6)
    assert real[1].any(0).any(0).nonzero().flatten().tolist() == [2, 3]
    assert real.sum() == 4 * 2
    square = span_mask(((1, 2, 2, 4),), 3, 6, 6, torch.device("cpu"))
    assert square.sum() == 2 * 2


# the elementary way


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_the_elementary_way_keeps_low_dtypes_and_rounds_once(dtype):
    """Its products are of float32 numbers: what it gives is the exact value, rounded."""
    q, k, v = qkv(dtype)
    exact = [x.double() for x in (q, k, v)]
    mask, z = a_mask(B, 1, T, S), keep_mask((B, H, T, S), 0.3, 3) / 0.7
    dy = randn(B, H, T, N, seed=7).to(dtype)
    wide = [x.double() for x in (dy, z)]
    tangents = [randn(*x.shape, seed=8).to(dtype) for x in (q, k, v)]
    exact_tangents = tuple(x.double() for x in tangents)
    results = (
        dense_forward(q, k, v, mask, z, 0.7),
        *dense_backward(dy, q, k, v, mask, z, 0.7),
        dense_jvp(q, k, v, tuple(tangents), mask, z, 0.7),
    )
    expected = (
        dense_forward(*exact, mask, wide[1], 0.7),
        *dense_backward(wide[0], *exact, mask, wide[1], 0.7),
        dense_jvp(*exact, exact_tangents, mask, wide[1], 0.7),
    )
    for x, wanted in zip(results, expected, strict=True):
        assert x.dtype == dtype
        # one rounding of the result, and the roundings of float32 on the way
        bound = torch.finfo(dtype).eps / 2 * wanted.abs() + 1e-5 * (1 + wanted.abs().max())
        assert ((x.double() - wanted).abs() <= bound).all()


# tiles


@pytest.mark.parametrize(
    ("shape", "s", "block", "starts"),
    [
        ((4, 1, 1, 1), SCORES // 2, 1, [0, 2]),  # two rows fill a tile
        ((3, 2, 8, 1), SCORES // 16, 8, [0, 1, 2]),  # one row does, all heads and queries in it
        ((3, 1, 2, 1), 2 * SCORES, 1, [0, 0, 1, 1, 2, 2]),  # one row is more than a tile
        ((SCORES + 1, 1, 1, 1), 1, 1, [0, SCORES]),
        ((SCORES + 1, 1, 1, 1), 0, 1, [0, SCORES]),
    ],
    ids=["two-rows", "one-row", "more", "single-scores", "nothing"],
)
def test_a_tile_takes_as_many_rows_as_fit(shape, s, block, starts):
    assert [tile.rows.start for tile in tiles(shape, s, False, block)] == starts


def test_a_tile_is_cut_by_each_span_that_it_meets():
    whole = tile((0, 2), (2, 5), (0, 6))
    spans = ((0, 1, 0, 3), (1, 3, 4, 9), (3, 4, 0, 6))
    assert list(parts(whole, None, True)) == [whole]
    assert list(parts(whole, spans, False)) == [
        tile((0, 1), (2, 5), (0, 3)), tile((1, 2), (2, 5), (4, 6)),
    ]  # fmt: skip
    assert list(parts(whole, spans, True)) == [
        tile((0, 1), (2, 3), (0, 3)), tile((1, 2), (4, 5), (4, 6)),
    ]  # fmt: skip
    # no query, no key, and just one of each
    assert list(parts(whole, ((0, 1, 0, 2),), True)) == []
    assert list(parts(whole, ((0, 1, 6, 9),), False)) == []
    assert list(parts(whole, ((1, 2, 4, 5),), True)) == [tile((1, 2), (4, 5), (4, 5))]


def test_a_mask_is_cut_where_it_has_more_than_one():
    part = tile((1, 2), (1, 3), (2, 6))
    mask = a_mask(B, H, T, S)
    assert torch.equal(cut(mask, part), mask[1:2, :, 1:3, 2:6])
    assert torch.equal(cut(mask[:1, :, :, :1], part), mask[:1, :, 1:3, :1])
    assert torch.equal(cut(mask[:, :1, :1], part), mask[1:2, :1, :1, 2:6])
    two = mask[:, :, :2, :2]  # sizes of two are cut as well
    assert cut(two, tile((1, 2), (0, 1), (1, 2))).shape == (1, H, 1, 1)


def test_a_part_is_found_again_in_its_tile():
    whole, part = tile((1, 4), (10, 20), (5, 50)), tile((2, 3), (12, 15), (7, 9))
    assert within(part, whole) == (slice(1, 2), slice(None), slice(2, 5), slice(2, 4))
    assert overlap(slice(2, 7), 3, 9) == slice(3, 7) and overlap(slice(2, 7), 0, 5) == slice(2, 5)


def test_a_tile_draws_from_the_seed_of_its_number():
    seed, step = torch.tensor(5), 0x3C6EF372FE94F82B
    one = tile((1, 3), (2, 6), (0, 7))
    for number in (0, 1, 6):
        drawn = tile_keep(one, number, H, 0.4, seed, torch.device("cpu"))
        assert torch.equal(drawn, keep_mask((2, H, 4, 7), 0.4, signed(5 + step * number)))
    assert tile_keep(one, 1, H, 0.4, seed, META).device == META


def test_scores_are_products_hidden_where_one_may_not_look():
    q, k, _ = qkv()
    part, mask = tile((0, B), (1, T), (1, S)), a_mask(B, 1, T, S)
    qt, kt = q[:, :, 1:], k[:, :, 1:]
    plain = 0.7 * qt @ kt.mT
    torch.testing.assert_close(scores(qt, kt, part, None, False, 2, 0.7), plain)
    hidden = plain.masked_fill(~edge(T, S)[1:, 1:], -math.inf)
    torch.testing.assert_close(scores(qt, kt, part, None, True, 2, 0.7), hidden)
    hidden = hidden.masked_fill(~mask[:, :, 1:, 1:], -math.inf)
    torch.testing.assert_close(scores(qt, kt, part, mask, True, 2, 0.7), hidden)


@pytest.mark.parametrize(("keys", "hides"), [(2, True), (1, False)])
def test_an_edge_is_made_only_where_it_hides_something(keys, hides):
    """A score that is NaN stays NaN under an edge of zeros; here what is added is looked at."""
    q, k = torch.ones(1, 1, 1, 1), torch.ones(1, 1, keys, 1)
    out = scores(q, k, tile((0, 1), (0, 1), (0, keys)), None, True, 0, 1.0)
    assert out.isinf().any().item() is hides and out.flatten()[0] == 1


def test_weights_of_a_row_that_sees_nothing_are_zeros():
    x = randn(B, H, T, S)
    x[0, 0, 1] = -math.inf
    x[1, 2, 3] += 500  # exp of it ends nothing
    expected = x.clone()
    p, total, lse = weights_(x)
    assert p.data_ptr() == x.data_ptr() and lse.shape == (B, H, T) and total.shape == (B, H, T, 1)
    seen = torch.ones(B, H, T, dtype=torch.bool)
    seen[0, 0, 1] = False
    torch.testing.assert_close((p / total)[seen], expected.softmax(3)[seen])
    torch.testing.assert_close(lse[seen], expected.logsumexp(3)[seen])
    assert (p[0, 0, 1] == 0).all() and total[0, 0, 1] == 1
    assert lse[0, 0, 1] == torch.finfo(x.dtype).min


def test_zeros_lie_head_by_head_in_each_position():
    x = heads_last(torch.empty(2, 3, 4, 5), torch.float16)
    assert x.stride() == (60, 5, 15, 1) and x.dtype == torch.float16 and (x == 0).all()
    assert heads_last(torch.empty(2, 3, 4, 5, device=META), torch.float16).device == META


@pytest.mark.parametrize("dtype", [torch.float64, *LOW], ids=str)
@pytest.mark.parametrize("seed", [None, torch.tensor(3)], ids=["whole", "dropout"])
def test_the_compiler_is_told_the_shapes_that_the_tiles_give(dtype, seed):
    q, k, v = qkv(dtype)
    options = (a_mask(B, 1, T, S), seed, True, 0.7, 0.3, ((0, 1, 1, 5), (1, 2, 0, 6)), 3)
    y, lse = blocks_forward(q, k, v, *options)
    grads = blocks_backward(y, q, k, v, y, lse, *options)

    def looks(tensors):
        return [(x.shape, x.dtype, x.stride()) for x in tensors]

    assert looks(blocks_forward_shapes(q, k, v, *options)) == looks((y, lse))
    given = looks(blocks_backward_shapes(y, q, k, v, y, lse, *options))
    assert [x[:2] for x in given] == [x[:2] for x in looks(grads)]
    assert lse.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert all(x.device == META for x in blocks_forward_shapes(q.to(META), k, v))


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("way", ["tiles", "kernel"])
def test_both_ways_round_low_numbers_once(dtype, way):
    q, k, v = qkv(dtype)
    spans, mask = ((0, 1, 1, 5), (1, 2, 0, 6)), a_mask(B, 1, T, S)
    dy = randn(B, H, T, N, seed=7).to(dtype)
    if way == "tiles":
        options = (mask, None, True, 0.7, 0.0, spans, 3)
        forward, backward = blocks_forward, blocks_backward
    else:
        options, forward, backward = (mask, True, 0.7, spans), flash_forward, flash_backward
    results, exact = [], []
    for cast, found in (((lambda x: x), results), (torch.Tensor.double, exact)):
        args = [cast(x) for x in (q, k, v)]
        y, lse = forward(*args, *options)
        found += [y, *backward(cast(dy), *args, y, lse, *options)]
    for x, wanted in zip(results, exact, strict=True):
        assert x.dtype == dtype
        # y is rounded before it comes back into the backward, where it weighs as much as dy
        bound = 2 * torch.finfo(dtype).eps * (wanted.abs() + wanted.abs().max())
        assert ((x.double() - wanted).abs() <= bound).all()


# what the kernel is given


def test_a_mask_is_written_as_what_is_added():
    mask = a_mask(B, 1, T, 1)
    assert additive(None, T, S, torch.float32) is None
    added = additive(mask, T, S, torch.float32)
    assert added.shape == (B, 1, T, S) and added.dtype == torch.float32
    assert torch.equal(added == 0, mask.expand(B, 1, T, S)) and added[added != 0].isneginf().all()
    assert additive(mask.to(META), T, S, torch.float32).device == META
    part = tile((1, 2), (1, 3), (2, 6))
    assert part_additive(None, part, torch.float32) is None
    assert torch.equal(part_additive(mask, part, torch.float64), added[1:2, :, 1:3, 2:].double())


def test_the_kernels_own_edge_serves_where_it_is_ours():
    q, k, _ = qkv()
    mask = a_mask(B, 1, T, S)
    assert own_edge(k, k, None, True) == (None, True)
    assert own_edge(q, k, mask, False) == (mask, False)
    seen, causal = own_edge(q, k, mask, True)
    assert causal is False and torch.equal(seen, mask & edge(T, S))


def test_the_kernel_runs_low_queries_in_float32_but_one():
    for low in LOW:
        assert kernel_dtype(torch.empty(1, 1, 2, 1, dtype=low)) == torch.float32
        assert kernel_dtype(torch.empty(1, 1, 1, 1, dtype=low)) == low
    assert kernel_dtype(torch.empty(1, 1, 2, 1, dtype=torch.float64)) == torch.float64


def test_the_last_axis_is_made_dense_only_where_it_is_not():
    x = randn(1, 2, 3, 4)
    assert (
        unit_stride(x) is x
        and unit_stride(x.transpose(1, 2)).stride() == x.mT.mT.transpose(1, 2).stride()
    )
    assert unit_stride(x.mT).stride(3) == 1 and torch.equal(unit_stride(x.mT), x.mT)


# arguments


def test_a_mask_gets_four_axes():
    shape = (B, H, T, S)
    for given, wanted in (((S,), (1, 1, 1, S)), ((H, 1, S), (1, H, 1, S)), (shape, shape)):
        mask = a_mask(*given)
        assert four_axes(mask, shape).shape == wanted
        assert torch.equal(four_axes(mask, shape).flatten(), mask.flatten())
    assert four_axes(torch.tensor(True), shape).shape == (1, 1, 1, 1)


def test_a_seed_becomes_a_tensor_and_a_tensor_stays():
    seed = torch.tensor(7)
    assert one_seed(0.5, seed) is seed and one_seed(0.0, seed) is None
    made = one_seed(0.5, -7)
    assert made == -7 and made.shape == () and made.dtype == torch.int64


@pytest.mark.parametrize("causal", [False, True])
def test_a_tile_of_one_score_gives_the_value_itself(causal):
    q, k, v = (randn(1, 1, 1, 1, seed=i) for i in range(3))
    y, lse = blocks_forward(q, k, v, None, None, causal, 0.7, 0.0, None, 3)
    torch.testing.assert_close((y, lse), (v, 0.7 * q[..., 0] * k[..., 0]))


def test_padding_becomes_spans_or_a_mask():
    whole, left = torch.ones(2, 5).bool(), torch.tensor([[0, 1, 1, 1, 1], [1] * 5]).bool()
    hole = torch.tensor([[1, 0, 1, 1, 1], [1] * 5]).bool()
    mask = a_mask(2, 1, 5, 5)
    assert use_padding(whole, mask, 5) == (None, mask)
    assert use_padding(left, mask, 2) == (((0, 1, 1, 5), (1, 2, 0, 5)), mask)
    square = left[:, None, None, :] & left[:, None, :, None]
    spans, real = use_padding(left, None, 1)  # one query: a mask, which costs less
    assert spans is None and torch.equal(real, left[:, None, None, :])
    spans, real = use_padding(hole, mask, 3)
    assert spans is None and torch.equal(real, mask & hole[:, None, None, :])
    spans, real = use_padding(hole, None, 5)
    assert spans is None
    assert torch.equal(real, hole[:, None, None, :] & hole[:, None, :, None]) and square.any()
    spans, real = use_padding(torch.ones(1, 1).bool(), None, 1)
    assert spans is None and real.shape == (1, 1, 1, 1)


def test_without_a_scale_products_are_divided_by_the_root_of_the_size():
    q, k, v = qkv()
    rest = (None, False, None, 0.0, None)
    given, default = (attend(q, k, v, *rest, s, 128) for s in (N**-0.5, None))
    torch.testing.assert_close(given, default, rtol=1e-15, atol=0)
    nothing = attend(q[..., :0], k[..., :0], v[..., :0], *rest, None, 128)
    assert nothing.shape == (B, H, T, 0)
