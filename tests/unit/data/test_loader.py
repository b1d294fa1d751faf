import gc
import threading
import time
from itertools import count

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.loader import Loader
from zoo.data.order import Order, uniform
from zoo.data.samples import row_seeds, version_of


class Numbers:
    """Sample i is a row of i + 1 numbers, its own and one drawn for each; `bad` cannot be read."""

    unit = "texts"
    version = "sha256:0"

    def __init__(self, count, bad=()):
        self.count, self.bad = count, bad
        self.threads = set()

    def __len__(self):
        return self.count

    def names(self, chosen):
        return [f"row {i}" for i in chosen]

    def batch(self, chosen, generator, own):
        self.threads.add(threading.current_thread())
        rows = chosen[own]
        for row in rows.tolist():
            if row in self.bad:
                raise ValueError(f"row {row} is bad")
        draws = torch.from_numpy(uniform(row_seeds(len(chosen), generator, own), self.count))
        longest = int(rows.max()) + 1
        places = torch.arange(longest)
        mask = places <= rows[:, None]
        return {
            "input_ids": torch.where(mask, rows[:, None], -1),
            "attention_mask": mask.long(),
            "drawn": torch.where(mask, draws[:, :longest], torch.nan),
        }


def loader(count=11, batch=6, seed=5, samples=None, whole=False, **options):
    samples = samples or Numbers(count)
    return Loader(samples, Order(count, batch, seed, whole), seed=seed, **options)


def real_rows(batches):
    """Give each row without its padding, in order."""
    return [
        tuple((name, tuple(tensor[i][batch["attention_mask"][i].bool()].tolist()))
              for name, tensor in batch.items())
        for batch in batches
        for i in range(len(batch["input_ids"]))
    ]  # fmt: skip


def of_all(step, world, micros, **options):
    """Give a step's rows, ranks and micro batches end to end, and the share of each rank."""
    shares = [
        next(loader(start=step, rank=rank, world=world, micros=micros, threaded=False, **options))
        for rank in range(world)
    ]
    return real_rows([batch for share in shares for batch in share.micros]), shares


@given(
    count=st.integers(1, 17),
    rows=st.integers(1, 3),
    splits=st.lists(
        st.sampled_from([(1, 1), (2, 1), (1, 2), (3, 1), (2, 3), (6, 1)]), min_size=1, max_size=3
    ),
    interrupted=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_any_split_and_any_interruption_give_what_one_process_gives(
    count, rows, splits, interrupted, seed
):
    batch = 6 * rows
    options = {"count": count, "batch": batch, "seed": seed}
    alone = loader(**options, threaded=False)
    whole = [next(alone) for _ in range(interrupted + len(splits))]
    taken = []
    for share in whole[:interrupted]:
        taken += share.chosen.tolist()
    # from here on every step is taken by other processes than the last
    for expected, (world, micros) in zip(whole[interrupted:], splits, strict=True):
        found, shares = of_all(expected.step, world, micros, **options)
        assert found == real_rows(expected.micros)
        for share in shares:
            assert (share.step, share.chosen.tolist()) == (expected.step, expected.chosen.tolist())
            taken += share.chosen[share.own].tolist()
    epochs = [taken[i : i + count] for i in range(0, len(taken), count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs[:-1])
    assert len(set(epochs[-1])) == len(epochs[-1])


def test_a_process_has_the_names_and_rows_of_its_part():
    _, shares = of_all(2, 3, 2)
    chosen = shares[0].chosen.tolist()
    assert [share.own for share in shares] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert [len(share.micros) for share in shares] == [2, 2, 2]
    names = [name for share in shares for name in share.names()]
    assert names == [f"row {i}" for i in chosen]
    firsts = [int(b["input_ids"][0, 0]) for share in shares for b in share.micros]
    assert firsts == chosen


def test_steps_follow_each_other_from_the_start():
    with loader(start=4) as shares:
        assert shares.step == 4
        assert [next(shares).step for _ in range(3)] == [4, 5, 6]
        assert shares.step == 7


def test_draws_differ_from_step_to_step_and_from_seed_to_seed():
    def draws(seed):
        shares = loader(count=1, batch=1, seed=seed, threaded=False)
        return [next(shares).micros[0]["drawn"].item() for _ in range(4)]

    assert draws(5) == draws(5)
    assert len({*draws(5), *draws(6)}) == 8


def test_a_thread_changes_nothing_but_who_works():
    samples = Numbers(11), Numbers(11)
    with loader(samples=samples[0]) as one, loader(samples=samples[1], threaded=False) as other:
        for _ in range(7):
            first, second = next(one), next(other)
            assert first.step == second.step
            assert real_rows(first.micros) == real_rows(second.micros)
    here = threading.current_thread()
    assert here not in samples[0].threads and len(samples[0].threads) == 1
    assert samples[1].threads == {here}


def test_the_next_share_is_made_while_one_is_used():
    made, asked = threading.Event(), []

    class Signalling(Numbers):
        def batch(self, chosen, generator, own):
            if asked:
                made.set()
            asked.append(chosen)
            return super().batch(chosen, generator, own)

    with loader(samples=Signalling(11)) as shares:
        next(shares)
        assert made.wait(60)


@pytest.mark.parametrize("threaded", [True, False])
def test_what_goes_wrong_is_raised_at_its_step_and_again_when_asked_again(threaded):
    order = Order(11, 6, seed=5)
    bad = order.at(3)[2].item()
    first = next(step for step in range(4) if bad in order.at(step))
    with loader(samples=Numbers(11, bad={bad}), threaded=threaded) as shares:
        for step in range(first):
            assert next(shares).step == step
        for _ in range(2):
            with pytest.raises(ValueError, match=f"row {bad} is bad"):
                next(shares)
            assert shares.step == first
        shares.plan.samples.bad = ()
        assert next(shares).step == first


def ended(threads):
    """Wait until threads are gone; the test's own time limit is what ends this otherwise."""
    for thread in threads:
        thread.join(60)
    return not any(thread.is_alive() for thread in threads)


def test_closing_ends_the_thread_and_the_shares():
    samples = Numbers(11)
    shares = loader(samples=samples)
    next(shares)
    shares.close()
    assert not any(thread.is_alive() for thread in samples.threads)
    assert list(shares) == []
    shares.close()


def test_a_block_left_by_an_error_ends_the_thread():
    samples = Numbers(11)

    def interrupted():
        with loader(samples=samples) as shares:
            next(shares)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert samples.threads and not any(thread.is_alive() for thread in samples.threads)


def test_a_forgotten_loader_ends_its_thread():
    samples = Numbers(11)
    shares = loader(samples=samples)
    next(shares)
    del shares
    gc.collect()
    assert ended(samples.threads)


def test_a_loader_that_gave_nothing_has_no_thread():
    before = threading.active_count()
    shares = loader()
    assert threading.active_count() == before
    shares.close()


def test_a_busy_thread_is_waited_for():
    class Slow(Numbers):
        def batch(self, chosen, generator, own):
            time.sleep(0.05)
            return super().batch(chosen, generator, own)

    samples = Slow(11)
    with loader(samples=samples) as shares:
        next(shares)
    assert not any(thread.is_alive() for thread in samples.threads)


def test_torchs_own_generator_is_left_alone():
    before = torch.get_rng_state()
    next(loader(threaded=False))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 14, "world": 3, "micros": 2}, "14 does not split evenly over 3 processes of 2 "
         "micro batches each: take a batch of 12 or 18$"),
        ({"batch": 4, "world": 3, "micros": 2}, "take a batch of 6$"),
        ({"batch": 12, "world": 2, "micros": 4}, "take a batch of 8 or 16, or "
         "micros of 1, 2, 3 or 6$"),
        ({"batch": 2, "world": 2, "micros": 3}, "take a batch of 6, or micros of 1$"),
        ({"micros": 0}, "micros is 0: give at least 1"),
        ({"rank": 2, "world": 2}, "rank 2 of 2: ranks go from 0 to world - 1"),
        ({"rank": -1}, "rank -1 of 1"),
        ({"world": 0}, "rank 0 of 0"),
        ({"start": -1}, "step -1: steps are counted from 0"),
        ({"samples": Numbers(12)}, "the order is over 11 samples and there are 12"),
    ],
    ids=count(),
)  # fmt: skip
def test_what_cannot_be_split_is_refused_with_what_can(options, words):
    with pytest.raises(ValueError, match=words):
        loader(**options)


def test_facts_are_those_of_the_same_batches():
    facts = loader().facts()
    loader(world=3, micros=2, start=9).check_facts(facts)
    assert facts == {
        "seed": 5,
        "order_seed": 5,
        "count": 11,
        "batch": 6,
        "whole": False,
        "data": "sha256:0",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 12}, "batch was 6 and is 12; resume with the data"),
        ({"count": 12}, "count was 11 and is 12"),
        ({"seed": 6}, "seed was 5 and is 6, order_seed was 5 and is 6"),
        ({"whole": True}, "whole was False and is True"),
    ],
    ids=str,
)
def test_facts_of_other_batches_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        loader(**options).check_facts(loader().facts())


def test_facts_of_other_data_are_refused():
    saved = loader().facts() | {"data": "sha256:1"}
    with pytest.raises(ValueError, match="data was 'sha256:1' and is 'sha256:0'"):
        loader().check_facts(saved)
    with pytest.raises(ValueError, match="data was None and is"):
        loader().check_facts({name: saved[name] for name in saved if name != "data"})


def test_a_version_tells_its_parts_and_their_order_apart():
    versions = {version_of(*parts) for parts in [("a", 1), (1, "a"), ("a", "1"), ("a",), ("a1",)]}
    assert len(versions) == 5
    assert version_of("a", 1) == version_of("a", 1)
    assert version_of({"x": 1, "y": 2}) == version_of({"y": 2, "x": 1})
