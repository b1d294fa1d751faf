"""Each head learns one batch by heart: model, objective, optimizer and loop fit together."""

import dataclasses

import pytest
import torch

from zoo.models import MODELS
from zoo.objectives import IGNORE, OBJECTIVES
from zoo.train import make_optimizer, train_step

HEADS = [(f, head) for f, spec in sorted(MODELS.items()) for head in spec.heads if head is not None]
CHOICES = 2


def batch_of(spec, head, config):
    """Make four rows of which every label can be told from the ids, the last of them padded."""
    batch = spec.example(config, seed=3, batch=4)
    ids = batch["input_ids"]
    b, t = ids.shape
    batch["attention_mask"] = torch.ones(b, t, dtype=torch.long)
    batch["attention_mask"][-1, -3:] = 0
    every_third = torch.arange(t) % 3 == 0
    labels = {
        "lm": ids,
        "masked_lm": torch.where(every_third, ids, IGNORE),
        "next_sentence": torch.arange(b) % 2,
        "sequence": torch.arange(b) % config.classes,
        "token": torch.where(batch["attention_mask"].bool(), ids % config.classes, IGNORE),
        "span": torch.tensor([[1, 3], [0, 2], [5, 5], [4, 6]]),
        "multiple_choice": torch.arange(b // CHOICES) % CHOICES,
    }[head]
    if head == "masked_lm":  # what is asked for is not shown
        batch["input_ids"] = torch.where(every_third, 1, ids)
    if head == "multiple_choice":
        batch = {name: field.unflatten(0, (-1, CHOICES)) for name, field in batch.items()}
    return batch | {"labels": labels}


@pytest.mark.parametrize(("family", "head"), HEADS)
def test_one_batch_is_learnt_by_heart(family, head):
    spec = MODELS[family]
    torch.manual_seed(0)
    config = dataclasses.replace(
        spec.presets[f"{family}-tiny"],
        classes=3,
        dropout=0.0,
        attention_dropout=0.0,
        head_dropout=0.0,
    )
    model = spec.build(config, head=head)
    batch = batch_of(spec, head, config)
    optimizer = make_optimizer(model, 1e-2, decay=0.0)
    objective = OBJECTIVES[head]
    first = objective(model, batch).item()
    for _ in range(150):
        train_step(model, batch, objective, optimizer, rate=1e-2)
    last = objective(model.eval(), batch).item()
    assert first > 0.5  # as uncertain as one who guesses between two
    assert last < 0.05  # 95 % sure of every label


def test_every_head_has_an_objective():
    assert {head for _, head in HEADS} == set(OBJECTIVES)
