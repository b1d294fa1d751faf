import pytest
import torch

from zoo.models import MODELS
from zoo.train import make_optimizer, parameter_groups


def tiny(family):
    spec = MODELS[family]
    return spec.build(spec.presets[f"{family}-tiny"], spec.heads[0])


def names_by_decay(model, groups):
    names = {id(p): name for name, p in model.named_parameters()}
    return {g["weight_decay"]: {names[id(p)] for p in g["params"]} for g in groups}


@pytest.mark.parametrize("family", MODELS)
def test_biases_and_gains_do_not_decay_and_everything_else_does(family):
    model = tiny(family)
    held = names_by_decay(model, parameter_groups(model, 0.25))
    spared = {
        name
        for name, _ in model.named_parameters()
        if name.endswith((".bias", "class_token", "logit_scale"))
        or ".norm" in name
        or name.startswith("norm")
        or name in getattr(model, "no_decay", ())
    }
    everything = {name for name, _ in model.named_parameters()}
    assert held == {0.25: everything - spared, 0.0: spared}
    assert any(name.endswith("blocks.0.attn.qkv.weight") for name in held[0.25])


def test_a_model_may_name_what_shall_not_decay():
    model = tiny("gpt2")
    model.no_decay = ("positions.weight",)
    held = names_by_decay(model, parameter_groups(model, 0.25))
    assert "positions.weight" in held[0.0] - held[0.25]
    assert "tokens.weight" in held[0.25]


def test_frozen_parameters_are_in_no_group():
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    (group,) = parameter_groups(model, 0.25)
    assert group["weight_decay"] == 0.25
    assert group["params"] == [model.weight]


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match=r"requires_grad=True: nothing to train"):
        parameter_groups(torch.nn.Linear(3, 2).requires_grad_(False), 0.25)


def test_one_step_is_adamw_as_published():
    """Loshchilov and Hutter 2019, algorithm 2, for the first step: m / sqrt(v) is the sign."""
    model = torch.nn.Linear(3, 2).double()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, 0.5, decay=0.25, eps=1e-12)
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()  # every gradient is 1
    optimizer.step()
    expected = {"weight": before["weight"] * (1 - 0.5 * 0.25) - 0.5, "bias": before["bias"] - 0.5}
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=0, atol=1e-9)


def test_the_options_reach_adamw():
    optimizer = make_optimizer(torch.nn.Linear(3, 2), 0.5, decay=0.3, betas=(0.8, 0.9), eps=1e-3)
    shared = {"lr": 0.5, "betas": (0.8, 0.9), "eps": 1e-3, "fused": True}
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.3, 0.0]
    assert all(shared.items() <= g.items() for g in optimizer.param_groups)


def test_the_defaults_are_those_of_language_models():
    optimizer = make_optimizer(torch.nn.Linear(3, 2), 0.5)
    shared = {"betas": (0.9, 0.95), "eps": 1e-8}
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0.0]
    assert all(shared.items() <= g.items() for g in optimizer.param_groups)


def test_a_device_without_the_fused_kernel_gets_the_plain_one():
    optimizer = make_optimizer(torch.nn.Linear(3, 2, device="meta"), 0.5)
    assert not optimizer.param_groups[0]["fused"]
