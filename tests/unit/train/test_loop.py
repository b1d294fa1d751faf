import itertools
import math

import pytest
import torch
from torch import nn

from unit.models.tiny import example, tiny
from zoo.objectives import match
from zoo.train import TrainingError, fit, token_batches, train_step


def take(count, *args, **options):
    return [b["input_ids"] for b in itertools.islice(token_batches(*args, **options), count)]


TEXT = torch.arange(100)  # a token is its place, so a window shows where it was cut
OPTIONS = {"batch": 3, "length": 7, "seed": 5}  # 13 windows, 4 batches a round


def test_batches_are_windows_of_neighbouring_tokens():
    for ids in take(9, TEXT, **OPTIONS):
        assert ids.shape == (3, 7)
        assert torch.equal(ids - ids[:, :1], torch.arange(7).expand(3, 7))


def test_a_round_takes_no_window_twice_and_the_next_starts_elsewhere():
    rounds = [torch.cat(take(8, TEXT, **OPTIONS)[i : i + 4]) for i in (0, 4)]
    for windows in rounds:
        assert len(windows.unique()) == 4 * 3 * 7  # no token is in two windows
    offsets = {int(windows[0, 0]) % 7 for windows in rounds}
    assert len(offsets) == 2


def test_the_order_follows_from_the_seed():
    first, again = (torch.stack(take(6, TEXT, **OPTIONS)) for _ in range(2))
    other = torch.stack(take(6, TEXT, **OPTIONS | {"seed": 6}))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_order_of_a_round_is_drawn_from_its_seed_and_number(seed):
    """The same in every version: a run that goes on must not see other batches."""
    found = take(12, TEXT, **OPTIONS | {"seed": seed})
    for number in range(3):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        offset = int(torch.randint(7, (), generator=generator))
        starts = offset + 7 * torch.randperm(13, generator=generator)[:12].view(4, 3)
        assert [ids[:, 0].tolist() for ids in found[4 * number : 4 * number + 4]] == starts.tolist()


def test_the_order_leaves_torchs_own_generator_alone():
    before = torch.get_rng_state()
    take(6, TEXT, **OPTIONS)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("start", [0, 1, 3, 4, 5, 8])
def test_a_start_is_the_same_as_having_come_that_far(start):
    whole = take(10, TEXT, **OPTIONS)
    assert torch.equal(
        torch.stack(take(2, TEXT, **OPTIONS, start=start)),
        torch.stack(whole[start : start + 2]),
    )


def test_the_last_offset_fits_and_every_offset_comes():
    """Three windows of 3 from 11 tokens: offsets 0 to 2, each of which leaves room for three."""
    firsts = {int(ids.min()) for ids in take(60, torch.arange(11), batch=3, length=3, seed=0)}
    assert firsts == {0, 1, 2}


@pytest.mark.parametrize(("tokens", "windows"), [(6, 0), (26, 2)])
def test_too_short_a_text_is_refused(tokens, windows):
    with pytest.raises(ValueError, match=f"{tokens} tokens make {windows} windows of 7, fewer"):
        take(1, torch.arange(tokens), **OPTIONS)


def test_the_shortest_text_that_makes_a_batch_is_taken():
    assert len(take(4, torch.arange(27), **OPTIONS)) == 4


def quadratic(model, batch):
    """Half the squared distance: its gradient is the distance."""
    return 0.5 * (model.weight - batch["target"]).square().sum()


def model_at(*values):
    model = nn.Linear(len(values), 1, bias=False).double()
    nn.init.zeros_(model.weight)
    model.weight.data += torch.tensor(values, dtype=torch.float64)
    return model


def target(*values):
    return {"target": torch.tensor([values], dtype=torch.float64)}


@pytest.mark.parametrize(
    ("clip", "moved"), [(1.0, (0.6, 0.8)), (2.5, (1.5, 2.0)), (99.0, (3.0, 4.0))]
)
def test_a_step_follows_the_clipped_gradient(clip, moved):
    model = model_at(0.0, 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=7.0)
    loss, norm = train_step(model, target(3.0, 4.0), quadratic, optimizer, rate=0.5, clip=clip)
    assert (loss, norm) == (pytest.approx(12.5), pytest.approx(5.0))
    expected = torch.tensor([moved], dtype=torch.float64) * 0.5
    torch.testing.assert_close(model.weight.detach(), expected, rtol=1e-5, atol=0)  # clip adds 1e-6


def test_gradients_are_clipped_to_one_unless_told_otherwise():
    model = model_at(0.0, 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train_step(model, target(3.0, 4.0), quadratic, optimizer, rate=1.0)
    torch.testing.assert_close(model.weight.norm().item(), 1.0, rtol=1e-5, atol=0)


def test_a_gradient_left_from_before_does_not_count():
    model = model_at(0.0, 0.0)
    model.weight.grad = torch.full((1, 2), 100.0, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    _, norm = train_step(model, target(3.0, 4.0), quadratic, optimizer, rate=1.0)
    assert norm == pytest.approx(5.0)


def run(model, targets, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    options = {"rate": lambda step: 0.1 * (step + 1), "clip": 99.0, **options}
    return fit(model, [target(t) for t in targets], quadratic, optimizer, **options)


def test_fit_gives_each_step_with_its_number_rate_and_loss():
    """From 0 towards 4: to 0.4 with rate 0.1, then by 0.2 of 3.6."""
    steps = [vars(step) for step in run(model_at(0.0), [4.0, 4.0])]
    assert steps == [
        {"number": 0, "loss": pytest.approx(8.0), "norm": pytest.approx(4.0), "rate": 0.1},
        {"number": 1, "loss": pytest.approx(6.48), "norm": pytest.approx(3.6), "rate": 0.2},
    ]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, [0, 1, 2, 3]),
        ({"steps": 3}, [0, 1, 2]),
        ({"steps": 0}, []),
        ({"start": 2}, [2, 3, 4, 5]),
        ({"start": 2, "steps": 4}, [2, 3]),
    ],
    ids=str,
)
def test_fit_runs_from_start_to_steps(options, numbers):
    steps = list(run(model_at(0.0), [1.0] * 4, **options))
    assert [s.number for s in steps] == numbers
    assert [s.rate for s in steps] == pytest.approx([0.1 * (n + 1) for n in numbers])


def test_fit_clips_to_one_unless_told_otherwise():
    model = model_at(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    next(fit(model, [target(4.0)], quadratic, optimizer, rate=lambda step: 1.0))
    torch.testing.assert_close(model.weight.item(), 1.0, rtol=1e-5, atol=0)


def test_fit_trains_in_training_mode():
    model = model_at(0.0).eval()
    next(run(model, [1.0]))
    assert model.training


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e200], ids=str)
def test_a_number_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(bad):
    model = model_at(0.0)
    steps = run(model, [1.0, 1.0, bad, 1.0], start=10)
    assert [next(steps).number, next(steps).number] == [10, 11]
    before = model.weight.detach().clone()
    with pytest.raises(TrainingError, match=r"step 12: the loss is (nan|inf) .*rate \(1.30e\+00"):
        next(steps)
    assert torch.equal(model.weight, before)


def test_an_infinite_gradient_of_a_finite_loss_stops_the_run():
    model = model_at(0.0)

    def steep(model, batch):
        return model.weight.abs().sqrt().sum()  # 0 at 0, where the slope is infinite

    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    said = r"step 4: the loss is 0.0 and the gradient's norm (nan|inf)"
    with pytest.raises(TrainingError, match=said) as caught:
        next(fit(model, [target(0.0)], steep, optimizer, rate=lambda step: 1.0, start=4))
    assert model.weight.item() == 0.0
    assert caught.value.loss == 0.0
    assert not math.isfinite(caught.value.norm)


def test_a_step_brings_parameters_back_into_their_range():
    model = tiny("clip", "match")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    train_step(model, example("clip", "match", model), match, optimizer, rate=0.0)
    assert model.logit_scale.item() == pytest.approx(math.log(100))
