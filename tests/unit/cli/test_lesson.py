"""The tour's lesson: what is judged by was not learnt from, and the judge counts every token."""

import math

import pytest
import torch

from zoo.cli.lesson import bits_a_byte, read_topics, token_ids, without_repeats
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
