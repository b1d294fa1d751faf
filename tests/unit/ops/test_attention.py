"""What is particular to attention: its three ways agree, its edges, its dropout, its memory."""

import warnings

import pytest
import torch

from zoo import ops
from zoo.ops._attention_blocks import (
    BLOCK,
    blocks_backward,
    blocks_forward,
    dense_keep,
    signed,
    tiles,
)
from zoo.ops._attention_dense import dense_backward, dense_forward, span_mask, visible
from zoo.ops._attention_flash import flash_backward, flash_fits, flash_forward
from zoo.ops.attention import real_spans
from zoo.ops.dropout import keep_scale
from zoo.testing.opinfo import randint, randn

#: rows 0 and 1 look everywhere, 2 in the middle, 3 nowhere; in (row, row end, key, key end)
SPANS = ((0, 2, 0, 7), (2, 3, 2, 5))
CASES = {
    "plain": {},
    "causal": {"causal": True},
    "mask": {"mask": True},
    "spans": {"spans": SPANS},
    "all": {"causal": True, "mask": True, "spans": SPANS},
}
SHAPES = [(7, 7), (3, 7), (1, 7)]


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def inputs(t, s, b=4, h=2, n=3):
    q, k, v = randn(b, h, t, n), randn(b, h, s, n, seed=1), randn(b, h, s, n, seed=2)
    return q, k, v, randn(b, h, t, n, seed=3)


def dense(q, k, v, dy, mask, z, causal, spans):
    seen = visible(q, k, mask, causal, spans)
    y = dense_forward(q, k, v, seen, z, 0.7)
    return y, *dense_backward(dy, q, k, v, seen, z, 0.7)


def tiled(q, k, v, dy, mask, seed, causal, rate, spans, block):
    options = (mask, seed, causal, 0.7, rate, spans, block)
    y, lse = blocks_forward(q, k, v, *options)
    return y, *blocks_backward(dy, q, k, v, y, lse, *options)


@pytest.mark.parametrize("block", [1, 3, 4, 128])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize(("t", "s"), SHAPES)
def test_tiles_of_any_size_give_what_the_whole_matrix_gives(t, s, case, block):
    q, k, v, dy = inputs(t, s)
    mask = randint(3, 4, 1, t, s) > 0 if case.get("mask") else None
    causal, spans = case.get("causal", False), case.get("spans")
    actual = tiled(q, k, v, dy, mask, None, causal, 0.0, spans, block)
    close(actual, dense(q, k, v, dy, mask, None, causal, spans))


@pytest.mark.parametrize("block", [2, 3, 128])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize(("t", "s"), SHAPES)
def test_tiles_drop_in_backward_what_they_dropped_in_forward(t, s, case, block):
    q, k, v, dy = inputs(t, s)
    mask = randint(3, 1, 2, t, s) > 0 if case.get("mask") else None
    causal, spans, seed = case.get("causal", False), case.get("spans"), torch.tensor(11)
    z = dense_keep(q, k, causal, 0.3, seed, block).double() * keep_scale(0.3)
    actual = tiled(q, k, v, dy, mask, seed, causal, 0.3, spans, block)
    close(actual, dense(q, k, v, dy, mask, z, causal, spans))


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize(("t", "s"), SHAPES)
def test_the_kernel_gives_what_the_whole_matrix_gives(t, s, case):
    q, k, v, dy = inputs(t, s)
    mask = randint(3, 4, 1, t, s) > 0 if case.get("mask") else None
    options = (mask, case.get("causal", False), 0.7, case.get("spans"))
    y, lse = flash_forward(q, k, v, *options)
    grads = flash_backward(dy, q, k, v, y, lse, *options)
    close((y, *grads), dense(q, k, v, dy, mask, None, options[1], options[3]))


def test_a_batch_too_large_for_one_tile_is_cut_by_rows_too():
    q, k, v, dy = inputs(130, 130, b=3, h=16, n=1)
    rows = [tile.rows for tile in tiles(q.shape, 130, True, BLOCK)]
    assert rows == [slice(i, i + 1) for i in range(3) for _ in range(2)]
    seed, spans = torch.tensor(3), ((0, 1, 0, 130), (1, 3, 5, 129))
    z = dense_keep(q, k, True, 0.2, seed, BLOCK).double() * keep_scale(0.2)
    actual = tiled(q, k, v, dy, None, seed, True, 0.2, spans, BLOCK)
    close(actual, dense(q, k, v, dy, None, z, True, spans))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 7, 5), (2, 1, 1, 3), (9, 64, 200, 1), (0, 2, 7, 5)])
def test_tiles_cover_each_query_once_and_no_key_beyond_the_edge(shape, causal):
    b, _, t, _ = shape
    s = t + 4
    times = torch.zeros(b, t)
    for tile in tiles(shape, s, causal, 3):
        times[tile.rows, tile.queries] += 1
        assert tile.keys == slice(0, tile.queries.stop + 4 if causal else s)
    assert (times == 1).all()


@pytest.mark.parametrize("t", [1, 2, 5])
def test_the_last_queries_alone_get_what_they_got_among_all(t):
    """The causal edge is at the end of the keys: that is what makes a cache exact."""
    q, k, v, _ = inputs(7, 7)
    whole = ops.attention(q, k, v, causal=True)
    close(ops.attention(q[:, :, -t:], k, v, causal=True), whole[:, :, -t:])


def test_a_key_beyond_the_edge_moves_nothing():
    q, k, v, _ = inputs(5, 7)
    y = ops.attention(q, k, v, causal=True)
    k[:, :, 4], v[:, :, 4] = 50.0, 50.0  # query i sees keys up to i + 2
    moved = (ops.attention(q, k, v, causal=True) != y).flatten(3).any(-1)
    assert not moved[:, :, :2].any() and moved[:, :, 2:].all()


@pytest.mark.parametrize("seed", [None, 5], ids=["kernel", "tiles"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_row_that_may_look_nowhere_gives_zeros_and_no_gradient(dtype, seed):
    q, k, v, _ = (x.to(dtype).requires_grad_() for x in inputs(3, 4))
    mask = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    y = ops.attention(q, k, v, mask, rate=0.5 if seed else 0.0, seed=seed)
    dq, dk, dv = torch.autograd.grad(y.sum(), (q, k, v))
    assert (y[:, :, 1] == 0).all() and (dq[:, :, 1] == 0).all()
    assert all(x.isfinite().all() for x in (y, dq, dk, dv))
    assert y[:, :, 0].any() and dq[:, :, 0].any()


def test_a_padding_query_of_self_attention_gives_zeros_whatever_way_is_taken():
    q, k, v, _ = inputs(5, 5, b=2)
    padding = torch.tensor([[0, 1, 1, 1, 0], [1, 0, 1, 1, 0]]).bool()  # a span, and a hole
    y = ops.attention(q, k, v, padding=padding)
    alone = ops.attention(q[:1], k[:1], v[:1], padding=padding[:1])
    close(y[:1], alone)
    assert ((y != 0).any(-1).all(1) == padding).all()


@pytest.mark.parametrize(
    ("padding", "spans"),
    [
        ([[1, 1, 1]], ((0, 1, 0, 3),)),
        ([[0, 1, 1], [0, 1, 1], [1, 1, 0]], ((0, 2, 1, 3), (2, 3, 0, 2))),
        ([[0, 0, 0], [0, 1, 0]], ((0, 1, 0, 0), (1, 2, 1, 2))),
        ([[1, 1, 1], [1, 0, 1]], None),
    ],
    ids=["all", "runs", "nothing", "hole"],
)
def test_rows_next_to_each_other_share_a_span(padding, spans):
    assert real_spans(torch.tensor(padding).bool()) == spans


def test_spans_written_as_a_mask_hide_padding_queries_of_self_attention_only():
    expected = torch.tensor([[0, 0, 0], [0, 1, 1], [0, 1, 1]]).bool()
    assert torch.equal(span_mask(((0, 1, 1, 3),), 1, 3, 3, expected.device)[0, 0], expected)
    assert torch.equal(span_mask(((0, 1, 1, 3),), 1, 2, 3, expected.device)[0, 0], expected[1:])


@pytest.mark.parametrize(
    ("shape", "s", "fits"),
    [
        ((1, 1, 1, 1), 1, True),
        ((2, 3, 4, 5), 6, True),
        ((2, 3, 0, 5), 6, False),
        ((2, 3, 4, 5), 0, False),
    ],
)
def test_the_kernel_is_never_given_a_size_of_zero(shape, s, fits):
    """It would divide by it, and the process would die."""
    q = torch.zeros(shape)
    assert flash_fits(q, torch.zeros(*shape[:2], s, shape[3])) is fits
    assert not flash_fits(q.to("meta"), q.to("meta"))


def test_dropout_keeps_the_share_it_should_and_the_mean():
    """For uniform weights and v = 1 an output is the kept share, scaled: mean 1, known spread."""
    q = torch.zeros(2, 3, 150, 4)  # two tiles, the second one uneven
    v = torch.ones(2, 3, 200, 4)
    y = torch.stack([ops.attention(q, v, v, rate=0.25, seed=i)[..., 0] for i in range(20)])
    deviation = (0.25 / 0.75 / 200) ** 0.5  # of one output, a mean of 200 scaled coins
    assert abs(y.mean() - 1) < 5 * deviation / y.numel() ** 0.5
    assert abs(y.std() / deviation - 1) < 5 / (2 * y.numel()) ** 0.5
    # no two tiles, heads, rows of the batch or seeds drop alike
    close_pairs = torch.corrcoef(y.transpose(0, 3).reshape(150, -1).T).fill_diagonal_(0).abs()
    assert close_pairs.max() < 6 / 150**0.5


def test_no_two_tiles_drop_alike():
    q = torch.zeros(2, 3, 40, 1)
    keep = dense_keep(q, q, False, 0.5, torch.tensor(4), 2)
    pieces = {bytes(tile.flatten().tolist()) for tile in keep.split(2, 2)}
    assert len(pieces) == 20  # of 480 coins each


def test_a_seed_decides_what_is_dropped_and_may_be_a_tensor():
    q, k, v, _ = inputs(3, 5)
    first = ops.attention(q, k, v, rate=0.5, seed=1)
    assert torch.equal(first, ops.attention(q, k, v, rate=0.5, seed=torch.tensor(1)))
    assert not torch.equal(first, ops.attention(q, k, v, rate=0.5, seed=2))
    assert torch.equal(ops.attention(q, k, v, rate=0.0, seed=1), ops.attention(q, k, v))


@pytest.mark.parametrize("x", [0, -1, (1 << 63) - 1, -(1 << 63)])
def test_an_integer_wraps_to_64_bits(x):
    assert signed(x) == signed(x + (1 << 64)) == x


@pytest.mark.parametrize("rate", [0.0, 0.1], ids=["kernel", "tiles"])
def test_what_is_kept_for_backward_grows_with_the_length_not_with_its_square(rate):
    kept = []
    for t in (64, 128):
        q, k, v, _ = (x.requires_grad_() for x in inputs(t, t, b=1, n=4))
        sizes = {}

        def keep(x, sizes=sizes):
            sizes[x.data_ptr()] = x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            y = ops.attention(q, k, v, causal=True, rate=rate, seed=3)
        assert y.requires_grad
        kept.append(sum(sizes.values()))
    assert kept == [2 * 64 * (4 * 4 + 1) + (rate > 0), 2 * 128 * (4 * 4 + 1) + (rate > 0)]


def test_batched_gradients_and_mapped_calls_give_no_warning():
    q, k, v, dy = (x.requires_grad_() for x in inputs(3, 5))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = ops.attention(q, k, v, causal=True)
        torch.autograd.grad(y, (q, k, v), torch.stack([dy, 2 * dy]), is_grads_batched=True)
        torch.vmap(ops.attention)(*(torch.stack([x, x]) for x in (q, k, v)))
    assert [str(w.message) for w in caught] == []


def test_padding_can_be_mapped_over():
    q, k, v, _ = inputs(5, 5, b=2)
    padding = torch.tensor([[[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]], [[1, 0, 1, 1, 0], [0] * 5]]).bool()
    mapped = torch.vmap(lambda p: ops.attention(q, k, v, padding=p))(padding)
    close(mapped, torch.stack([ops.attention(q, k, v, padding=p) for p in padding]))


def test_heads_of_the_output_merge_without_a_copy():
    q, k, v = randn(4, 5, 3, 2, 6).permute(2, 0, 3, 1, 4)  # as one linear layer gives them
    for options in ({}, {"rate": 0.1, "seed": 1}, {"padding": torch.eye(4, 5).bool()}):
        y = ops.attention(q, k, v, **options).transpose(1, 2)
        assert y.flatten(2).data_ptr() == y.data_ptr()
