"""golden/english-next: what its rows must be for their answers to mean something."""

from collections import Counter
from pathlib import Path

import pytest

from zoo.evaluate.rows import read_rows
from zoo.tokenizers import Tokenizer

ROOT = Path(__file__).parents[2] / "golden"
ROWS = read_rows(ROOT / "english-next")
CHOICES = [row for row in ROWS if row.task == "choice" and row.of is None]
MEMORY = [row for row in CHOICES if "memory" in row.segments]
TEXTS = [row for row in ROWS if row.task == "text" and row.of is None]
KINDS = ("agreement", "punctuation", "numbers", "formula", "memory", "grammar", "meaning", "edge")
PERIODS = ("period-1790", "period-1850", "period-1900", "period-1950")
NEAR, FAR = 40, 100  # tokens between a name and its return: short up to, long from


@pytest.fixture(scope="module")
def count():
    """Count tokens as the model of this set does."""
    tokenizer = Tokenizer.from_folder(ROOT / "gpt2-english")
    return lambda text: len(tokenizer.encode(text, special=False))


def wrong_of(row):
    return [choice for choice in row.fields["choices"] if choice != row.fields["answer"]]


def lead(row, count):
    """Give how many tokens more the right continuation has than the wrong one."""
    prompt = row.fields["prompt"]
    (wrong,) = wrong_of(row)
    return count(prompt + row.fields["answer"]) - count(prompt + wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_question_is_asked_often_enough(kind):
    assert sum(kind in row.segments for row in CHOICES) >= 25


@pytest.mark.parametrize("kind", [*PERIODS, "outside"])
def test_every_period_has_its_passages(kind):
    assert sum(kind in row.segments for row in TEXTS) >= 10


def test_a_row_is_named_after_its_segment():
    odd = [row.id for row in CHOICES + TEXTS if row.id.rpartition("-")[0] != row.segments[0]]
    assert odd == []


def test_continuations_are_of_one_length_in_tokens(count):
    """Log-probs are summed: a token more costs what no question asks for."""
    assert [row.id for row in CHOICES if abs(lead(row, count)) > 1] == []


def test_the_shorter_continuation_is_no_hint(count):
    signs = Counter(lead(row, count) for row in CHOICES)
    assert 0.4 <= signs[1] / (signs[1] + signs[-1]) <= 0.6


def test_the_first_choice_is_no_hint():
    first = sum(row.fields["choices"][0] == row.fields["answer"] for row in CHOICES)
    assert 0.4 <= first / len(CHOICES) <= 0.6


@pytest.mark.parametrize(("one", "many"), [(" is", " are"), (" has", " have"), (" was", " were")])
def test_one_and_many_are_right_about_as_often(one, many):
    pair = {one, many}
    asked = [row.fields["answer"] for row in CHOICES if set(row.fields["choices"]) == pair]
    assert 0.3 <= asked.count(one) / len(asked) <= 0.7


def test_what_must_be_remembered_was_said_and_the_other_was_not():
    for row in MEMORY:
        prompt = row.fields["prompt"].lower()
        assert row.fields["answer"].strip().lower() in prompt, row.id
        assert not any(wrong.strip().lower() in prompt for wrong in wrong_of(row)), row.id


def test_the_distance_is_what_the_segment_says(count):
    for row in MEMORY:
        name = row.fields["answer"].strip().lower()
        behind = row.fields["prompt"].lower().partition(name)[2]
        back = count(behind)
        said = "short" if back <= NEAR else "long" if back >= FAR else "medium"
        assert f"memory-{said}" in row.segments, f"{row.id}: {back} tokens back"


def test_memory_cannot_be_passed_by_the_likelier_name():
    """Rows of a pair differ in the name that was said: who prefers one name passes one of two."""
    asked = Counter(
        tuple(sorted(row.fields["choices"])) for row in MEMORY if "memory-pair" in row.segments
    )
    right = {(row.fields["answer"], *sorted(row.fields["choices"])) for row in MEMORY}
    pairs = [names for names in asked for name in names if (name, *names) in right]
    assert len(pairs) == 2 * len(asked)


def test_a_variant_offers_what_its_row_offers():
    rows = {row.id: row for row in ROWS}
    for row in ROWS:
        if row.of is not None and row.task == "choice":
            assert row.fields["choices"] == rows[row.of].fields["choices"], row.id
            assert row.fields["prompt"] != rows[row.of].fields["prompt"], row.id


def test_passages_are_of_a_size_that_the_model_reads_nearly_whole(count):
    for row in TEXTS:
        assert 400 <= len(row.fields["text"].encode()) <= 900, row.id
        assert count(row.fields["text"]) <= 280, row.id


def test_a_shuffled_passage_holds_the_same_words():
    rows = {row.id: row for row in ROWS}
    shuffled = [row for row in ROWS if row.of is not None and row.task == "text"]
    for row in shuffled:
        words = row.fields["text"].split()
        before = rows[row.of].fields["text"].split()
        assert sorted(words) == sorted(before), row.id
        assert words != before, row.id
    assert len(shuffled) >= 5


def test_enough_rows_have_twins_and_enough_are_pinned():
    flags = Counter(flag for row in CHOICES for flag in row.flags)
    assert flags["robust"] >= 40
    assert flags["edge"] >= 20
    assert flags["pinned"] >= 25
