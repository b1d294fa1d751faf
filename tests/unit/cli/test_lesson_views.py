"""Views: nothing allowed changes nothing, and each thing allowed does what it says."""

from dataclasses import replace

import pytest
import torch

from zoo.cli.lesson_views import View, moved

STILL = View(turn=0.0, scale=0.0, shift=0.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=5, height=6, width=10):
    return torch.rand(count, 2, height, width, dtype=torch.float32, generator=generator(9))


def test_nothing_allowed_changes_nothing():
    given = images()
    assert torch.allclose(moved(given, (6, 10), generator(), STILL), given, atol=1e-5)


def test_half_the_size_is_the_mean_of_four():
    given = images()
    expected = torch.nn.functional.avg_pool2d(given, 2)
    assert torch.allclose(moved(given, (3, 5), generator(), STILL), expected, atol=1e-5)


def test_half_of_them_are_mirrored_left_to_right():
    given = images(64)
    found = moved(given, (6, 10), generator(), replace(STILL, flip=True))
    same = torch.isclose(found, given, atol=1e-5).flatten(1).all(1)
    mirrored = torch.isclose(found, given.flip(-1), atol=1e-5).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 16 < same.sum() < 48


@pytest.mark.parametrize("axis", [0, 1], ids=["down", "across"])
def test_a_dot_moves_as_far_as_is_allowed_and_no_further(axis):
    given = torch.zeros(200, 1, 20, 20)
    given[:, 0, 9:11, 9:11] = 1
    found = moved(given, (20, 20), generator(), replace(STILL, shift=0.2))[:, 0]
    where = torch.arange(20.0)
    centre = (found.sum(2 - axis) * where).sum(1) / found.sum((1, 2))
    away = centre - 9.5
    assert away.abs().max() <= 4.01
    assert away.max() > 3.5 and away.min() < -3.5


def test_a_square_grows_and_shrinks_as_far_as_is_allowed():
    given = torch.zeros(200, 1, 40, 40)
    given[:, 0, 12:28, 12:28] = 1
    side = moved(given, (40, 40), generator(), replace(STILL, scale=0.25)).sum((1, 2, 3)).sqrt()
    assert 12.5 < side.min() < 13.2  # 16 / 1.25
    assert 20.5 < side.max() < 21.6  # 16 / 0.75


def test_a_bar_turns_as_far_as_is_allowed():
    given = torch.zeros(200, 1, 41, 41)
    given[:, 0, 20, 5:36] = 1
    found = moved(given, (41, 41), generator(), replace(STILL, turn=30.0))[:, 0]
    y, x = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
    angle = 0.5 * torch.atan2(
        2 * (found * x * y).sum((1, 2)), (found * (x * x - y * y)).sum((1, 2))
    )
    angle = angle.rad2deg()
    assert 27 < angle.max() < 31 and -31 < angle.min() < -27


def test_the_same_chance_gives_the_same_view():
    view = View(turn=9.0, scale=0.2, shift=0.1, flip=True)
    first, again, other = (moved(images(), (5, 7), generator(seed), view) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
