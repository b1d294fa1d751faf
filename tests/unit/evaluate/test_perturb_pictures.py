"""Pictures are changed as stated: moved, turned, inked, lit; a picture of paper stays one."""

import io

import numpy as np
import pytest
from PIL import Image

from unit.evaluate.subjects import noise
from zoo.evaluate.draw import Draw
from zoo.evaluate.perturb import PERTURBATIONS
from zoo.evaluate.perturb_pictures import SIDES

IMAGE = [name for name, p in PERTURBATIONS.items() if p.kind == "image"]


def change(name, value, identity="a"):
    """Change one array, outside of rows."""
    return PERTURBATIONS[name].change(value, Draw(f"{identity}@{name}"))


def test_shifts_move_to_all_sides_and_repeat_the_edge():
    for count, name in ((1, "shift-1"), (2, "shift-2")):
        before, sides = noise(1), set()
        for i in range(40):
            after = change(name, before, f"r{i}")
            for down, right in SIDES:
                rows = (np.arange(12) - down * count).clip(0, 11)
                columns = (np.arange(10) - right * count).clip(0, 9)
                if np.array_equal(after, before[rows][:, columns]):
                    sides.add((down, right))
                    break
            else:
                pytest.fail(f"{name} of r{i} is no shift")
        assert len(sides) == 4


def ink_of(pixels):
    return pixels.astype(float).sum()


def center_of(pixels):
    """Give where ink stands in the mean, from the middle (down, right)."""
    light = pixels.astype(float).sum(-1)
    down, right = np.indices(light.shape)
    middle = [(n - 1) / 2 for n in light.shape]
    return np.array([(x * light).sum() / light.sum() for x in (down, right)]) - middle


def test_a_turn_is_of_ten_degrees_to_both_sides():
    before = np.zeros((41, 41, 3), np.uint8)
    before[18:23, 32:37] = 200  # at three o'clock, 14 from the middle
    angles = set()
    for i in range(20):
        down, right = center_of(change("turn-10", before, f"r{i}"))
        assert np.hypot(down, right) == pytest.approx(14, abs=0.1)
        angles.add(round(float(np.degrees(np.arctan2(-down, right)))))
    assert angles == {10, -10}


def test_scaling_makes_the_picture_smaller_about_its_middle():
    before = np.zeros((40, 20, 3), np.uint8)
    before[8:12, 6:9] = 200
    after = change("scale-0.9", before)
    assert after.shape == before.shape
    assert center_of(after) == pytest.approx(0.9 * center_of(before), abs=0.1)
    assert ink_of(after) == pytest.approx(0.81 * ink_of(before), rel=0.02)


@pytest.mark.parametrize("name", ["turn-10", "scale-0.9", "shift-1", "shift-2", "blur"])
@pytest.mark.parametrize("value", [0, 90, 255])
def test_paper_stays_paper_up_to_the_edge(name, value):
    before = np.full((12, 10, 3), value, np.uint8)
    assert np.array_equal(change(name, before), before)


def test_ink_becomes_thick_and_thin_whatever_the_paper():
    white = np.zeros((9, 9, 3), np.uint8)
    white[3:6, 3:6] = 200
    for before, sign in ((white, 1), (255 - white, -1)):
        thick, thin = (change(name, before).astype(int) for name in ("thick", "thin"))
        paper = 0 if sign == 1 else 255
        assert (thick[..., 0] != paper).sum() == 16
        assert (thin[..., 0] != paper).sum() == 4
        assert (sign * (thick - before) >= 0).all()
        assert (sign * (before - thin.astype(int)) >= 0).all()
    assert np.array_equal(change("thick", white)[2:6, 2:6, 0], np.full((4, 4), 200))


def test_on_paper_that_is_neither_ink_is_light():
    """Half of the border is black and half white: its mean is the middle, and black is paper."""
    half = np.zeros((2, 2, 3), np.uint8)
    half[:, 1] = 255
    assert change("thick", half)[..., 0].tolist() == [[255, 255], [255, 255]]
    assert change("thin", half)[..., 0].tolist() == [[0, 255], [0, 255]]


def test_noise_is_of_a_tenth_of_the_range_and_without_colour():
    before = np.full((100, 90, 3), 128, np.uint8)
    after = change("noise-0.1", before).astype(float) - 128
    assert (after == after[..., :1]).all()
    assert after.mean() == pytest.approx(0, abs=1.0)  # 0.27 is a deviation
    assert after.std() == pytest.approx(25.5, rel=0.03)
    assert np.abs(after).max() <= 90
    again = change("noise-0.1", before, "b").astype(float) - 128
    assert abs((after * again).mean()) < 25  # two rows have noise of their own: 6.9 is a deviation


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("brighter", {0: 38, 100: 138, 217: 255, 255: 255}),
        ("darker", {0: 0, 38: 0, 100: 62, 255: 217}),
        ("contrast", {0: 51, 100: 111, 255: 204}),
    ],
)
def test_light_is_changed_by_the_formula(name, values):
    before = np.array([[[v] * 3 for v in values]], dtype=np.uint8)
    assert change(name, before)[0, :, 0].tolist() == [*values.values()]


def test_a_jpeg_is_of_quality_50():
    before, held = noise(2, 16, 16), io.BytesIO()
    Image.fromarray(before).save(held, "JPEG", quality=50)
    assert np.array_equal(change("jpeg-50", before), np.asarray(Image.open(held)))


def test_grey_has_no_colour():
    after = change("grey", np.array([[[200, 100, 50]]], dtype=np.uint8))
    assert after.tolist() == [[[124, 124, 124]]]  # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2


@pytest.mark.parametrize("name", IMAGE)
@pytest.mark.parametrize("shape", [(12, 10), (1, 1), (3, 28)])
def test_a_changed_picture_keeps_its_size(name, shape):
    before = noise(4, *shape)
    kept = before.copy()
    after = change(name, before)
    assert (after.shape, after.dtype) == (before.shape, np.uint8)
    assert np.array_equal(before, kept)
