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


def made(case, dtype, **changes):
    family, head, own = CASES[case]
    return tiny(family, head, **own, **changes).to(dtype)


def whole_batch(case, model, step):
    """Make the batch of a step: rows of different lengths, which count for different amounts."""
    family, head, _ = CASES[case]
    batch = MODELS[family].example(model.config, seed=step, batch=ROWS)
    dtype = next(model.parameters()).dtype
    batch = {n: x.to(dtype) if x.is_floating_point() else x for n, x in batch.items()}
    if "input_ids" in batch:
        ids = batch["input_ids"]
        mask = torch.arange(ids.shape[1]) < LENGTHS[:, None].clamp(max=ids.shape[1])
        batch["attention_mask"] = mask.long()
        if head == "match":  # the end token is the last that is real
            last = mask.sum(1, keepdim=True) - 1
            ids.scatter_(1, last, model.config.end)
        if head == "masked_lm":
            hidden = mask & (torch.arange(ids.shape[1]) % 3 == step % 3)
            batch["labels"] = torch.where(hidden, ids, IGNORE)
    elif head == "masked_image":
        batch["bool_masked_pos"] = torch.arange(8) < (LENGTHS[:, None] % 8)
    else:
        batch["labels"] = (torch.arange(ROWS) + step) % 3
    return batch


def learner_of(world, model, case, **options):
    # a large eps: AdamW divides by it what is zero but for rounding
    options = {"clip": 0.1} | options
    return Learner(
        model, lambda m: make_optimizer(m, 1e-2, eps=1e-3), CASES[case][1], world=world, **options
    )


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


def curve(world, case, dtype, micros):
    """Give losses, norms and final weights, on the first process."""
    learner = learner_of(world, made(case, dtype), case)
    found = follow(world, learner, case, micros=micros)
    weights = {name: x.clone() for name, x in world.whole(learner.model).items()}
    return {"curve": found} | weights
