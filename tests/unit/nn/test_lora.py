import math

import pytest
import torch

from zoo.nn import Linear
from zoo.nn.lora import LoRALinear


def base(bias=True, dtype=torch.float64):
    return Linear(5, 7, bias=bias).to(dtype)


def learnt(layer):
    with torch.no_grad():
        layer.up.normal_()
    return layer


def test_nothing_has_changed_before_the_first_step():
    layer = base()
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    assert torch.equal(LoRALinear(layer, rank=3, alpha=6.0)(x), layer(x))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_the_change_is_alpha_over_rank_times_up_down(bias):
    layer = learnt(LoRALinear(base(bias), rank=3, alpha=7.5))
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    change = 2.5 * torch.einsum("or,ri->oi", layer.up, layer.down)
    expected = x @ (layer.weight + change).T + (layer.bias if bias else 0.0)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.change(), change.detach(), rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_the_written_out_product():
    layer = learnt(LoRALinear(base().requires_grad_(False), rank=2, alpha=3.0))
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 7, dtype=torch.float64)
    wanted = (x, layer.down, layer.up)
    plain = x @ layer.weight.T + layer.bias + 1.5 * (x @ layer.down.T @ layer.up.T)
    expected = torch.autograd.grad((plain * weights).sum(), wanted)
    actual = torch.autograd.grad((layer(x) * weights).sum(), wanted)
    for mine, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    assert layer.weight.grad is None


def test_a_first_step_moves_up_and_not_down():
    layer = LoRALinear(base(), rank=2, alpha=3.0)
    layer(torch.randn(4, 5, dtype=torch.float64)).sum().backward()
    assert layer.up.grad.abs().min() > 0
    assert not layer.down.grad.any()


def test_dropout_acts_on_what_the_adapter_reads_and_only_while_training():
    layer = learnt(LoRALinear(base().eval(), rank=2, alpha=3.0, rate=0.5))
    x = torch.randn(6, 5, dtype=torch.float64)
    assert not layer.training and not layer.drop.training
    assert torch.equal(layer(x), layer(x))
    layer.train()
    assert not torch.equal(layer(x), layer(x))
    with torch.no_grad():
        layer.up.zero_()
    assert torch.equal(layer(x), layer.plain()(x))  # the layer below drops nothing


def test_down_is_drawn_as_published_and_up_is_zero():
    """Uniform within sqrt(6 / (1 + 5) / in): kaiming with a = sqrt(5)."""
    layer = LoRALinear(Linear(400, 3), rank=50, alpha=1.0)
    bound = 1 / math.sqrt(400)
    assert layer.down.abs().max() <= bound
    assert layer.down.abs().max() > 0.99 * bound
    assert abs(float(layer.down.detach().mean())) < 0.02 * bound
    assert not layer.up.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_is_learnt_on_a_low_precision_layer_is_float32(dtype):
    layer = learnt(LoRALinear(base(dtype=dtype), rank=2, alpha=3.0))
    assert (layer.down.dtype, layer.up.dtype) == (torch.float32, torch.float32)
    x = torch.randn(4, 5, dtype=dtype)
    assert layer(x).dtype == dtype
    wide = x.float() @ (layer.weight.float() + layer.change().float()).T + layer.bias.float()
    torch.testing.assert_close(layer(x).float(), wide, rtol=3e-2, atol=3e-2)


def test_it_runs_under_autocast():
    layer = learnt(LoRALinear(base(dtype=torch.float32), rank=2, alpha=3.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(4, 5)).dtype == torch.bfloat16


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_the_layer_below_keeps_its_parameters_and_names(bias):
    layer = base(bias).eval()
    adapted = LoRALinear(layer, rank=2, alpha=3.0)
    assert adapted.weight is layer.weight and adapted.bias is layer.bias
    names = dict(adapted.named_parameters()).keys() - {"down", "up"}
    assert names == dict(layer.named_parameters()).keys()
    plain = adapted.plain()
    assert type(plain) is Linear and not plain.training
    assert plain.weight is layer.weight and plain.bias is layer.bias
    assert (plain.in_features, plain.out_features) == (5, 7)


def test_it_can_be_built_without_memory():
    layer = LoRALinear(Linear(5, 7, device="meta"), rank=2, alpha=3.0)
    assert all(p.is_meta for p in layer.parameters())
    assert layer(torch.ones(3, 5, device="meta")).shape == (3, 7)


def test_it_says_what_it_is():
    assert "rank=2, alpha=3.0" in repr(LoRALinear(base(), rank=2, alpha=3.0))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rank": 0}, r"rank is 0; expected 1 or more"),
        ({"alpha": 0.0}, r"alpha is 0.0; expected a positive number"),
        ({"alpha": math.inf}, r"alpha is inf"),
        ({"alpha": math.nan}, r"alpha is nan"),
        ({"rate": 1.0}, r"rate is 1.0; expected at least 0 and less than 1"),
        ({"rate": -0.1}, r"rate is -0.1"),
    ],
    ids=["rank", "alpha", "infinite", "nan", "rate", "negative-rate"],
)
def test_numbers_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        LoRALinear(base(), **{"rank": 2, "alpha": 3.0, **options})
