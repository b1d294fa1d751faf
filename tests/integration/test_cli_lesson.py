"""The tour's lesson: what is judged by was not learnt from, and the judge counts every token."""

import math

import pytest
import torch

from zoo.cli.lesson import (
    bits_a_byte,
    enrol,
    lessons,
    read_topics,
    token_ids,
)
from zoo.cli.lesson_time import Pace
from zoo.data.sources_text import unwrapped, without_repeats
from zoo.models import GPT2, GPT2Config
from zoo.tokenizers import Tokenizer


def paragraphs(texts):
    return {" ".join(p.split()) for text in texts for p in text.split("\n\n") if p.strip()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_paragraph_is_learnt_from_and_judged_by(seed):
    learnt, judged = read_topics(seed)
    assert len(judged) == 6
    assert sum(map(len, judged)) > 5_000
    assert sum(map(len, learnt)) > 200_000
    assert not paragraphs(learnt) & paragraphs(judged)


def test_the_split_is_the_seeds():
    assert read_topics(3) == read_topics(3)
    assert read_topics(3) != read_topics(4)


def test_a_paragraph_stays_where_it_comes_first_however_it_is_wrapped():
    texts = ["one\n\ntwo three", "two\nthree\n\nfour", "one"]
    assert without_repeats(texts, least=1) == ["one\n\ntwo three", "four"]
    assert without_repeats(texts, least=5) == ["one\n\ntwo three"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("   two\n   lines\n\n   more\nof it", "two lines\n\nmore of it"),
        ("   >>> f(1)\n   1", None),
        ("a ::= b\n  c", None),
        ("Title\n*****", None),
        ("   if x:\n       y\n   z", None),
        ("   | a |\n   | b |", None),
    ],
    ids=["prose", "prompt", "grammar", "title", "code", "table"],
)
def test_prose_is_unwrapped_and_code_is_not(text, left):
    assert unwrapped(text) == (text if left is None else left)


@pytest.mark.parametrize("context", [2, 5, 64])
def test_a_model_that_knows_nothing_needs_the_vocabularys_bits_for_each_token(context):
    texts = ["the house is red", "a cat"]
    tokenizer = Tokenizer.train(texts * 3, "bpe", vocab=270)
    vocab = tokenizer.vocab_size
    model = GPT2(GPT2Config(vocab=vocab, context=context, width=8, depth=1, heads=2)).double()
    torch.nn.init.zeros_(model.norm.weight)  # the hidden states, and so all logits, are zero
    expected = len(token_ids(tokenizer, texts)) * math.log2(vocab) / len("".join(texts))
    found = bits_a_byte(model.eval(), tokenizer, texts)
    # the loss is a float32 sum
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_same_seed_gives_the_same_beginner():
    texts = ["the house is red " * 9]
    first, again, other = (enrol(texts, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first.tokens.weight, again.tokens.weight)
    assert not torch.equal(first.tokens.weight, other.tokens.weight)


def test_a_lesson_takes_its_time_and_leaves_the_threads_as_they_were():
    texts, _ = read_topics(0)
    model, tokenizer = enrol(texts[:9], seed=0)
    threads = torch.get_num_threads()
    steps = list(lessons(model, tokenizer, texts, seconds=0.5, seed=0))
    shares = [share for share, _ in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [step.number for _, step in steps] == list(range(len(steps)))
    assert steps[0][1].loss == pytest.approx(math.log(tokenizer.vocab_size), abs=0.2)
    assert torch.get_num_threads() == threads
    assert not model.training


def threads_after(durations):
    """Give the threads that a Pace of two sets after steps that take so long."""
    before = torch.get_num_threads()
    pace, now, seen = Pace(2), 0.0, []
    for seconds in durations:
        now += seconds
        pace.step_done(now)
        seen.append(torch.get_num_threads())
    torch.set_num_threads(before)
    return seen


@pytest.mark.parametrize(
    ("all_threads", "one_thread", "chosen"), [(1.0, 1.5, 2), (2.0, 1.5, 1), (1.5, 1.5, 2)]
)
def test_the_faster_number_of_threads_is_kept(all_threads, one_thread, chosen):
    slow_start = [9.0]
    tried = [*slow_start, *[all_threads] * 3, *slow_start, *[one_thread] * 3]
    rest = [all_threads if chosen == 2 else one_thread] * 9
    assert threads_after(tried + rest) == [2] * 3 + [1] * 4 + [chosen] * 10


@pytest.mark.parametrize(("slow", "chosen"), [(2.9, 2), (3.1, 1)])
def test_threads_that_have_to_wait_are_given_up_for_good(slow, chosen):
    tried = [9.0, 1.0, 1.0, 1.0, 9.0, 1.5, 1.5, 1.5]
    seen = threads_after(tried + [1.0] * 4 + [slow] * 4 + [1.0] * 9)
    assert seen[7:15] == [2] * 8  # a single slow step is no reason
    assert seen[15:] == [chosen] * 10
