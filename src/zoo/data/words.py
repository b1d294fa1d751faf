"""Words of many texts, as numbers: what near duplicates and word statistics count.

A text is folded first (NFKC, no case, one space where there was white space, nothing invisible). A
word is then a run of letters and digits; in scripts that are written without spaces each letter is
a word. A set of shingles is the hashes of all runs of SHINGLE words:

    h(w1 .. wk) = sum_i mix(w_i) A^(k - i)  mod 2^64

Two shingles that differ have one hash with a chance of 2^-64.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64

MOST = 1_000_000  # letters of a text that are cut into words; a book has fewer
SHINGLE = 3

# Thai and Lao, Myanmar, Khmer, kana, the Han blocks: a letter is taken for a word
DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(f"[{DENSE}\U00020000-\U0003134f]|[^\\W_{DENSE}\U00020000-\U0003134f]+")
# zero-width, joining, direction and byte order marks, and the soft hyphen
INVISIBLE = re.compile("[\xad\u200b-\u200f\u2060\ufeff]")

ODD = np.uint64(0x9E3779B97F4A7C15)
FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def fold(text: str) -> str:
    """Give what two texts share when only case, spaces or the form of letters differ."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if not plain.isascii():
        plain = INVISIBLE.sub("", unicodedata.normalize("NFKC", plain))
    return " ".join(plain.split())


@dataclass(frozen=True)
class Words:
    """Words of texts: each text's as numbers, and the word of each number."""

    texts: list[Int[np.ndarray, " _"]]
    vocabulary: list[str]


def cut(folded: Sequence[str]) -> Words:
    """Cut folded texts into words; of a very long one, its first MOST letters."""
    numbers: dict[str, int] = {}
    texts = []
    for text in folded:
        words = WORD.findall(text, 0, MOST)
        found = [numbers.setdefault(word, len(numbers)) for word in words]
        texts.append(np.array(found, dtype=np.int64))
    return Words(texts, list(numbers))


def shingles(words: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, " m"]:
    """Give the hashes of all runs of SHINGLE words, each once and in order."""
    count = len(words) - SHINGLE + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    mixed = mix(words)
    total = np.zeros(count, dtype=np.uint64)
    for i in range(SHINGLE):
        total = total * ODD + mixed[i : i + count]
    return np.unique(total)


def mix(numbers: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Spread small numbers over 64 bits, one to one: SplitMix64's finaliser."""
    z = (numbers.astype(np.uint64) + np.uint64(1)) * ODD
    for shift, factor in zip((30, 27), FACTORS, strict=True):
        z = (z ^ (z >> np.uint64(shift))) * factor
    return z ^ (z >> np.uint64(31))


def resemblance(a: UInt64[np.ndarray, " n"], b: UInt64[np.ndarray, " m"]) -> tuple[float, int]:
    """Give the Jaccard index of two sets of shingles, and how many they share."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    together = len(a) + len(b) - shared
    return (shared / together if together else 0.0), shared
