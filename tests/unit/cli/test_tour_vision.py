"""What the tour says of the drawings that it found."""

import pytest

from zoo.cli.tour_vision import found_line

LONG = "grinning cat face with smiling eyes and tears of joy"
FOUND = {
    "four": (["cat", "dog", "cow", "pig", "hen"], "   a pet:           cat, dog, cow, pig"),
    "as many as fit": ([LONG, "cat", LONG, "dog"], f"   a pet:           {LONG}, cat"),
    "one": ([LONG * 2, "cat"], f"   a pet:           {LONG * 2}"),
    "fewer": (["cat"], "   a pet:           cat"),
}


@pytest.mark.parametrize("what", FOUND)
def test_names_are_told_as_far_as_they_fit(what):
    names, line = FOUND[what]
    assert found_line("a pet", [{"name": name, "cosine": 0.5} for name in names]) == line
