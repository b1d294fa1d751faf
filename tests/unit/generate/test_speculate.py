"""Speculative decoding: a draft changes how many steps a text takes, and not one token of it."""

import random
from dataclasses import replace
from itertools import count

import pytest
import torch

from unit.generate.test_decode import SPEAKER, TOKENIZER, parrot, stress_model
from unit.generate.test_steps import Table, certain
from zoo.generate import DraftModel, NGram, Sampling, generate, stream
from zoo.generate.speculate import pace

VOCAB, CONTEXT = 11, 40


def shallow(**changes):
    return stress_model(**{"vocab": VOCAB, "context": CONTEXT, "depth": 1} | changes)


MODEL = shallow()


def disturbed(by):
    """Give a model that often says the same, but not always."""
    other = shallow()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return other


DRAFTS = {
    "ngram": NGram(),
    "short ngram": NGram(longest=2, tokens=3),
    "near": DraftModel(disturbed(0.1)),
    "far": DraftModel(shallow(seed=3), tokens=2),
    "itself": DraftModel(MODEL, tokens=5),
    "bare": MODEL,
}
PLANS = {
    "greedy": {},
    "penalty": {"repetition_penalty": 1.7},
    "drawn": {"temperature": 1.3},
    "cold": {"temperature": 0.3},
    "filtered": {"temperature": 2.0, "top_k": 7, "top_p": 0.9, "min_p": 0.01},
    "all": {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.2},
}
drafts = pytest.mark.parametrize("draft", DRAFTS)


def random_prompts(rng, rows):
    return [[rng.randrange(VOCAB) for _ in range(rng.randint(1, 15))] for _ in range(rows)]


def same(answers, expected):
    """Equal in everything but the rounding of a sum and the record of drafts."""
    for answer, other in zip(answers, expected, strict=True):
        assert (answer.ids, answer.text, answer.finish) == (other.ids, other.text, other.finish)
        assert abs(answer.logprob - other.logprob) <= 1e-12 * abs(other.logprob)
        assert 0 <= answer.accepted <= min(answer.drafted, len(answer.ids))
        assert (other.drafted, other.accepted) == (0, 0)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("plan", PLANS)
@drafts
def test_no_draft_changes_a_token_alone_or_in_a_batch(draft, plan, rows):
    rng = random.Random(rows)
    prompts = random_prompts(rng, rows)
    options = [
        Sampling(max_new_tokens=rng.randint(9, 18), seed=i, **PLANS[plan]) for i in range(rows)
    ]
    same(generate(MODEL, prompts, options, draft=DRAFTS[draft]), generate(MODEL, prompts, options))


@drafts
def test_drafts_of_each_kind_are_taken_and_refused(draft):
    """Else the tests above would say nothing; what a model drafts for itself is all taken."""
    prompts = random_prompts(random.Random(0), 6)
    options = [Sampling(max_new_tokens=25, temperature=0.8, seed=i) for i in range(6)]
    answers = generate(MODEL, prompts, options, draft=DRAFTS[draft])
    drafted, accepted = sum(a.drafted for a in answers), sum(a.accepted for a in answers)
    assert accepted > 0
    assert (accepted == drafted) == (draft in ("itself", "bare"))


TEXT_DRAFTS = {
    "ngram": NGram(),
    "other": DraftModel(stress_model(vocab=TOKENIZER.vocab_size, context=40, seed=5, depth=1)),
    "itself": DraftModel(SPEAKER),
}


@pytest.mark.parametrize("stops", [(), ("e",), ("th", "\ufffd", "o\n")], ids=count())
@pytest.mark.parametrize("temperature", [0.0, 0.7, 4.0])
@pytest.mark.parametrize("draft", TEXT_DRAFTS)
def test_what_streams_with_a_draft_is_what_is_generated_without(draft, temperature, stops):
    options = Sampling(max_new_tokens=12, temperature=temperature, seed=5, stop_strings=stops)
    prompt, guess = "the the the", TEXT_DRAFTS[draft]
    (plain,) = generate(SPEAKER, [prompt], options, TOKENIZER)
    same(generate(SPEAKER, [prompt], options, TOKENIZER, draft=guess), [plain])
    assert "".join(stream(SPEAKER, prompt, options, TOKENIZER, draft=guess)) == plain.text


def test_a_stream_takes_fewer_steps_with_a_draft_and_refuses_a_wrong_one_when_called():
    reads = []
    model = stress_model(vocab=TOKENIZER.vocab_size, context=40, depth=1)
    model.norm.register_forward_hook(lambda *_: reads.append(1))
    options = Sampling(max_new_tokens=12)
    for draft, steps in ((None, 12), (SPEAKER, 4)):  # with one: 2, 3, 5 and 2 tokens
        reads.clear()
        list(stream(model, "the", options, TOKENIZER, draft=draft))
        assert len(reads) == steps
    with pytest.raises(ValueError, match="the draft has a vocabulary of 11 tokens"):
        stream(model, "the", options, TOKENIZER, draft=MODEL)


@pytest.mark.parametrize(
    ("options", "text", "tokens", "finish"),
    [
        ({}, "bcdef\n", 7, "stop"),
        ({"max_new_tokens": 1}, "b", 1, "length"),
        ({"max_new_tokens": 3}, "bcd", 3, "length"),
        ({"stop_tokens": ()}, "bcdef\nabcd", 11, "length"),
        ({"stop_tokens": tuple(TOKENIZER.encode("d"))}, "bc", 3, "stop"),
        ({"stop_strings": ("de",)}, "bc", 4, "stop"),
        ({"stop_strings": ("cdef",)}, "b", 5, "stop"),
        ({"stop_strings": ("dx",), "max_new_tokens": 3}, "bcd", 3, "length"),
    ],
    ids=count(),
)
def test_text_ends_where_it_was_told_to_in_the_middle_of_a_draft(options, text, tokens, finish):
    """The prompt holds what comes, so that all of it is drafted."""
    asked = Sampling(**{"max_new_tokens": 11} | options)
    prompt = [*TOKENIZER.encode("abcdef\n"), TOKENIZER.eos_id, *TOKENIZER.encode("abcdef\na")]
    for draft in (NGram(), DraftModel(parrot(), tokens=9)):
        (answer,) = generate(parrot(), [prompt], asked, TOKENIZER, draft=draft)
        assert (answer.text, len(answer.ids), answer.finish) == (text, tokens, finish)
        assert answer.accepted >= (tokens > 1)


class Read(Table):
    """A table that takes what it reads into its cache, which may be taken back."""

    def encode(self, input_ids, attention_mask, *, cache):
        cache.extend(*input_ids.shape, None if attention_mask.all() else attention_mask)
        return super().encode(input_ids, attention_mask, cache=cache)


def reads(model):
    return [shape for name, *shape in model.log if name == "read"]


def test_a_good_draft_doubles_and_the_last_token_is_never_read():
    """0 -> 1 -> 2 -> 3 -> 0: rounds of 1, 2 and 4 tokens drafted, and the rest."""
    follows = certain([1, 2, 3, 0])
    model, draft = Read(follows), Read(follows)
    (answer,) = generate(model, [[0]], Sampling(max_new_tokens=14), draft=draft)
    assert answer.ids == [1, 2, 3, 0] * 3 + [1, 2]
    assert (answer.drafted, answer.accepted) == (10, 10)
    assert reads(model) == [[1, 2], [1, 3], [1, 5], [1, 4]]
    assert sum(columns for _, columns in reads(model)) == 14
    # the draft reads what it had not read, then its own tokens but the last
    assert reads(draft) == [[1, 1], [1, 2], [1, 1], [1, 2], *[[1, 1]] * 3, [1, 2], *[[1, 1]] * 2]
    assert model.log[0] == draft.log[0] == ("cache", 1, 14)


def test_a_row_that_needs_one_token_more_drafts_none_beside_others():
    options = [Sampling(max_new_tokens=n) for n in (3, 14)]
    answers = generate(MODEL, [[1], [2]], options, draft=MODEL)
    assert [(a.drafted, a.accepted) for a in answers] == [(1, 1), (10, 10)]


def test_a_draft_that_is_always_wrong_is_of_one_token():
    model, wrong = Read(certain([1, 2, 3, 0])), Read(certain([2, 3, 0, 1]))
    (answer,) = generate(model, [[0]], Sampling(max_new_tokens=6), draft=wrong)
    assert (answer.ids, answer.drafted, answer.accepted) == ([1, 2, 3, 0, 1, 2], 5, 0)
    assert reads(model) == [*[[1, 2]] * 5, [1, 1]]


def test_no_more_is_drafted_than_was_asked_for():
    model = Read(certain([1, 2, 3, 0]))
    asked = Sampling(max_new_tokens=9)
    generate(model, [[0, 1, 2, 3, 0, 1, 2, 3]], asked, draft=NGram(tokens=2))
    assert reads(model) == [[1, 9], [1, 3], [1, 3], [1, 1]]
    assert model.log[0] == ("cache", 1, 16)


@pytest.mark.parametrize(
    ("before", "drafted", "taken", "after"),
    [
        (4, 0, 1, 4),
        (1, 1, 2, 2),
        (2, 2, 3, 4),
        (8, 3, 4, 6),
        (8, 8, 1, 1),
        (8, 8, 2, 1),
        (8, 8, 6, 5),
    ],
)
def test_a_draft_is_as_long_as_the_last_deserved(before, drafted, taken, after):
    assert pace(before, [0] * drafted, taken) == after


@pytest.mark.parametrize("tokens", [1, 18])
@drafts
def test_the_whole_context_may_be_asked_for(draft, tokens):
    """In batches too: a short row does not push the longest out of the cache."""
    model = shallow(context=20)
    prompts = [([7, 3] * 10)[: 20 - tokens], [1, 2], [1, 2], [1, 2]]
    most = [tokens, 18, 10, 14]
    options = [Sampling(max_new_tokens=n, temperature=0.4, seed=n) for n in most]
    expected = generate(model, prompts, options)
    assert [len(answer.ids) for answer in expected] == most
    same(generate(model, prompts, options, draft=cut(DRAFTS[draft], 20)), expected)


def cut(draft, context):
    """Give a drafter of a shorter context; it still guesses well."""
    if isinstance(draft, DraftModel):
        return replace(draft, model=shallow(context=context, seed=draft.tokens == 2))
    return shallow(context=context) if isinstance(draft, torch.nn.Module) else draft


@drafts
def test_modes_and_gradients_are_left_as_they_were(draft):
    model = shallow(dropout=0.5).train()
    options = Sampling(max_new_tokens=9)
    same(
        generate(model, [[1, 2]], options, draft=DRAFTS[draft]),
        generate(MODEL, [[1, 2]], options),
    )
    assert all(module.training for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_seeds_make_the_difference_and_nothing_else():
    prompts = [[5, 6, 7]] * 3
    options = [Sampling(max_new_tokens=9, temperature=1.3, seed=seed) for seed in (1, 2, 1)]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = generate(MODEL, prompts, options, draft=NGram())
    assert first == generate(MODEL, prompts, options, draft=NGram())
    assert torch.equal(state, torch.get_rng_state())
    a, b, c = (answer.ids for answer in first)
    assert a == c != b


def test_an_answer_says_how_many_tokens_were_drafted_and_accepted():
    (answer,) = generate(MODEL, [[1, 2]], Sampling(max_new_tokens=9), draft=MODEL)
    assert (answer.drafted, answer.accepted) == (6, 6)  # of 1, 2 and 3; and 1 more each
    assert replace(answer, drafted=0, accepted=0).ids == answer.ids


def test_a_model_whose_logits_are_not_finite_is_refused():
    rows = certain([1, 0])
    rows[1, 0] = torch.nan
    with pytest.raises(ValueError, match="logits that are not finite: its weights are damaged"):
        generate(Read(rows), [[0, 1, 0]], Sampling(max_new_tokens=3), draft=NGram())
