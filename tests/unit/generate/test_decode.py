"""Decoding: a prompt's text is its own, whatever stands beside it."""

import itertools
import random
from dataclasses import replace
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from zoo.generate import Sampling, generate, stream
from zoo.generate.decode import groups
from zoo.generate.request import make_requests
from zoo.models import BERT, GPT2, preset
from zoo.tokenizers import Tokenizer

TEXTS = ["the quick brown fox", "jumps over a lazy dog, naïve café 你好"] * 2
TOKENIZER = Tokenizer.train(TEXTS, "bpe", vocab=263)


def stress_model(vocab=97, context=24, seed=0, **changes):
    """Build the tiny preset in float64 with weights under which everything matters."""
    torch.manual_seed(seed)
    _, config = preset("gpt2-tiny")
    settings = {"vocab": vocab, "context": context, "tied": False} | changes
    model = GPT2(replace(config, **settings)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
        model.norm.weight.fill_(1.0)  # or one token is the likeliest everywhere
        model.norm.bias.zero_()
    return model


MODEL = stress_model()
SPEAKER = stress_model(vocab=TOKENIZER.vocab_size, context=40, depth=1)
PLANS = {
    "greedy": Sampling(max_new_tokens=9),
    "penalty": Sampling(max_new_tokens=9, repetition_penalty=1.7),
    "drawn": Sampling(max_new_tokens=9, temperature=1.3, seed=5),
    "filtered": Sampling(max_new_tokens=9, temperature=2.0, top_k=40, top_p=0.9, min_p=0.01),
}
plans = pytest.mark.parametrize("plan", PLANS)


class Parrot(nn.Module):
    """A decoder whose next token is certain: the last one plus one, or as a table says."""

    head_name = "lm"

    def __init__(self, config, table=None):
        super().__init__()
        self.config = config
        self.table = torch.eye(config.vocab).roll(1, 1).log() if table is None else table

    def new_cache(self, batch, capacity):
        return SPEAKER.new_cache(batch, capacity)

    def encode(self, input_ids, attention_mask=None, *, cache=None):
        cache.extend(*input_ids.shape, attention_mask)
        return torch.nn.functional.one_hot(input_ids, self.config.vocab).double()

    def head(self, hidden):
        return self.table[hidden.argmax(-1)].clamp_min(-1e4)


def by_hand(model, prompt, steps, penalty=1.0):
    """Decode greedily without cache, batch or padding."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(steps):
            logits = model(torch.tensor([ids]))[0, -1]
            for token in set(ids):
                logits[token] *= penalty if logits[token] < 0 else 1 / penalty
            ids.append(int(logits.argmax()))
    return ids[len(prompt) :]


def random_prompts(count, vocab=97, longest=15, seed=0):
    rng = random.Random(seed)
    return [[rng.randrange(vocab) for _ in range(rng.randint(1, longest))] for _ in range(count)]


def test_cached_is_uncached_at_every_split_under_any_left_padding():
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        ids = torch.randint(97, (3, 11), generator=generator)
        pads = torch.randint(0, 11, (3, 1), generator=generator)
        mask = torch.arange(11) >= pads
        with torch.no_grad():
            whole = MODEL(ids, mask)
            for split in range(1, 11):
                cache = MODEL.new_cache(3, 11)
                parts = [MODEL(ids[:, :split], mask[:, :split], cache=cache)]
                parts.append(MODEL(ids[:, split:], mask[:, split:], cache=cache))
                error = (torch.cat(parts, 1) - whole)[mask].abs().max()
                assert error <= 1e-12 * whole.abs().max()


def test_greedy_is_the_likeliest_token_again_and_again():
    prompts = random_prompts(7)
    for prompt, answer in zip(prompts, generate(MODEL, prompts, PLANS["greedy"]), strict=True):
        assert answer.ids == by_hand(MODEL, prompt, 9)
        assert (answer.finish, answer.text) == ("length", None)


@pytest.mark.parametrize("penalty", [0.3, 1.2, 4.0])
def test_tokens_of_the_prompt_and_of_the_answer_are_penalised(penalty):
    prompts = random_prompts(5, vocab=9, seed=1)
    model = stress_model(vocab=9)
    options = Sampling(max_new_tokens=7, repetition_penalty=penalty)
    for prompt, answer in zip(prompts, generate(model, prompts, options), strict=True):
        assert answer.ids == by_hand(model, prompt, 7, penalty)


@plans
def test_a_prompt_gets_the_same_ids_alone_and_in_any_batch(plan):
    prompts = random_prompts(8)
    options = [replace(PLANS[plan], seed=i) for i in range(8)]
    alone = [generate(MODEL, [p], o)[0] for p, o in zip(prompts, options, strict=True)]
    for at_once in (3, 8):
        together = generate(MODEL, prompts, options, at_once=at_once)
        assert [a.ids for a in together] == [a.ids for a in alone]
        for one, other in zip(together, alone, strict=True):
            assert abs(one.logprob - other.logprob) <= 1e-12 * abs(other.logprob)
    assert len({tuple(a.ids) for a in alone}) > 4


def test_prompts_with_different_options_share_a_batch():
    prompts = random_prompts(8, seed=3)
    options = [
        replace(PLANS[plan], max_new_tokens=n)
        for plan, n in zip([*PLANS] * 2, range(1, 9), strict=True)
    ]
    together = generate(MODEL, prompts, options)
    for prompt, option, answer in zip(prompts, options, together, strict=True):
        assert answer.ids == generate(MODEL, [prompt], option)[0].ids
        assert len(answer.ids) == option.max_new_tokens


@pytest.mark.parametrize(
    "change",
    [{"top_k": 2}, {"top_p": 0.3}, {"min_p": 0.5}, {"repetition_penalty": 9.0}, {"temperature": 0}],
    ids=str,
)
def test_rows_that_differ_in_one_option_each_keep_their_own(change):
    plain = [Sampling(max_new_tokens=5, temperature=4.0, seed=seed) for seed in (1, 2)]
    changed = [replace(options, **change) for options in plain]
    alone = [generate(MODEL, [[5, 6, 5]], options)[0].ids for options in plain + changed]
    assert alone[:2] != alone[2:]
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        mixed = generate(MODEL, [[5, 6, 5]] * 4, [(plain + changed)[i] for i in order])
        assert [answer.ids for answer in mixed] == [alone[i] for i in order]


@plans
@settings(max_examples=12)
@given(data=st.data())
def test_what_streams_is_what_is_generated(plan, data):
    prompt = data.draw(st.text("abc ñ你", max_size=8))
    stops = data.draw(st.lists(st.sampled_from("e th \ufffd é the o".split(" ")).filter(bool)))
    options = replace(PLANS[plan], seed=data.draw(st.integers(0, 99)), stop_strings=tuple(stops))
    others = [replace(options, seed=3, stop_strings=()), options]
    *_, whole = generate(SPEAKER, ["the fox", prompt], others, TOKENIZER)
    pieces = list(stream(SPEAKER, prompt, options, TOKENIZER))
    assert "".join(pieces) == whole.text
    assert all(pieces)
    text = TOKENIZER.decode(whole.ids)
    found = [stop in text for stop in stops]
    assert (whole.finish == "stop") >= any(found)
    assert text.startswith(whole.text)
    assert not any(stop in whole.text for stop in stops)
    if whole.finish == "length":
        assert whole.text == text


def test_seeds_make_the_difference_and_nothing_else():
    prompts = [[5, 6, 7]] * 4
    options = [replace(PLANS["drawn"], seed=seed) for seed in (1, 2, 1, 3)]
    torch.manual_seed(0)
    first = generate(MODEL, prompts, options)
    state = torch.get_rng_state()
    assert first == generate(MODEL, prompts, options)
    assert torch.equal(state, torch.get_rng_state())
    a, b, c, d = (answer.ids for answer in first)
    assert a == c
    assert len({tuple(ids) for ids in (a, b, d)}) == 3


def test_draws_follow_the_models_own_probabilities():
    """Chi-square over the 6 tokens of a small vocabulary; 20.5 is passed once in a thousand."""
    model = stress_model(vocab=6, context=4)
    count = 3000
    options = [Sampling(max_new_tokens=1, temperature=1.5, seed=seed) for seed in range(count)]
    answers = generate(model, [[2, 4]] * count, options, at_once=count)
    with torch.no_grad():
        logits = model(torch.tensor([[2, 4]]))[0, -1]
    expected = (logits / 1.5).softmax(-1) * count
    counts = torch.tensor([a.ids[0] for a in answers]).bincount(minlength=6)
    assert ((counts - expected) ** 2 / expected).sum() < 20.5
    for answer in answers[:9]:
        assert abs(answer.logprob - float(logits.log_softmax(-1)[answer.ids[0]])) < 1e-12


def test_logprob_is_the_models_own_whatever_the_options():
    prompt = [1, 2, 3]
    for options in PLANS.values():
        (answer,) = generate(MODEL, [prompt], options)
        ids = torch.tensor([prompt + answer.ids])
        with torch.no_grad():
            logits = MODEL(ids)[0, 2:-1].log_softmax(-1)
        own = logits.gather(-1, ids[0, 3:, None]).sum()
        assert abs(answer.logprob - float(own)) < 1e-11


def parrot(**config):
    """Make a parrot of bytes: after 'a' comes 'b'."""
    vocab = TOKENIZER.vocab_size
    follows = {
        TOKENIZER.encode(c)[0]: TOKENIZER.encode(d)[0] for c, d in itertools.pairwise("abcdef\n")
    }
    follows[TOKENIZER.encode("\n")[0]] = TOKENIZER.eos_id
    table = torch.zeros(vocab, vocab, dtype=torch.float64)
    for token, following in follows.items():
        table[token, following] = 1
    table[TOKENIZER.eos_id, TOKENIZER.encode("a")[0]] = 1
    return Parrot(replace(SPEAKER.config, **config), table.log())


@pytest.mark.parametrize(
    ("options", "text", "count", "finish"),
    [
        ({}, "bcdef\n", 7, "stop"),
        ({"max_new_tokens": 3}, "bcd", 3, "length"),
        ({"stop_tokens": ()}, "bcdef\nabcd", 11, "length"),
        ({"stop_tokens": tuple(TOKENIZER.encode("d"))}, "bc", 3, "stop"),
        ({"stop_strings": ("de",)}, "bc", 4, "stop"),
        ({"stop_strings": ("dex", "cdef")}, "b", 5, "stop"),
        ({"stop_strings": ("bcd",)}, "", 3, "stop"),
        ({"stop_strings": ("\nx",)}, "bcdef\n", 7, "stop"),
        ({"stop_strings": ("dx",), "max_new_tokens": 3}, "bcd", 3, "length"),
        ({"stop_strings": ("cd",), "max_new_tokens": 3}, "b", 3, "stop"),
        ({"repetition_penalty": 1e-9, "max_new_tokens": 2}, "bc", 2, "length"),
    ],
    ids=count(),
)
def test_text_ends_where_it_was_told_to(options, text, count, finish):
    asked = Sampling(**{"max_new_tokens": 11} | options)
    (answer,) = generate(parrot(), ["a"], asked, TOKENIZER)
    assert (answer.text, len(answer.ids), answer.finish) == (text, count, finish)
    assert "".join(stream(parrot(), "a", asked, TOKENIZER)) == text


def test_rows_that_end_leave_and_the_others_go_on():
    prompts = ["e", "a", "f", "c"]
    answers = generate(parrot(), prompts, Sampling(max_new_tokens=9), TOKENIZER)
    assert [a.text for a in answers] == ["f\n", "bcdef\n", "\n", "def\n"]


def test_an_empty_prompt_begins_with_the_tokenizers_own_token():
    for empty in ("", []):
        (answer,) = generate(parrot(), [empty], Sampling(max_new_tokens=2), TOKENIZER)
        assert answer.text == "ab"


def test_no_prompts_give_no_answers():
    assert generate(MODEL, []) == []


def test_ids_that_the_tokenizer_lacks_are_never_chosen():
    wide = stress_model(vocab=400, context=40)
    drawn = Sampling(max_new_tokens=30, temperature=9.0)
    beams = Sampling(max_new_tokens=5, beams=3)
    for answer in generate(wide, ["the", "a", "b"], [drawn, drawn, beams], TOKENIZER):
        assert max(answer.ids) < TOKENIZER.vocab_size
    assert max(generate(wide, [[1]], drawn)[0].ids) >= TOKENIZER.vocab_size


def test_prompts_that_do_not_fit_together_are_still_answered():
    prompts = [[1] * 20, [2], [3] * 10]
    options = [Sampling(max_new_tokens=n) for n in (4, 23, 14)]
    for prompt, option, answer in zip(
        prompts, options, generate(MODEL, prompts, options), strict=True
    ):
        assert answer.ids == by_hand(MODEL, prompt, option.max_new_tokens)


def test_groups_fit_the_context_and_hold_everyone():
    prompts = random_prompts(30)
    options = [Sampling(max_new_tokens=1 + i % 9) for i in range(30)]
    requests = make_requests(MODEL, prompts, options, None)
    made = groups(requests, 24, 8)
    assert sorted(id(r) for group in made for r in group) == sorted(map(id, requests))
    for group in made:
        longest = max(len(r.prompt) for r in group)
        assert longest + max(r.options.max_new_tokens for r in group) - 1 <= 24
        assert len(group) <= 8
    assert len(made) == 4


@pytest.mark.parametrize(("tokens", "count"), [(4, 1), (5, 1), (6, 2)])
def test_a_group_is_as_large_as_the_context_allows(tokens, count):
    sizes = [(20, 4), (1, tokens)]
    options = [Sampling(max_new_tokens=new) for _, new in sizes]
    requests = make_requests(MODEL, [[7] * old for old, _ in sizes], options, None)
    assert len(groups(requests, 24, 8)) == count
    answers = generate(MODEL, [[7] * old for old, _ in sizes], options)
    assert [len(answer.ids) for answer in answers] == [4, tokens]


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_left_as_they_were(training):
    model = stress_model(dropout=0.5).train(training)
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    expected = generate(stress_model(), [[1, 2]], PLANS["greedy"])
    for _ in range(2):
        assert generate(model, [[1, 2]], PLANS["greedy"]) == expected
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_stream_left_early_leaves_the_mode_as_it_was():
    model = stress_model(vocab=TOKENIZER.vocab_size).train()
    pieces = stream(model, "a", Sampling(max_new_tokens=9), TOKENIZER)
    next(pieces)
    assert model.training
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("prompts", "options", "sentence"),
    [
        ([[1] * 20], {"max_new_tokens": 5}, "has 20 tokens and max_new_tokens is 5.*context 24"),
        ([[1] * 20], {"max_new_tokens": 5}, "pass max_new_tokens=4 or keep the last 19 tokens"),
        ([[1] * 24], {"max_new_tokens": 1}, ": keep the last 23 tokens of the prompt"),
        ([[1], [1]], {"max_new_tokens": 24}, "prompt 0 has 1 tokens.*: pass max_new_tokens=23"),
        ([[1] * 30], {"max_new_tokens": 24}, ": ask for less"),
        ([[1], []], {"max_new_tokens": 2}, "prompt 1 is empty: pass at least one id, or a"),
        ([[1, 97]], {"max_new_tokens": 2}, "prompt 0 holds 97; this vocabulary has ids 0 to 96"),
        ([[-1]], {"max_new_tokens": 2}, "prompt 0 holds -1"),
        ([[1], "a"], {"max_new_tokens": 2}, "prompt 1 is text: pass tokenizer="),
        ([[1]], {"max_new_tokens": 2, "stop_strings": ("a",)}, "stop_strings need text"),
    ],
    ids=range(10),
)
def test_what_cannot_be_answered_is_refused_with_the_fix(prompts, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        generate(MODEL, prompts, Sampling(**options))


def test_other_mistakes_are_named():
    few = Sampling(max_new_tokens=2)
    with pytest.raises(TypeError, match=r"one string; pass a list: \[prompt\]"):
        generate(MODEL, "abc", few)
    with pytest.raises(ValueError, match="2 options for 1 prompts"):
        generate(MODEL, [[1]], [few, few])
    with pytest.raises(ValueError, match="at_once 0; expected at least 1"):
        generate(MODEL, [[1]], few, at_once=0)
    with pytest.raises(ValueError, match="only at the end: use generate, or beams=1"):
        stream(SPEAKER, "a", Sampling(beams=2), TOKENIZER)
    with pytest.raises(ValueError, match="context 40"):
        stream(SPEAKER, "a", Sampling(max_new_tokens=99), TOKENIZER)
    bert = BERT(preset("bert-tiny")[1])
    with pytest.raises(ValueError, match="BERT with head 'masked_lm' does not generate"):
        generate(bert, [[1]], few)
    with pytest.raises(ValueError, match="GPT2 with head 'token' does not generate"):
        generate(GPT2(MODEL.config, head="token"), [[1]], few)


def test_damaged_weights_are_named():
    model = stress_model()
    with torch.no_grad():
        model.norm.weight[3] = float("nan")
    with pytest.raises(ValueError, match="logits that are not finite"):
        generate(model, [[1]], Sampling(max_new_tokens=2))
