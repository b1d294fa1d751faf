"""Texts that a judge refuses, and ties: a right answer that a wrong one equals is wrong."""

import math

import pytest
import torch

from unit.evaluate.subjects import embedder, filler, only, row, signs, sorter, speaker
from zoo.evaluate.judges import judge
from zoo.evaluate.judging import JudgeError


def silent(subject):
    """Make a model that gives every token the same number: exactly, on every machine."""
    with torch.no_grad():
        subject.model.norm.weight.zero_()
        subject.model.norm.bias.zero_()
    return subject


@pytest.mark.parametrize("answer", [" house", " garden"])
def test_a_tie_of_choices_is_wrong(answer):
    choices = [" house", " garden"]
    asked = row("a", "choice", prompt="the", choices=choices, answer=answer)
    found = only([asked], silent(speaker()))
    assert (found.value, found.passed, found.confidence) == (0.0, False, 0.5)
    assert found.answer == ({*choices} - {answer}).pop()


def test_of_a_tie_without_a_known_answer_the_first_is_taken():
    choices = [" house", " garden"]
    found = only([row("a", "choice", prompt="the", choices=choices)], silent(speaker()))
    assert (found.value, found.answer, found.passed, found.right) == (0.0, " house", None, None)


@pytest.mark.parametrize(
    ("answers", "rank"), [(["cat"], 6), (["cat", "dog"], 5)], ids=["sixth", "fifth"]
)
def test_a_tie_of_filled_words_counts_against_the_model(answers, rank):
    """Six words are equally likely, and likelier than all others."""
    subject = filler()
    ids = [subject.tokenizer.encode(w)[1] for w in ("cat", "dog", "sun", "rain", "garden", "house")]
    with torch.no_grad():
        subject.model.tokens.weight[ids] = 0.0  # their logits are their bias, on every machine
        subject.model.head.bias[ids] = 100.0
    found = only([row("a", "fill", text="the [MASK]", answers=answers)], subject)
    assert found.value == pytest.approx(-math.log10(rank), rel=1e-12)
    assert found.passed is (rank == 5)


def test_the_likeliest_word_has_the_value_nought():
    subject = filler()
    with torch.no_grad():
        subject.model.head.bias[subject.tokenizer.encode("sun")[1]] = 100.0
    found = only([row("a", "fill", text="the [MASK]", answers=["sun"])], subject)
    assert (str(found.value), found.answer, found.passed) == ("0.0", "sun", True)


def test_a_tie_of_near_and_far_is_far():
    subject = embedder()
    found = only([row("a", "closer", anchor="sun", near="the cat", far="The CAT")], subject)
    assert (found.value, found.answer, found.passed) == (0.0, "far", False)


# --- rows that cannot be asked

CAT = {"choices": [" cat", " dog"], "answer": " cat"}
ERRORS = {
    "a mask is missing": (filler, "fill", {"text": "the cat", "answers": ["sat"]}, "0 times"),
    "two masks": (filler, "fill", {"text": "[MASK] [MASK]", "answers": ["sat"]}, "2 times"),
    "more tokens than a BERT reads": (
        filler,
        "fill",
        {"text": "sun " * 24 + "[MASK]", "answers": ["sat"]},
        "27 tokens; the model reads 24",
    ),
    "an answer of two tokens": (
        filler,
        "fill",
        {"text": "the [MASK]", "answers": ["cat", "catsun"]},
        "'catsun' is no token of this vocabulary but",
    ),
    "an answer of letters that no text had": (
        filler,
        "fill",
        {"text": "the [MASK]", "answers": ["☃"]},
        "'☃' is no token of this vocabulary but",
    ),
    "a choice of two tokens": (
        filler,
        "fill",
        {"text": "the [MASK]", "answers": ["cat"], "choices": ["cat", "catsun"]},
        "'catsun' is no token",
    ),
    "choices that are one token": (
        filler,
        "fill",
        {"text": "the [MASK]", "answers": ["cat"], "choices": ["cat", "Cat"]},
        "are not all different tokens",
    ),
    "choices without an answer": (
        filler,
        "fill",
        {"text": "the [MASK]", "answers": ["sun"], "choices": ["cat", "dog"]},
        "0 of the choices",
    ),
    "choices that are all answers": (
        filler,
        "fill",
        {"text": "the [MASK]", "answers": ["cat", "dog"], "choices": ["cat", "dog"]},
        "2 of the choices",
    ),
    "no prompt": (speaker, "choice", {"prompt": "", **CAT}, "make it longer"),
    "a prompt that merges whole": (
        speaker,
        "choice",
        {"prompt": "t", "choices": ["he cat", "he dog"], "answer": "he cat"},
        "make it longer",
    ),
    "a choice of nothing": (
        speaker,
        "choice",
        {"prompt": "the", "choices": ["", " cat"], "answer": " cat"},
        "choice '' adds no token",
    ),
    "one choice": (
        speaker,
        "choice",
        {"prompt": "the", "choices": [" cat"], "answer": " cat"},
        "expected two or more, each once",
    ),
    "a choice twice": (
        speaker,
        "choice",
        {"prompt": "the", "choices": [" cat", " cat"], "answer": " cat"},
        "expected two or more, each once",
    ),
    "an answer that is no choice": (
        speaker,
        "choice",
        {"prompt": "the", **CAT, "answer": "cat"},
        r"answer \['cat'\] is not among \[' cat', ' dog'\]",
    ),
    "a choice as long as the context": (
        speaker,
        "choice",
        {"prompt": "the", "choices": [" cat", signs(24)], "answer": " cat"},
        "24 tokens; the model reads 24",
    ),
    "a text of one token": (speaker, "text", {"text": "a"}, "has 1 tokens"),
    "a text of nothing": (speaker, "text", {"text": ""}, "has 0 tokens"),
    "a label that is no class": (
        sorter,
        "label",
        {"text": "sun", "label": "egg"},
        r"label \['egg'\] is not among \['ham', 'other', 'spam'\]",
    ),
    "nothing to label": (
        lambda: sorter("gpt2"),
        "label",
        {"text": "", "label": "ham"},
        "its text has no token",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_row_that_cannot_be_asked_is_named(case):
    make, task, fields, sentence = ERRORS[case]
    good = [row("sound", "text", text="the cat")] if task == "text" else []
    with pytest.raises(JudgeError, match=f"^row 'poor-1': .*{sentence}"):
        judge([*good, row("poor-1", task, **fields)], make(), ".")
