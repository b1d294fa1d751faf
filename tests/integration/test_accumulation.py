"""1 x 8 = 2 x 4 = 8 x 1: a batch in pieces has the loss and the gradients of the batch, exactly.

Rows are of different lengths, and labels are missing, so pieces hold different numbers of what
counts; a mean of the pieces' means is another number, which the last test shows.
"""

import pytest
import torch

from unit.models.tiny import LEARNED, tiny
from zoo.models import MODELS
from zoo.objectives import COUNTS, IGNORE, OBJECTIVES, SMOOTHED
from zoo.train import make_optimizer
from zoo.train.learner import Learner

ROWS, CHOICES = 8, 2
BIASES = {"match": [None, -1.5]}  # CLIP's loss and SigLIP's
SMOOTHINGS = (0.0, 0.1)
CASES = [
    (family, head, bias, smoothing)
    for family, head in LEARNED
    for bias in BIASES.get(head, [None])
    for smoothing in (SMOOTHINGS if head in SMOOTHED else (0.0,))
]


def ragged(spec, head, config):
    """Make eight rows of which each counts for something else."""
    rows = ROWS * (CHOICES if head == "multiple_choice" else 1)
    batch = spec.example(config, seed=3, batch=rows)
    batch = {n: x.double() if x.is_floating_point() else x for n, x in batch.items()}
    if "input_ids" in batch and head != "match":
        batch |= read_in_part(batch["input_ids"])
    if head == "match":
        return batch
    if head == "masked_image":
        patches = torch.arange(ROWS * 8).view(ROWS, 8)
        return batch | {"bool_masked_pos": patches % (2 + patches // 20) == 0}
    if head == "image":  # mixed of two, of which one row does not count
        labels = torch.tensor([0, 1, 2, IGNORE, 0, 1, 2, 0])
        mixed = {"other_labels": labels.flip(0).clamp_min(0), "share": torch.linspace(0, 1, ROWS)}
        return {"pixel_values": batch["pixel_values"], "labels": labels, **mixed}
    if head == "multiple_choice":
        batch = {name: x.unflatten(0, (-1, CHOICES)) for name, x in batch.items()}
    return batch | {"labels": labels_of(batch["input_ids"], batch["attention_mask"], head)}


def read_in_part(ids):
    """Give a mask of row after row shorter, in turn on the right and on the left."""
    t = ids.shape[1]
    mask = torch.ones_like(ids)
    for row in range(len(ids)):
        gone = row % (t - 6)
        mask[row, slice(t - gone, t) if row % 2 else slice(0, gone)] = 0
    return {"attention_mask": mask}


def labels_of(ids, mask, head):
    if head == "lm":
        return ids
    if head == "masked_lm":
        return torch.where((ids % 3 == 0) & mask.bool(), ids, IGNORE)
    if head == "token":
        return torch.where(mask.bool(), ids % 3, IGNORE)
    if head == "span":
        return torch.tensor([[4, 5]]).repeat(ROWS, 1).index_fill(0, torch.tensor(6), IGNORE)
    classes = {"sequence": 3, "next_sentence": 2, "multiple_choice": CHOICES}[head]
    labels = torch.arange(ROWS) % classes
    labels[5] = IGNORE
    return labels


def made(family, head, bias):
    changes = {} if bias is None else {"bias": bias}
    model = tiny(family, head, **changes)
    return model, ragged(MODELS[family], head, model.config)


def pieces(batch, size):
    parts = {name: x.split(size) for name, x in batch.items()}
    return [{name: part[i] for name, part in parts.items()} for i in range(ROWS // size)]


@pytest.mark.parametrize("size", [8, 4, 1], ids=["1 x 8", "2 x 4", "8 x 1"])
@pytest.mark.parametrize(("family", "head", "bias", "smoothing"), CASES, ids=str)
def test_a_batch_in_pieces_is_the_batch(family, head, bias, smoothing, size):
    model, batch = made(family, head, bias)
    options = {"smoothing": smoothing} if smoothing else {}
    expected = OBJECTIVES[head](model, batch, **options)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(expected, parameters, allow_unused=True)
    learner = Learner(model, make_optimizer(model, 1e-2), head, **options)
    loss = learner.backward(pieces(batch, size))
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None), name
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("family", "head"), LEARNED, ids=str)
def test_pieces_count_for_different_numbers(family, head):
    model, batch = made(family, head, None)
    halves = pieces(batch, 4)
    means = [OBJECTIVES[head](model, half).item() for half in halves]
    whole = OBJECTIVES[head](model, batch).item()
    assert abs(sum(means) / 2 - whole) > 1e-6
    counts = [int(COUNTS[head](model, half)) for half in halves]
    assert (counts[0] != counts[1]) == (head != "match")
