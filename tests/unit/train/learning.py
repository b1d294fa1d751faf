"""Learners of the tiny models, pieces of their batches, and copies of what a step may change."""

import torch

from unit.models.tiny import tiny
from zoo.train import make_optimizer
from zoo.train.learner import Learner

DECAY = 0.5  # of the averages


def learner(family, head, model=None, **options):
    model = tiny(family, head) if model is None else model
    return Learner(model, make_optimizer(model, 1e-2), head, **options)


def single(batch):
    """Give a batch in float32."""
    return {name: x.float() if x.is_floating_point() else x for name, x in batch.items()}


def rows(batch, size):
    """Cut a batch into pieces of `size` rows."""
    parts = {name: x.split(size) for name, x in batch.items()}
    count = len(next(iter(parts.values())))
    return [{name: part[i] for name, part in parts.items()} for i in range(count)]


def held(learner):
    """Copy all that a step may change: weights, optimizer, averages."""
    state = {f"weight {n}": p for n, p in learner.model.named_parameters()}
    for number, values in learner.optimizer.state_dict()["state"].items():
        state |= {f"optimizer {number} {key}": value for key, value in values.items()}
    state |= {f"average {n}": x for n, x in (learner.ema.state() if learner.ema else {}).items()}
    return {name: x.detach().clone() for name, x in state.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def spoilt(batch, value):
    """Put a number into one pixel of the last row."""
    pixels = batch["pixel_values"].clone()
    pixels[-1, 0, 0, 0] = value
    return batch | {"pixel_values": pixels}


def noisy(family, head, **changes):
    """Build the tiny model with every rate on."""
    config = tiny(family, head).config
    rates = {n: 0.2 for n in ("dropout", "attention_dropout", "drop_path") if hasattr(config, n)}
    return tiny(family, head, **rates, **changes).train()
