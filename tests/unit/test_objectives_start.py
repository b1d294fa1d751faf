"""A fresh model knows nothing, and its loss says so: what it is of logits that are almost equal.

Logits of deviation s that do not know their labels lose ln k + s^2 / 2 on average over k classes,
and never less than ln k. The mean of n rows strays by s / sqrt(n), or not at all where all rows say
the same and all classes are asked for equally often, as here. So the loss lies between

    ln k - 4 s / sqrt(n)    and    ln k + s^2 + 4 s / sqrt(n)

where s follows from the initialisation alone.
"""

import dataclasses
import math

import pytest
import torch

from unit.models.tiny import LEARNED, RATES
from zoo.models import MODELS
from zoo.nn.basic import STD
from zoo.objectives import COUNTS, OBJECTIVES, features

ROWS = 60
CLASSES = 12
WIDE = 512  # the space that CLIP compares in, as published


def fresh(family, head, **changes):
    """Build the tiny preset as its paper initialises it, without dropout."""
    spec = MODELS[family]
    torch.manual_seed(4)
    config = spec.presets[f"{family}-tiny"]
    quiet = {f.name: 0.0 for f in dataclasses.fields(config) if f.name in RATES}
    model = spec.build(dataclasses.replace(config, classes=CLASSES, **quiet | changes), head=head)
    return model, spec.example(model.config, seed=7, batch=ROWS)


def asked(model, batch, head):
    """Add labels that ask for every class equally often; give the batch and how many classes."""
    if head == "image":
        batch = {"pixel_values": batch["pixel_values"]}
    if head == "multiple_choice":
        batch = {name: field.unflatten(0, (-1, 3)) for name, field in batch.items()}
    shape = model(**batch).shape
    if head == "span":
        shape = (shape[0], shape[2], shape[1])
    labels = torch.arange(math.prod(shape[:-1])).view(shape[:-1]) % shape[-1]
    return batch | {"labels": labels}, shape[-1]


def deviation(model, head):
    """Give the largest deviation of a logit.

    A row of a head's weights, of deviation STD, reads a normalised vector (or a tanh of one), of
    length sqrt(width) at most. CLIP's reads a stream, with weights of deviation 1 / sqrt(width):
    it begins with a mean square of 1; attention adds 1 / (2 depth) a block, as it reads unit
    vectors, and an MLP (m / d) E gelu(u)^2 / (2 depth), where E gelu(u)^2 <= E u^2 / 2 = 1 / 4.
    """
    c = model.config
    if hasattr(c, "image_width"):
        return math.sqrt(1 + 1 / 2 + c.image_hidden / c.image_width / 8)
    return STD * math.sqrt(c.width)


CLASSED = [row for row in LEARNED if row[1] not in ("match", "masked_image")]


def loss_and_range(family, head, times=1.0):
    """Give the loss of a fresh model, its matrices so many times as large, and where it should be.

    What is derived of the initialisation holds for matrices as they are.
    """
    model, batch = fresh(family, head)
    batch, classes = asked(model, batch, head)
    s, n = deviation(model, head), int(COUNTS[head](model, batch))
    stray = 4 * s / math.sqrt(n)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(times if parameter.dim() > 1 else 1.0)
    loss = OBJECTIVES[head](model, batch).item()
    return loss, math.log(classes) - stray, math.log(classes) + s**2 + stray


@pytest.mark.parametrize(("family", "head"), CLASSED, ids=str)
def test_a_fresh_model_guesses(family, head):
    loss, low, high = loss_and_range(family, head)
    assert low < loss < high


@pytest.mark.parametrize(("family", "head"), CLASSED, ids=str)
def test_weights_forty_times_as_large_do_not_guess(family, head):
    loss, low, high = loss_and_range(family, head, 40.0)
    assert not low < loss < high


def test_a_fresh_model_that_draws_hidden_patches_misses_by_the_pixels_themselves():
    """E |x - y| = sqrt(2 / pi (1 + s^2)) for normal pixels x and guesses y of deviation s."""
    model, batch = fresh("vit", "masked_image")
    batch["bool_masked_pos"] = torch.arange(ROWS * 8).view(ROWS, 8) % 3 == 0
    s = deviation(model, "masked_image")
    stray = 4 * math.sqrt(1 - 2 / math.pi) / math.sqrt(COUNTS["masked_image"](model, batch))
    middle = math.sqrt(2 / math.pi)
    loss = OBJECTIVES["masked_image"](model, batch).item()
    assert middle - stray < loss < middle * math.sqrt(1 + s**2) + stray


def test_a_fresh_clip_guesses_among_all_texts():
    """Cosines of unrelated vectors deviate by 1 / sqrt(e), logits by the scale as much."""
    model, batch = fresh("clip", "match", embed=WIDE)
    s = model.scale().item() / math.sqrt(WIDE)
    stray = 4 * s / math.sqrt(ROWS)
    loss = OBJECTIVES["match"](model, batch).item()
    assert math.log(ROWS) - stray < loss < math.log(ROWS) + s**2 + stray
    for side in features(model, batch):
        torch.testing.assert_close(side.norm(dim=1), torch.ones(ROWS), rtol=1e-6, atol=0)


def test_a_fresh_clip_with_a_bias_takes_no_pair_for_one():
    """A bias of -10 (Zhai et al. 2023) costs 10 for the pair that is one and e^-10 for others."""
    model, batch = fresh("clip", "match", embed=WIDE, scale=math.log(10), bias=-10.0)
    s = 10 / math.sqrt(WIDE)
    stray = 4 * s / math.sqrt(ROWS)
    others = 2 * (ROWS - 1) * math.exp(-10 + s**2 / 2)
    loss = OBJECTIVES["match"](model, batch).item()
    assert 10 - stray < loss < 10 + stray + others
