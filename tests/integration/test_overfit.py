"""Each head learns one batch by heart: model, objective, optimizer and loop fit together."""

import dataclasses

import pytest
import torch

from unit.models.tiny import LEARNED, MAIN, RATES
from zoo.models import MODELS
from zoo.objectives import IGNORE, OBJECTIVES
from zoo.train import make_optimizer, train_step
from zoo.train.ema import EMA
from zoo.train.learner import Learner

CHOICES = 2
STEPS = 150
FIRST = 0.5  # as uncertain as one who guesses between two
LAST = 0.05  # 95 % sure of every label


def batch_of(spec, head, config):
    """Make four rows of which every label can be told from the inputs, the last of them padded."""
    batch = spec.example(config, seed=3, batch=4)
    if head == "match":
        return batch
    if head == "masked_image":
        count = config.grid[0] * config.grid[1]
        return batch | {"bool_masked_pos": torch.arange(4 * count).view(4, count) % 3 == 0}
    if head == "image":
        return {"pixel_values": batch["pixel_values"], "labels": torch.arange(4) % config.classes}
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


def made(family, head):
    """Build the tiny model, in training and without dropout, and its batch."""
    spec = MODELS[family]
    torch.manual_seed(0)
    tiny = spec.presets[f"{family}-tiny"]
    quiet = {f.name: 0.0 for f in dataclasses.fields(tiny) if f.name in RATES}
    config = dataclasses.replace(tiny, classes=3, **quiet)
    return spec.build(config, head=head), batch_of(spec, head, config)


@pytest.mark.parametrize(("family", "head"), LEARNED)
def test_one_batch_is_learnt_by_heart(family, head):
    model, batch = made(family, head)
    optimizer = make_optimizer(model, 1e-2, decay=0.0)
    objective = OBJECTIVES[head]
    first = objective(model, batch).item()
    for _ in range(STEPS):
        train_step(model, batch, objective, optimizer, rate=1e-2)
    last = objective(model.eval(), batch).item()
    assert first > FIRST
    assert last < LAST


@pytest.mark.parametrize(("family", "head"), sorted(MAIN.items()))
def test_one_batch_in_two_pieces_is_learnt_by_heart_and_so_is_its_average(family, head):
    model, batch = made(family, head)
    ema = EMA(model, 0.9)
    learner = Learner(model, make_optimizer(model, 1e-2, decay=0.0), head, ema=ema)
    rows = len(next(iter(batch.values()))) // 2
    pieces = [{name: x.split(rows)[i] for name, x in batch.items()} for i in range(2)]
    first = learner.step(pieces, 1e-2).loss
    for _ in range(STEPS):
        learner.step(pieces, 1e-2)
    model.eval()
    assert first > FIRST
    assert OBJECTIVES[head](model, batch).item() < LAST
    with ema.swapped():
        assert OBJECTIVES[head](model, batch).item() < LAST


@pytest.mark.thinned(5)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("family", "head"), sorted(MAIN.items()))
def test_one_batch_is_learnt_by_heart_in_16_bits(family, head, dtype):
    model, batch = made(family, head)
    learner = Learner(model, make_optimizer(model, 1e-2, decay=0.0), head, dtype=dtype)
    results = [learner.step([batch], 1e-2) for _ in range(STEPS)]
    assert results[0].loss > FIRST
    assert OBJECTIVES[head](model.eval(), batch).item() < LAST


def test_every_objective_belongs_to_a_head():
    assert {head for _, head in LEARNED} == set(OBJECTIVES)
