"""Layers at their edges: what must not be drawn, what a cache forgets, where things are made."""

import pytest
import torch

from zoo.nn import Attention, Linear
from zoo.nn.basic import Dropout, DropPath, Embedding, LayerNorm
from zoo.nn.cache import KVCache
from zoo.nn.lora import LoRALinear
from zoo.nn.patch import positions_for
from zoo.nn.tokens import check_ids, pool, positions_of

CPU = torch.device("cpu")


def drew(run):
    """Say whether `run` drew from torch's generator."""
    before = torch.get_rng_state()
    run()
    return not torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", [Dropout, DropPath])
def test_a_rate_of_zero_draws_nothing_and_changes_nothing(kind):
    x = torch.randn(2, 3, 5)
    layer = kind(0.0).train()
    assert layer(x) is x
    assert not drew(lambda: layer(x))


@pytest.mark.parametrize("kind", [Dropout, DropPath])
def test_a_rate_above_zero_draws_only_in_training(kind):
    x = torch.randn(2, 3, 5)
    layer = kind(0.5)
    assert drew(lambda: layer.train()(x))
    assert not drew(lambda: layer.eval()(x))


@pytest.mark.parametrize(
    ("rate", "training", "draws"), [(0.5, True, 1), (0.5, False, 0), (0.0, True, 0)]
)
def test_attention_draws_only_for_dropout(rate, training, draws):
    layer, x = Attention(6, 2, rate=rate).train(training), torch.randn(1, 3, 6)
    assert drew(lambda: layer(x)) == draws


def test_attention_has_no_dropout_unless_asked():
    layer = Attention(6, 2).train()
    assert layer.rate == 0.0
    x = torch.randn(2, 3, 6)
    assert torch.equal(layer(x), layer.eval()(x))


def new_cache(**changes):
    sizes = {"depth": 1, "batch": 2, "heads": 3, "capacity": 5, "size": 4}
    return KVCache(**sizes | {"dtype": torch.float64, "device": CPU} | changes)


@pytest.mark.parametrize("first", [1, 2, 4])
def test_attention_in_two_steps_is_attention_in_one(first):
    torch.manual_seed(0)
    layer = Attention(12, 3, causal=True).double().eval()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    cache, given = new_cache(), []
    for part in (x[:, :first], x[:, first:]):
        cache.extend(2, part.shape[1], None)
        with torch.no_grad():
            given.append(layer(part, cache.padding(), cache.layers[0]))
    torch.testing.assert_close(torch.cat(given, 1), layer(x), rtol=1e-12, atol=1e-12)


def test_a_cache_is_made_as_asked_wherever_the_default_is():
    with torch.device("meta"):
        cache = new_cache()
    assert cache.buffer.device == cache.mask.device == CPU
    assert cache.buffer.dtype == torch.float64
    assert cache.buffer.shape == (1, 2, 2, 3, 5, 4)
    assert new_cache(device=torch.device("meta")).buffer.device.type == "meta"


LEFT = torch.tensor([[False, True], [True, True]])


def test_padding_once_held_is_remembered():
    cache = new_cache()
    assert cache.padding() is None
    cache.extend(2, 2, LEFT)
    cache.extend(2, 1, None)
    want = torch.tensor([[False, True, True], [True, True, True]])
    assert torch.equal(cache.padding(), want)
    assert cache.real().tolist() == [2, 3]


def test_what_is_forgotten_is_no_longer_real():
    cache = new_cache()
    cache.extend(2, 2, LEFT)
    cache.extend(2, 2, None)
    cache.truncate(3)
    assert cache.length == 3
    assert not cache.mask[:, 3:].any()
    assert torch.equal(cache.padding()[:, :2], LEFT)
    cache.truncate(0)
    assert cache.padding() is None


def test_padding_is_forgotten_with_its_rows_and_tokens():
    cache = new_cache()
    cache.extend(2, 2, LEFT)
    cache.select(torch.tensor([1, 1]))
    assert cache.padding() is None
    cache = new_cache()
    cache.extend(2, 2, None)
    cache.extend(2, 2, LEFT)
    cache.truncate(2)
    assert cache.padding() is None


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Embedding(7, 3), "7, 3"),
        (LayerNorm(6, eps=0.5), "6, eps=0.5"),
        (Dropout(0.25), "rate=0.25"),
        (DropPath(0.25), "rate=0.25"),
        (Attention(6, 2, causal=True, rate=0.5), "heads=2, causal=True, rate=0.5"),
        (
            LoRALinear(Linear(5, 7), rank=3, alpha=6.0),
            "in_features=5, out_features=7, bias=True, rank=3, alpha=6.0",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_layer_says_its_sizes(layer, words):
    assert layer.extra_repr() == words


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_the_layer_below_an_adapter_has_its_tensors(bias):
    base = Linear(5, 7, bias=bias).eval()
    plain = LoRALinear(base, rank=3, alpha=6.0).plain()
    assert plain.weight is base.weight
    assert plain.bias is base.bias
    assert (plain.in_features, plain.out_features, plain.training) == (5, 7, False)


@pytest.mark.parametrize("antialias", [True, False])
def test_positions_are_resized_where_their_table_is(antialias):
    table = torch.empty(1 + 6, 4, device="meta")
    assert positions_for(table, (2, 3), (3, 5), antialias=antialias).device.type == "meta"


@pytest.mark.parametrize("held", [0, 2], ids=["no-cache", "padded-cache"])
@pytest.mark.parametrize(
    "mask", [None, torch.tensor([[False, True, True], [True, True, True]])], ids=["whole", "padded"]
)
def test_positions_are_made_on_the_device_that_is_named(held, mask):
    cache = new_cache()
    cache.extend(2, 2, LEFT)
    with torch.device("meta"):
        positions = positions_of(3, mask, cache if held else None, CPU)
    first, second = (1, 2) if held else (0, 0)
    row = [first, first + 1, first + 2] if mask is None else [max(first - 1, 0), first, first + 1]
    want = [row, [second, second + 1, second + 2]]
    assert positions.device == CPU
    assert positions.expand(2, 3).tolist() == want


def test_ids_are_called_input_ids_unless_named():
    with pytest.raises(ValueError, match=r"^input_ids has shape \(3,\)"):
        check_ids(torch.zeros(3, dtype=torch.long), vocab=5, context=9)
    with pytest.raises(TypeError, match=r"^input_ids is torch.float32"):
        check_ids(torch.zeros(1, 3), vocab=5, context=9)


@pytest.mark.parametrize("how", ["cls", "mean", "max"])
def test_a_row_without_a_real_token_is_not_pooled_beside_one_that_has_some(how):
    mask = torch.tensor([[False, False], [True, False]])
    with pytest.raises(ValueError, match="no real token"):
        pool(torch.randn(2, 2, 3), mask, how)
