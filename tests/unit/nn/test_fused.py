"""Layers run as one op: the same bits as one by one, less kept, and no hook passed over."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from zoo.nn import MLP, Attention, Dropout, LayerNorm, Linear
from zoo.nn.fused import HOOKS, after_norm, bare, fuses
from zoo.nn.lora import LoRALinear

WIDTH, HIDDEN = 12, 20


class Block(nn.Module):
    """A norm before attention and one before an MLP."""

    def __init__(self, gelu="erf", bias=True):
        super().__init__()
        torch.manual_seed(4)
        self.norm1, self.norm2 = LayerNorm(WIDTH, 1e-5), LayerNorm(WIDTH, 1e-2)
        self.attn = Attention(WIDTH, 3, bias=bias)
        self.mlp = MLP(WIDTH, HIDDEN, gelu)
        for p in self.parameters():
            nn.init.normal_(p, std=0.5)

    def forward(self, x):
        x = x + after_norm(self.norm1, self.attn, x)
        return x + after_norm(self.norm2, self.mlp, x)


class OwnMLP(MLP):
    """A forward that knows nothing of a norm."""

    def forward(self, x):
        return super().forward(2 * x)


def passed(block, x):
    """Give the output and all gradients, and the shapes of what was kept for them."""
    kept = []

    def pack(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    x = x.clone().requires_grad_()
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        y = block(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in block.parameters() if p.grad is not None)], kept


def each_by_itself(block):
    """Hang a hook that does nothing on every layer."""
    for layer in block.modules():
        layer.register_forward_hook(lambda *_: None)
    return block


def stream(dtype=torch.float32):
    return torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("gelu", "bias"), [("erf", True), ("tanh", False), ("quick", True)])
def test_a_fused_block_gives_the_bits_of_its_layers_one_by_one(dtype, gelu, bias):
    fused, _ = passed(Block(gelu, bias).to(dtype), stream(dtype))
    alone, _ = passed(each_by_itself(Block(gelu, bias)).to(dtype), stream(dtype))
    assert len(fused) == len(alone) == 2 + 12 - (not bias)
    assert all(torch.equal(a, b) for a, b in zip(fused, alone, strict=True))


def test_the_same_bits_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        fused, _ = passed(Block(), stream())
        alone, _ = passed(each_by_itself(Block()), stream())
    assert all(torch.equal(a, b) for a, b in zip(fused, alone, strict=True))


def test_what_a_norm_and_a_gelu_give_is_not_kept():
    _, fused = passed(Block(), stream())
    _, alone = passed(each_by_itself(Block()), stream())
    inner, stream_shape = (2, 5, HIDDEN), (2, 5, WIDTH)
    assert (fused.count(inner), alone.count(inner)) == (1, 2)  # h; h and gelu(h)
    assert (fused.count(stream_shape), alone.count(stream_shape)) == (3, 5)


@pytest.mark.parametrize(
    "where", ["norm1", "attn", "attn.qkv", "norm2", "mlp", "mlp.up", "mlp.down"]
)
def test_a_hook_sees_what_its_layer_reads_and_gives(where):
    block, seen = Block(), {}
    layer = block.get_submodule(where)
    layer.register_forward_hook(lambda _, args, out: seen.update(args=args, out=out))
    passed(block, stream())
    expected = {}
    plain = each_by_itself(Block())
    plain.get_submodule(where).register_forward_hook(
        lambda _, args, out: expected.update(args=args, out=out)
    )
    passed(plain, stream())
    assert torch.equal(seen["args"][0], expected["args"][0])
    assert torch.equal(seen["out"], expected["out"])


@pytest.mark.parametrize(
    "register",
    [
        nn.Module.register_forward_hook,
        nn.Module.register_forward_pre_hook,
        nn.Module.register_full_backward_hook,
        nn.Module.register_full_backward_pre_hook,
    ],
    ids=lambda register: register.__name__,
)
def test_a_layer_with_any_hook_is_called(register):
    layer = Linear(2, 3)
    assert bare(layer)
    handle = register(layer, lambda *_: None)
    assert not bare(layer)
    handle.remove()
    assert bare(layer)


def test_torchs_modules_keep_their_hooks_where_they_are_looked_for():
    assert all(hasattr(nn.Module(), name) for name in HOOKS)


def test_a_hook_on_all_modules_is_called_for_each():
    seen = []
    block, x = Block(), stream()
    handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(m))
    try:
        block(x)
    finally:
        handle.remove()
    assert {*seen} == {*block.modules()}


def test_a_forward_put_on_one_layer_is_called():
    block, x = Block(), stream()
    block.norm1.forward = torch.zeros_like
    y = block.attn(torch.zeros_like(x))
    assert torch.equal(after_norm(block.norm1, block.attn, x), y)


def test_layers_of_another_class_are_called():
    block, x = Block(), stream()
    linear = block.mlp.up
    assert fuses(x, block.norm2, linear)
    assert not fuses(x, nn.LayerNorm(WIDTH), linear)
    assert not fuses(x, block.norm2, nn.Linear(WIDTH, HIDDEN))
    block.mlp.up = LoRALinear(linear, rank=2, alpha=4.0)
    nn.init.normal_(block.mlp.up.up)
    expected = block.mlp.down(torch.nn.functional.gelu(block.mlp.up(block.norm2(x))))
    assert torch.equal(after_norm(block.norm2, block.mlp, x), expected)


def test_a_class_with_a_forward_of_its_own_is_called():
    own = OwnMLP(WIDTH, HIDDEN, "erf")
    norm, x = LayerNorm(WIDTH, 1e-5), stream()
    assert torch.equal(after_norm(norm, own, x), own(norm(x)))
    assert after_norm(norm, Dropout(0.0), x).shape == x.shape


def test_one_op_only_where_a_gradient_is_wanted():
    block, x = Block(), stream()
    layers = block.norm1, block.attn.qkv
    assert fuses(x, *layers)
    with torch.no_grad():
        assert not fuses(x, *layers)
    block.requires_grad_(False)
    assert not fuses(x, *layers)
    assert fuses(x.requires_grad_(), *layers)


def test_only_what_is_trained_has_a_gradient():
    for name in ("norm2.weight", "mlp.up.weight", "mlp.down.bias", "attn.qkv.bias"):
        block = Block().requires_grad_(False)
        block.get_parameter(name).requires_grad_(True)
        block(stream()).sum().backward()
        assert [n for n, p in block.named_parameters() if p.grad is not None] == [name]
