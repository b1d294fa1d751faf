"""When the next worker starts, and when whoever was refused should come back."""

import pytest

from zoo.serve.versions import LONGEST_WAIT, Pace, pause_after


def test_pauses_double_up_to_half_a_minute():
    assert [pause_after(lives) for lives in range(9)] == [0, 0, 1, 2, 4, 8, 16, 30, 30]


def pace(seconds, many, start=100.0):
    """Give the pace after so many requests that ended so far apart."""
    pace = Pace(last=start)
    for i in range(many):
        pace.end(start + seconds * (i + 1))
    return pace


@pytest.mark.parametrize(
    ("seconds", "waiting", "after"),
    [(0.001, 64, 1), (0.1, 64, 7), (0.25, 8, 2), (1.0, 12, 12), (1.0, 64, LONGEST_WAIT)],
)
def test_the_wait_is_what_the_queue_takes(seconds, waiting, after):
    assert pace(seconds, 1000).seconds_for(waiting) == after


def test_nothing_is_known_at_first():
    assert Pace().seconds_for(64) == 1


def test_idle_time_is_no_work():
    steady = pace(0.1, 1000)
    before = steady.seconds_for(64)
    steady.last += 3600  # it begins to be busy again
    steady.end(steady.last + 0.1)
    assert steady.seconds_for(64) == before
