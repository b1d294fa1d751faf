"""The digits' lesson: what is judged by was not learnt from, and pictures are as they are shown."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from zoo.cli.lesson_digits import (
    BATCH,
    HELD_OUT,
    PROCESSOR,
    SIDE,
    enrol,
    lessons,
    picture,
    read_scans,
    scan_batches,
)


@pytest.fixture(scope="module")
def scans():
    return read_scans(0)


def seen(scans):
    return {row.numpy().tobytes() for row in scans.pixels}


def test_no_scan_is_learnt_from_and_judged_by(scans):
    learnt, judged = scans
    assert not seen(learnt) & seen(judged)
    assert (len(learnt.labels), len(judged.labels)) == (1437, 360)


def test_every_scan_keeps_its_label(scans):
    data, target = load_digits(return_X_y=True)
    labels = {}
    for part in scans:
        for row, label in zip(part.pixels, part.labels, strict=True):
            labels[row.numpy().tobytes()] = int(label)
    drawn = PROCESSOR([picture(scan.reshape(8, 8)) for scan in data])
    assert [labels[row.numpy().tobytes()] for row in drawn] == target.tolist()


def test_the_split_is_the_seeds():
    first, again, other = (read_scans(seed)[1].labels for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("ink", "grey"), [(0, 255), (4, 191), (16, 0)])
def test_ink_is_dark_and_paper_white(ink, grey):
    drawn = np.asarray(picture(np.full((8, 8), float(ink))))
    assert drawn.shape == (SIDE, SIDE)
    assert (drawn[0] == 255).all() and (drawn[:, -1] == 255).all()
    inside = drawn[2 * SIDE // 5 : 3 * SIDE // 5, 2 * SIDE // 5 : 3 * SIDE // 5]
    assert (inside == grey).all()


def test_up_is_up_and_left_is_left():
    scan = np.zeros((8, 8))
    scan[1, 6] = 16
    drawn = np.asarray(picture(scan))
    row, column = np.unravel_index(drawn.argmin(), drawn.shape)
    assert (row * 10 // SIDE, column * 10 // SIDE) == (2, 7)  # one in from each side


def test_a_round_shows_every_scan_once_at_most_and_each_time_in_another_view(scans):
    learnt, _ = scans
    batches = scan_batches(learnt, seed=5)
    a_round = len(learnt.labels) // BATCH
    rounds = [[next(batches) for _ in range(a_round)] for _ in range(2)]
    counts = [torch.cat([b["labels"] for b in r]).bincount(minlength=10) for r in rounds]
    for count in counts:
        assert (count <= learnt.labels.bincount(minlength=10)).all()
    pixels = [torch.cat([b["pixel_values"] for b in r]) for r in rounds]
    shown = [{row.numpy().tobytes() for row in p} for p in pixels]
    assert not shown[0] & shown[1]
    for p in pixels:
        assert p.max() <= 1 + 1e-6  # paper
        assert p.min() >= -1.1  # a scan of no ink at all has none


def test_the_same_seed_gives_the_same_batches_and_the_same_beginner(scans):
    learnt, _ = scans
    first, again, other = (next(scan_batches(learnt, seed)) for seed in (0, 0, 1))
    assert torch.equal(first["pixel_values"], again["pixel_values"])
    assert torch.equal(first["labels"], again["labels"])
    assert not torch.equal(first["labels"], other["labels"])
    weights = [enrol(seed).patch.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_lesson_takes_its_steps_and_is_the_same_again(scans):
    learnt, _ = scans
    runs = []
    for _ in range(2):
        model = enrol(0)
        runs.append(list(lessons(model, learnt, seconds=1e6, steps=4, seed=0)))
        assert not model.training
    assert [share for share, _ in runs[0]] == [0.25, 0.5, 0.75, 1.0]
    assert runs[0][0][1].loss == pytest.approx(math.log(10), abs=0.5)
    assert HELD_OUT == 360
