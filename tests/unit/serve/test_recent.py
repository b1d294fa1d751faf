"""Two minutes of traffic: what is counted, what is forgotten, and quantiles to 5 %."""

import random
from collections import Counter

import pytest

from zoo.serve.recent import SECONDS, WINDOW, Recent, bin_of, quantile


def post(status=200, seconds=0.1, tokens=None):
    return {"method": "POST", "status": status, "seconds": seconds, "new_tokens": tokens}


def test_a_quantile_is_right_to_five_percent():
    draw = random.Random(3)
    values = sorted(draw.lognormvariate(-2, 1) for _ in range(999))
    counts = Counter(map(bin_of, values))
    for share, place in ((0.5, 499), (0.95, 949)):
        assert quantile(counts, share) == pytest.approx(values[place], rel=0.05)
    assert quantile(Counter(), 0.5) is None


@pytest.mark.parametrize(
    ("given", "kept"), [(0.0, 1e-4), (1e-9, 1e-4), (1e9, 1e3), (2.0, 2.0)], ids=repr
)
def test_a_latency_outside_of_all_bins_is_counted_at_the_end(given, kept):
    assert quantile(Counter([bin_of(given)]), 1.0) == pytest.approx(kept, rel=0.05)


def test_each_second_has_its_own_numbers_and_the_running_one_is_not_told():
    recent = Recent()
    for record in (post(tokens=5), post(429), post(503), post(500), post(504), post(404)):
        recent.heard(record, 1000.2)
    recent.heard(post(tokens=7), 1001.0)
    recent.heard(post(), 1002.5)
    load = recent.load(1002.9)
    assert {name: len(numbers) for name, numbers in load.items()} == dict.fromkeys(load, SECONDS)
    assert load["requests"][-3:] == [0, 6, 1]
    assert load["refused"][-2:] == [2, 0]
    assert load["failed"][-2:] == [2, 0]
    assert load["tokens"][-2:] == [5, 7]


def test_quantiles_look_back_a_window_and_at_answers_alone():
    recent = Recent()
    for seconds in (0.1, 0.2, 0.4):
        recent.heard(post(seconds=seconds), 500.0)
    recent.heard(post(429, seconds=0.001), 500.0)
    load = recent.load(500.0 + WINDOW + 1)
    assert load["p50"][-WINDOW - 1 :] == [*[pytest.approx(0.2, rel=0.05)] * WINDOW, None]
    assert load["p95"][-2] == pytest.approx(0.4, rel=0.05)
    assert load["p50"][-WINDOW - 2] is None


def test_what_is_older_than_two_minutes_is_forgotten():
    recent = Recent()
    for at in range(3 * SECONDS):
        recent.heard(post(), float(at))
    assert len(recent.seconds) == SECONDS
    assert recent.load(3.0 * SECONDS)["requests"] == [1] * SECONDS
    assert recent.load(9.0 * SECONDS)["requests"] == [0] * SECONDS


def test_looking_is_no_load():
    recent = Recent()
    recent.heard(post() | {"method": "GET"}, 7.0)
    assert not recent.seconds
