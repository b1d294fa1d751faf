import math

import numpy as np
import pytest
import torch

from unit.data.tables import made
from zoo.data.mix import Mixed, box_of, put_box


class Planes:
    """Picture i is all i, of 6 x 5 pixels in two channels, and so is its label."""

    unit = "images"
    version = "sha256:0"

    def __init__(self, count=9, without=()):
        self.count, self.without = count, without

    def __len__(self):
        return self.count

    def names(self, chosen):
        return [f"plane {i}" for i in chosen]

    def batch(self, chosen, generator, own):
        torch.rand(3, generator=generator)  # some draws of its own
        rows = chosen[own]
        pixels = rows[:, None, None, None].float().expand(-1, 2, 6, 5).contiguous()
        batch = {"pixel_values": pixels, "labels": rows}
        return {name: batch[name] for name in batch if name not in self.without}


def mixes(count=600, **alphas):
    """Mix many pictures, of which few are alike."""
    return made(Mixed(Planes(count), **alphas))


def test_mixup_adds_two_pictures_by_their_shares():
    batch = mixes(mixup=0.4)
    share, labels = batch["share"], batch["labels"].float()
    expected = share * labels + (1 - share) * batch["other_labels"]
    expected = expected[:, None, None, None].expand(-1, 2, 6, 5)
    torch.testing.assert_close(batch["pixel_values"], expected, rtol=1e-6, atol=1e-4)


def test_cutmix_puts_a_box_of_one_into_the_other_and_counts_its_pixels():
    batch = mixes(cutmix=1.0)
    rows = zip(
        *(batch[n] for n in ("pixel_values", "labels", "other_labels", "share")), strict=True
    )
    for pixels, label, other, share in rows:
        assert torch.equal(pixels[0], pixels[1])
        mine = pixels[0] == label
        assert bool((pixels[0][~mine] == other).all())
        if label != other:
            assert share == mine.float().mean()
            ys, xs = (~mine).nonzero().unbind(1)
            area = (ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1) if len(ys) else 0
            assert area == len(ys)  # it is a box


@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 0.4}])
def test_a_pictures_partner_is_another_of_the_batch_each_once(alphas):
    batch = mixes(40, **alphas)
    assert batch["labels"].tolist() == list(range(40))
    assert sorted(batch["other_labels"].tolist()) == list(range(40))
    assert (batch["other_labels"] != batch["labels"]).sum() > 30
    assert batch["share"].shape == (40,) and batch["share"].dtype == torch.float32


@pytest.mark.parametrize(("alpha", "name"), [(0.4, "mixup"), (1.0, "mixup"), (5.0, "mixup")])
def test_shares_are_drawn_from_a_beta_distribution(alpha, name):
    share = mixes(**{name: alpha})["share"].double()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(share.mean() - 0.5) < 5 * math.sqrt(variance / 600)
    # the fourth moment about the mean bounds the error of a variance: at most 1/16 here
    assert abs(share.var() - variance) < 5 * math.sqrt((1 / 16 - variance**2) / 600)


def test_with_both_a_coin_decides():
    batch = mixes(mixup=1.0, cutmix=1.0)
    different = batch["labels"] != batch["other_labels"]
    plain = (batch["pixel_values"].flatten(1) == batch["pixel_values"][:, 0, :1, 0]).all(1)
    whole = different & (batch["share"] > 0) & (batch["share"] < 1)
    share = plain[whole].float().mean()  # a mixup is all one colour, a cutmix is not
    assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(int(whole.sum()))


def test_mixing_differs_from_step_to_step_and_follows_from_the_seed():
    mixed = Mixed(Planes(), mixup=0.4, cutmix=1.0)
    first, again, other = (made(mixed, seed=seed) for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["share"], other["share"])
    assert not torch.equal(first["other_labels"], other["other_labels"])


@pytest.mark.parametrize("own", [slice(0, 3), slice(3, 6), slice(6, 9), slice(4, 5)], ids=str)
def test_a_slice_mixes_its_rows_with_those_of_others(own):
    mixed = Mixed(Planes(), mixup=0.4, cutmix=1.0)
    chosen = [8, 1, 7, 2, 6, 3, 5, 4, 0]
    whole, part = made(mixed, chosen), made(mixed, chosen, own)
    assert all(torch.equal(part[name], whole[name][own]) for name in whole)


def test_the_samples_underneath_are_left_as_they_are():
    held = torch.arange(9.0).view(9, 1, 1, 1).expand(9, 2, 6, 5).contiguous()

    class Kept(Planes):
        def batch(self, chosen, generator, own):
            return {"pixel_values": held, "labels": chosen[own]}

    before = held.clone()
    made(Mixed(Kept(), cutmix=1.0, mixup=1.0))
    assert torch.equal(held, before)


def test_what_is_mixed_has_the_names_and_number_of_what_it_is_made_of():
    mixed = Mixed(Planes(), mixup=0.4)
    assert len(mixed) == 9
    assert (mixed.names([2]), mixed.unit) == (["plane 2"], "images")


# height, width, share, centre -> the rows and columns of the box
BOXES = {
    "a quarter in the middle": (8, 12, 0.75, (0.5, 0.5), (2, 6, 3, 9)),
    "odd sides": (9, 9, 1 - 1 / 9, (0.5, 0.5), (2, 5, 2, 5)),
    "cut off at the first corner": (8, 12, 0.75, (0.0, 0.0), (0, 2, 0, 3)),
    "cut off at the last": (8, 12, 0.75, (0.999, 0.999), (5, 8, 8, 12)),
    "all of it": (8, 12, 0.0, (0.5, 0.5), (0, 8, 0, 12)),
    "nothing": (8, 12, 1.0, (0.5, 0.5), (4, 4, 6, 6)),
}


@pytest.mark.parametrize("case", BOXES)
def test_a_box_is(case):
    height, width, share, centre, expected = BOXES[case]
    rows, columns = box_of(height, width, share, centre)
    assert (rows.start, rows.stop, columns.start, columns.stop) == expected


@pytest.mark.parametrize("case", BOXES)
def test_the_share_left_is_that_of_the_pixels(case):
    height, width, share, centre, _ = BOXES[case]
    image = torch.zeros(2, height, width)
    left = put_box(image, torch.ones(2, height, width), share, centre)
    assert left == pytest.approx(1 - image.mean().item())


def test_boxes_lie_everywhere():
    covered = np.zeros((8, 12))
    random = np.random.default_rng(1)
    for _ in range(300):
        covered[box_of(8, 12, 0.75, random.random(2))] += 1
    assert covered.min() > 0.2 * covered.max()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "neither mixup nor cutmix is above 0: use the samples as they are"),
        ({"mixup": -0.1}, "mixup is -0.1; expected 0 or more, such as 0.2"),
        ({"cutmix": math.nan}, "cutmix is nan; expected 0 or more"),
        ({"mixup": math.inf}, "mixup is inf"),
    ],
    ids=str,
)
def test_no_such_mix(options, words):
    with pytest.raises(ValueError, match=words):
        Mixed(Planes(), **options)


@pytest.mark.parametrize("name", ["pixel_values", "labels"])
def test_samples_without_pixels_or_labels_cannot_be_mixed(name):
    left = ({"pixel_values", "labels"} - {name}).pop()
    with pytest.raises(ValueError, match=rf"need pixel_values and labels.*give \['{left}'\]"):
        made(Mixed(Planes(without=(name,)), mixup=0.4))
