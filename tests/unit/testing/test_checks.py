"""Checks are two-sided: the sound module passes every one, each saboteur is stopped by its own."""

import copy

import pytest
import torch

from unit.testing.saboteurs import OPTIONS, SABOTEURS, Sound, inputs
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
def test_a_module_is_left_as_it_was(name, training):
    module = Sound().train(training)
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    CHECKS[name](module, inputs(), **OPTIONS[name])
    after = module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in module.parameters())
    assert module.training == training
    assert torch.equal(state, torch.get_rng_state())


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
