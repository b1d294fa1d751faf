"""A few steps of each family on ragged batches, the same from however many processes."""

import torch

from unit.models.tiny import tiny
from zoo.models import MODELS
from zoo.objectives import IGNORE
from zoo.train import make_optimizer
from zoo.train.learner import Learner

ROWS = 8  # of the whole batch
LENGTHS = torch.tensor([11, 3, 7, 5, 9, 2, 11, 4])  # of each row: no share counts like another
STEPS = 3
CASES = {
    "gpt2": ("gpt2", "lm", {}),
    "bert": ("bert", "masked_lm", {}),
    "vit": ("vit", "image", {}),
    "masked-vit": ("vit", "masked_image", {}),
    "clip": ("clip", "match", {}),
    "pairwise-clip": ("clip", "match", {"bias": -1.5}),
}
OTHERS = {
    "untied-gpt2": ("gpt2", "lm", {"tied": False}),
    "gpt2-sequence": ("gpt2", "sequence", {"pad": 0}),
    "gpt2-token": ("gpt2", "token", {}),
    "bert-next": ("bert", "next_sentence", {}),
    "bert-sequence": ("bert", "sequence", {}),
    "bert-token": ("bert", "token", {}),
    "bert-span": ("bert", "span", {}),
    "bert-choice": ("bert", "multiple_choice", {}),
}


def made(case, dtype, **changes):
    family, head, own = (CASES | OTHERS)[case]
    return tiny(family, head, **own, **changes).to(dtype)


def whole_batch(case, model, step):
    """Make the batch of a step: rows of different lengths, which count for different amounts."""
    family, head, _ = (CASES | OTHERS)[case]
    batch = MODELS[family].example(model.config, seed=step, batch=ROWS)
    dtype = next(model.parameters()).dtype
    batch = {n: x.to(dtype) if x.is_floating_point() else x for n, x in batch.items()}
    ids = batch.get("input_ids")
    mask = None if ids is None else torch.arange(ids.shape[1]) < LENGTHS[:, None]
    if mask is not None:
        batch["attention_mask"] = mask.long()
    classes = torch.arange(ROWS) + step
    made = {
        "lm": dict,
        "match": lambda: {"input_ids": ended(ids, mask, model.config.end)},
        "masked_lm": lambda: {"labels": hidden(ids, mask & (columns(ids) % 3 == step % 3))},
        "masked_image": lambda: {"bool_masked_pos": torch.arange(8) < (LENGTHS[:, None] % 8)},
        "token": lambda: {"labels": hidden(ids % 3, mask)},
        "span": lambda: {"labels": torch.stack([LENGTHS // 2, LENGTHS - 1], 1)},
        "sequence": lambda: {"labels": classes % 3},
        "image": lambda: {"labels": classes % 3},
        "next_sentence": lambda: {"labels": classes % 2},
        "multiple_choice": lambda: choices(batch) | {"labels": classes % 2},
    }
    return batch | made[head]()


def columns(ids):
    return torch.arange(ids.shape[1])


def hidden(labels, seen):
    return torch.where(seen, labels, IGNORE)


def ended(ids, mask, end):
    """Put the end token where the last real one stands."""
    return ids.scatter(1, mask.sum(1, keepdim=True) - 1, end)


def choices(batch):
    """Give each row a second choice: the row before it."""
    return {name: torch.stack([x, x.roll(1, 0)], 1) for name, x in batch.items()}


def learner_of(world, model, case, **options):
    # a large eps: AdamW divides by it what is zero but for rounding
    options = {"clip": 0.1} | options
    head = (CASES | OTHERS)[case][1]
    return Learner(model, lambda m: make_optimizer(m, 1e-2, eps=1e-3), head, world=world, **options)


def micros_of(world, case, model, step, micros):
    """Give this process's rows of a step's batch, in pieces."""
    batch = whole_batch(case, model, step)
    rows = torch.arange(ROWS).tensor_split(world.size)[world.rank].tensor_split(micros)
    return [{name: x[own] for name, x in batch.items()} for own in rows]


def follow(world, learner, case, *, start=0, steps=STEPS, micros=1):
    """Take steps; give their losses and norms, (steps, 2)."""
    found = []
    for step in range(start, steps):
        pieces = micros_of(world, case, learner.model, step, micros)
        found.append(learner.step(pieces, 1e-2)[:2])
    return torch.tensor(found, dtype=torch.float64)


def curve(world, case, dtype, micros, **options):
    """Give losses, norms and final weights, on the first process."""
    learner = learner_of(world, made(case, dtype), case, **options)
    found = follow(world, learner, case, micros=micros)
    weights = {name: x.clone() for name, x in world.whole(learner.model).items()}
    return {"curve": found} | weights
