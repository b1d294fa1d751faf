import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.order import Order, seed_of, uniform

# published with the generator (Vigna's splitmix64.c): the first five numbers of two streams
STREAMS = {
    1234567: (
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ),
    0: (
        16294208416658607535,
        7960286522194355700,
        487617019471545679,
        17909611376780542444,
        1961750202426094747,
    ),
}


@pytest.mark.parametrize("seed", STREAMS)
def test_a_seeds_stream_is_splitmix64s(seed):
    expected = np.array([[number >> 11 for number in STREAMS[seed]]]) * 2.0**-53
    assert np.array_equal(uniform(torch.tensor([seed]), 5), expected)


@pytest.mark.parametrize(("count", "skip"), [(4, 0), (1, 3), (3, 2), (0, 2)])
def test_a_number_of_a_stream_is_the_same_whatever_is_asked_for_with_it(count, skip):
    seeds = torch.tensor([5, 2**62 + 1, 7])
    whole = uniform(seeds, 6)
    assert np.array_equal(uniform(seeds, count, skip), whole[:, skip : skip + count])
    assert np.array_equal(uniform(seeds[1:2], count, skip), whole[1:2, skip : skip + count])


def test_numbers_lie_evenly_between_0_and_1():
    drawn = uniform(torch.arange(300), 100)
    assert drawn.min() >= 0 and drawn.max() < 1
    counts = np.histogram(drawn, 10, (0, 1))[0]
    # 30,000 draws, 3,000 a bin give or take 52: six of those
    assert abs(counts - 3000).max() < 6 * 52


def test_neighbours_give_seeds_of_which_half_the_bits_differ():
    grid = [(seed, step, rank) for seed in range(6) for step in range(6) for rank in range(6)]
    seeds = [seed_of(*numbers) for numbers in grid]
    assert len(set(seeds)) == len(grid)
    assert all(0 <= seed < 2**63 for seed in seeds)
    differing = [(a ^ b).bit_count() for a, b in itertools.pairwise(seeds)]
    # 63 fair bits differ in 31.5 give or take 4; 215 pairs: the mean within five of its errors
    assert abs(sum(differing) / len(differing) - 31.5) < 5 * 4 / len(differing) ** 0.5
    # torch's generator on the processor reads the lower 32 only
    assert len({seed & 0xFFFFFFFF for seed in seeds}) == len(grid)


def test_neighbouring_seeds_give_unrelated_streams():
    rows = [
        torch.rand(500, generator=torch.Generator().manual_seed(seed_of(3, step)))
        for step in range(30)
    ]
    off = torch.corrcoef(torch.stack(rows)) - torch.eye(30)
    # a correlation of 500 pairs has an error of 1 / sqrt(500); 435 pairs of rows stay in five
    assert off.abs().max() < 5 / 500**0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 2), (2, 1)),
        ((1, 2), (1, 2, 0)),
        ((1, 2, 0), (1, 2, 0, 0)),
        ((0, 1), (1, 0)),
        ((-1, 0), (1, 0)),
        ((0, 0), (2**63, 0)),
    ],
    ids=str,
)
def test_other_numbers_give_another_seed(one, other):
    assert seed_of(*one) != seed_of(*other)


def test_a_seed_is_the_same_everywhere():
    # by hand from the head of order.py; the first begins with the first number of STREAMS[0]
    found = [seed_of(0, 0), seed_of(1, 2), seed_of(7, 8, 9)]
    assert found == [6017775124710473527, 6804074658870690613, 3610148252783603806]


SIZES = [(13, 4), (13, 13), (5, 12), (1, 3), (12, 4), (7, 1)]


def taken(order, steps, start=0):
    return torch.cat([order.at(step) for step in range(start, start + steps)]).tolist()


@pytest.mark.parametrize(("count", "batch"), SIZES, ids=str)
def test_each_epoch_takes_each_sample_once(count, batch):
    order = Order(count, batch, seed=5)
    samples = taken(order, 4 * count)  # 4 batch epochs
    epochs = [samples[i : i + count] for i in range(0, len(samples), count)]
    assert len(epochs) == 4 * batch
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)


@pytest.mark.parametrize(("count", "batch"), [(13, 4), (13, 13), (12, 4), (7, 1)], ids=str)
def test_whole_batches_hold_no_sample_twice_and_leave_out_an_epochs_rest(count, batch):
    order = Order(count, batch, seed=5, whole=True)
    each = count // batch
    for epoch in range(3):
        samples = taken(order, each, start=epoch * each)
        assert len(set(samples)) == len(samples) == each * batch
        assert set(samples) <= set(range(count))
        assert [order.progress(epoch * each + i) for i in range(each)] == [
            (epoch, i * batch) for i in range(each)
        ]


def test_what_whole_batches_leave_out_is_not_always_the_same():
    order = Order(7, 3, seed=2, whole=True)
    left = {(set(range(7)) - set(taken(order, 2, start=2 * epoch))).pop() for epoch in range(20)}
    assert len(left) > 3


def test_epochs_have_orders_of_their_own():
    order = Order(50, 50, seed=5)
    epochs = [order.at(step).tolist() for step in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert list(range(50)) not in epochs


def test_the_order_follows_from_the_seed():
    first, again, other = (taken(Order(40, 6, seed), 9) for seed in (5, 5, 6))
    assert first == again
    assert first != other


@given(
    count=st.integers(1, 40),
    batch=st.integers(1, 50),
    steps=st.lists(st.integers(0, 60), max_size=8),
)
def test_a_step_is_the_same_whatever_was_asked_before(count, batch, steps):
    used = Order(count, batch, seed=3)
    for step in steps:
        fresh = Order(count, batch, seed=3)
        assert torch.equal(used.at(step), fresh.at(step))
        assert used.at(step).shape == (batch,)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, (0, 0)), (3, (0, 12)), (4, (1, 3)), (13, (4, 0))]
)
def test_progress_is_where_a_step_begins(step, expected):
    order = Order(13, 4, seed=5)
    assert order.progress(step) == expected
    epoch, place = expected
    assert order.at(step)[0] == order.permutation(epoch)[place]


def test_only_the_last_epoch_is_kept():
    order = Order(13, 4, seed=5)
    kept = order.permutation(2)
    assert order.permutation(2) is kept
    order.at(0)
    assert order.last[0] == 0
    assert torch.equal(order.permutation(2), kept)


def test_torchs_own_generator_is_left_alone():
    before = torch.get_rng_state()
    Order(13, 4, seed=5).at(7)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "0 samples make no batch: give at least one"),
        ({"batch": 0}, "a batch of 0 is none: give at least 1"),
        ({"batch": 14, "whole": True}, "a batch of 14 from 13 samples would hold one twice: take a "
         "batch of at most 13"),
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_make_no_batch_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Order(**{"count": 13, "batch": 4, "seed": 5} | options)


def test_a_step_before_the_first_is_refused():
    with pytest.raises(ValueError, match="step -1: steps are counted from 0"):
        Order(13, 4, seed=5).at(-1)
