"""Samples from a packed file: windows of tokens, and pairs of neighbouring pieces of a text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zoo.data.errors import DataError
from zoo.data.masking import Vocabulary, shown, single, whole_words
from zoo.data.order import uniform
from zoo.data.pack import Packed
from zoo.data.samples import IGNORE, padded, row_seeds, version_of
from zoo.tokenizers import Tokenizer


class Windows:
    """Windows of `length` tokens, from which to predict each next token.

    A window begins with the last token of the one before, so in an epoch every token but the first
    is predicted exactly once; were they laid side by side, the first of each would never be. What
    is left behind the last whole window is not used. Texts follow each other within a window,
    parted by their end token.
    """

    unit = "tokens"

    def __init__(self, packed: Packed, length: int) -> None:
        if length < 2:
            raise DataError(f"windows of {length} predict nothing: take a length of 2 or more")
        self.packed, self.length = packed, length
        self.table = windows(packed, length, length - 1)
        self.version = version_of("windows", packed.sha256, length)

    def __len__(self) -> int:
        return len(self.table)

    def names(self, chosen: Sequence[int]) -> list[str]:
        return window_names(self.packed, chosen, self.length - 1, self.length)

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        ids = self.table[chosen[own].numpy()].astype(np.int64)
        mask = torch.ones(ids.shape, dtype=torch.int64)
        return {"input_ids": torch.from_numpy(ids), "attention_mask": mask}


class Masked:
    """Windows between [CLS] and [SEP], `length` tokens in all, some of which are to be guessed.

    `rate` is the share of those; with `words` they are whole words. Labels are -100 but there.
    Raises ValueError for a tokenizer without [CLS], [SEP] and [MASK], or, with `words`, one whose
    tokens do not tell where words begin.
    """

    unit = "tokens"

    def __init__(
        self,
        packed: Packed,
        tokenizer: Tokenizer,
        length: int,
        *,
        rate: float = 0.15,
        words: bool = False,
    ) -> None:
        if length < 3:
            raise DataError(f"windows of {length} hold [CLS] and [SEP] alone: take 3 or more")
        if not 0 < rate < 1:
            raise ValueError(f"rate is {rate}; expected a share of tokens between 0 and 1")
        self.special = special_ids(tokenizer, "cls", "sep", "mask")
        self.vocabulary = Vocabulary(tokenizer)
        if words and not self.vocabulary.prefix:
            raise ValueError("whole words are masked with a WordPiece tokenizer: pass words=False")
        self.packed, self.length, self.rate, self.words = packed, length, rate, words
        self.table = windows(packed, length - 2, length - 2)
        self.version = version_of("masked", packed.sha256, length, rate, words)

    def __len__(self) -> int:
        return len(self.table)

    def names(self, chosen: Sequence[int]) -> list[str]:
        return window_names(self.packed, chosen, self.length - 2, self.length - 2)

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        seeds = row_seeds(len(chosen), generator, own)
        ids = self.table[chosen[own].numpy()].astype(np.int64)
        hidden, labels = self.masked(ids, seeds)
        rows, size = len(ids), (len(ids), self.length)
        cls, sep, _ = self.special
        input_ids = np.concatenate(
            [np.full((rows, 1), cls), hidden, np.full((rows, 1), sep)], axis=1
        )
        framed = np.full(size, IGNORE)
        framed[:, 1:-1] = labels
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.ones(size, dtype=torch.int64),
            "labels": torch.from_numpy(framed),
        }

    def masked(self, ids: Any, seeds: Int[Tensor, " n"]) -> tuple[Any, Any]:
        """Give rows of ids (n, t) as the model sees them, and their labels."""
        known = self.vocabulary
        rows, tokens = ids.shape
        first, how, which = uniform(seeds, 3 * tokens).reshape(rows, 3, tokens).swapaxes(0, 1)
        candidates = known.regular[ids]
        if self.words:
            chosen = whole_words(candidates, known.inner[ids], first, self.rate)
        else:
            chosen = single(candidates, first, self.rate)
        hidden = shown(ids, chosen, how, which, self.special[2], known.others)
        return hidden, np.where(chosen, ids, IGNORE)


class SentencePairs:
    """Two pieces of text, of which the second follows the first (label 0) or not (label 1).

    A text is cut into pieces that fit twice in `length` tokens, a short one in two halves; sample i
    is one piece and, with an even chance, the piece behind it or one of another text.
    Raises DataError unless two texts have two tokens or more.
    """

    unit = "texts"

    def __init__(self, packed: Packed, tokenizer: Tokenizer, length: int) -> None:
        if length < 5:
            raise DataError(f"a length of {length} does not hold a pair: take 5 or more")
        self.special = special_ids(tokenizer, "cls", "sep")
        self.pad = tokenizer.pad_id or 0
        self.packed, self.length = packed, length
        ends = np.asarray(packed.ends)
        self.starts = np.concatenate([[0], ends[:-1]])
        self.sizes = ends - 1 - self.starts  # tokens of a text without its end
        most = (length - 3) // 2
        self.piece = np.minimum(most, -(-self.sizes // 2)).clip(1)
        pairs = (-(-self.sizes // self.piece) - 1).clip(0)
        self.firsts = np.concatenate([[0], np.cumsum(pairs)])  # each text's first sample
        if (pairs > 0).sum() < 2:
            raise DataError(
                f"{(pairs > 0).sum()} texts have two pieces, and a pair needs another text: give "
                "two texts or more of at least two tokens, such as a paragraph or a page each"
            )
        self.version = version_of("sentence pairs", packed.sha256, length)

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def names(self, chosen: Sequence[int]) -> list[str]:
        texts = self.texts_of(np.array(chosen))
        return [
            f"text {text}, piece {sample - self.firsts[text]}"
            for text, sample in zip(texts, chosen, strict=True)
        ]

    def texts_of(self, samples: Any) -> Any:
        return np.searchsorted(self.firsts, samples, "right") - 1

    def pieces(self, samples: Any, second: int) -> list[list[int]]:
        """Give the ids of the samples' first pieces, or of their second."""
        texts = self.texts_of(samples)
        starts = (samples - self.firsts[texts] + second) * self.piece[texts]
        stops = np.minimum(starts + self.piece[texts], self.sizes[texts])
        bounds = zip(self.starts[texts] + starts, self.starts[texts] + stops, strict=True)
        return [self.packed.ids[start:stop].tolist() for start, stop in bounds]

    def partners(self, samples: Any, draws: Any) -> Any:
        """Draw a sample of another text for each."""
        texts = self.texts_of(samples)
        first, behind = self.firsts[texts], self.firsts[texts + 1]
        drawn = (draws * (len(self) - (behind - first))).astype(np.int64)
        return np.where(drawn < first, drawn, drawn + behind - first)

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        samples = chosen[own].numpy()
        coins, which = uniform(row_seeds(len(chosen), generator, own), 2).T
        other = coins < 0.5
        cls, sep = self.special
        a = [[cls, *ids, sep] for ids in self.pieces(samples, 0)]
        follows = np.where(other, self.partners(samples, which), samples)
        b = [[*ids, sep] for ids in self.pieces(follows, 1)]
        pairs = list(zip(a, b, strict=True))
        return {
            "input_ids": padded([one + two for one, two in pairs], self.pad),
            "attention_mask": padded([[1] * (len(one) + len(two)) for one, two in pairs], 0),
            "token_type_ids": padded([[0] * len(one) + [1] * len(two) for one, two in pairs], 0),
            "labels": torch.from_numpy(other.astype(np.int64)),
        }


def windows(packed: Packed, length: int, stride: int) -> Any:
    """Give all windows of a packed file as the rows of one array that is still on disk.

    Raises DataError where there is none.
    """
    ids = packed.ids
    count = (len(ids) - length) // stride + 1
    if count < 1:
        raise DataError(
            f"{packed.path} holds {len(ids)} tokens, fewer than one window of {length}: "
            "give more text or take a shorter length"
        )
    strides = (stride * ids.itemsize, ids.itemsize)
    return np.lib.stride_tricks.as_strided(ids, (count, length), strides, writeable=False)


def window_names(packed: Packed, chosen: Sequence[int], stride: int, length: int) -> list[str]:
    """Say where windows lie: at which tokens, and in which text they begin."""
    starts = [i * stride for i in chosen]
    texts = np.searchsorted(packed.ends, starts, "right")
    return [
        f"tokens {start} to {start + length - 1}, from text {text}"
        for start, text in zip(starts, texts, strict=True)
    ]


def special_ids(tokenizer: Tokenizer, *roles: str) -> list[int]:
    """Give the ids of special tokens; raise ValueError for one that the tokenizer lacks."""
    ids = [getattr(tokenizer, f"{role}_id") for role in roles]
    lacking = [role for role, i in zip(roles, ids, strict=True) if i is None]
    if lacking:
        raise ValueError(
            f"the tokenizer has no {' and no '.join(lacking)} token, which BERT's objectives need: "
            "take a wordpiece tokenizer"
        )
    return ids
