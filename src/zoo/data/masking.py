"""Which tokens BERT has to guess, and what it sees in their place (Devlin et al. 2018, 3.1).

    chosen      15 % of a row's tokens, at least one, never a special one
    shown       [MASK] for 80 % of them, any token for 10 %, themselves for 10 %

With whole words (the authors' later code) all pieces of a word are chosen or none.
"""

from typing import Any

import numpy as np

from zoo.tokenizers import Tokenizer

HIDDEN, SWAPPED = 0.8, 0.9  # up to here [MASK], up to here any token


class Vocabulary:
    """What masking must know of a vocabulary: one entry an id, and the ids that are no special."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokens = tokenizer.backend.get_vocab(True)
        model = tokenizer.backend.model
        self.prefix: str | None = getattr(model, "continuing_subword_prefix", None)
        self.regular = np.zeros(tokenizer.vocab_size, dtype=bool)
        self.inner = np.zeros(tokenizer.vocab_size, dtype=bool)  # goes on with a word
        for token, i in tokens.items():
            self.regular[i] = i not in tokenizer.special_ids
            self.inner[i] = bool(self.prefix) and token.startswith(str(self.prefix))
        self.others = self.regular.nonzero()[0]


def counts(candidates: Any, rate: float) -> Any:
    """Give how many of each row are chosen: at least one."""
    return np.maximum(1, np.rint(rate * candidates.sum(1))).astype(np.int64)


def single(candidates: Any, draws: Any, rate: float) -> Any:
    """Choose tokens among the candidates (n, t) with the smallest draws (n, t)."""
    places = np.where(candidates, draws, 2.0).argsort(1).argsort(1)  # others come last
    return (places < counts(candidates, rate)[:, None]) & candidates


def whole_words(candidates: Any, inner: Any, draws: Any, rate: float) -> Any:
    """Choose words by the draw of their first token, while their tokens are not too many.

    Where every word alone is too long, the first is chosen all the same.
    """
    chosen = np.zeros_like(candidates)
    for row, most in enumerate(counts(candidates, rate)):
        places = candidates[row].nonzero()[0]
        if not len(places):
            continue
        # a window may begin within a word, and a special token ends one
        begins = ~inner[row, places[1:]] | (np.diff(places) > 1)
        words = np.split(places, begins.nonzero()[0] + 1)
        words.sort(key=lambda word: draws[row, word[0]])
        left = most
        for word in words:
            if len(word) <= left:
                chosen[row, word] = True
                left -= len(word)
        if left == most:
            chosen[row, words[0]] = True
    return chosen


def shown(ids: Any, chosen: Any, how: Any, which: Any, mask_id: int, others: Any) -> Any:
    """Give ids with the chosen ones hidden, swapped or kept, by two draws a token."""
    swapped = others[(which * len(others)).astype(np.int64)]
    replaced = np.where(how < HIDDEN, mask_id, np.where(how < SWAPPED, swapped, ids))
    return np.where(chosen, replaced, ids)
