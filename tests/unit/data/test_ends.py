"""The end of a text is kept back, cut where it may be; together the parts are the text."""

import pandas as pd
import pytest

from zoo.data import from_frame
from zoo.data.ends import cut_before, ends_kept_back

PARAGRAPHS = "\n\n".join(f"Paragraph {i} has a few words of its own." for i in range(40))


def rows_of(**texts):
    frame = pd.DataFrame({"id": [*texts], "text": [*texts.values()]})
    return from_frame(frame.assign(split="train"), "text")


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_parts_are_the_text_and_the_end_is_the_share(share):
    rows = ends_kept_back(rows_of(book=PARAGRAPHS), share)
    begin, end = rows.frame["text"]
    assert begin + end == PARAGRAPHS
    assert list(rows.frame["split"]) == ["train", "valid"]
    assert end.startswith("Paragraph")  # cut between paragraphs
    assert abs(len(end) / len(PARAGRAPHS) - share) < 0.06


def test_what_is_in_another_split_stays_and_so_does_a_text_without_an_end():
    frame = pd.DataFrame(
        {"id": ["a", "b"], "text": ["oneword", PARAGRAPHS], "split": ["train", "test"]}
    )
    rows = ends_kept_back(from_frame(frame, "text"), 0.1)
    assert list(rows.frame["text"]) == ["oneword", PARAGRAPHS]
    assert list(rows.frame["split"]) == ["train", "test"]


CUTS = {
    "a paragraph": ("one two\n\nthree\nfour five", 18, 9),
    "a line": ("one two\nthree four", 15, 8),
    "a word": ("one two three", 9, 8),
    "nothing": ("onetwothree", 9, 11),
    "only spaces before": (" onetwothree", 9, 12),
}


@pytest.mark.parametrize("what", CUTS)
def test_a_cut_is_at_the_best_break_before_its_place(what):
    text, place, expected = CUTS[what]
    assert cut_before(text, place) == expected


FAR = {
    # eighty letters back, or a hundredth of the text: no farther, however good the break there
    "a break that is just near": ("a\n\n" + "b" * 60 + " " + "c" * 30, 81, 3),
    "a break that is too far": ("a\n\n" + "b" * 60 + " " + "c" * 30, 83, 64),
    "a long text": ("a" * 9900 + "\n\n" + "b" * 40 + " " + "c" * 57, 9999, 9902),
    "a long text, too far": ("a" * 9800 + "\n\n" + "b" * 140 + " " + "c" * 57, 9999, 9943),
    "a break at the place itself": ("one two", 3, 7),
    "a break before the place": ("one two", 4, 4),
    "the last of several": ("a b c d e", 6, 6),
}


@pytest.mark.parametrize("what", FAR)
def test_a_cut_is_near_its_place(what):
    text, place, expected = FAR[what]
    assert cut_before(text, place) == expected


def test_ids_and_the_whole_of_other_splits_are_kept():
    rows = ends_kept_back(rows_of(book=PARAGRAPHS, word="one"), 0.1)
    assert list(rows.frame["id"]) == ["book", "book (its end)", "word"]
    blank = rows_of(book="a few words" + " " * 30)
    assert list(ends_kept_back(blank, 0.5).frame["id"]) == ["book"]
