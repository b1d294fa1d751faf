"""Stop strings: cut where they begin, wherever the pieces were cut."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.generate.stops import StopStrings, first_match

letters = st.text("ab", max_size=12)
stops = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def through(pieces, strings):
    """Push pieces; give what came out of each, what was held to the end, and whether it hit."""
    stop = StopStrings(strings)
    return [*map(stop.push, pieces), stop.flush()], stop.hit


def cut_by_hand(text, strings):
    """Read character by character; at the first end of a stop string, cut before the longest."""
    for end in range(len(text) + 1):
        ending = [s for s in strings if text[:end].endswith(s)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@pytest.mark.parametrize(
    ("pieces", "strings", "out"),
    [
        (["one", " two"], [], ["one", " two", ""]),
        (["one\n", "two"], ["\n"], ["one", "", ""]),
        (["one\n", "\ntwo"], ["\n\n"], ["one", "", ""]),
        (["one\n", "two"], ["\n\n"], ["one", "\ntwo", ""]),
        (["a STO", "P b"], ["STOP"], ["a ", "", ""]),
        (["a S", "T", "O", "P b", "c"], ["STOP"], ["a ", "", "", "", "", ""]),
        (["a ST", "UFF"], ["STOP"], ["a ", "STUFF", ""]),
        (["a ST"], ["STOP"], ["a ", "ST"]),
        (["xxabab", "abc"], ["ababc"], ["xx", "ab", ""]),
        (["STOP"], ["STOP"], ["", ""]),
        (["abcd"], ["bc", "abcd"], ["a", ""]),
        (["abc"], ["c", "abc", "bc"], ["", ""]),
        (["", "a"], ["a"], ["", "", ""]),
    ],
    ids=count(),
)
def test_pieces_come_out_up_to_the_stop_string(pieces, strings, out):
    assert through(pieces, strings)[0] == out


@given(pieces=st.lists(letters, max_size=6), strings=stops)
def test_the_text_is_cut_at_the_first_stop_string_however_it_came(pieces, strings):
    out, hit = through(pieces, strings)
    assert ("".join(out), hit) == cut_by_hand("".join(pieces), strings)


@given(pieces=st.lists(letters, max_size=6), strings=stops)
def test_no_part_of_a_stop_string_is_shown_early_and_nothing_else_waits(pieces, strings):
    stop = StopStrings(strings)
    shown = arrived = ""
    for piece in pieces:
        shown, arrived = shown + stop.push(piece), arrived + piece
        if stop.hit:
            break
        waits = arrived[len(shown) :]
        assert arrived.startswith(shown)
        assert not waits or any(s.startswith(waits) and s != waits for s in strings)
        tails = [arrived[i:] for i in range(len(arrived))]
        longest = max((len(t) for t in tails for s in strings if s.startswith(t)), default=0)
        assert len(waits) == longest


def test_after_a_stop_string_nothing_comes():
    stop = StopStrings(["."])
    assert [stop.push("a.b"), stop.push("c."), stop.flush()] == ["a", "", ""]
    assert stop.hit


def test_the_match_that_ends_first_counts_and_of_those_the_longest():
    assert first_match("abcd", ["abcd", "bc"]) == 1
    assert first_match("abcd", ["c", "abc", "bc"]) == 0
    assert first_match("abcd", ["x"]) is None
