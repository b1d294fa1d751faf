"""Tasks of text: outcomes are those of one row at a time, unpadded, counted in plain loops."""

import math
from itertools import takewhile

import pytest
import torch

from unit.evaluate.subjects import (
    CONTEXT,
    SIGNS,
    embedder,
    filler,
    only,
    row,
    signs,
    sorter,
    speaker,
)
from zoo.evaluate.judge_text import windows
from zoo.evaluate.judges import judge

CLOSE = {"rel": 1e-12, "abs": 1e-12}


def log_p(model, ids):
    """Give the log-probabilities of the token behind ids, by a call of the whole model."""
    with torch.no_grad():
        return model(torch.tensor([ids]))[0, -1].log_softmax(-1).tolist()


# --- choice

CHOICES = {
    "two words": ("the cat sat in the", [" house", " garden"]),
    "three of several tokens each": ("a dog", [" ran in the rain", " sat <here>", " and a cat"]),
    "one merges with the prompt": ("a cat sat un", ["der the house", " the house"]),
    "all merge with the prompt": ("a cat sat un", ["der the sun", "der the rain"]),
    "one is the start of the other": ("the sun", [" and", " and the rain"]),
    "a prompt longer than the context": (signs(40), [" house", " sat in the garden"]),
    "as long as the context": (signs(CONTEXT - 1), [" house", " garden"]),
    "one token longer than the context": (signs(CONTEXT), [" house", " garden"]),
}


def choice_by_hand(subject, prompt, choices):
    """Score each choice token by token, each from its own call; give the scores and the start."""
    encode = subject.tokenizer.encode
    joined = [encode(prompt + choice) for choice in choices]
    columns = zip(encode(prompt), *joined, strict=False)
    start = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, columns))
    cut = max(0, max(len(ids) for ids in joined) - CONTEXT)
    scores = [
        sum(log_p(subject.model, ids[cut:i])[ids[i]] for i in range(start, len(ids)))
        for ids in joined
    ]
    return dict(zip(choices, scores, strict=True)), start


@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("case", CHOICES)
def test_a_choice_scores_what_its_tokens_cost_one_by_one(case, right):
    subject = speaker()
    prompt, choices = CHOICES[case]
    scores, _ = choice_by_hand(subject, prompt, choices)
    answer = choices[right]
    found = only([row("a", "choice", prompt=prompt, choices=choices, answer=answer)], subject)
    assert found.scores == pytest.approx(scores, **CLOSE)
    rest = max(score for choice, score in scores.items() if choice != answer)
    best = max(scores, key=scores.get)
    assert found.answer == best
    assert found.value == pytest.approx(scores[answer] - rest, rel=1e-11)
    assert found.passed is found.right is (best == answer)
    total = math.fsum(math.exp(score) for score in scores.values())
    assert found.confidence == pytest.approx(math.exp(scores[best]) / total, **CLOSE)


@pytest.mark.parametrize(
    ("case", "back"),
    [
        ("two words", 0),
        ("one merges with the prompt", 1),
        ("all merge with the prompt", 1),
    ],
)
def test_all_choices_are_scored_from_the_first_token_that_one_of_them_changes(case, back):
    """The tables above hold what they say: this tokenizer joins "un" and "der"."""
    subject = speaker()
    prompt, choices = CHOICES[case]
    _, start = choice_by_hand(subject, prompt, choices)
    assert start == len(subject.tokenizer.encode(prompt)) - back


def test_a_choice_may_leave_the_prompt_one_token_of_the_context():
    fields = {"prompt": signs(5), "choices": [" cat", SIGNS[:23]], "answer": " cat"}
    found = only([row("a", "choice", **fields)], speaker())
    scores, _ = choice_by_hand(speaker(), fields["prompt"], fields["choices"])
    assert found.scores == pytest.approx(scores, **CLOSE)


# --- text


@pytest.mark.parametrize("context", [24, 7, 2])
@pytest.mark.parametrize("count", [2, 24, 25, 37])
def test_every_token_but_the_first_costs_its_bits_once(count, context):
    """Each from a call of its own, with what its window has before it: half the context or more."""
    subject = speaker(context=context)
    text = signs(count)
    ids = subject.tokenizer.encode(text)
    assert len(ids) == count
    bits, half = 0.0, context // 2
    for i in range(1, count):
        steps = max(0, -(-(i + 1 - context) // half))  # of half a context that end behind token i
        stop = min(count, context + steps * half)
        bits -= log_p(subject.model, ids[max(0, stop - context) : i])[ids[i]] / math.log(2)
    found = only([row("a", "text", text=text)], subject)
    assert found.value == pytest.approx(bits, rel=1e-12)
    assert (found.weight, found.passed, found.right, found.confidence) == (count, None, None, None)


def test_a_text_weighs_its_bytes():
    found = only([row("a", "text", text="naïve ☃")], speaker())
    assert found.weight == 10.0


@pytest.mark.parametrize("context", [2, 3, 8, 24])
@pytest.mark.parametrize("count", [2, 3, 8, 9, 24, 25, 100])
def test_windows_count_each_token_once_and_look_back_over_half_the_context(count, context):
    counted = []
    for start, stop, first in windows(count, context):
        assert stop - start == min(count, context)
        assert first - start >= min(context // 2, first)
        counted += range(first, stop)
    assert counted == list(range(1, count))


# --- fill


def mask_by_hand(subject, text):
    """Give log-probabilities at the mask by token, from a call of the whole model."""
    ids = subject.tokenizer.encode(text)
    with torch.no_grad():
        logits = subject.model(torch.tensor([ids]))[0, ids.index(subject.tokenizer.mask_id)]
    logs = logits[: subject.tokenizer.vocab_size].log_softmax(-1).tolist()
    return dict(zip(subject.tokenizer.tokens(range(len(logs))), logs, strict=True))


FILLS = {
    "in the middle": "the [MASK] sat under the house",
    "first": "[MASK] cat sat",
    "alone": "[MASK]",
    "beside a mark": "rain in the [MASK], rain",
    "as long as the context": "the cat sat " * 7 + "[MASK]",
}


@pytest.mark.parametrize("answers", [["garden"], ["house", "cat"], ["sat", "sun", "rain"]], ids=len)
@pytest.mark.parametrize("case", FILLS)
def test_a_filled_word_has_the_rank_that_sorting_gives(case, answers):
    # rows of the table that the tokenizer does not have are no answer
    subject = filler(vocab=80)
    assert subject.tokenizer.vocab_size < 80
    logs = mask_by_hand(subject, FILLS[case])
    order = sorted(logs, key=lambda token: -logs[token])
    rank = 1 + min(order.index(answer) for answer in answers)
    found = only([row("a", "fill", text=FILLS[case], answers=answers)], subject)
    assert found.answer == order[0]
    assert found.value == pytest.approx(-math.log10(rank), **CLOSE)
    assert found.passed is found.right is (rank <= 5)
    assert found.scores == pytest.approx({token: logs[token] for token in order[:5]}, **CLOSE)
    assert found.confidence is None


def test_a_filled_word_is_right_up_to_the_fifth():
    subject = filler()
    logs = mask_by_hand(subject, FILLS["first"])
    order = sorted(logs, key=lambda token: -logs[token])
    words = [
        t
        for t in order
        if subject.tokenizer.encode(t, special=False) in ([i] for i in range(5, 60))
    ]
    found = judge([row(w, "fill", text=FILLS["first"], answers=[w]) for w in words], subject, ".")
    assert [o.passed for o in found] == [order.index(word) < 5 for word in words]
    assert {o.passed for o in found} == {True, False}
    assert [o.value for o in found] == pytest.approx(
        [-math.log10(1 + order.index(w)) for w in words]
    )


@pytest.mark.parametrize("answers", [["cat"], ["dog", "sun"], ["sun", "nowhere"]], ids="-".join)
@pytest.mark.parametrize("case", FILLS)
def test_of_choices_the_likeliest_is_taken(case, answers):
    subject = filler()
    choices = ["dog", "cat", "sun"]
    logs = mask_by_hand(subject, FILLS[case])
    held = {choice: logs[choice] for choice in choices}
    best = max(held, key=held.get)
    lead = max(v for c, v in held.items() if c in answers)
    rest = max(v for c, v in held.items() if c not in answers)
    found = only([row("a", "fill", text=FILLS[case], answers=answers, choices=choices)], subject)
    assert (found.answer, found.passed, found.right) == (best, best in answers, best in answers)
    assert found.value == pytest.approx(lead - rest, rel=1e-11)
    assert found.scores == pytest.approx(held, **CLOSE)
    total = math.fsum(math.exp(v) for v in held.values())
    assert found.confidence == pytest.approx(math.exp(held[best]) / total, **CLOSE)


# --- label


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("text", ["sun", "the cat sat in the garden", "a dog ran " * 30], ids=len)
@pytest.mark.parametrize("label", ["ham", "spam", "other", None])
def test_a_label_has_the_probability_that_the_model_gives_it(family, text, label):
    subject = sorter(family)
    ids = subject.tokenizer.batch([text], longest=CONTEXT)["input_ids"]
    with torch.no_grad():
        chances = subject.model(ids)[0].softmax(-1).tolist()
    held = dict(zip(["ham", "spam", "other"], chances, strict=True))
    best = max(held, key=held.get)
    found = only([row("a", "label", text=text, **({"label": label} if label else {}))], subject)
    assert found.answer == best
    assert found.scores == pytest.approx(held, **CLOSE)
    assert found.value == pytest.approx(held[label or best], **CLOSE)
    assert found.confidence == pytest.approx(held[best], **CLOSE)
    assert found.passed is found.right is (None if label is None else best == label)


# --- closer


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    "texts",
    [("the cat sat", "a cat sat", "rain in the garden"), ("sun", "the sun " * 20, "rain, rain")],
    ids=["short", "long"],
)
def test_the_nearer_of_two_texts_is_that_of_the_larger_cosine(texts, swapped):
    subject = embedder()
    anchor, near, far = texts if not swapped else (texts[0], texts[2], texts[1])

    def mean_of(text):
        ids = subject.tokenizer.batch([text], longest=CONTEXT)["input_ids"]
        with torch.no_grad():
            return subject.model.encode(ids)[0].mean(0)

    a, n, f = map(mean_of, (anchor, near, far))
    cosines = [float(a @ x / (a.norm() * x.norm())) for x in (n, f)]
    found = only([row("a", "closer", anchor=anchor, near=near, far=far)], subject)
    assert found.value == pytest.approx(cosines[0] - cosines[1], rel=1e-10)
    assert found.answer == ("near" if cosines[0] > cosines[1] else "far")
    assert found.passed is found.right is (cosines[0] > cosines[1])
    assert list(found.scores.values()) == pytest.approx(cosines, **CLOSE)
    assert found.confidence is None
