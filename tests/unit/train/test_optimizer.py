import pytest
import torch
from torch import nn

from unit.models.tiny import HEADS
from unit.models.tiny import tiny as tiny_of
from zoo.models import MODELS
from zoo.train import make_optimizer, parameter_groups
from zoo.train.optimizer import freeze


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


def scales(model, layer_decay):
    """Give each parameter's scale by its name."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, 0.25, layer_decay=layer_decay)
    return {names[id(p)]: group["scale"] for group in groups for p in group["params"]}


# (family, head) -> power of the decay -> names: depth 3 and layers 0 to 4, but CLIP's images have 2
POWERS = {
    ("gpt2", "lm"): {
        4: ["tokens.weight", "positions.weight"],
        3: ["blocks.0.norm1.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.down.bias"],
        2: ["blocks.1.attn.out.weight"],
        1: ["blocks.2.norm2.bias", "blocks.2.mlp.up.weight"],
        0: ["norm.weight", "norm.bias"],
    },
    ("gpt2", "token"): {4: ["tokens.weight"], 0: ["norm.bias", "head.linear.weight"]},
    ("bert", "masked_lm"): {
        # its first norm is of the embeddings, and the token table is the head's too
        4: ["tokens.weight", "types.weight", "norm.weight", "norm.bias"],
        3: ["blocks.0.norm2.weight"],
        1: ["blocks.2.attn.qkv.bias"],
        0: ["head.transform.weight", "head.norm.bias", "head.bias"],
    },
    ("bert", "sequence"): {4: ["norm.weight"], 0: ["pooler.weight", "head.linear.bias"]},
    ("vit", "image"): {
        4: ["class_token", "positions", "patch.weight", "patch.bias"],
        3: ["blocks.0.norm1.bias"],
        1: ["blocks.2.mlp.down.weight"],
        0: ["norm.weight", "head.weight", "head.bias"],
    },
    ("vit", "masked_image"): {4: ["mask_token", "patch.bias"], 0: ["head.bias"]},
    ("clip", "match"): {
        4: ["text.tokens.weight", "text.positions.weight"],
        3: ["text.blocks.0.mlp.up.bias", "image.class_token", "image.patch.weight",
            "image.positions", "image.norm_in.weight"],
        2: ["text.blocks.1.norm1.weight", "image.blocks.0.attn.qkv.weight"],
        1: ["text.blocks.2.mlp.down.bias", "image.blocks.1.norm2.bias"],
        0: ["text.norm.weight", "image.norm.bias", "text_projection.weight",
            "image_projection.weight", "logit_scale"],
    },
}  # fmt: skip


@pytest.mark.parametrize(("where", "powers"), POWERS.items(), ids=["-".join(w) for w in POWERS])
def test_a_layer_learns_slower_the_deeper_it_lies(where, powers):
    found = scales(tiny_of(*where), 0.5)
    for power, names in powers.items():
        assert {name: found[name] for name in names} == dict.fromkeys(names, 0.5**power)


@pytest.mark.parametrize(("family", "head"), HEADS)
@pytest.mark.parametrize("layer_decay", [1.0, 0.75])
def test_every_trained_parameter_is_in_exactly_one_group(family, head, layer_decay):
    model = tiny_of(family, head)
    first = next(iter(model.parameters())).requires_grad_(False)
    groups = parameter_groups(model, 0.25, layer_decay=layer_decay)
    held = [id(p) for group in groups for p in group["params"]]
    trained = {id(p): name for name, p in model.named_parameters() if p is not first}
    assert len(held) == len(set(held))
    assert {*held} == trained.keys()
    pairs = [(group["scale"], group["weight_decay"]) for group in groups]
    assert len(pairs) == len({*pairs})
    assert [scale for scale, _ in pairs] == sorted(scale for scale, _ in pairs)
    if layer_decay == 1.0:
        assert pairs == [(1.0, 0.25), (1.0, 0.0)]
    else:
        assert {scale for scale, _ in pairs} <= {0.75**power for power in range(5)}
        assert len({scale for scale, _ in pairs}) >= 3


def test_what_has_no_two_axes_does_not_decay_in_any_layer():
    model = tiny_of("vit", "image", layer_scale=0.1)
    model.logit = nn.Parameter(torch.ones(()))
    names = {id(p): name for name, p in model.named_parameters()}
    for group in parameter_groups(model, 0.25, layer_decay=0.5):
        for p in group["params"]:
            spared = p.dim() < 2 or names[id(p)] == "positions"
            assert group["weight_decay"] == (0.0 if spared else 0.25), names[id(p)]
    assert any("scale1" in name for name in names.values())


def test_patterns_may_be_left_alone_by_decay():
    model = tiny("gpt2")
    held = names_by_decay(model, parameter_groups(model, 0.25, no_decay=["*.attn.*"]))
    assert "blocks.0.attn.qkv.weight" in held[0.0] - held[0.25]
    assert "blocks.0.mlp.up.weight" in held[0.25]
    with pytest.raises(ValueError, match=r"'\*.atn.qkv.weight' matches no parameter; .*attn.qkv"):
        parameter_groups(model, 0.25, no_decay=["*.atn.qkv.weight"])


def test_the_first_rates_are_scaled_and_the_scale_stays_in_the_group():
    optimizer = make_optimizer(tiny("vit"), 0.5, layer_decay=0.5)
    assert all(group["lr"] == 0.5 * group["scale"] for group in optimizer.param_groups)
    assert optimizer.param_groups[0]["scale"] == 0.5**4
    assert optimizer.param_groups[-1]["scale"] == 1.0


@pytest.mark.parametrize("decay", [0.0, 1.5, -1.0, float("nan")])
def test_a_layer_decay_that_is_no_share_is_refused(decay):
    with pytest.raises(ValueError, match=r"layer_decay is .*; expected more than 0 and at most 1"):
        parameter_groups(tiny("vit"), 0.25, layer_decay=decay)


def test_a_model_that_does_not_say_where_its_blocks_are_has_no_layer_decay():
    with pytest.raises(ValueError, match=r"blocks of Linear: give it a method stacks\(\)"):
        parameter_groups(nn.Linear(3, 2), 0.25, layer_decay=0.5)


def frozen(model):
    return {name for name, p in model.named_parameters() if not p.requires_grad}


def test_what_matches_is_frozen_and_named():
    model = tiny("bert")
    names = freeze(model, ["blocks.0.*", "positions.weight"])
    assert frozen(model) == {*names}
    assert "positions.weight" in names and "blocks.0.attn.qkv.bias" in names
    assert all(name.startswith("blocks.0.") for name in names if name != "positions.weight")
    assert not frozen(model) & {"blocks.1.attn.qkv.bias", "tokens.weight"}
    freeze(model, ["norm.*"])  # a second time adds to the first
    assert frozen(model) == {*names, "norm.weight", "norm.bias"}


@pytest.mark.parametrize("pattern", ["tokens.*", "head.weight"])
def test_a_tied_parameter_is_frozen_by_any_of_its_names(pattern):
    model = tiny("gpt2")
    assert freeze(model, [pattern]) == ["tokens.weight", "head.weight"]
    assert not model.head.weight.requires_grad


REFUSED = [
    ("a name that is not there", ["blocks.0.*", "postions.weight"],
     r"'postions.weight' matches no parameter; the nearest are positions.weight"),
    ("a block that is not there", ["blocks.7.*"], r"the nearest are .*blocks.[0-2].\*"),
    ("a module without its parameters", ["blocks.1"], r"the nearest are .*blocks.1.\*"),
    ("another case", ["Blocks.0.*"], r"'Blocks.0.\*' matches no parameter"),
    ("everything", ["*"], r"freeze every parameter: nothing is left to train"),
    ("one text", "head.*", r"'head.\*' is one text; give a list of patterns"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "sentence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_cannot_be_frozen_is_refused_and_nothing_changes(patterns, sentence):
    model = tiny("gpt2")
    with pytest.raises(ValueError, match=sentence):
        freeze(model, patterns)
    assert not frozen(model)


def test_freezing_what_is_left_is_refused():
    model = tiny("gpt2")
    freeze(model, ["blocks.*", "tokens.*", "positions.*"])
    with pytest.raises(ValueError, match="nothing is left to train"):
        freeze(model, ["norm.*"])
