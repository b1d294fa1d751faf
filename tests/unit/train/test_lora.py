import pytest
import torch
from torch import nn

from unit.models.tiny import LEARNED, MAIN, example, labelled, tiny
from zoo.nn import Linear
from zoo.nn.lora import LoRALinear
from zoo.objectives import OBJECTIVES
from zoo.train import make_optimizer, train_step
from zoo.train.lora import (
    MergeError,
    adapters_of,
    add_lora,
    lora_state,
    merge_lora,
    spectral_norm,
    unmerge_lora,
)

TARGETS = ["*.attn.qkv", "*.mlp.up"]


def adapted(family, head, **options):
    """Make a model with adapters whose numbers are their own, of deviation `std`."""
    model, std = tiny(family, head), options.pop("std", 0.3)
    model = model.to(options.pop("dtype", torch.float64))
    add_lora(model, **{"rank": 2, "alpha": 3.0, "targets": TARGETS} | options)
    with torch.no_grad():
        for layer in adapters_of(model).values():
            layer.up.normal_(std=std)
    return model


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize(("family", "head"), LEARNED)
def test_only_adapters_and_what_is_asked_for_learn(family, head):
    model = tiny(family, head)
    batch = labelled(family, head, model)
    own = {name for name, _ in model.named_parameters() if name.startswith("norm.")}
    add_lora(model, rank=2, alpha=3.0, targets=TARGETS, trained=sorted(own))
    before = weights(model)
    optimizer = make_optimizer(model, 1e-2)
    for _ in range(2):  # `down` moves once `up` has
        train_step(model, batch, OBJECTIVES[head], optimizer, rate=1e-2)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {*lora_state(model)} | own
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(("family", "head"), MAIN.items())
def test_a_pattern_finds_its_layers_in_every_block(family, head):
    model = tiny(family, head)
    names = add_lora(model, rank=2, alpha=3.0, targets=["*.attn.qkv"])
    assert names == [n for n, part in model.named_modules() if isinstance(part, LoRALinear)]
    assert len(names) == sum(len(model.get_submodule(stack)) for stack in model.stacks())
    assert all(name.endswith(".attn.qkv") for name in names)
    assert (
        model.get_submodule(names[0]).up.shape[0] == 3 * model.get_submodule(names[0]).in_features
    )


def test_a_model_whose_adapters_are_fresh_computes_what_it_did():
    model = tiny("bert", "masked_lm").eval()
    batch = example("bert", "masked_lm", model)
    before = model(**batch)
    add_lora(model, rank=2, alpha=3.0, targets=TARGETS, rate=0.5)
    assert torch.equal(model(**batch), before)


def test_frozen_layers_stay_in_the_mode_that_the_model_is_in():
    model = tiny("bert", "masked_lm").eval()
    add_lora(model, rank=2, alpha=3.0, targets=TARGETS, rate=0.5)
    assert not any(part.training for part in model.modules())


REFUSED = [
    ("a name that is not there", {"targets": ["*.attn.qvk"]},
     r"'\*.attn.qvk' matches no linear layer; the nearest are .*attn.qkv"),
    ("no linear layer", {"targets": ["*.norm1"]}, r"'\*.norm1' matches no linear layer"),
    ("one text", {"targets": "*.attn.qkv"}, r"is one text; give a list of patterns"),
    ("a head that is not there", {"trained": ["haed.*"]}, r"'haed.\*' matches no parameter"),
    ("both", {"trained": ["blocks.1.mlp.*"]}, r"blocks.1.mlp.up.weight is trained and adapted"),
    ("no rank", {"rank": 0}, r"rank is 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_cannot_be_adapted_is_refused_and_nothing_changes(options, sentence):
    model = tiny("gpt2", "lm")
    with pytest.raises(ValueError, match=sentence):
        add_lora(model, **{"rank": 2, "alpha": 3.0, "targets": TARGETS, **options})
    assert not adapters_of(model)
    assert all(p.requires_grad for p in model.parameters())


def test_a_second_adapter_is_refused():
    model = adapted("gpt2", "lm")
    with pytest.raises(ValueError, match="has adapters already"):
        add_lora(model, rank=2, alpha=3.0, targets=["*.attn.out"])


def test_a_tied_layer_is_refused():
    model = nn.ModuleDict({"one": Linear(3, 3), "two": Linear(3, 3)})
    model["two"].weight = model["one"].weight
    with pytest.raises(ValueError, match=r"two.weight is tied to one.weight"):
        add_lora(model, rank=2, alpha=3.0, targets=["two"])


@pytest.mark.parametrize(("family", "head"), MAIN.items())
def test_a_merged_model_computes_the_same_and_is_plain(family, head, tmp_path):
    plain = [type(part) for part in tiny(family, head).modules()]
    model = adapted(family, head).eval()
    batch = example(family, head, model)
    before = model(**batch)
    own = {id(p) for n, p in model.named_parameters() if not n.endswith((".up", ".down"))}
    report = merge_lora(model)
    torch.testing.assert_close(model(**batch), before, rtol=1e-11, atol=1e-11)
    assert [type(part) for part in model.modules()] == plain
    assert {id(p) for p in model.parameters()} == own
    assert not any(part.training for part in model.modules())
    assert report.worst().error < 1e-14
    model.save_pretrained(tmp_path)  # published names only


def test_the_error_is_the_share_of_the_change_that_the_dtype_loses():
    """Written out for one layer: W = 1, change = 1/512 everywhere; bfloat16 keeps W."""
    model = nn.Sequential(Linear(4, 3)).bfloat16()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    add_lora(model, rank=2, alpha=2.0, targets=["0"])
    with torch.no_grad():
        model[0].down.fill_(1.0)
        model[0].up.fill_(1 / 1024)
    report = merge_lora(model, most=1.0)
    (layer,) = report.layers
    assert layer.error == 1.0  # all of it
    assert layer.output == pytest.approx((12**0.5) / 512, rel=1e-12)  # |1 1^T| = sqrt(3 4)
    assert "1.00e+00 of what was learnt (0)" in report.sentence()
    assert torch.equal(model[0].weight, torch.ones(3, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_merged_weight_is_the_nearest_to_the_sum(dtype):
    model = adapted("gpt2", "lm", dtype=dtype, alpha=0.3)
    sums = {n: x.weight.detach().double() + x.change() for n, x in adapters_of(model).items()}
    merge_lora(model, most=1.0)
    unit = torch.finfo(dtype).eps / 2
    for name, total in sums.items():
        lost = (model.get_submodule(name).weight.detach().double() - total).abs()
        assert bool((lost <= unit * total.abs() + torch.finfo(dtype).tiny * unit).all())


@pytest.mark.parametrize("std", [0.3, 1e-3])
def test_float32_always_passes(std):
    model = adapted("gpt2", "lm", dtype=torch.float32, std=std)
    assert 0 < merge_lora(model).worst().error < 1e-3


def test_a_small_change_of_a_bfloat16_model_is_refused_and_nothing_changes():
    model = adapted("gpt2", "lm", dtype=torch.bfloat16, std=1e-3)
    before, modules = weights(model), [*model.modules()]
    with pytest.raises(
        MergeError,
        match=r"in bfloat16 blocks.\d.\w+.\w+ would lose \d+.\d% of what it learnt, "
        r"more than 1.0%, and 5 more layers .* merge in float32, model.float\(\)",
    ):
        merge_lora(model)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    merge_lora(model.float())


def test_the_bound_is_the_callers():
    model = adapted("gpt2", "lm", dtype=torch.bfloat16, std=0.3)
    error = merge_lora(adapted("gpt2", "lm", dtype=torch.bfloat16, std=0.3), most=1.0).worst().error
    assert error > 1e-4
    with pytest.raises(MergeError):
        merge_lora(model, most=error * 0.99)
    merge_lora(model, most=error)


def test_a_change_that_overflows_is_refused():
    model = adapted("gpt2", "lm", dtype=torch.float16, std=1e6)
    with pytest.raises(MergeError, match=r"in float16 .* would lose inf%"):
        merge_lora(model)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_change_that_is_not_finite_is_refused(number):
    model = adapted("gpt2", "lm")
    with torch.no_grad():
        model.blocks[1].mlp.up.up[2, 1] = number
    with pytest.raises(MergeError, match=r"blocks.1.mlp.up would lose nan%"):
        merge_lora(model)


def test_adapters_that_learnt_nothing_merge_without_a_trace():
    model = tiny("vit", "image").bfloat16()
    before = weights(model)
    add_lora(model, rank=2, alpha=3.0, targets=TARGETS)
    report = merge_lora(model, most=0.0)
    assert {(layer.error, layer.output) for layer in report.layers} == {(0.0, 0.0)}
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_model_without_adapters_has_nothing_to_merge():
    with pytest.raises(ValueError, match="no adapters to merge"):
        merge_lora(tiny("vit", "image"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_unmerging_comes_back_to_two_roundings(dtype):
    model = adapted("gpt2", "lm", dtype=dtype, rate=0.25)
    layers = adapters_of(model)
    before = weights(model)
    changes = {name: layer.change() for name, layer in layers.items()}
    report = merge_lora(model, most=1.0)
    unmerge_lora(model, report)
    after = weights(model)
    assert after.keys() == before.keys()
    unit = torch.finfo(dtype).eps / 2
    for name, change in changes.items():
        weight = before[f"{name}.weight"].double()
        moved = (after[f"{name}.weight"].double() - weight).abs()
        bound = (1 + unit) * unit * ((weight + change).abs() + weight.abs())
        assert bool((moved <= bound).all())
        own = model.get_submodule(name)
        assert (own.rank, own.alpha, own.drop.rate) == (2, 3.0, 0.25)
    same = [name for name in before if name.removesuffix(".weight") not in changes]
    assert all(torch.equal(after[name], before[name]) for name in same)
    if dtype != torch.float64:
        assert any(not torch.equal(after[name], before[name]) for name in before)


def test_unmerging_another_model_is_refused():
    report = merge_lora(adapted("gpt2", "lm"))
    model = tiny("clip", "match")
    with pytest.raises(ValueError, match=r"blocks.0.attn.qkv is NoneType; expected the merged"):
        unmerge_lora(model, report)
    assert not adapters_of(model)


@pytest.mark.parametrize(
    "shape", [(3, 5), (5, 3), (4, 4), (1, 6)], ids=["wide", "tall", "square", "row"]
)
@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
def test_the_spectral_norm_is_the_largest_singular_value(shape, size):
    matrix = torch.randn(shape, dtype=torch.float64) * size
    expected = float(torch.linalg.svdvals(matrix / size)[0]) * size
    assert spectral_norm(matrix) == pytest.approx(expected, rel=1e-12)


def test_the_spectral_norm_of_nothing_and_of_too_much():
    assert spectral_norm(torch.zeros(3, 2)) == 0.0
    assert spectral_norm(torch.tensor([[1.0, float("nan")]])) == float("inf")


def test_the_state_names_what_was_learnt():
    model = adapted("vit", "image", targets=["blocks.1.mlp.up"])
    state = lora_state(model)
    assert {name: tuple(t.shape) for name, t in state.items()} == {
        "blocks.1.mlp.up.down": (2, 20),
        "blocks.1.mlp.up.up": (36, 2),
    }
    assert not any(t.requires_grad for t in state.values())
