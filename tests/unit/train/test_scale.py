"""The loss scale of float16: what overflows is left out, and what fits comes down to the same."""

import copy
import math

import pytest
import torch

from unit.models.tiny import MAIN, labelled, tiny
from unit.train.learning import DECAY, held, learner, rows, same, single, spoilt
from zoo.train import TrainingError
from zoo.train.ema import EMA
from zoo.train.scale import Scaler


def float16(scale, **options):
    model = tiny("gpt2", "lm").float()
    one = learner(
        "gpt2",
        "lm",
        model,
        dtype=torch.float16,
        ema=EMA(model, DECAY),
        scaler=Scaler(scale, **options),
    )
    return one, labelled("gpt2", "lm", model)


def test_float16_has_a_scaler_of_its_own():
    one = learner("gpt2", "lm", tiny("gpt2", "lm").float(), dtype=torch.float16)
    assert one.scaler.scale == 2.0**16
    assert learner("gpt2", "lm").scaler is None


@pytest.mark.parametrize("size", [4, 2], ids="{} rows a piece".format)
def test_float16_gradients_that_overflow_leave_the_step_out_and_halve_the_scale(size):
    """A scale of 2^40 is beyond float16's 65504; it comes down until the gradients fit."""
    one, batch = float16(2.0**40)
    before, skipped = held(one), 0
    while (result := one.step(rows(batch, size), 1e-2)).skipped:
        skipped += 1
        assert one.scaler.scale == 2.0 ** (40 - skipped)
        assert math.isfinite(result.loss)
        assert not math.isfinite(result.norm)
        assert same(held(one), before)
        assert one.ema.updates == 0
    assert 10 < skipped < 40
    assert one.ema.updates == 1
    assert not same(held(one), before)
    plain = learner("gpt2", "lm", tiny("gpt2", "lm").float()).step([batch], 1e-2)
    assert result[:2] == pytest.approx(plain[:2], rel=2**-8)


def test_float16_stops_where_a_lower_scale_does_not_help():
    one, batch = float16(2.0**39, floor=2.0**38)
    assert one.step([batch], 1e-2).skipped
    before = held(one)
    with pytest.raises(TrainingError, match=r"overflow at a loss scale of 2.74878e\+11 still") as e:
        one.step([batch], 1e-2)
    assert math.isfinite(e.value.loss)
    assert same(held(one), before)


def test_float16_does_not_take_a_model_that_broke_for_an_overflow():
    one = learner("vit", "image", tiny("vit", "image").float(), dtype=torch.float16)
    batch = single(labelled("vit", "image", one.model))
    before = held(one)
    with pytest.raises(TrainingError, match="the loss is nan"):
        one.step([spoilt(batch, math.nan)], 1e-2)
    assert same(held(one), before)
    assert one.scaler.state_dict() == Scaler().state_dict()


def test_the_scale_doubles_after_as_many_good_steps_as_its_patience():
    one, batch = float16(256.0, patience=3)
    scales = []
    for _ in range(7):
        assert not one.step([batch], 1e-3).skipped
        scales.append(one.scaler.scale)
    assert scales == [256.0, 256.0, 512.0, 512.0, 512.0, 1024.0, 1024.0]


@pytest.mark.parametrize(
    ("fits", "scale"),
    [
        ([True, True], 16.0),
        ([True, False, True], 4.0),  # an overflow starts the count anew
        ([True, False, True, True], 8.0),
        ([False, False], 2.0),
    ],
    ids=str,
)
def test_a_scaler_follows_what_fits(fits, scale):
    scaler = Scaler(8.0, patience=2, floor=4.0)
    for fit in fits:
        scaler.update(fit)
    assert scaler.scale == scale
    assert scaler.spent() == (scale < 4.0)


def test_a_scaler_without_patience_doubles_at_each_step_that_fits():
    scaler, scales = Scaler(1.0, patience=1), []
    for fit in (True, True, False, True):
        scaler.update(fit)
        scales.append(scaler.scale)
    assert scales == [2.0, 4.0, 2.0, 4.0]


def test_a_scaler_begins_at_two_to_the_16_and_is_patient():
    scaler = Scaler()
    assert (scaler.scale, scaler.patience, scaler.floor, scaler.good) == (65536.0, 2000, 2**-13, 0)
    assert Scaler(0.5, floor=0.5).scale == 0.5


def test_a_scaler_goes_on_from_its_state():
    one, other = Scaler(8.0, patience=2), Scaler(64.0, patience=2)
    one.update(True)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    other.update(True)
    assert other.scale == 16.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scale": 0.5, "floor": 1.0}, "scale 0.5 and floor 1.0; expected 0 < floor <= scale"),
        ({"floor": 0.0}, "floor 0.0; expected"),
        ({"patience": 0}, "patience 0; expected a number of steps"),
    ],
    ids=str,
)
def test_a_scaler_that_could_not_scale_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Scaler(**options)


@pytest.mark.parametrize("size", [4, 2, 1], ids="{} rows a piece".format)
@pytest.mark.parametrize("family", sorted(MAIN))
def test_scaling_by_powers_of_two_changes_no_gradient(family, size):
    """In float32, where nothing overflows: what was scaled up comes down to the same bits."""
    head, found = MAIN[family], []
    for scale in (1.0, 2.0**12):
        one = learner(family, head, tiny(family, head).float(), scaler=Scaler(scale))
        batch = single(labelled(family, head, one.model))
        result = one.step(rows(batch, size), 1e-2)
        found.append((result, [p.grad for p in one.model.parameters()]))
    assert found[0][0] == found[1][0]
    pairs = zip(found[0][1], found[1][1], strict=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in pairs)
