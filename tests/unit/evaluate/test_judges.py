"""Judging rows together: batches change nothing, variants are settled, what is none is named."""

import dataclasses

import pytest
import torch
from PIL import Image

from unit.evaluate.subjects import (
    CONTEXT,
    embedder,
    filler,
    matcher,
    noise,
    row,
    seer,
    signs,
    sorter,
    speaker,
)
from zoo.evaluate.judges import TASKS, judge
from zoo.evaluate.judging import JudgeError, batches
from zoo.evaluate.outcome import Outcome
from zoo.evaluate.rows import TASKS as WRITTEN
from zoo.evaluate.sheets import Picture
from zoo.evaluate.subject import SubjectError

LENGTHS = (3, 1, 9, 4, 7, 2)
WORDS = ("the cat", "rain", "a dog ran in the garden", "sun", "under the house", "and")


def many(task, **fields):
    """Make six rows of a task; a field is a function of the row's number, or the same in all."""
    return [
        row(f"{task}-{i}", task, **{n: f(i) if callable(f) else f for n, f in fields.items()})
        for i in range(6)
    ]


def painted(i):
    return Picture(f"picture-{i}", Image.fromarray(noise(i)))


ASKED = {
    "choice": (
        speaker,
        many("choice", prompt=lambda i: WORDS[i] * LENGTHS[i], choices=[" a", " sat", " cat sat"]),
    ),
    "text": (speaker, many("text", text=lambda i: signs(11 * LENGTHS[i]))),
    "fill": (
        filler,
        many("fill", text=lambda i: "sun " * LENGTHS[i] + "[MASK]", answers=["sun", "cat"]),
    ),
    "fill-of-choices": (
        filler,
        many("fill", text=lambda i: f"[MASK] {WORDS[i]}", answers=["sun"], choices=["cat", "sun"]),
    ),
    "label-of-text": (sorter, many("label", text=lambda i: WORDS[i] * LENGTHS[i], label="ham")),
    "label-of-gpt2": (
        lambda: sorter("gpt2"),
        many("label", text=lambda i: WORDS[i] * LENGTHS[i], label="ham"),
    ),
    "label-of-image": (seer, many("label", image=painted, label="ham")),
    "closer": (
        embedder,
        many("closer", anchor=lambda i: WORDS[i], near=lambda i: WORDS[i] * 2, far=" rain" * 5),
    ),
    "caption": (
        matcher,
        many("caption", image=painted, captions=lambda i: [WORDS[i], "cat", "dog " * LENGTHS[i]]),
    ),
    "picture": (
        matcher,
        many("picture", text=lambda i: WORDS[i], images=lambda i: [painted(i), painted(7)]),
    ),
}


def numbers(outcome):
    """Give an outcome as plain values, numbers last."""
    held = dataclasses.asdict(outcome)
    scores = held.pop("scores")
    loose = [held.pop("value"), held.pop("confidence") or 0.0, *scores.values()]
    return held, list(scores), loose


def check_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert numbers(one)[:2] == numbers(other)[:2]
        assert numbers(one)[2] == pytest.approx(numbers(other)[2], rel=1e-11, abs=1e-12)


def test_every_task_that_can_be_written_can_be_judged():
    assert TASKS.keys() == WRITTEN.keys()
    assert {name.partition("-")[0] for name in ASKED} | {"retrieve"} == TASKS.keys()


@pytest.mark.parametrize("name", ASKED)
def test_neighbours_change_nothing(name):
    make, rows = ASKED[name]
    subject = make()
    alone = [outcome for one in rows for outcome in judge([one], subject, ".")]
    assert len({numbers(outcome)[2][0] for outcome in alone}) > 1
    together = judge(rows, subject, ".")
    assert [outcome.id for outcome in together] == [one.id for one in rows]
    check_same(together, alone)
    check_same(judge(rows[::-1], subject, "."), alone[::-1])


@pytest.mark.parametrize("name", ["choice", "fill", "label-of-text", "label-of-gpt2", "closer"])
def test_a_padded_row_stands_beside_one_of_the_whole_context(name):
    make, rows = ASKED[name]
    subject = make()
    padded = [dataclasses.replace(one, under="padding") for one in rows[:2]]
    widths = []
    subject.model.tokens.register_forward_hook(
        lambda part, given, result: widths.append(given[0].shape[1])
    )
    check_same(judge(padded, subject, "."), judge(rows[:2], subject, "."))
    assert widths[0] == CONTEXT > widths[-1]


def test_a_padded_caption_stands_beside_one_of_the_whole_context():
    subject = matcher()
    widths = []
    subject.model.text.tokens.register_forward_hook(
        lambda part, given, result: widths.append(given[0].shape[1])
    )
    _, rows = ASKED["picture"]
    padded = [dataclasses.replace(rows[0], under="padding")]
    check_same(judge(padded, subject, "."), judge(rows[:1], subject, "."))
    assert widths[0] == CONTEXT > widths[-1]


@pytest.mark.parametrize("budget", [1, 9, 12, 30, 1000])
def test_batches_hold_every_row_once_within_their_budget(budget):
    found = list(batches(LENGTHS, budget))
    assert sorted(i for places in found for i in places) == list(range(6))
    widest = [max(LENGTHS[i] for i in places) for places in found]
    assert widest == sorted(widest, reverse=True)
    assert all(
        len(places) == 1 or len(places) * width <= budget
        for places, width in zip(found, widest, strict=True)
    )
    assert len(found) == {1: 6, 9: 4, 12: 4, 30: 2, 1000: 1}[budget]


def test_rows_of_different_tasks_keep_their_order():
    rows = [
        one for pair in zip(*(ASKED[n][1] for n in ("choice", "text")), strict=True) for one in pair
    ]
    found = judge(rows, speaker(), ".")
    assert [outcome.id for outcome in found] == [one.id for one in rows]


def test_texts_and_pictures_to_label_are_told_apart():
    rows = [row("a", "label", image=painted(1)), row("b", "label", text="sun")]
    with pytest.raises(SubjectError, match="'label' needs a BERT with head 'sequence' or a GPT-2"):
        judge(rows, seer(), ".")
    for fields in ({}, {"text": "sun", "image": painted(1)}):
        with pytest.raises(JudgeError, match=r"^row 'c': .* needs a text or an image, one of them"):
            judge([row("c", "label", **fields)], seer(), ".")


def test_the_model_keeps_its_mode_and_has_no_gradient():
    subject = sorter()
    subject.model.config = dataclasses.replace(subject.model.config)
    subject.model.drop.rate = 0.5
    subject.model.train()
    rows = ASKED["label-of-text"][1]
    assert judge(rows, subject, ".") == judge(rows, subject, ".")
    assert subject.model.training
    assert all(p.grad is None for p in subject.model.parameters())


def test_no_rows_have_no_outcomes():
    assert judge([], speaker(), ".") == []


# --- numbers that are none


@pytest.mark.parametrize("name", ["choice", "text", "fill", "label-of-text", "closer"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
def test_a_row_that_a_model_has_no_number_for_is_named(name, value):
    """Only the position before the last is broken, which only one row reaches."""
    make, rows = ASKED[name]
    subject = make()
    task = rows[0].task
    long = {
        "choice": {"prompt": signs(40), "choices": [" a", " sat"]},
        "text": {"text": signs(CONTEXT)},
        "fill": {"text": "sun " * (CONTEXT - 3) + "[MASK]", "answers": ["cat"]},
        "label": {"text": "sun " * 30},
        "closer": {"anchor": "cat", "near": "sun " * 30, "far": "dog"},
    }[task]
    short = {
        "choice": {"prompt": "the", "choices": [" a", " sat"]},
        "text": {"text": "the sun"},
        "fill": {"text": "[MASK]", "answers": ["cat"]},
        "label": {"text": "sun"},
        "closer": {"anchor": "cat", "near": "sun", "far": "dog"},
    }[task]
    with torch.no_grad():
        subject.model.positions.weight[CONTEXT - 2] = value
    sound = [row(f"sound-{i}", task, **short) for i in range(2)]
    assert len(judge(sound, subject, ".")) == 2
    with pytest.raises(JudgeError, match=r"^row 'poor': the model gives nan"):
        judge([*sound, row("poor", task, **long)], subject, ".")


@pytest.mark.parametrize("name", ["label-of-image", "caption", "picture", "retrieve"])
def test_a_picture_that_a_model_has_no_number_for_is_named(name):
    _, rows = ASKED.get(name, (None, many("retrieve", image=painted, caption=lambda i: WORDS[i])))
    subject = seer() if name.startswith("label") else matcher()
    part = subject.model if name.startswith("label") else subject.model.image
    with torch.no_grad():
        part.positions[1] = float("nan")
    with pytest.raises(JudgeError, match=f"^row '{rows[0].id}': the model gives nan"):
        judge(rows, subject, ".")


def test_an_outcome_is_plain_data():
    """What is written to a file: no tensors among the numbers."""
    (found,) = judge(ASKED["choice"][1][:1], speaker(), ".")
    assert isinstance(found, Outcome)
    kinds = {type(v) for v in (found.value, found.confidence, *found.scores.values())}
    assert kinds == {float}
