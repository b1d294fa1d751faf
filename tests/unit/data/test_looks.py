"""Pictures read once: their digest, their numbers, and which are alike."""

import numpy as np
import pytest
from PIL import Image

from unit.data.seen import kept, scene
from zoo.data.groups import Groups
from zoo.data.looks import SIDE, alike, frequencies, join_near, look_at, small_copy


def test_a_picture_is_described(tmp_path):
    picture = scene(1).resize((40, 20))
    (path,) = kept(tmp_path, [picture])
    look = look_at(path)
    pixels = np.asarray(picture, dtype=np.float64).reshape(-1, 3)
    assert (look.width, look.height, look.grey, look.uniform) == (40, 20, False, False)
    assert look.means == pytest.approx(pixels.mean(0), rel=1e-12)
    assert look.deviations == pytest.approx(pixels.std(0), rel=1e-12)


def test_a_digest_is_of_pixels_and_not_of_files(tmp_path):
    picture = scene(2, side=24)
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.bmp")
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "c.png")
    a, b, c = (look_at(str(tmp_path / name)).digest for name in ("a.png", "b.bmp", "c.png"))
    assert a == b != c


def test_a_digest_knows_the_shape(tmp_path):
    grey = [Image.new("RGB", size, (90, 90, 90)) for size in ((4, 6), (6, 4))]
    one, other = (look_at(path).digest for path in kept(tmp_path, grey))
    assert one != other


@pytest.mark.parametrize(
    ("rgb", "grey", "uniform"),
    [((9, 9, 9), True, True), ((9, 9, 8), False, True), ((8, 9, 9), False, True)],
    ids=["grey", "blueless", "redless"],
)
def test_greyness_and_one_colour(tmp_path, rgb, grey, uniform):
    (path,) = kept(tmp_path, [Image.new("RGB", (5, 3), rgb)])
    look = look_at(path)
    assert (look.grey, look.uniform, look.small) == (grey, uniform, None)


def test_a_small_copy_has_no_light_of_its_own():
    small = small_copy(scene(3))
    assert small.shape == (SIDE, SIDE, 3) and small.dtype == np.float32
    assert abs(float(small.mean())) < 1e-5 and abs(float(small.std()) - 1) < 1e-5


def test_frequencies_keep_lengths():
    rng = np.random.default_rng(1)
    grey = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    whole = frequencies(grey, SIDE)
    assert np.square(whole).sum() == pytest.approx(np.square(grey).sum(), rel=1e-5)
    assert np.array_equal(frequencies(grey, 8), whole[:8, :8])
    flat = frequencies(np.ones((SIDE, SIDE), dtype=np.float32), 8)
    assert flat[0, 0] == pytest.approx(SIDE) and np.abs(flat).sum() == pytest.approx(SIDE, abs=1e-3)


def test_all_pairs_that_are_alike_are_found():
    # noise of growing strength around one picture: what the short way finds is what all pairs say
    rng = np.random.default_rng(2)
    base = [small_copy(scene(seed)) for seed in range(3)]
    smalls = [
        (base[k % 3] + 0.004 * k * rng.normal(size=base[0].shape)).astype(np.float32)
        for k in range(30)
    ]
    found, expected = Groups(30), Groups(30)
    join_near(smalls, found)
    for i in range(30):
        for j in range(i):
            if alike(smalls[i], smalls[j]):
                expected.join(i, j)
    assert found.lists() == expected.lists()
    assert len(found.lists()) > 1 and sum(map(len, found.lists())) < 30


def test_blocks_do_not_divide_pictures():
    base = small_copy(scene(1))
    rng = np.random.default_rng(3)
    others = [rng.normal(size=base.shape).astype(np.float32) for _ in range(598)]
    groups = Groups(600)
    join_near([base, *others, base], groups)
    assert groups.lists() == [[0, 599]]


@pytest.mark.parametrize(
    ("everywhere", "at_one_place", "expected"),
    [(0.055, 0.0, True), (0.065, 0.0, False), (0.0, 0.3, True), (0.0, 0.4, False)],
    ids=["little", "more", "a dot", "a mark"],
)
def test_two_pictures_are_alike_up_to_the_bounds(everywhere, at_one_place, expected):
    a = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
    b = a + np.float32(everywhere)
    b[4, 5, 1] += at_one_place
    assert alike(a, b) == expected


def test_a_pair_that_differs_in_its_slowest_waves_alone_is_not_missed():
    base = small_copy(scene(1))
    groups = Groups(2)
    join_near([base, base + np.float32(0.055)], groups)
    assert groups.lists() == [[0, 1]]


def test_no_pictures_are_no_groups():
    groups = Groups(0)
    join_near([], groups)
    assert groups.lists() == []
