"""Masks, positions and pooling at the door of a model."""

import pytest
import torch

from zoo.nn import KVCache
from zoo.nn.tokens import check_ids, first_real, last_real, pool, positions_of, real_tokens

MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 1, 0, 1]])
IDS = torch.tensor([[0, 0, 3, 4, 5], [3, 4, 5, 0, 0], [3, 4, 5, 6, 7], [3, 0, 4, 0, 5]])
HIDDEN = torch.arange(4 * 5 * 3, dtype=torch.float64).view(4, 5, 3).sin()


def make_cache(batch=2, capacity=7):
    return KVCache(
        depth=2,
        batch=batch,
        heads=3,
        capacity=capacity,
        size=4,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize(
    ("ids", "error", "sentence"),
    [
        (torch.zeros(3, dtype=torch.long), ValueError, r"shape \(3,\).*pass ids\[None\]"),
        (torch.zeros(2, 3), TypeError, "float32; expected torch.int64"),
        (torch.zeros(1, 9, dtype=torch.long), ValueError, "9 tokens, but the context is 8"),
        (torch.tensor([[3, 50]]), ValueError, "holds 50; this vocabulary has ids 0 to 49"),
        (torch.tensor([[3, -1]]), ValueError, "holds -1; this vocabulary"),
    ],
    ids=["one-row", "floats", "too-long", "too-large", "negative"],
)
def test_ids_that_no_model_can_read_are_refused(ids, error, sentence):
    with pytest.raises(error, match=sentence):
        check_ids(ids, vocab=50, context=8)


@pytest.mark.parametrize("shape", [(2, 8), (0, 8), (2, 0)], ids=str)
def test_ids_up_to_the_limits_pass(shape):
    check_ids(torch.full(shape, 49), vocab=50, context=8)


def test_the_cache_counts_toward_the_context():
    check_ids(torch.zeros(1, 3, dtype=torch.long), vocab=50, context=8, past=5)
    with pytest.raises(ValueError, match="4 tokens after 5 in the cache, but the context is 8"):
        check_ids(torch.zeros(1, 4, dtype=torch.long), vocab=50, context=8, past=5)


@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.float32, torch.int8], ids=str)
def test_a_mask_of_any_type_means_the_same(dtype):
    mask = real_tokens(IDS, MASK.to(dtype), pad=0)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, MASK.bool())


def test_a_mask_that_hides_nothing_is_no_mask():
    assert real_tokens(IDS, torch.ones_like(IDS), pad=0) is None
    assert real_tokens(IDS, None, pad=None) is None
    assert real_tokens(IDS[2:3], None, pad=0) is None


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (None, r"padding id 0 but no attention_mask.*attention_mask=\(input_ids != 0\)"),
        (MASK[:2], r"shape \(2, 5\), input_ids \(4, 5\)"),
        (MASK * 2, "values other than 0"),
        (torch.full((4, 5), -1e9), "values other than 0"),
    ],
    ids=["missing", "shape", "twos", "additive"],
)
def test_a_mask_that_cannot_be_meant_is_refused(mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        real_tokens(IDS, mask, pad=0)


def test_positions_count_real_tokens_only():
    device = torch.device("cpu")
    found = positions_of(5, MASK.bool(), None, device)
    assert found[MASK.bool()].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2]
    assert found.min() == 0
    assert positions_of(3, None, None, device).tolist() == [[0, 1, 2]]


def test_positions_go_on_behind_a_cache():
    device = torch.device("cpu")
    cache = make_cache()
    cache.extend(2, 3, None)
    assert positions_of(2, None, cache, device).tolist() == [[3, 4]]
    cache = make_cache()
    cache.extend(2, 3, torch.tensor([[False, False, True], [True, True, True]]))
    assert positions_of(2, None, cache, device).tolist() == [[1, 2], [3, 4]]
    new = torch.tensor([[True, True], [False, True]])
    assert positions_of(2, new, cache, device).tolist() == [[1, 2], [2, 3]]


def test_first_and_last_are_those_of_the_real_tokens():
    mask = MASK.bool()
    rows = range(4)
    assert torch.equal(first_real(HIDDEN, mask), HIDDEN[rows, [2, 0, 0, 0]])
    assert torch.equal(last_real(HIDDEN, mask), HIDDEN[rows, [4, 2, 4, 4]])
    assert torch.equal(first_real(HIDDEN, None), HIDDEN[:, 0])
    assert torch.equal(last_real(HIDDEN, None), HIDDEN[:, 4])


@pytest.mark.parametrize("how", ["cls", "mean", "max"])
def test_pooling_reads_real_tokens_only(how):
    mask = MASK.bool()
    each = [HIDDEN[row][mask[row]] for row in range(4)]
    rules = {"cls": lambda x: x[0], "mean": lambda x: x.mean(0), "max": lambda x: x.amax(0)}
    expected = torch.stack([rules[how](x) for x in each])
    torch.testing.assert_close(pool(HIDDEN, mask, how), expected, rtol=1e-15, atol=1e-15)
    whole = torch.stack([rules[how](x) for x in HIDDEN])
    torch.testing.assert_close(pool(HIDDEN, None, how), whole, rtol=1e-15, atol=1e-15)


def test_pooling_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="pooling 'sum'; expected one of"):
        pool(HIDDEN, None, "sum")
    with pytest.raises(ValueError, match="no real token"):
        pool(HIDDEN, torch.zeros(4, 5, dtype=torch.bool), "mean")


def test_a_cache_gives_back_what_it_was_given():
    cache = make_cache()
    k, v = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64)
    cache.extend(2, 3, None)
    cache.layers[1].append(k[:, :, :3], v[:, :, :3])
    cache.extend(2, 2, torch.tensor([[True, True], [False, True]]))
    keys, values = cache.layers[1].append(k[:, :, 3:], v[:, :, 3:])
    assert torch.equal(keys, k) and torch.equal(values, v)
    assert cache.padding().tolist() == [[True] * 5, [True, True, True, False, True]]
    assert cache.real().tolist() == [5, 4]

    cache.select(torch.tensor([1, 0, 0]))
    assert cache.batch == 3 and cache.padded
    assert torch.equal(cache.layers[1].keys[:, :, :5], k[[1, 0, 0]])
    cache.select(torch.tensor([1]))
    assert cache.padding() is None

    cache.truncate(3)
    assert cache.length == 3 and cache.real().tolist() == [3]


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda c: c.extend(2, 8, None), "0 tokens held and 8 new do not fit in a cache of 7"),
        (lambda c: c.extend(3, 1, None), "3 rows for a cache of 2"),
        (lambda c: c.truncate(1), "cannot keep 1 of 0 tokens"),
        (lambda c: c.truncate(-1), "cannot keep -1 of 0 tokens"),
    ],
    ids=["full", "rows", "longer", "negative"],
)
def test_a_cache_refuses_what_does_not_fit(act, sentence):
    with pytest.raises(ValueError, match=sentence):
        act(make_cache())
