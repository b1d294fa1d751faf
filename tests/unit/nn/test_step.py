"""One new token a row, directly: the bits of the modules' own calls, or the modules themselves."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from zoo.models import preset
from zoo.models.gpt2 import GPT2, Block
from zoo.nn import Linear
from zoo.nn.lora import LoRALinear
from zoo.nn.step import blocks_of
from zoo.ops.packed import FORMS
from zoo.testing.reference import reference_ops

_, TINY = preset("gpt2-tiny")


def model_of(dtype=torch.float32, **options):
    torch.manual_seed(1)
    return GPT2(replace(TINY, **options)).to(dtype).eval()


def drawn_ids(rows, tokens):
    return torch.randint(1, 97, (rows, tokens), generator=torch.Generator().manual_seed(2))


def steps(model, ids, mask, count=3):
    """Read the prompt, then `count` tokens one by one; give the hidden states and the cache."""
    with torch.no_grad():
        cache = model.new_cache(len(ids), 20)
        found = [model.encode(ids, mask, cache=cache)]
        for i in range(count):
            found.append(model.encode(ids[:, i : i + 1], mask[:, -1:], cache=cache))
    return found, cache


def called(model):
    """Make the model call its blocks, by a hook that does nothing."""
    model.blocks[1].mlp.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("gelu", ["tanh", "erf", "quick"])
@pytest.mark.parametrize("padded", [False, True], ids=["real", "padded"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("form", [None, "float64", *FORMS], ids=str)
def test_a_step_gives_the_bits_of_the_modules(form, rows, padded, gelu):
    model = model_of(torch.float64 if form == "float64" else torch.float32, gelu=gelu)
    if form in FORMS:
        model.optimize_for_inference(form)
    ids = drawn_ids(rows, 7)
    mask = torch.ones_like(ids, dtype=torch.bool)
    if padded:
        mask[0, :3] = False
        mask[-1, 2] = False  # a hole
    direct, held = steps(model, ids, mask)
    apart, other = steps(called(model), ids, mask)
    assert all(torch.equal(x, y) for x, y in zip(direct, apart, strict=True))
    assert torch.equal(held.buffer[..., :10, :], other.buffer[..., :10, :])
    assert held.length == other.length == 10


def test_a_step_is_taken_directly_where_it_may_be():
    """Else the test above compares the modules with themselves."""
    model = model_of()
    with torch.no_grad():
        assert len(blocks_of(Block, model.blocks, torch.ones(1, 1, 20))) == 3


class Own(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *inputs, **options):
        return self.inner(*inputs, **options)


class OwnLinear(Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def with_lora(model):
    attn = model.blocks[2].attn
    attn.qkv = LoRALinear(attn.qkv, rank=2, alpha=2.0).eval()
    nn.init.constant_(attn.qkv.up, 0.5)
    nn.init.eye_(attn.qkv.down)


def with_own_forward(model):
    layer = model.blocks[0].mlp.down
    layer.forward = lambda x: nn.functional.linear(x, 2 * layer.weight)


def with_own_linear(model):
    layer = OwnLinear(20, 36).eval()
    layer.load_state_dict(model.blocks[1].mlp.up.state_dict())
    model.blocks[1].mlp.up = layer


# what somebody may do to a model that a direct step would not see
DONE = {
    "a hook on a layer": lambda m: m.blocks[1].attn.out.register_forward_hook(lambda *a: 2 * a[2]),
    "a hook before a layer": lambda m: m.blocks[1].norm2.register_forward_pre_hook(
        lambda _, inputs: (2 * inputs[0],)
    ),
    "a hook on a block": lambda m: m.blocks[1].register_forward_hook(lambda *a: 2 * a[2]),
    "a forward of a layer's own": with_own_forward,
    "a layer's own class": with_own_linear,
    "LoRA": with_lora,
    "another attention": lambda m: setattr(m.blocks[1], "attn", Own(m.blocks[1].attn)),
    "another block": lambda m: m.blocks.__setitem__(1, Own(m.blocks[1]).eval()),
    "a norm of another type": lambda m: m.blocks[1].norm1.double(),
}


@pytest.mark.parametrize("name", DONE)
def test_blocks_that_were_changed_are_called(name):
    model, ids = model_of(), drawn_ids(2, 5)
    mask = torch.ones_like(ids, dtype=torch.bool)
    twin = called(copy.deepcopy(model))
    DONE[name](model)
    with torch.no_grad():
        assert blocks_of(Block, model.blocks, torch.ones(2, 1, 20)) is None
    DONE[name](twin)
    direct, apart = steps(model, ids, mask)[0], steps(twin, ids, mask)[0]
    assert all(torch.equal(x, y) for x, y in zip(direct, apart, strict=True))


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("nothing", True),
        ("inference mode", True),
        ("gradients", False),
        ("training", False),
        ("one part in training", False),
        ("autocast", False),
        ("bfloat16", False),
        ("other ops", False),
        ("a hook on everything", False),
        ("another device", False),
    ],
)
def test_what_goes_on_around_a_step_is_seen(name, taken):
    model, x = model_of(), torch.ones(2, 1, 20)

    def asked():
        return blocks_of(Block, model.blocks, x) is not None

    if name == "bfloat16":
        model, x = model.bfloat16(), x.bfloat16()
    if name == "another device":
        x = x.to("meta")
    if name == "training":
        model.train()
    if name == "one part in training":
        model.blocks[2].attn.train()
    if name == "gradients":
        assert asked() is taken
        return
    with torch.inference_mode() if name == "inference mode" else torch.no_grad():
        if name == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                assert asked() is taken
        elif name == "other ops":
            with reference_ops():
                assert asked() is taken
        elif name == "a hook on everything":
            handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
            found = asked()
            handle.remove()
            assert found is taken
        else:
            assert asked() is taken


def test_a_weight_that_changes_between_two_steps_is_seen():
    model, ids = model_of(), drawn_ids(1, 5)
    mask = torch.ones_like(ids, dtype=torch.bool)
    twin = called(copy.deepcopy(model))
    found = []
    for one in (model, twin):
        with torch.no_grad():
            cache = one.new_cache(1, 20)
            one.encode(ids, mask, cache=cache)
            one.blocks[1].mlp.up.weight.mul_(3)
            found.append(one.encode(ids[:, :1], mask[:, :1], cache=cache))
    assert torch.equal(*found)
