"""Texts folded and cut into words; shingles and how much two sets of them share."""

from itertools import pairwise

import numpy as np
import pytest

from zoo.data.words import MOST, SHINGLE, cut, fold, mix, resemblance, shingles

FOLDED = [
    ("Hello  World\n", "hello world"),
    ("ＦＵＬＬ ｗｉｄｔｈ", "full width"),
    ("ﬁne", "fine"),
    ("℡", "tel"),
    ("Straße", "strasse"),
    ("cafe\u0301", "caf\u00e9"),
    ("a\u200bb\ufeff \u00adc", "ab c"),
    ("a\u00a0b", "a b"),
    ("\u200b", ""),
    ("İstanbul", "i\u0307stanbul"),
]


@pytest.mark.parametrize(("text", "folded"), FOLDED, ids=range(len(FOLDED)))
def test_a_text_is_folded(text, folded):
    assert fold(text) == folded
    assert fold(fold(text)) == folded


CUT = [
    ("it is, is it?", ["it", "is", "is", "it"]),
    ("snake_case 3.14", ["snake", "case", "3", "14"]),
    ("汉字 and カナ", ["汉", "字", "and", "カ", "ナ"]),
    ("한국어 말", ["한국어", "말"]),
    ("ไทย", ["ไ", "ท", "ย"]),
    ("...", []),
]


@pytest.mark.parametrize(("text", "expected"), CUT, ids=range(len(CUT)))
def test_a_text_is_cut_into_words(text, expected):
    words = cut(["first", text])
    assert [words.vocabulary[k] for k in words.texts[1]] == expected


def test_of_a_very_long_text_the_beginning_is_cut():
    assert len(cut(["a " * MOST]).texts[0]) == MOST // 2


def test_shingles_are_runs_of_words_and_a_set():
    same = shingles(np.array([4, 7, 1, 4, 7, 1]))
    assert SHINGLE == 3 and len(same) == 3  # 471, 714, 147
    assert list(same) == sorted(set(same.tolist()))
    assert len(shingles(np.array([4, 7]))) == 0
    assert shingles(np.array([4, 7, 1])) != shingles(np.array([1, 7, 4]))


def test_words_are_spread_and_none_is_two():
    mixed = np.sort(mix(np.arange(20_000)))
    assert all(a < b for a, b in pairwise(mixed.tolist()))
    bits = np.unpackbits(mixed.view(np.uint8)).mean()
    assert abs(bits - 0.5) < 0.01


@pytest.mark.parametrize(
    ("a", "b", "index", "shared"),
    [
        ([1, 2, 3, 4], [3, 4, 5, 6], 2 / 6, 2),
        ([1, 2], [1, 2], 1.0, 2),
        ([1], [2], 0.0, 0),
        ([], [], 0.0, 0),
        ([], [1], 0.0, 0),
    ],
    ids=range(5),
)
def test_resemblance_is_jaccards(a, b, index, shared):
    sets = [np.array(x, dtype=np.uint64) for x in (a, b)]
    assert resemblance(*sets) == (index, shared)
