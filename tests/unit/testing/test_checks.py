"""Checks are two-sided: the sound module passes every one, each saboteur is stopped by its own."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from unit.testing.saboteurs import OPTIONS, SABOTEURS, DropoutInEval, ForgetsBuffer, Sound, inputs
from zoo.testing.checks import CHECKS, CheckFailed

ROWS = [pytest.param(*row, id=f"{row[0]}-{row[1].__name__}") for row in SABOTEURS]


@pytest.mark.parametrize("name", CHECKS)
def test_the_sound_module_passes(name):
    CHECKS[name](Sound(), inputs(), **OPTIONS[name])


@pytest.mark.parametrize(("name", "saboteur", "sentence"), ROWS)
def test_a_saboteur_is_stopped(name, saboteur, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        CHECKS[name](saboteur(), inputs(), **OPTIONS[name])


def test_every_check_has_a_saboteur():
    assert {row[0] for row in SABOTEURS} == set(CHECKS) == set(OPTIONS)


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("made", [Sound, DropoutInEval])
def test_everything_is_left_as_it_was(name, training, made):
    module, given = made().train(training), inputs()
    before, ids = copy.deepcopy(module.state_dict()), given["input_ids"].clone()
    generator = torch.get_rng_state()
    with contextlib.suppress(CheckFailed):
        CHECKS[name](module, given, **OPTIONS[name])
    after = module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in module.parameters())
    assert module.training == training
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.equal(ids, given["input_ids"])


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("batch_independence", {"input_ids": torch.ones(1, 3).long()}, "at least two rows"),
        ("causality", {"input_ids": torch.ones(2, 3).long()}, "at least two different ids"),
    ],
)
def test_inputs_that_cannot_tell_are_refused(name, given, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        CHECKS[name](Sound(), given, **OPTIONS[name])


def test_what_a_constructor_makes_need_not_be_saved():
    """Rotary frequencies are such a buffer: a fresh module has them already."""
    CHECKS["save_load"](ForgetsBuffer(), inputs(), build=ForgetsBuffer)
    moved = ForgetsBuffer()
    moved.offset += 1.0
    with pytest.raises(CheckFailed, match="moved by 1 after saving and loading"):
        CHECKS["save_load"](moved, inputs(), build=ForgetsBuffer)


class Gives(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, pixels):
        return self.value


class Images(nn.Module):
    """A module of floating inputs that gives a table, and a NaN when told to."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.map = nn.Linear(3, 2)
        self.factor = factor

    def forward(self, pixels):
        return {"logits": (self.map(pixels) * self.factor,)}


@pytest.mark.parametrize(
    "name", sorted(set(CHECKS) - {"cached_decoding", "overfit", "padding_invariance"})
)
def test_floating_inputs_and_outputs_in_tables_are_taken(name):
    CHECKS[name](
        Images(), {"pixels": torch.rand(2, 5, 3)}, **dict.fromkeys(OPTIONS[name], "pixels")
    )


@pytest.mark.parametrize(
    ("module", "sentence"),
    [(Images(float("nan")), "the output holds NaN"), (Gives(7), "the module gives int; expected")],
    ids=["nan", "int"],
)
def test_an_output_that_cannot_be_compared_is_named(module, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        CHECKS["determinism"](module, {"pixels": torch.rand(2, 5, 3)})
