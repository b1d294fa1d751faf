import math

import pytest
import torch

from unit.data.tables import BPE, PIECES, TEXTS, made, rows_of, unpadded
from zoo.data.errors import DataError
from zoo.data.pack import pack
from zoo.data.samples import IGNORE, Samples
from zoo.data.samples_text import (
    Answers,
    Labelled,
    Masked,
    SentencePairs,
    Tagged,
    Windows,
    cut_at,
    words_of,
)

TOKENIZERS = {"bpe": BPE, "wordpiece": PIECES}


def labelled(tokenizer=PIECES, **changes):
    columns = {"text": TEXTS[:4], "label": ["b", "a", "b", "c"]} | changes
    return Labelled(rows_of("labelled_text", ("a", "b", "c"), **columns), tokenizer, 12)


def tagged(tokenizer=PIECES, length=99):
    words = [text.split() for text in TEXTS[:4]]
    tags = [["O" if word.islower() else "X" for word in row] for row in words]
    return Tagged(rows_of("tagged_text", ("O", "X"), tokens=words, tags=tags), tokenizer, length)


def asked(tokenizer=PIECES, length=24, answers=("sea", "whales swim", "on"), **options):
    contexts = [next(text for text in TEXTS if answer in text) for answer in answers]
    starts = [text.index(answer) for text, answer in zip(contexts, answers, strict=True)]
    rows = rows_of(
        "answers",
        question=["What is there?", "Who swims?", "Where?"][: len(answers)],
        context=contexts,
        answer=list(answers),
        start=starts,
    )
    return Answers(rows, tokenizer, length, **options)


def all_kinds(tmp_path):
    bpe, pieces = pack(TEXTS, BPE, tmp_path / "bpe"), pack(TEXTS, PIECES, tmp_path / "pieces")
    return {
        "windows": Windows(bpe, 7),
        "masked": Masked(pieces, PIECES, 11),
        "whole words masked": Masked(pieces, PIECES, 11, words=True),
        "sentence pairs": SentencePairs(pieces, PIECES, 13),
        "labelled": labelled(),
        "pairs labelled": labelled(pair=["so", None, "and on", "on"]),
        "tagged": tagged(),
        "answers": asked(),
    }


KINDS = (
    "windows",
    "masked",
    "whole words masked",
    "sentence pairs",
    "labelled",
    "pairs labelled",
    "tagged",
    "answers",
)


@pytest.mark.parametrize("kind", KINDS)
def test_any_slice_of_a_batch_holds_the_rows_of_the_whole(kind, tmp_path):
    samples = all_kinds(tmp_path)[kind]
    chosen = [i % len(samples) for i in (2, 0, 1, 2, 1, 0)]
    whole = unpadded(made(samples, chosen))
    for rows in (1, 2, 3):
        slices = [slice(first, first + rows) for first in range(0, 6, rows)]
        assert [row for own in slices for row in unpadded(made(samples, chosen, own))] == whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_what_a_loader_reads(kind, tmp_path):
    samples, again = all_kinds(tmp_path)[kind], all_kinds(tmp_path)[kind]
    assert isinstance(samples, Samples)
    assert samples.version == again.version and samples.version.startswith("sha256:")
    assert samples.unit in ("tokens", "texts")
    names = samples.names(range(len(samples)))
    assert len(set(names)) == len(samples) > 2
    batch = made(samples)
    assert {len(tensor) for tensor in batch.values()} == {len(samples)}
    assert batch["attention_mask"].shape == batch["input_ids"].shape
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


def test_another_setting_is_another_version(tmp_path):
    samples = all_kinds(tmp_path)
    others = [
        Windows(samples["windows"].packed, 8),
        Masked(samples["masked"].packed, PIECES, 11, rate=0.2),
        Masked(samples["masked"].packed, PIECES, 12),
        SentencePairs(samples["masked"].packed, PIECES, 14),
        labelled(BPE),
        labelled(label=["a", "a", "b", "c"]),
        tagged(length=9),
        asked(length=25),
        asked(augment=False),
    ]
    versions = [each.version for each in [*samples.values(), *others]]
    assert len(set(versions)) == len(versions)


def test_labels_are_the_numbers_of_classes():
    batch = made(labelled(), [3, 0, 1])
    assert batch["labels"].tolist() == [2, 1, 0]
    expected = PIECES.batch([TEXTS[3], TEXTS[0], TEXTS[1]], longest=12)
    assert batch.keys() == expected.keys() | {"labels"}
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert batch["input_ids"].shape[1] == 12 < len(PIECES.encode(TEXTS[0]))


def test_a_missing_pair_is_an_empty_one():
    batch = made(labelled(pair=["so", None, "and on", math.nan]))
    expected = PIECES.batch(TEXTS[:4], ["so", "", "and on", ""], longest=12)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_classes_may_be_given_in_another_order():
    rows = rows_of("labelled_text", ("a", "b"), text=["x", "y"], label=["a", "b"])
    batch = made(Labelled(rows, PIECES, 12, labels=("b", "c", "a")))
    assert batch["labels"].tolist() == [2, 0]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_tags_are_found_again_at_their_words(tokenizer):
    samples = tagged(TOKENIZERS[tokenizer])
    for i, row in enumerate(unpadded(made(samples))):
        found = [(t, label) for t, label in enumerate(row["labels"]) if label != IGNORE]
        words = samples.words[i]
        assert [samples.labels[label] for _, label in found] == [
            "O" if word.islower() else "X" for word in words
        ]
        # a word's tokens go on up to the first of the next; together they are the word
        starts = [t for t, _ in found]
        for word, start, stop in zip(words, starts, [*starts[1:], None], strict=True):
            text = TOKENIZERS[tokenizer].decode(row["input_ids"][start:stop])
            assert text.replace(" ", "").lower() == word.lower()


def test_words_beyond_the_length_have_no_tag():
    whole, cut = (unpadded(made(tagged(length=length)))[0]["labels"] for length in (99, 9))
    assert cut == [*whole[:8], IGNORE]  # the last is [SEP]


def test_a_word_without_tokens_loses_its_tag_alone():
    rows = rows_of(
        "tagged_text",
        ("A", "B", "C"),
        tokens=[["the", "\u200b", "sea"]],
        tags=[["A", "B", "C"]],
    )
    labels = made(Tagged(rows, PIECES, 99))["labels"][0].tolist()
    assert [label for label in labels if label != IGNORE] == [0, 2]


def test_a_token_belongs_to_the_word_that_it_ends_in():
    #         "ab c def": of "ab" two tokens, then " c", " de", "f", one added, one of nothing
    spans = [(0, 1), (1, 2), (2, 4), (4, 7), (7, 8), (0, 0), (8, 8)]
    assert words_of(spans, ["ab", "c", "def"]) == [0, 0, 1, 2, 2, -1, -1]
    assert words_of([(2, 3)], ["ab", "c"]) == [-1]  # the space between two words


def characters(samples, index, row, tokenizer):
    """Give the text of the tokens that a row's labels name, and the answer."""
    first, last = row["labels"]
    kept = samples.kept[index]
    answer = samples.contexts[kept][slice(*samples.spans[kept])]
    return tokenizer.decode(row["input_ids"][first : last + 1]), answer


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("length", [20, 26, 99])
@pytest.mark.parametrize("augment", [True, False])
def test_an_answers_tokens_are_the_answer_again(tokenizer, length, augment):
    tokenizer = TOKENIZERS[tokenizer]
    samples = asked(tokenizer, length, augment=augment, drop=True)
    assert len(samples) > 1
    for seed in range(5):
        batch = made(samples, seed=seed)
        assert batch["input_ids"].shape[1] <= length
        for i, row in enumerate(unpadded(batch)):
            text, answer = characters(samples, i, row, tokenizer)
            assert text.strip().lower() == answer.lower()


def test_an_answer_that_begins_within_a_token_is_held_by_it():
    rows = rows_of(
        "answers", question=["Who"], context=["the sea, the ship"], answer=["ea, t"], start=[5]
    )
    samples = Answers(rows, PIECES, 30)
    (row,) = unpadded(made(samples))
    first, last = row["labels"]
    spans = PIECES.offsets("the sea, the ship", special=False)
    before = row["token_type_ids"].index(1)
    assert spans[first - before][0] <= 5 < spans[first - before][1]
    assert spans[last - before][0] < 10 <= spans[last - before][1]


def test_a_long_context_is_cut_around_the_answer():
    drawn, still = asked(length=22), asked(length=22, augment=False)
    question = PIECES.encode(drawn.questions[1], special=False)
    context = PIECES.encode(drawn.contexts[1], special=False)
    room = 22 - 3 - len(question)
    assert room < len(context)
    rows = [unpadded(made(samples, [1], seed=s))[0] for samples in (drawn, still) for s in range(9)]
    for row in rows:
        a, b = [PIECES.cls_id, *question, PIECES.sep_id], row["input_ids"][len(question) + 2 : -1]
        assert row["input_ids"] == [*a, *b, PIECES.sep_id]
        assert len(b) == room
        assert b in [context[i : i + room] for i in range(len(context) - room + 1)]
    places = [row["labels"][0] for row in rows]
    assert len(set(places[:9])) > 2
    assert len(set(places[9:])) == 1


@pytest.mark.parametrize(
    ("place", "middle", "lowest", "highest"),
    [
        ((4, 5), 3, 2, 4),  # two tokens within four of ten
        ((0, 0), 0, 0, 0),
        ((9, 9), 6, 6, 6),
        ((8, 9), 6, 6, 6),
        ((3, 6), 3, 3, 3),  # nothing else fits
        ((5, 5), 3, 2, 5),
    ],
)
def test_a_part_holds_the_answer_wherever_it_is_drawn(place, middle, lowest, highest):
    assert cut_at(place, 10, 4, None) == middle
    drawn = [cut_at(place, 10, 4, draw / 50) for draw in range(50)]
    assert (min(drawn), max(drawn)) == (lowest, highest)
    assert set(drawn) == set(range(lowest, highest + 1))
    assert all(first <= place[0] and place[1] < first + 4 for first in drawn)


def test_answers_that_do_not_fit_are_listed_or_left_out():
    answers = ("sea", "whales swim, and the sea goes on", "on")
    with pytest.raises(
        DataError, match=r"1 answer of 3 cannot be found in 14 tokens .*'r101'.*drop"
    ):
        asked(length=14, answers=answers)
    samples = asked(length=14, answers=answers, drop=True)
    assert samples.dropped == ("r101",)
    assert samples.names([0, 1]) == ["r100", "r102"]
    texts = [characters(samples, i, row, PIECES) for i, row in enumerate(unpadded(made(samples)))]
    assert texts == [("sea", "sea"), ("on", "on")]


def test_when_no_answer_fits_there_is_nothing_to_leave_out():
    with pytest.raises(DataError, match="3 answers of 3 cannot be found in 5 tokens"):
        asked(length=5, drop=True)


def test_the_largest_answer_that_fits_is_taken():
    whole = "whales swim, and the sea goes on"
    tokens = len(PIECES.encode("Who swims?", whole))
    assert len(asked(length=tokens, answers=("sea", whole))) == 2
    with pytest.raises(DataError, match="1 answer of 2"):
        asked(length=tokens - 1, answers=("sea", whole))


REFUSED = {
    "no rows": (lambda: labelled(text=[], label=[]), "there are no rows of labelled_text"),
    "rows of another kind": (
        lambda: Tagged(rows_of("text", text=["sea"]), PIECES, 9),
        "rows of text have no 'tokens', 'tags': read them as a kind that has",
    ),
    "a label of no class": (
        lambda: labelled(label=["a", "b", "d", "a"]),
        "row r102 has the label 'd', which is none of 'a', 'b', 'c': correct it, or give all",
    ),
    "a row that no token is left of": (
        lambda: made(labelled(BPE, text=["sea", "", "a", ""])),
        "no token is left of rows 'r101', 'r103': remove these rows",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_is(case):
    act, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        act()
