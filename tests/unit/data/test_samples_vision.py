import math

import numpy as np
import pytest
import torch
from PIL import Image

from unit.data.tables import made, rows_of, unpadded
from zoo.data.errors import DataError
from zoo.data.mix import Mixed
from zoo.data.samples import Samples
from zoo.data.samples_vision import LabelledImages, MaskedImages, Pairs, bytes_of
from zoo.data.views import DRAWS, View, moved, recoloured, viewed
from zoo.images import ImageProcessor
from zoo.tokenizers import Tokenizer

CAPTIONS = ["a red whale", "the sea at night, and a ship", "a ship", "whales", "a cup"]
CLIP = Tokenizer.train(CAPTIONS, "clip", vocab=530)
VIT = ImageProcessor.vit((12, 10))
GREY = ImageProcessor(size={"height": 12, "width": 10}, image_mean=(0.5,), image_std=(0.25,))
PROCESSORS = {"vit": VIT, "clip": ImageProcessor.clip((12, 10)), "grey": GREY}
VIEW = View(turn=20.0, scale=0.2, shift=0.1, flip=True, colour=0.3)


@pytest.fixture
def paths(tmp_path):
    """Five pictures of different sizes, all of noise."""
    random = np.random.default_rng(3)
    result = []
    for i, size in enumerate([(12, 10), (31, 17), (8, 40), (12, 10), (25, 25)]):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        result.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels).save(result[-1])
    return result


def labelled(paths, processor=VIT, view=None, label=("b", "a", "a", "c", "b"), **options):
    rows = rows_of("labelled_images", ("a", "b", "c"), image=paths, label=list(label))
    return LabelledImages(rows, processor, view, **options)


def hidden(paths, view=None, patch=(4, 5), **options):
    return MaskedImages(rows_of("images", image=paths), VIT, patch, view, **options)


def captioned(paths, view=None, length=None):
    rows = rows_of("pairs", image=paths, caption=CAPTIONS)
    return Pairs(rows, PROCESSORS["clip"], CLIP, length, view)


KINDS = {
    "labelled": labelled,
    "labelled, in views": lambda paths: labelled(paths, view=VIEW),
    "hidden": hidden,
    "hidden, in views": lambda paths: hidden(paths, VIEW),
    "captioned": captioned,
    "captioned, in views": lambda paths: captioned(paths, VIEW),
    "mixed": lambda paths: Mixed(labelled(paths, view=VIEW), mixup=0.5, cutmix=1.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_slice_of_a_batch_holds_the_rows_of_the_whole(kind, paths):
    samples = KINDS[kind](paths)
    chosen = [2, 0, 4, 1, 3, 0]
    whole = unpadded(made(samples, chosen))
    for rows in (1, 2, 3):
        slices = [slice(first, first + rows) for first in range(0, 6, rows)]
        assert [row for own in slices for row in unpadded(made(samples, chosen, own))] == whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_what_a_loader_reads(kind, paths):
    samples, again = KINDS[kind](paths), KINDS[kind](paths)
    assert isinstance(samples, Samples)
    assert samples.version == again.version and samples.version.startswith("sha256:")
    assert samples.unit in ("images", "pairs")
    assert samples.names([3, 0]) == ["r103", "r100"]
    batch = made(samples)
    assert {len(tensor) for tensor in batch.values()} == {len(samples)} == {5}
    assert batch["pixel_values"].shape[1:] == (3, 12, 10)
    assert batch["pixel_values"].dtype == torch.float32


def test_another_setting_is_another_version(paths):
    samples = [kind(paths) for kind in KINDS.values()]
    samples += [
        labelled(paths, GREY),
        labelled(paths, label="aaabc"),
        labelled(paths, labels=("c", "b", "a")),
        hidden(paths, rate=0.5),
        hidden(paths, patch=(6, 5)),
        captioned(paths, length=5),
        Mixed(samples[1], mixup=0.5),
        Mixed(samples[1], cutmix=0.5),
    ]
    versions = [each.version for each in samples]
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("view", [None, View()], ids=["no view", "a view of nothing"])
@pytest.mark.parametrize("held", [0, 10**6])
def test_pixels_are_the_processors_own(processor, view, held, paths):
    processor = PROCESSORS[processor]
    samples = labelled(paths, processor, view, held=held)
    for _ in range(2):  # the second time they are those that were kept
        batch = made(samples, [4, 0, 1])
        assert torch.equal(batch["pixel_values"], processor([paths[i] for i in (4, 0, 1)]))
        assert batch["labels"].tolist() == [1, 1, 0]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_pixels_are_turned_back_into_the_bytes_they_were_made_of(processor, paths):
    samples = labelled(paths, PROCESSORS[processor])
    pictures = samples.pictures
    pixels = made(samples)["pixel_values"]
    planes = np.stack([pictures.plane(i) for i in range(5)])
    assert np.array_equal(bytes_of(pixels, pictures.low, pictures.high), planes)


def test_pixels_beyond_black_and_white_are_those():
    low, high = torch.tensor([-1.0]), torch.tensor([1.0])
    pixels = torch.tensor([-1.2, 1.003, 1.1, 0.0]).view(1, 1, 2, 2)
    assert bytes_of(pixels, low, high).ravel().tolist() == [0, 255, 255, 128]


@pytest.mark.parametrize(("held", "kept"), [(0, 0), (719, 1), (720, 2), (10**6, 5)])
def test_decoded_pictures_are_kept_while_there_is_room(held, kept, paths):
    samples = labelled(paths, held=held)  # 12 x 10 x 3 bytes each
    for _ in range(2):
        made(samples)
        assert len(samples.pictures.planes) == kept


def test_a_kept_picture_is_not_read_again(paths):
    samples = labelled(paths)
    first = made(samples, [1, 2])["pixel_values"]
    for path in paths:
        Image.new("RGB", (5, 5)).save(path)
    assert torch.equal(made(samples, [1, 2])["pixel_values"], first)


def test_an_unreadable_picture_is_named_with_its_row(paths):
    samples = labelled([*paths[:3], paths[3] + ".gone", paths[4]])
    assert len(made(samples, [0, 1, 2])["labels"]) == 3
    with pytest.raises(DataError, match=r"row r103: .*3\.png\.gone: No such file"):
        made(samples, [0, 3])


def test_views_differ_from_picture_to_picture_and_from_step_to_step(paths):
    samples = labelled(paths, view=VIEW)
    first, again, other = (made(samples, [2, 2], seed=s)["pixel_values"] for s in (7, 7, 8))
    assert torch.equal(first, again)
    rows = [*first, *other]
    assert all(not torch.equal(a, b) for i, a in enumerate(rows) for b in rows[:i])


@pytest.mark.parametrize(("rate", "count"), [(0.6, 4), (0.01, 1), (0.5, 3), (0.99, 6)])
def test_a_share_of_the_patches_is_hidden(rate, count, paths):
    batch = made(hidden(paths, rate=rate))
    masks = batch["bool_masked_pos"]
    assert masks.shape == (5, 6) and masks.dtype == torch.bool
    assert set(masks.sum(1).tolist()) == {count}
    assert torch.equal(batch["pixel_values"], VIT(paths))


def test_every_patch_is_hidden_as_often(paths):
    batch = made(hidden(paths, rate=0.1), [0] * 400)
    shares = batch["bool_masked_pos"].float().mean(0)
    # one of six patches, 400 times: within five of a share's errors
    assert (shares - 1 / 6).abs().max() < 5 * math.sqrt(1 / 6 * 5 / 6 / 400)


def test_what_is_hidden_does_not_follow_from_the_view(paths):
    plain, turned = (made(hidden(paths, view))["bool_masked_pos"] for view in (None, VIEW))
    assert torch.equal(plain, turned)


def test_captions_go_with_their_pictures(paths):
    batch = made(captioned(paths), [3, 1])
    expected = CLIP.batch([CAPTIONS[3], CAPTIONS[1]])
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert torch.equal(batch["pixel_values"], PROCESSORS["clip"]([paths[3], paths[1]]))
    assert made(captioned(paths, length=4))["input_ids"].shape == (5, 4)


REFUSED = {
    "a class that is not known": (
        lambda paths: labelled(paths, label="abcde"),
        "row r103 has the label 'd', which is none of 'a', 'b', 'c'",
    ),
    "patches that do not fit": (
        lambda paths: hidden(paths, patch=(5, 5)),
        r"pictures of \(12, 10\) are no whole number of patches of \(5, 5\)",
    ),
    "all patches": (lambda paths: hidden(paths, rate=1.0), "rate is 1.0; expected a share"),
    "pictures of sizes of all kinds": (
        lambda paths: labelled(paths, ImageProcessor(size={"shortest_edge": 9})),
        "a batch needs one: set do_center_crop, or a size of height and width",
    ),
    "no rows": (lambda paths: labelled([], label=[]), "there are no rows of labelled_images"),
    "a turn below none": (lambda paths: View(turn=-1.0), "turn is -1.0; expected 0 or more"),
    "a turn of no number": (lambda paths: View(turn=math.nan), "turn is nan; expected 0 or more"),
    "a scale of all": (lambda paths: View(scale=1.0), "scale 1.0 and colour 0.0 are shares"),
    "a colour above all": (lambda paths: View(colour=1.5), "colour 1.5 are shares"),
}


def test_a_view_may_change_all_of_the_colour_and_nearly_all_of_the_size():
    assert View(colour=1.0, scale=0.99).colour == 1.0


@pytest.mark.parametrize("case", REFUSED)
def test_refused_is(case, paths):
    act, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        act(paths)


LOW, HIGH = torch.tensor([-1.0, 0.0, -2.0]).double(), torch.tensor([1.0, 2.0, 2.0]).double()


def picture(*size):
    """Make pictures whose channels go from LOW to HIGH."""
    shares = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return LOW[:, None, None] + shares * (HIGH - LOW)[:, None, None]


def draws(**signed):
    """Make the draws of one picture: all in the middle but those named, from -1 to 1."""
    names = ("angle", "larger", "right", "down", "side", "bright", "contrast", "colourful")
    return torch.tensor([[(1 + signed.get(name, 0.0)) / 2 for name in names]]).double()


def test_the_draws_in_the_middle_change_nothing():
    images = picture(1, 3, 7, 5)
    view = View(turn=20.0, scale=0.2, shift=0.1, colour=0.3)
    torch.testing.assert_close(viewed(images, draws(), view, LOW, HIGH), images, rtol=0, atol=1e-12)


# the view, its draws at their ends, and what becomes of a picture
MOVES = {
    "mirrored": (View(flip=True), {"side": -0.5}, lambda x: x.flip(3)),
    "not mirrored": (View(flip=True), {"side": 0.5}, lambda x: x),
    "turned by half": (View(turn=180.0), {"angle": 1.0}, lambda x: x.flip(2, 3)),
    "moved to the left by one of five": (
        View(shift=0.2),
        {"right": 1.0},
        lambda x: torch.cat([x[..., 1:], x[..., -1:]], 3),
    ),
    "moved to the right": (
        View(shift=0.2),
        {"right": -1.0},
        lambda x: torch.cat([x[..., :1], x[..., :-1]], 3),
    ),
    "moved up by one of seven": (
        View(shift=1 / 7),
        {"down": 1.0},
        lambda x: torch.cat([x[..., 1:, :], x[..., -1:, :]], 2),
    ),
}


@pytest.mark.parametrize("case", MOVES)
def test_a_picture_is(case):
    view, signed, expected = MOVES[case]
    images = picture(1, 3, 7, 5)
    result = viewed(images, draws(**signed), view, LOW, HIGH)
    torch.testing.assert_close(result, expected(images), rtol=0, atol=1e-9)


def test_a_quarter_turn_is_one_of_pixels_also_where_a_picture_is_no_square():
    images = picture(1, 3, 7, 5)
    turned = viewed(images, draws(angle=1.0), View(turn=90.0), LOW, HIGH)
    middle = images[..., 1:6, :]  # the square of 5 pixels that a turn leaves inside
    expected = middle.rot90(1, (2, 3))
    torch.testing.assert_close(turned[..., 1:6, :], expected, rtol=0, atol=1e-9)


def test_a_picture_is_shrunk_about_its_middle():
    images = torch.arange(7.0).double().expand(1, 3, 7, 7) / 7
    shrunk = viewed(images, draws(larger=1.0), View(scale=0.5), LOW, HIGH)
    expected = ((torch.arange(7.0).double() - 3) * 1.5 + 3).clamp(0, 6) / 7
    torch.testing.assert_close(shrunk, expected.expand(1, 3, 7, 7), rtol=0, atol=1e-9)


# draws -> what a pixel from 0 to 1 becomes, with a colour of 0.5; the picture's mean grey is given
COLOURS = {
    "brighter": ({"bright": 1.0}, lambda x, mean, grey: (1.5 * x).clamp(0, 1)),
    "darker": ({"bright": -1.0}, lambda x, mean, grey: 0.5 * x),
    "flatter": ({"contrast": -1.0}, lambda x, mean, grey: (x + mean) / 2),
    "paler": ({"colourful": -1.0}, lambda x, mean, grey: (x + grey) / 2),
    "more colourful": (
        {"colourful": 1.0},
        lambda x, mean, grey: (1.5 * x - 0.5 * grey).clamp(0, 1),
    ),
}


@pytest.mark.parametrize("case", COLOURS)
def test_a_picture_becomes(case):
    signed, change = COLOURS[case]
    images = picture(2, 3, 7, 5)
    low, span = LOW[:, None, None], (HIGH - LOW)[:, None, None]
    pixels = (images - low) / span
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    grey = (pixels * weights).sum(1, True)
    mean = grey.mean((1, 2, 3), keepdim=True)
    expected = change(pixels, mean, grey) * span + low
    result = viewed(images, draws(**signed).expand(2, DRAWS), View(colour=0.5), LOW, HIGH)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_a_grey_picture_is_its_own_grey():
    images = torch.rand(1, 1, 7, 5).double()
    one = torch.ones(1).double()
    result = recoloured(images, torch.tensor([[0.0, 0.0, 1.0]]).double(), 0.9, one * 0, one)
    torch.testing.assert_close(result, images, rtol=0, atol=1e-12)


def test_each_picture_of_a_batch_is_moved_by_its_own_draws():
    images = picture(1, 3, 7, 5).expand(2, -1, -1, -1)
    both = torch.cat([draws(side=-0.5), draws(side=0.5)])
    flipped = moved(images, 2 * both[:, :5] - 1, View(flip=True))
    torch.testing.assert_close(flipped[0], images[0].flip(2), rtol=0, atol=1e-9)
    torch.testing.assert_close(flipped[1], images[1], rtol=0, atol=1e-9)
