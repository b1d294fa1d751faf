import math

import numpy as np
import pytest
import torch

from unit.data.tables import BPE, TEXTS
from zoo.data.masking import Vocabulary, shown, single, whole_words
from zoo.data.order import uniform
from zoo.tokenizers import Tokenizer


def test_of_the_chosen_tokens_most_are_hidden_some_swapped_and_some_kept():
    rows, tokens, others = 300, 100, np.array([7, 8, 9])
    ids = np.full((rows, tokens), 5)
    chosen = np.arange(tokens) % 2 == np.zeros((rows, 1))
    draws = uniform(torch.arange(rows), 2 * tokens).reshape(rows, 2, tokens)
    seen = shown(ids, chosen, draws[:, 0], draws[:, 1], 3, others)
    assert (seen[~chosen] == 5).all()
    shares = {i: (seen[chosen] == i).mean() for i in (3, 5, 7, 8, 9)}
    expected = {3: 0.8, 5: 0.1, 7: 0.1 / 3, 8: 0.1 / 3, 9: 0.1 / 3}
    for i, share in expected.items():  # 15,000 draws: within five of a share's errors
        assert abs(shares[i] - share) < 5 * math.sqrt(share * (1 - share) / 15000), i


def test_the_tokens_with_the_smallest_draws_are_chosen():
    candidates = np.array([[True, True, False, True, True], [False, False, False, False, False]])
    draws = np.array([[0.5, 0.2, 0.1, 0.9, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5]])
    chosen = single(candidates, draws, 0.5)
    assert chosen.tolist() == [[False, True, False, False, True], [False] * 5]


def test_a_vocabulary_knows_special_tokens_and_pieces_that_go_on_with_a_word():
    tokenizer = Tokenizer.train(TEXTS, "wordpiece", vocab=70)
    tokenizer.backend.add_tokens(["added"])
    tokenizer = Tokenizer(tokenizer.backend, tokenizer.roles, typed=True)
    known = Vocabulary(tokenizer)
    names = tokenizer.tokens(range(tokenizer.vocab_size))
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert [names[i] for i in known.others] == [name for name in names if name not in special]
    assert "added" in names and names[0] in special
    assert {names[i] for i in known.inner.nonzero()[0]} == {n for n in names if n[:2] == "##"}
    assert not Vocabulary(BPE).inner.any()


# tokens: which may be chosen, which go on with a word, draws -> the chosen ones; two of six wanted
WORDS = {
    "two words of one": ("111111", "000000", "516432", "010001"),
    "a word of two": ("111111", "001000", "512643", "011000"),
    "a word that is too long is passed over": ("111111", "011000", "123546", "000110"),
    "all too long: the first is taken": ("111111", "011011", "412356", "000111"),
    "a window that begins within a word": ("111111", "110000", "126543", "110000"),
    "a piece behind a special token": ("111011", "000010", "615423", "010010"),
    "nothing to choose": ("000000", "001000", "123456", "000000"),
}


@pytest.mark.parametrize("case", WORDS)
def test_whole_words_are_chosen(case):
    candidates, inner, draws, expected = (np.array([[*map(int, row)]]) for row in WORDS[case])
    chosen = whole_words(candidates.astype(bool), inner.astype(bool), draws / 10, 1 / 3)
    assert chosen.astype(int).tolist() == expected.tolist()
