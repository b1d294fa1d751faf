"""Rows that are there twice: what is told, at which level, and what is never told."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from unit.data.seen import found, kept, labelled, rows_of, scene, words
from zoo.data.check import inspect
from zoo.data.duplicates import NEAR, join_near_texts
from zoo.data.groups import Groups
from zoo.data.words import cut, resemblance, shingles

A, B, C = (words(40, seed) for seed in range(3))


def changed(text, *places):
    """Put other words into a text."""
    parts = text.split()
    for place in places:
        parts[place] = f"other{place}"
    return " ".join(parts)


EQUAL = [
    ("across splits", "tv", [A, A], "error", ["r0", "r1"]),
    ("across valid and test", "ve", [A, A], "error", ["r0", "r1"]),
    ("but for case", "tv", [A, A.upper()], "error", ["r0", "r1"]),
    ("but for spaces", "tv", [A, A.replace(" ", " \n")], "error", ["r0", "r1"]),
    ("but for the form of letters", "tv", ["ﬁve cafés in a street", "five cafe\u0301s in a street"],
     "error", ["r0", "r1"]),
    ("but for what is invisible", "tv", [A, A.replace(" ", "\u200b ")], "error", ["r0", "r1"]),
    ("within a split", "tt", [A, A], "warning", ["r0", "r1"]),
    ("short, across splits", "tv", ["see you soon", "See you soon"], "warning", ["r0", "r1"]),
    ("short, within a split", "vv", ["ok", "ok"], "note", ["r0", "r1"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "texts", "level", "ids"), [row[1:] for row in EQUAL], ids=[row[0] for row in EQUAL]
)
def test_equal_texts_are_told(splits, texts, level, ids):
    report = inspect(labelled(splits + "t", [*texts, C], ["ham", "ham", "spam"]))
    (finding,) = found(report, "duplicates")
    assert (finding.level, list(finding.rows)) == (level, ids)
    assert finding.numbers["groups"] == [ids]
    assert not found(report, "near duplicates")


def test_a_leak_says_what_share_of_a_split_is_not_new():
    report = inspect(labelled("tvvve", [A, A, B, C, A], ["ham"] * 5))
    (finding,) = found(report, "duplicates", "error")
    assert finding.text.startswith("33.3% of valid and 100.0% of test is not new: 1 group of texts")
    assert finding.numbers["shares"] == {"valid": 1 / 3, "test": 1.0}
    assert finding.examples == (f"r0 (train) = r1 (valid) and 1 more: {A[:50]!r}",)


@pytest.mark.parametrize("texts", [["", ""], [" ", "\n"], [A, B]], ids=["empty", "blank", "other"])
def test_what_says_nothing_or_something_else_is_no_copy(texts):
    report = inspect(labelled("tv", texts))
    assert not found(report, "duplicates") and not found(report, "near duplicates")


NEARLY = [
    ("across splits", "tv", [A, changed(A, 20)], "error"),
    ("within a split", "tt", [A, changed(A, 20)], "warning"),
    ("with more at its end", "tv", [A, f"{A} and more"], "error"),
    ("in Chinese, without spaces", "tv", ["".join(map(chr, range(0x4E00, 0x4E30))),
     "".join(map(chr, range(0x4E01, 0x4E31)))], "error"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "texts", "level"), [row[1:] for row in NEARLY], ids=[row[0] for row in NEARLY]
)
def test_texts_that_are_nearly_equal_are_told(splits, texts, level):
    report = inspect(labelled(splits + "t", [*texts, C], ["ham", "ham", "spam"]))
    (finding,) = found(report, "near duplicates")
    assert (finding.level, finding.rows) == (level, ("r0", "r1"))
    assert not found(report, "duplicates")


APART = [
    ("too much of it is other", [A, changed(A, 5, 15, 25)]),
    ("too short to say", [words(21), f"so {words(21)}"]),
    ("the same words in another order", [A, " ".join(reversed(A.split()))]),
    ("a half of the other", [A, " ".join(A.split()[:25])]),
]


@pytest.mark.parametrize("texts", [row[1] for row in APART], ids=[row[0] for row in APART])
def test_texts_that_share_too_little_are_not_told(texts):
    assert not found(inspect(labelled("tv", texts)), "near duplicates")


def test_a_short_text_of_enough_words_is_compared():
    # 22 words are 20 shingles; with one word before them they are 20 of 21
    text = words(22)
    report = inspect(labelled("tv", [text, f"so {text}"]))
    assert found(report, "near duplicates", "error")


def test_a_chain_of_near_texts_is_one_group():
    texts = [A, changed(A, 1), changed(A, 1, 38), changed(A, 1, 38, 2)]
    report = inspect(labelled("tttv", texts, ["ham"] * 4))
    (finding,) = found(report, "near duplicates")
    assert finding.numbers["groups"] == [["r0", "r1", "r2", "r3"]]


def test_copies_of_a_near_text_come_along():
    report = inspect(labelled("ttv", [A, A, changed(A, 20)], ["ham"] * 3))
    (finding,) = found(report, "near duplicates")
    assert finding.rows == ("r0", "r1", "r2")


@pytest.mark.parametrize("check", ["duplicates", "near duplicates"])
def test_one_content_with_two_labels_is_told(check):
    other = A if check == "duplicates" else changed(A, 20)
    report = inspect(labelled("ttt", [A, other, C], ["ham", "spam", "ham"]))
    (finding,) = [f for f in found(report, check) if "different labels" in f.text]
    assert (finding.level, finding.rows) == ("warning", ("r0", "r1"))
    assert "r0 (ham) = r1 (spam)" in finding.examples[0]


def test_sketches_find_every_pair_that_is_near():
    # three of four pairs are near, in one index: none may be lost, none made up
    texts = [words(60, k) for k in range(40)]
    pairs = [changed(text, *range(3, 3 + 6 * (k % 4), 6)) for k, text in enumerate(texts)]
    sets = [shingles(numbers) for numbers in cut([*texts, *pairs]).texts]
    groups = Groups(80)
    join_near_texts(sets, groups)
    expected = [[k, 40 + k] for k in range(40) if resemblance(sets[k], sets[40 + k])[0] >= NEAR]
    assert groups.lists() == expected and len(expected) == 30


def test_a_crowd_of_near_texts_is_one_group():
    # more than are kept for comparison: each is near the first ones
    sets = [shingles(numbers) for numbers in cut([f"{A} no {k}" for k in range(70)]).texts]
    groups = Groups(70)
    join_near_texts(sets, groups)
    assert groups.lists() == [list(range(70))]


def test_a_pair_of_texts_is_equal_only_as_a_pair():
    report = inspect(labelled("tv", [A, A], ["ham", "ham"], pair=[B, C]))
    assert not found(report, "duplicates") and not found(report, "near duplicates")


def test_tokens_are_read_as_a_text():
    rows = rows_of("tagged_text", "tv", tokens=[A.split(), A.split()], tags=[["O"] * 40] * 2)
    assert found(inspect(rows), "duplicates", "error")


def test_questions_about_one_context_belong_into_one_split():
    columns = {
        "question": ["why was it so", "who was it then"],
        "answer": ["w"] * 2,
        "start": [0, 0],
    }
    across = inspect(rows_of("answers", "tv", context=[A, A], **columns))
    assert found(across, "duplicates", "error") and "contexts" in across.findings[0].text
    nearly = inspect(rows_of("answers", "tv", context=[A, changed(A, 20)], **columns))
    assert found(nearly, "near duplicates", "error")
    for contexts in ([A, A], [A, changed(A, 20)]):
        assert inspect(rows_of("answers", "tt", context=contexts, **columns)).findings == ()


def jpeg(picture, quality):
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(BytesIO(file.getvalue())).convert("RGB")


def lighter(picture):
    return Image.fromarray((np.asarray(picture) * 0.8 + 30).astype(np.uint8))


PICTURES = [
    ("the same", lambda s: s, "duplicates"),
    ("saved as JPEG", lambda s: jpeg(s, 60), "near duplicates"),
    ("made larger", lambda s: s.resize((80, 80), Image.Resampling.BICUBIC), "near duplicates"),
    ("made lighter", lighter, "near duplicates"),
    ("another", lambda s: scene(8), None),
    ("its mirror image", lambda s: s.transpose(Image.Transpose.FLIP_LEFT_RIGHT), None),
    ("with a mark in it", lambda s: marked(s), None),
]


def marked(picture):
    """Paint a small square white: nearly all pixels are the same, and it is another picture."""
    changed = picture.copy()
    changed.paste((255, 255, 255), (20, 20, 25, 25))
    return changed


@pytest.mark.parametrize(
    ("change", "check"), [row[1:] for row in PICTURES], ids=[row[0] for row in PICTURES]
)
def test_a_picture_is_told_again(tmp_path, change, check):
    first = scene(3)
    paths = kept(tmp_path, [first, change(first), scene(5)])
    report = inspect(rows_of("labelled_images", "tvt", image=paths, label=["cat", "cat", "dog"]))
    told = {f.check: f.rows for f in report.findings if f.level == "error"}
    assert told == ({} if check is None else {check: ("r0", "r1")})


def test_empty_pages_are_no_copies(tmp_path):
    rng = np.random.default_rng(1)
    dust = [rng.integers(240, 250, (40, 40, 3)).astype(np.uint8) for _ in range(2)]
    shade = np.linspace(200, 250, 40)[None, :, None] + np.zeros((40, 1, 3))
    pages = [Image.new("RGB", (40, 40), "white")] * 2
    lit = [Image.fromarray((shade + d * 0.02).astype(np.uint8)) for d in dust]
    paths = kept(tmp_path, [*pages, *map(Image.fromarray, dust), *lit])
    report = inspect(rows_of("images", "tvtvtv", image=paths))
    assert [(f.level, f.check, f.rows) for f in report.findings] == [
        ("warning", "pictures", ("r0", "r1"))
    ]


def test_captions_of_one_picture_belong_into_one_split(tmp_path):
    paths = kept(tmp_path, [scene(3), scene(3), scene(4)])
    captions = ["a cloud at dawn", "a cloud", "rain"]
    within = inspect(rows_of("pairs", "ttv", image=paths, caption=captions))
    assert within.findings == ()
    across = inspect(rows_of("pairs", "tvt", image=paths, caption=captions))
    assert [f.rows for f in found(across, "duplicates", "error")] == [("r0", "r1")]


def test_other_scans_of_a_digit_are_other_pictures(tmp_path):
    digits = load_digits()
    chosen = [1585, 1648, 777, 1237, 1213, 1626]  # the three pairs that are nearest of all
    scans = [Image.fromarray((digits.images[k] * 15.9).astype(np.uint8)) for k in chosen]
    large = [scan.resize((32, 32), Image.Resampling.BICUBIC) for scan in scans]
    labels = [str(digits.target[k]) for k in chosen]
    for folder, pictures in (("small", scans), ("large", large)):
        (tmp_path / folder).mkdir()
        paths = kept(tmp_path / folder, pictures)
        report = inspect(rows_of("labelled_images", "tvtvtv", image=paths, label=labels))
        assert not found(report, "duplicates") and not found(report, "near duplicates")
