"""Checks are two-sided: the sound module passes every one, each saboteur is stopped by its own."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from unit.testing.saboteurs import OPTIONS, SABOTEURS, DropoutInEval, ForgetsBuffer, Sound, inputs
from zoo.testing.checks import CHECKS, CheckFailed
from zoo.testing.checks.common import another, distance
from zoo.testing.checks.invariance import pad_time

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


class GarbageAtPadding(Sound):
    def encode(self, input_ids, attention_mask=None, *, cache=None):
        hidden = super().encode(input_ids, attention_mask, cache=cache)
        if attention_mask is None:
            return hidden
        return hidden + torch.randn(()) * (1 - attention_mask[..., None])


@pytest.mark.parametrize("name", ["padding_invariance", "cached_decoding"])
def test_what_a_module_gives_for_padding_does_not_count(name):
    CHECKS[name](GarbageAtPadding(), inputs(), **OPTIONS[name])


class One(nn.Module):
    """One weight, whose square is the loss."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))


@pytest.mark.parametrize(("share", "passes"), [(0.95, True), (0.85, False)])
def test_overfitting_compares_the_last_loss_with_the_first(share, passes):
    """AdamW's first step is `rate` long: two losses, 2^2 and then 1.9^2 = 0.9025 of it."""
    sentence = r"^2 steps on one batch took the loss from 4 to 3.61, not below 0.85 of it"
    with contextlib.nullcontext() if passes else pytest.raises(CheckFailed, match=sentence):
        CHECKS["overfit"](One(), {}, loss=lambda m, _: m.weight**2, steps=2, rate=0.1, share=share)


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [([1, 5], [1, 2], 3), ([INF, 1], [INF, 1], 0), ([-INF], [INF], INF), ([], [], 0)],
    ids=str,
)
def test_distance_is_the_largest_difference(one, other, apart):
    assert distance(torch.tensor(one), torch.tensor(other)) == apart


def test_a_distance_from_nan_is_not_small():
    assert not distance(torch.tensor([1.0, NAN]), torch.tensor([1.0, 2.0])) <= 1.0


def test_another_value_is_of_those_that_occur():
    ids = torch.tensor([[3, 5, 4], [5, 5, 3]])
    expected = torch.tensor([[3, 3, 4], [5, 3, 3]])
    assert torch.equal(another(ids, (slice(None), 1)), expected)
    assert another(ids, (0, 0))[0, 0] == 4
    floats = torch.tensor([0.5, 1.5])
    assert another(floats, (0,)).tolist() == [1.5, 1.5]


def test_each_row_is_padded_by_its_own_amount():
    x = torch.arange(1, 13).view(2, 3, 2)
    padded = pad_time(x, [1, 3], 9)
    assert padded.shape == (2, 6, 2)
    assert torch.equal(padded[0, 1:4], x[0])
    assert torch.equal(padded[1, 3:], x[1])
    assert (padded == 9).sum() == 2 * 3 * 2 + (x == 9).sum()
