"""Options that mean nothing are refused where they are made."""

from itertools import count

import pytest

from zoo.generate import Sampling

NAN = float("nan")
INF = float("inf")
WHOLE = ("max_new_tokens", "top_k", "beams")
REAL = ("temperature", "top_p", "min_p", "repetition_penalty", "length_penalty")


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("max_new_tokens", [0, -1], "a whole number of at least 1"),
        ("top_k", [0, -5], "a whole number of at least 1"),
        ("beams", [0, -1], "a whole number of at least 1"),
        ("seed", [-1, 2**64], r"a whole number from 0 to 2\*\*64 - 1"),
        ("temperature", [-0.1, NAN, INF], "a number from 0 to inf"),
        ("top_p", [-0.1, 1.1, NAN], "a number from 0 to 1"),
        ("top_p", [0, 0.0], "a number above 0"),
        ("min_p", [-0.1, 1.1, NAN], "a number from 0 to 1"),
        ("repetition_penalty", [-1.0, INF, NAN], "a number from 0 to inf"),
        ("repetition_penalty", [0, 0.0], "a number above 0"),
        ("length_penalty", [NAN, INF, -INF], "a number from -inf to inf"),
        ("stop_strings", ["", "end", ("",), ("a", "")], "expected (a tuple of )?strings"),
        ("stop_tokens", [(-1,), (3, -1), (True,)], "expected ids of at least 0"),
        *[(name, [True, False], "a whole number of at least 1") for name in WHOLE],
        ("seed", [True, False], "a whole number from 0 to"),
        *[(name, [True, False], "a number from ") for name in REAL],
    ],
    ids=count(),
)
def test_a_value_that_means_nothing_is_refused_by_name(name, values, sentence):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name} .*{sentence}"):
            Sampling(**{name: value})


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 1, "top_k": 1, "beams": 1, "seed": 0},
        {"seed": 2**64 - 1, "top_p": 1, "min_p": 0, "temperature": 0},
        {"min_p": 1, "length_penalty": 0, "repetition_penalty": 0.5, "top_p": None},
        {"length_penalty": -2.5, "beams": 5, "stop_tokens": (), "stop_strings": ()},
    ],
    ids=str,
)
def test_values_at_the_border_are_taken(options):
    made = Sampling(**options)
    assert {name: getattr(made, name) for name in options} == options


def test_lists_of_stops_become_tuples():
    made = Sampling(stop_tokens=[3, 4], stop_strings=["a"])
    assert (made.stop_tokens, made.stop_strings) == ((3, 4), ("a",))
    assert hash(made) == hash(Sampling(stop_tokens=(3, 4), stop_strings=("a",)))


@pytest.mark.parametrize("beams", [2, 3])
def test_beams_do_not_draw(beams):
    words = rf"beams {beams} with temperature 0.5: .* pass temperature=0"
    with pytest.raises(ValueError, match=words):
        Sampling(beams=beams, temperature=0.5)
