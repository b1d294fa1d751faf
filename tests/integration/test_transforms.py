"""Whole models under torch.compile, torch.func and autocast."""

import pytest
import torch
from torch.func import functional_call, grad, vmap

from zoo.models import MODELS

FAMILIES = pytest.mark.parametrize("family", sorted(MODELS))


def made(family):
    spec = MODELS[family]
    torch.manual_seed(0)
    config = spec.presets[f"{family}-tiny"]
    model = spec.build(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    batch = spec.example(config)
    mask = torch.ones_like(batch["input_ids"])
    mask[0, :3] = 0
    mask[1, 7:] = 0
    return model, batch, mask


@FAMILIES
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_a_compiled_model_gives_the_same_numbers_and_gradients(family, padded):
    model, batch, mask = made(family)
    kept = mask.bool() if padded else torch.ones_like(mask).bool()
    if padded:
        batch = batch | {"attention_mask": mask}
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected, actual = model(**batch)[kept], compiled(**batch)[kept]
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    found = torch.autograd.grad(actual.square().sum(), list(model.parameters()))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@FAMILIES
def test_per_sample_gradients_are_those_of_single_rows(family):
    model, batch, mask = made(family)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, ids, row_mask):
        inputs = {"input_ids": ids[None], "attention_mask": row_mask[None]}
        output = functional_call(model, weights, (), inputs)
        return (output.square() * row_mask[None, :, None]).sum()

    together = vmap(grad(loss), (None, 0, 0))(weights, batch["input_ids"], mask)
    for row in range(2):
        model.zero_grad()
        one = {
            "input_ids": batch["input_ids"][row : row + 1],
            "attention_mask": mask[row : row + 1],
        }
        (model(**one).square() * mask[row : row + 1, :, None]).sum().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(together[name][row], parameter.grad, rtol=1e-10, atol=1e-10)


@FAMILIES
def test_autocast_gives_low_logits_near_the_true_ones_and_float32_gradients(family):
    model, batch, _ = made(family)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)
    expected = model(**batch)
    low = model.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = low(**batch)
    output.float().square().sum().backward()
    assert output.dtype == torch.bfloat16
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in low.parameters())
    error = (output.double() - expected).norm() / expected.norm()
    # eight roundings to bfloat16 a block, of which errors add up as a random walk does
    assert 0 < error < 2**-9 * (8 * 3) ** 0.5 * 4
