"""Pieces of a contrastive batch, embedded twice, give the gradients of one graph over all."""

import pytest
import torch
from torch import nn

from unit.models.tiny import example
from unit.train.learning import learner, noisy


@pytest.mark.parametrize("bias", [None, -1.5], ids=["contrastive", "pairwise"])
@pytest.mark.parametrize("sizes", [(1, 3), (2, 2), (1, 1, 1, 1)], ids=str)
def test_pieces_of_a_contrastive_batch_compare_with_all_of_it(bias, sizes):
    """Dropout included: each piece drops the same when it is embedded again."""
    model = noisy("clip", "match", bias=bias)
    batch = example("clip", "match", model)
    parts = {name: x.split(sizes) for name, x in batch.items()}
    micros = [{n: part[i] for n, part in parts.items()} for i in range(len(sizes))]
    torch.manual_seed(5)
    expected = in_one_graph(model, micros)
    after = torch.get_rng_state()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    torch.manual_seed(5)
    found = learner("clip", "match", model).backward(micros)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-12, atol=1e-12)
    assert model.logit_scale.grad
    assert torch.equal(torch.get_rng_state(), after)


def in_one_graph(model, micros):
    """Embed the pieces in turn and take the loss of all, with memory for all."""
    pairs = [
        (model.encode_image(m["pixel_values"]), model.encode_text(m["input_ids"])) for m in micros
    ]
    images, texts = map(torch.cat, zip(*pairs, strict=True))
    logits = model.scale() * images @ texts.T
    if model.logit_bias is None:
        own = torch.arange(len(logits))
        loss = (nn.functional.cross_entropy(logits, own) / 2) + (
            nn.functional.cross_entropy(logits.T, own) / 2
        )
    else:
        signs = 2 * torch.eye(len(logits), dtype=logits.dtype) - 1
        loss = nn.functional.softplus(-signs * (logits + model.logit_bias)).sum() / len(logits)
    loss.backward()
    return loss.detach()
