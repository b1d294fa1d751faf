"""A lesson ends by its steps or its time, and its rate rises however long the first step takes."""

import time

import pytest
import torch
from torch import nn

from zoo.cli.lesson_time import taught


def batches(first=0.0):
    """Give batches for ever; the first takes so many seconds."""
    time.sleep(first)
    while True:
        yield {"x": torch.ones(2, 3)}


def objective(model, batch):
    return model(batch["x"]).square().mean()


def lesson(*, seconds, most, first=0.0, warmup=100):
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    steps = taught(
        model,
        batches(first),
        objective,
        peak=0.01,
        warmup=warmup,
        seconds=seconds,
        most=most,
        decay=0.0,
    )
    return model, list(steps)


def test_with_time_enough_it_takes_its_steps_and_gives_the_same_weights():
    model, steps = lesson(seconds=1e6, most=8)
    assert [share for share, _ in steps] == [(i + 1) / 8 for i in range(8)]
    assert torch.equal(model.weight, lesson(seconds=1e6, most=8)[0].weight)
    assert not model.training


@pytest.mark.parametrize("most", [None, 10**9], ids=["no steps said", "steps out of reach"])
def test_without_it_ends_when_the_time_is_over(most):
    start = time.monotonic()
    _, steps = lesson(seconds=0.2, most=most)
    assert 0.2 <= time.monotonic() - start < 20
    assert steps[-1][0] == 1
    assert all(share < 1 for share, _ in steps[:-1])


def test_the_rate_rises_falls_and_ends_near_nothing():
    _, steps = lesson(seconds=1e6, most=50)
    rates = [step.rate for _, step in steps]
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert max(rates) == pytest.approx(0.01, rel=0.01)
    assert rates[-1] < 0.0005


def test_a_slow_first_step_does_not_skip_the_rise():
    _, steps = lesson(seconds=1.0, most=50, first=0.3)
    assert steps[0][0] > 0.1  # the clock is past the warm-up
    rates = [step.rate for _, step in steps]
    assert rates[0] <= 0.01 / 5 + 1e-9
    assert rates[1] <= 0.02 / 5 + 1e-9
