"""Whole models under torch.compile, torch.func and autocast."""

import pytest
import torch
from torch.func import functional_call, grad, vmap

from zoo.models import MODELS

FAMILIES = pytest.mark.parametrize("family", sorted(MODELS))
READERS = ("bert", "gpt2")


def made(family):
    """Build a model with large weights and a batch of two."""
    spec = MODELS[family]
    torch.manual_seed(0)
    config = spec.presets[f"{family}-tiny"]
    model = spec.build(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    batch = spec.example(config)
    return model, {n: x.double() if x.is_floating_point() else x for n, x in batch.items()}


def padded(batch):
    """Mask some tokens of a batch, on the left of one row and on the right of the other."""
    mask = torch.ones_like(batch["input_ids"])
    mask[0, :3] = 0
    mask[1, 7:] = 0
    return batch | {"attention_mask": mask}


def compiled_like_eager(model, batch, kept):
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected, actual = model(**batch)[kept], compiled(**batch)[kept]
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    found = torch.autograd.grad(actual.square().sum(), list(model.parameters()))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.thinned(2)
@FAMILIES
def test_a_compiled_model_gives_the_same_numbers_and_gradients(family):
    model, batch = made(family)
    compiled_like_eager(model, batch, ...)


@pytest.mark.parametrize("family", READERS)
def test_a_compiled_model_of_padded_tokens_gives_the_same_numbers(family):
    model, batch = made(family)
    batch = padded(batch)
    compiled_like_eager(model, batch, batch["attention_mask"].bool())


@pytest.mark.parametrize("family", ["bert", "gpt2", "vit"])
def test_per_sample_gradients_are_those_of_single_rows(family):
    model, batch = made(family)
    if family in READERS:
        batch = padded(batch)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, row):
        inputs = {name: x[None] for name, x in row.items()}
        output = functional_call(model, weights, (), inputs).square()
        mask = inputs.get("attention_mask")
        return output.sum() if mask is None else (output * mask[..., None]).sum()

    together = vmap(grad(loss), (None, 0))(weights, batch)
    for row in range(2):
        alone = grad(loss)(weights, {name: x[row] for name, x in batch.items()})
        model.zero_grad()
        loss(dict(model.named_parameters()), {n: x[row] for n, x in batch.items()}).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(together[name][row], parameter.grad, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(alone[name], parameter.grad, rtol=1e-10, atol=1e-10)


@FAMILIES
def test_autocast_gives_low_logits_near_the_true_ones_and_float32_gradients(family):
    model, batch = made(family)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)
    expected = model(**batch)
    low = model.float()
    batch = {n: x.float() if x.is_floating_point() else x for n, x in batch.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = low(**batch)
    output.float().square().sum().backward()
    assert output.dtype == torch.bfloat16
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in low.parameters())
    error = (output.double() - expected).norm() / expected.norm()
    # eight roundings to bfloat16 a block, of which errors add up as a random walk does
    assert 0 < error < 2**-9 * (8 * 3) ** 0.5 * 4
