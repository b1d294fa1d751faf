"""Variants and twins are settled against their rows; those that cannot be are named."""

import pytest
import torch

from unit.evaluate.subjects import row, sorter, speaker
from zoo.evaluate.judges import judge, settled
from zoo.evaluate.judging import JudgeError
from zoo.evaluate.outcome import Outcome

FIRST = row("first", "label", text="the cat sat", label="ham")
OTHERS = ["sun", "rain", "a dog ran", "under the house", "and", "the the the"]


def varied():
    """Make a classifier whose answers differ: no class leads always if all have the same mean."""
    subject = sorter()
    batch = subject.tokenizer.batch([FIRST.fields["text"], *OTHERS])
    with torch.no_grad():
        subject.model.head.linear.bias -= subject.model(**batch).mean(0)
    return subject


def value_of(text):
    """Give the probability of ham, and the answer."""
    (found,) = judge([row("x", "label", text=text, label="ham")], varied(), ".")
    return found.value, found.answer


def test_an_invariant_row_passes_when_its_answer_is_that_of_its_row():
    texts = [*OTHERS, "The CAT sat"]  # the last one has the same tokens
    rows = [row(t, "label", test="inv", of="first", text=t) for t in texts]
    first, *found = judge([FIRST, *rows], varied(), ".")
    assert first.answer == value_of(FIRST.fields["text"])[1]
    assert [o.passed for o in found] == [value_of(t)[1] == first.answer for t in texts]
    assert {o.passed for o in found} == {True, False}
    assert [o.value for o in found] == pytest.approx([value_of(t)[0] for t in texts])


@pytest.mark.parametrize("text", OTHERS[:4])
@pytest.mark.parametrize("expect", ["up", "down"])
@pytest.mark.parametrize("share", [0.0, 0.999, 1.001])
def test_a_direction_passes_when_the_value_moves_far_enough(text, expect, share):
    moved = value_of(text)[0] - value_of("the cat sat")[0]
    rightly = (moved > 0) == (expect == "up")
    asked = row(
        "v", "label", test="dir", of="first", expect=expect, by=share * abs(moved), text=text
    )
    found = judge([asked, FIRST], varied(), ".")[0]
    assert found.passed is (rightly and share <= 1)
    assert found.right is None


@pytest.mark.parametrize("expect", ["up", "down"])
def test_what_does_not_move_goes_nowhere(expect):
    asked = row("v", "label", test="dir", of="first", expect=expect, text="The cat SAT")
    assert judge([FIRST, asked], sorter(), ".")[1].passed is False


@pytest.mark.parametrize("value", [0.5, -40.0])
@pytest.mark.parametrize(("share", "far"), [(9e-6, False), (1.1e-5, True), (0.0, False)])
@pytest.mark.parametrize("expect", ["up", "down"])
def test_what_a_place_in_a_batch_can_do_is_no_way(value, share, far, expect):
    way = abs(value) * share * (1 if expect == "up" else -1)
    found = {name: outcome(name, value + moved) for name, moved in (("first", 0), ("v", way))}
    asked = row("v", "label", test="dir", of="first", expect=expect)
    assert settled(asked, found).passed is far


def outcome(name, value):
    return Outcome(id=name, answer="ham", value=value, passed=None, right=None)


def test_a_twin_passes_when_its_answer_is_still_right():
    asked = [(text, label) for text in OTHERS for label in ("ham", "spam", "other")]
    rows = [
        row(f"{t}@{label}", "label", of="first", under="typos", text=t, label=label)
        for t, label in asked
    ]
    found = judge([FIRST, *rows], varied(), ".")[1:]
    wanted = [value_of(text)[1] == label for text, label in asked]
    assert [o.passed for o in found] == wanted
    assert sum(wanted) == len(OTHERS)


def test_a_variant_of_a_choice_takes_the_choices_and_the_answer_of_its_row():
    fields = {"choices": [" cat", " dog"], "answer": " dog"}
    first = row("first", "choice", prompt="the sun and the", **fields)
    asked = row("v", "choice", test="inv", of="first", prompt="the rain and the")
    (alone,) = judge([row("v", "choice", prompt="the rain and the", **fields)], speaker(), ".")
    found = judge([first, asked], speaker(), ".")[1]
    assert (found.value, found.scores) == (pytest.approx(alone.value), pytest.approx(alone.scores))


def test_a_text_may_cost_less_than_another():
    short = row("short", "text", text="the cat sat")
    asked = row("v", "text", test="dir", of="short", expect="up", by=1.0, text="the cat sat #%&")
    assert judge([short, asked], speaker(), ".")[1].passed is True


ERRORS = {
    "no such task": (row("poor", "sing", song="la"), "no task 'sing'; known are .'caption'"),
    "of nothing": (row("poor", "label", test="inv", text="sun"), "of is None; expected another"),
    "of a row that is not there": (
        row("poor", "label", test="dir", of="gone", expect="up", text="sun"),
        "of is 'gone'; expected another row with task 'label'",
    ),
    "of itself": (
        row("poor", "label", test="inv", of="poor", text="sun"),
        "of is 'poor'; expected another",
    ),
    "of another task": (
        row("poor", "closer", test="inv", of="first", anchor="a", near="a", far="a"),
        "of is 'first'; expected another row with task 'closer'",
    ),
    "a direction of another label": (
        row("poor", "label", test="dir", of="first", expect="up", text="sun", label="spam"),
        "its label is 'spam', that of 'first' 'ham': their values cannot be compared",
    ),
    "a direction that is none": (
        row("poor", "label", test="dir", of="first", expect="same", text="sun"),
        "test 'dir' that expects 'same'; expected",
    ),
    "a test that is none": (
        row("poor", "label", test="odd", of="first", text="sun"),
        "test 'odd' that expects None",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_variant_that_cannot_be_settled_is_named(case):
    poor, sentence = ERRORS[case]
    with pytest.raises(JudgeError, match=f"^row 'poor': .*{sentence}"):
        judge([FIRST, poor], sorter(), ".")


def test_texts_have_no_answer_that_could_be_the_same():
    rows = [row("a", "text", text="sun"), row("b", "text", test="inv", of="a", text="rain")]
    with pytest.raises(JudgeError, match=r"^row 'b': rows of task 'text' .*: use dir"):
        judge(rows, speaker(), ".")


def test_two_rows_of_one_id_are_refused():
    with pytest.raises(JudgeError, match="2 rows have 1 ids"):
        judge([FIRST, FIRST], sorter(), ".")
