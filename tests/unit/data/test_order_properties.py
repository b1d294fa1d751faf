"""Orders, splits over processes, masks and mixtures, whatever their numbers."""

import re

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from unit.property_rows import examples, seeds
from zoo.data.loader import check_split
from zoo.data.masking import counts, shown, single, whole_words
from zoo.data.mix import Mixed, box_of, put_box
from zoo.data.order import Order, seed_of, uniform

some = st.integers(1, 12)
shares = st.integers(0, 16).map(lambda n: n / 16)


@examples(26)
@given(
    count=some,
    batch=some,
    whole=st.booleans(),
    seed=seeds,
    start=st.integers(0, 30),
    steps=st.integers(1, 6),
)
def test_steps_end_to_end_are_permutations_end_to_end(count, batch, whole, seed, start, steps):
    if whole and batch > count:
        with pytest.raises(ValueError, match=f"a batch of {batch} from {count} samples"):
            Order(count, batch, seed, whole)
        return
    order = Order(count, batch, seed, whole)
    taken = torch.cat([order.at(step) for step in range(start, start + steps)]).tolist()
    epoch, place = order.progress(start)
    expected = []
    while len(expected) < place + len(taken):
        permuted = order.permutation(epoch).tolist()
        assert sorted(permuted) == list(range(count))
        expected += permuted[: count // batch * batch if whole else count]
        epoch += 1
    assert taken == expected[place : place + len(taken)]


@examples(20)
@given(
    numbers=st.lists(st.integers(-(2**70), 2**70), min_size=2, max_size=4),
    count=st.integers(0, 6),
    skip=st.integers(0, 6),
)
def test_seeds_and_streams_are_in_their_ranges_and_made_of_pieces(numbers, count, skip):
    seed = seed_of(*numbers)
    assert 0 <= seed < 2**63
    assert seed == seed_of(*(n % 2**64 for n in numbers))
    stream = uniform(torch.tensor([seed, 1]), skip + count)
    assert ((stream >= 0) & (stream < 1)).all()
    assert np.array_equal(uniform(torch.tensor([1, seed]), count, skip), stream[::-1, skip:])


@examples(40)
@example(batch=12, world=2, rank=0, micros=4)
@given(
    batch=st.integers(1, 40),
    world=st.integers(-1, 8),
    rank=st.integers(-1, 9),
    micros=st.integers(-1, 6),
)
def test_a_split_is_even_or_refused_with_numbers_that_would_do(batch, world, rank, micros):
    if world < 1 or not 0 <= rank < world:
        with pytest.raises(ValueError, match=rf"^rank {rank} of {world}: "):
            check_split(batch, rank, world, micros)
    elif micros < 1:
        with pytest.raises(ValueError, match=rf"^micros is {micros}: "):
            check_split(batch, rank, world, micros)
    elif batch % (world * micros) == 0:
        check_split(batch, rank, world, micros)
    else:
        with pytest.raises(ValueError, match=rf"^a batch of {batch} does not split") as caught:
            check_split(batch, rank, world, micros)
        fix = str(caught.value).partition("take a batch of ")[2]
        sizes, _, others = fix.partition(", or micros of ")
        for size in re.findall(r"\d+", sizes):
            check_split(int(size), rank, world, micros)
        for number in re.findall(r"\d+", others):
            check_split(batch, rank, world, int(number))
        assert bool(others) == (batch % world == 0)


tables = st.integers(1, 8).flatmap(
    lambda t: st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=1, max_size=3)
)


@examples(20)
@given(rows=tables, rate=shares, seed=seeds, order=st.permutations([4, 2, 5, 0, 7, 3, 1, 6]))
def test_as_many_candidates_are_chosen_as_the_rate_says_wherever_they_stand(
    rows, rate, seed, order
):
    candidates = np.array(rows)
    draws = uniform(torch.tensor([seed + i for i in range(len(rows))]), candidates.shape[1])
    chosen = single(candidates, draws, rate)
    assert not (chosen & ~candidates).any()
    most = np.minimum(counts(candidates, rate), candidates.sum(1))
    assert (chosen.sum(1) == most).all()
    at = [i for i in order if i < candidates.shape[1]]
    assert np.array_equal(single(candidates[:, at], draws[:, at], rate), chosen[:, at])
    apart = np.zeros_like(candidates)
    assert np.array_equal(whole_words(candidates, apart, draws, rate), chosen)


@examples(20)
@given(rows=tables, inner=st.lists(st.booleans(), min_size=8, max_size=8), rate=shares, seed=seeds)
def test_words_are_chosen_whole_and_not_too_many(rows, inner, rate, seed):
    candidates = np.array(rows)
    goes_on = np.array([inner[: candidates.shape[1]]] * len(rows))
    draws = uniform(torch.tensor([seed + i for i in range(len(rows))]), candidates.shape[1])
    chosen = whole_words(candidates, goes_on, draws, rate)
    assert not (chosen & ~candidates).any()
    most = counts(candidates, rate)
    for row in range(len(rows)):
        words, word = [], []
        for i, candidate in enumerate(candidates[row]):
            if not (candidate and goes_on[row, i] and word):
                words, word = [*words, word], []
            word = [*word, i] if candidate else []
        words = [word for word in [*words, word] if word]
        taken = [word for word in words if chosen[row, word].any()]
        assert all(chosen[row, word].all() for word in taken)
        assert bool(taken) == bool(words)
        size = sum(map(len, taken))
        assert size <= most[row] or len(taken) == 1
        left = [len(word) for word in words if word not in taken]
        assert size > most[row] or all(n > most[row] - size for n in left)  # no more would fit


@examples(13)
@given(
    seed=seeds, t=st.integers(1, 9), others=st.lists(st.integers(10, 19), min_size=1, max_size=4)
)
def test_only_what_is_chosen_is_shown_otherwise(seed, t, others):
    draws = uniform(torch.tensor([seed, seed + 1, seed + 2]), t)
    ids, chosen = np.arange(20, 20 + t)[None], draws[:1] < 0.6
    seen = shown(ids, chosen, draws[1:2], draws[2:3], 3, np.array(others))
    assert (seen[~chosen] == ids[~chosen]).all()
    how = draws[1:2]
    assert (seen[chosen & (how < 0.8)] == 3).all()
    assert np.isin(seen[chosen & (how >= 0.8) & (how < 0.9)], others).all()
    assert (seen[chosen & (how >= 0.9)] == ids[chosen & (how >= 0.9)]).all()


@examples(26)
@given(height=some, width=some, share=shares, y=shares, x=shares)
def test_a_box_lies_in_the_picture_about_its_centre_and_its_share_is_counted(
    height, width, share, y, x
):
    centre = np.array([y, x]) * 15 / 16  # below 1
    box = box_of(height, width, share, centre)
    for side, part, place in zip((height, width), box, centre, strict=True):
        assert 0 <= part.start <= side and 0 <= part.stop <= side
        most = int(side * (1 - share) ** 0.5)
        assert part.stop - part.start <= most
        assert part.start <= int(place * side) <= max(part.stop, part.start)
        if part.start > 0 and part.stop < side:
            assert part.stop - part.start == most
    image, other = torch.zeros(2, height, width), torch.ones(2, height, width)
    left = put_box(image, other, share, centre)
    assert left == 1 - int(image[0].sum()) / (height * width)
    assert torch.equal(image[0], image[1])
    assert image[:, *box].all() and image.sum() == image[:, *box].sum()


class Pictures:
    """Sample i is a picture full of i, and of class i."""

    unit, version = "images", "sha256:0"

    def __len__(self):
        return 40

    def names(self, chosen):
        return [str(i) for i in chosen]

    def batch(self, chosen, generator, own):
        rows = chosen[own]
        pixels = rows.double()[:, None, None, None].expand(-1, 1, 4, 5).clone()
        return {"pixel_values": pixels, "labels": rows}


@examples(13)
@given(
    rows=st.integers(1, 7),
    start=st.integers(0, 6),
    mixup=st.sampled_from([0.0, 0.2, 1.0]),
    cutmix=st.sampled_from([0.0, 1.0]),
    seed=seeds,
)
def test_a_mixture_has_the_shares_that_it_says_and_each_partner_once(
    rows, start, mixup, cutmix, seed
):
    if not mixup and not cutmix:
        with pytest.raises(ValueError, match="neither mixup nor cutmix is above 0"):
            Mixed(Pictures(), mixup=mixup, cutmix=cutmix)
        return
    samples = Mixed(Pictures(), mixup=mixup, cutmix=cutmix)
    chosen = torch.randperm(40, generator=torch.Generator().manual_seed(seed))[:rows]

    def make(own):
        return samples.batch(chosen, torch.Generator().manual_seed(seed), own)

    batch = make(slice(0, rows))
    assert sorted(batch["other_labels"].tolist()) == sorted(chosen.tolist())
    share = batch["share"].double()
    assert ((share >= 0) & (share <= 1)).all()
    mean = share * batch["labels"] + (1 - share) * batch["other_labels"]
    # pictures of one number each: what a picture holds of either shows in its mean
    found = batch["pixel_values"].double().mean((1, 2, 3))
    torch.testing.assert_close(found, mean, rtol=0, atol=40 * 2.0**-23 * 20)
    part = make(slice(min(start, rows), rows))
    assert all(torch.equal(part[name], batch[name][min(start, rows) :]) for name in batch)


@examples(13)
@given(alpha=st.floats(-2, 2, width=16) | st.sampled_from([float("nan"), float("inf")]))
def test_an_alpha_that_is_none_is_refused(alpha):
    if 0 < alpha < float("inf"):
        assert len(Mixed(Pictures(), mixup=alpha)) == 40
        return
    words = "neither" if alpha == 0 else f"cutmix is {alpha}; expected 0 or more"
    with pytest.raises(ValueError, match=words):
        Mixed(Pictures(), cutmix=alpha)
