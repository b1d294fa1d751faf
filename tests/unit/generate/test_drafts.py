"""Drafts: what followed before, or what a smaller model would say; and what is refused."""

import random
from dataclasses import replace
from itertools import count

import pytest
import torch

from unit.generate.test_decode import stress_model
from zoo.generate import DraftModel, NGram, Sampling, generate
from zoo.generate.drafts import Index, ModelDrafter, NGramDrafter, agreed, shadow
from zoo.generate.request import make_requests
from zoo.models import BERT, preset

SMALL = stress_model(vocab=11, context=60, seed=3, depth=1)


def requests(prompts, **options):
    return make_requests(SMALL, prompts, Sampling(**{"max_new_tokens": 30} | options), None)


@pytest.mark.parametrize(
    ("plan", "said", "most", "draft"),
    [
        ({}, "abcxabc", 4, "xabc"),
        ({}, "abcxabc", 2, "xa"),
        ({}, "abcd", 4, ""),
        ({}, "", 4, ""),
        ({}, "a", 4, ""),
        ({}, "aa", 3, "aaa"),  # the copy goes on into itself
        ({}, "ababab", 5, "ababa"),
        ({}, "abcabc", 7, "abcabca"),
        ({}, "xbcy zbcw abc", 1, "w"),  # of the places where two tokens stood, the last
        ({}, "abcx zbcy abc", 1, "x"),  # three tokens before two, wherever they stand
        ({"longest": 2}, "abcx zbcy abc", 1, "y"),
        ({"longest": 4}, "wabcx zabcy wabc", 1, "x"),
        ({}, "axbcydc", 1, "y"),
        ({"shortest": 2}, "axbcydc", 1, ""),
        ({"shortest": 2}, "axbcydbc", 1, "y"),
        ({"shortest": 3}, "axbcydbc", 1, ""),
        ({"longest": 1}, "xbcybdc", 1, "y"),
        ({"longest": 9}, "ab", 1, ""),
        ({"longest": 9}, "aba", 2, "ba"),
    ],
    ids=count(),
)
def test_what_followed_the_last_tokens_is_drafted(plan, said, most, draft):
    for cut in range(len(said) + 1):  # however it was told
        index = Index(NGram(**plan))
        index.add(list(map(ord, said[:cut])))
        index.add(list(map(ord, said[cut:])))
        assert "".join(map(chr, index.follow(most))) == draft


def test_each_row_is_told_its_prompt_and_then_what_is_new():
    rows = requests([[1, 2, 3, 1], [4, 4], [5]])
    drafter = NGramDrafter(NGram(), 3)
    assert drafter.propose(rows, [4, 2, 3]) == [[2, 3, 1, 2], [4, 4], []]
    for row, token in zip(rows, (2, 5, 6), strict=True):
        row.take(token, 0.0)
    assert drafter.propose(rows, [1, 2, 3]) == [[3], [], []]
    assert drafter.propose(rows, [0, -1, 3]) == [[], [], []]
    drafter.keep([0, 2])
    for row, token in zip(rows[::2], (3, 5), strict=True):
        row.take(token, 0.0)
    assert drafter.propose(rows[::2], [2, 2]) == [[1, 2], [6, 5]]


PLANS = {
    "greedy": {},
    "penalty": {"repetition_penalty": 5.0},
    "drawn": {"temperature": 1.3},
    "filtered": {"temperature": 2.0, "top_k": 7, "top_p": 0.9, "min_p": 0.01},
}


@pytest.mark.parametrize("plan", PLANS)
def test_a_model_drafts_what_it_would_say_itself(plan):
    prompts = [[1, 2, 3], [7], [4] * 9]
    options = [Sampling(max_new_tokens=12, seed=i, **PLANS[plan]) for i in range(3)]
    rows = make_requests(SMALL, prompts, options, None)
    states = [row.generator.get_state() for row in rows]
    drafter = ModelDrafter(DraftModel(SMALL), 3, 20)
    expected = [answer.ids for answer in generate(SMALL, prompts, options)]
    assert drafter.propose(rows, [12, 2, 0]) == [expected[0], expected[1][:2], []]
    for row, state in zip(rows, states, strict=True):  # nothing is drawn or said yet
        assert torch.equal(row.generator.get_state(), state)
        assert row.seen.nonzero().flatten().tolist() == sorted(set(row.prompt))


@pytest.mark.parametrize("plan", PLANS)
def test_a_model_drafts_from_what_was_said_whatever_it_had_drafted(plan):
    """Rows that take their draft, a part of it, or none: a new drafter would say the same."""
    rng = random.Random(plan)
    rows = requests([[1, 2, 3], [7], [4] * 9, [5, 6]], **PLANS[plan])
    drafter = ModelDrafter(DraftModel(SMALL), 4, 38)
    compared = 0
    while rows:
        most = [rng.randint(0, 5) for _ in rows]
        drafts = drafter.propose(rows, most)
        fresh = ModelDrafter(DraftModel(SMALL), len(rows), 60).propose(rows, most)
        for draft, other in zip(drafts, fresh, strict=True):
            assert draft == other[: len(draft)]
            compared += len(draft)
        for row, draft in zip(rows, drafts, strict=True):
            said = draft[: rng.randint(0, len(draft))]
            for token in [*said, rng.randrange(11)]:
                if row.finish is None:
                    row.take(token, 0.0)
        alive = [i for i, row in enumerate(rows) if row.finish is None]
        if alive and len(alive) < len(rows):
            drafter.keep(alive)
        rows = [rows[i] for i in alive]
    assert compared > 40


def test_a_model_drafts_no_more_than_its_cache_holds():
    rows = requests([[1, 2, 3], [7]])
    drafter = ModelDrafter(DraftModel(SMALL), 2, 5)
    assert [len(draft) for draft in drafter.propose(rows, [9, 9])] == [3, 3]
    for token in (1, 2):
        rows[0].take(token, 0.0)
    assert [len(draft) for draft in drafter.propose(rows, [9, 9])] == [1, 1]
    rows[0].take(1, 0.0)
    assert drafter.propose(rows, [9, 9]) == [[], []]


def test_a_shadow_draws_what_its_row_will_draw_and_leaves_no_trace():
    (row,) = requests([[1, 2]], seed=7, temperature=1.0)
    copied = shadow(row)
    drawn = torch.rand(3, generator=copied.generator)
    copied.seen[5] = True
    assert torch.equal(torch.rand(3, generator=row.generator), drawn)
    assert row.seen.nonzero().flatten().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("", "", 0), ("ab", "ab", 2), ("ab", "abc", 2), ("abc", "ab", 2), ("ab", "cb", 0)],
)
def test_what_is_agreed_ends_before_the_first_difference(one, other, same):
    assert agreed(one, other) == same


@pytest.mark.parametrize(
    "kind", [NGram, lambda **k: DraftModel(SMALL, **k)], ids=["ngram", "model"]
)
@pytest.mark.parametrize("value", [0, -1, 1.0, "3", None, True], ids=repr)
def test_a_number_of_tokens_that_means_nothing_is_refused(kind, value):
    with pytest.raises(ValueError, match=r"^tokens .*; expected a whole number of at least 1"):
        kind(tokens=value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"longest": 0}, "^longest 0; expected a whole number"),
        ({"shortest": 0}, "^shortest 0; expected a whole number"),
        ({"longest": 2, "shortest": 3}, "^shortest 3 is more than longest 2"),
    ],
    ids=count(),
)
def test_runs_of_tokens_that_mean_nothing_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        NGram(**options)


def other_vocab():
    return stress_model(vocab=12, context=60, depth=1)


def short():
    return stress_model(vocab=11, context=20, depth=1)


def bert():
    _, config = preset("bert-tiny")
    return BERT(replace(config, depth=1), None)


@pytest.mark.parametrize(
    ("draft", "options", "error", "sentence"),
    [
        (
            other_vocab,
            {},
            ValueError,
            "the draft has a vocabulary of 12 tokens and the model of 11",
        ),
        (short, {}, ValueError, "prompt 1 has 2 tokens and max_new_tokens is 19.*the draft's"),
        (bert, {}, ValueError, "draft: BERT with head None does not generate"),
        (NGram, {"beams": 2}, ValueError, "beams 2 with a draft: .*pass beams=1 or draft=None"),
        (lambda: "ngram", {}, TypeError, r"draft is a str; expected NGram\(\), a decoder or"),
        (lambda: NGram, {}, TypeError, "draft is a type; expected"),
    ],
    ids=count(),
)
def test_a_draft_that_cannot_serve_is_refused_with_the_fix(draft, options, error, sentence):
    asked = Sampling(max_new_tokens=19, **options)
    with pytest.raises(error, match=sentence):
        generate(SMALL, [[1], [1, 2]], asked, draft=draft())
