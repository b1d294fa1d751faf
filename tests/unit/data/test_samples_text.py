import math

import numpy as np
import pytest
import torch

from unit.data.tables import made, rows_of, unpadded
from zoo.data.errors import DataError
from zoo.data.masking import Vocabulary, shown, single, whole_words
from zoo.data.order import uniform
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
from zoo.tokenizers import Tokenizer

TEXTS = [
    "The whale and the sea; the ship sails on and on, harpooneers aboard.",
    "A ship",
    "Harpooneers sleep, whales swim, and the sea goes on: unfathomable, restless.",
    "sea",
    "",
    "Nothing sails here but the sea itself, and nobody unfathomable restlessly swims.",
]
BPE = Tokenizer.train(TEXTS * 2, vocab=300)
PIECES = Tokenizer.train(TEXTS, "wordpiece", vocab=70)
TOKENIZERS = {"bpe": BPE, "wordpiece": PIECES}


@pytest.fixture
def packed(tmp_path):
    return pack(TEXTS, BPE, tmp_path / "bpe")


@pytest.fixture
def pieces(tmp_path):
    return pack(TEXTS, PIECES, tmp_path / "pieces")


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


def test_every_token_but_the_first_is_predicted_once(packed):
    windows = Windows(packed, 7)
    batch = made(windows)
    ids = packed.ids[: 6 * len(windows) + 1].tolist()
    assert batch["input_ids"][:, 1:].flatten().tolist() == ids[1:]
    assert batch["input_ids"][:, 0].tolist() == ids[:-1:6]
    assert bool(batch["attention_mask"].all())
    assert len(packed.ids) - len(ids) < 6  # no further window


@pytest.mark.parametrize(("tokens", "count"), [(7, 1), (12, 1), (13, 2)])
def test_windows_are_as_many_as_fit(tmp_path, tokens, count):
    packed = pack(["s" * (tokens - 1)], Tokenizer.train(["a"], vocab=257), tmp_path / "ids")
    assert len(packed.ids) == tokens
    assert len(Windows(packed, 7)) == count


def test_a_windows_name_says_where_it_is(packed):
    first = int(packed.ends[0])
    sample = -(-first // 6)
    assert Windows(packed, 7).names([0, sample]) == [
        "tokens 0 to 6, from text 0",
        f"tokens {6 * sample} to {6 * sample + 6}, from text 1",
    ]


def test_a_masked_windows_name_tells_the_text_between_its_ends(pieces):
    sample = -(-int(pieces.ends[0]) // 9)
    assert Masked(pieces, PIECES, 11).names([0, sample]) == [
        "tokens 0 to 8, from text 0",
        f"tokens {9 * sample} to {9 * sample + 8}, from text {sum(pieces.ends <= 9 * sample)}",
    ]


def test_masked_windows_show_the_text_again_where_labels_are_put_in(pieces):
    masked = Masked(pieces, PIECES, 11)
    batch = made(masked)
    ids, labels = batch["input_ids"], batch["labels"]
    assert bool((ids[:, 0] == PIECES.cls_id).all() and (ids[:, -1] == PIECES.sep_id).all())
    text = torch.where(labels == IGNORE, ids, labels)[:, 1:-1].flatten().tolist()
    assert text == pieces.ids[: 9 * len(masked)].tolist()
    assert len(pieces.ids) - len(text) < 9
    assert bool(batch["attention_mask"].all())


@pytest.mark.parametrize(("rate", "count"), [(0.01, 1), (0.15, 1), (0.3, 3), (0.9, 8)])
def test_a_share_of_each_rows_tokens_is_masked_and_no_special_one(pieces, rate, count):
    labels = made(Masked(pieces, PIECES, 11, rate=rate))["labels"]
    rows = torch.tensor(pieces.ids[: 9 * len(labels)].tolist()).view(-1, 9)
    special = torch.isin(rows, torch.tensor(sorted(PIECES.special_ids)))
    assert bool(special.any())  # the texts' ends
    assert not bool((labels[:, 1:-1] != IGNORE)[special].any())
    assert bool((labels[:, [0, -1]] == IGNORE).all())
    without = ~special.any(1)
    assert bool(without.any())
    assert set((labels != IGNORE).sum(1)[without].tolist()) == {count}


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


def test_another_epoch_masks_other_tokens(pieces):
    masked = Masked(pieces, PIECES, 11)
    first, again, other = (made(masked, seed=seed)["labels"] for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


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


def test_no_word_is_masked_by_halves(pieces):
    masked = Masked(pieces, PIECES, 21, words=True, rate=0.3)
    inner = Vocabulary(PIECES).inner
    batch = made(masked)
    labels = batch["labels"][:, 1:-1]
    ids = torch.from_numpy(pieces.ids[: labels.numel()].astype(np.int64)).view(labels.shape)
    goes_on = torch.from_numpy(inner)[ids][:, 1:]
    chosen = labels != IGNORE
    assert bool(goes_on.any()) and bool(chosen.any())
    assert torch.equal(chosen[:, 1:][goes_on], chosen[:, :-1][goes_on])


def test_the_smallest_of_everything_is_enough(tmp_path):
    two = pack(["the sea", "a", "the ,"], PIECES, tmp_path / "two")
    assert [len(two.text(i)) for i in range(3)] == [2, 1, 2]
    pairs = unpadded(made(SentencePairs(two, PIECES, 5)))
    assert [len(row["input_ids"]) for row in pairs] == [5, 5]
    assert Windows(two, 2).names([0, 6]) == [
        "tokens 0 to 1, from text 0",
        "tokens 6 to 7, from text 2",
    ]
    assert len(Masked(two, PIECES, 3)) == 8


@pytest.mark.parametrize("length", [5, 8, 13, 24])
def test_pairs_fill_the_length_but_for_an_odd_token(pieces, length):
    rows = unpadded(made(SentencePairs(pieces, PIECES, length)))
    longest = max(len(row["input_ids"]) for row in rows)
    assert longest == length - (length - 3) % 2


@pytest.mark.parametrize("length", [5, 8, 13, 40])
def test_pairs_of_pieces_lie_behind_each_other_or_in_different_texts(pieces, length):
    pairs = SentencePairs(pieces, PIECES, length)
    texts = [pieces.text(i) for i in range(len(pieces))]
    cls, sep = PIECES.cls_id, PIECES.sep_id

    def holders(piece):
        size = len(piece)
        return {
            (i, start)
            for i, text in enumerate(texts)
            for start in range(len(text) - size + 1)
            if text[start : start + size] == piece
        }

    for row, name in zip(unpadded(made(pairs)), pairs.names(range(len(pairs))), strict=True):
        ids, types = row["input_ids"], row["token_type_ids"]
        a, b = ids[: types.index(1)], ids[types.index(1) :]
        assert (a[0], a[-1], b[-1]) == (cls, sep, sep) and len(ids) <= length
        assert types == [0] * len(a) + [1] * len(b)
        a, b = a[1:-1], b[:-1]
        text = int(name.removeprefix("text ").partition(",")[0])
        assert text in {i for i, _ in holders(a)}
        follows = {(i, start + len(a)) for i, start in holders(a) if i == text} & holders(b)
        if row["labels"] == 0:
            assert follows
        else:
            assert {i for i, _ in holders(b)} - {text}


def test_every_piece_of_every_text_comes_in_a_pair(pieces):
    pairs = SentencePairs(pieces, PIECES, 11)
    samples = np.arange(len(pairs))
    firsts, seconds = pairs.pieces(samples, 0), pairs.pieces(samples, 1)
    texts = pairs.texts_of(samples)
    for i in range(len(pieces)):
        mine = [k for k in samples if texts[k] == i]
        together = [token for k in mine for token in firsts[k]] + [
            token for k in mine[-1:] for token in seconds[k]
        ]
        whole = pieces.text(i) if len(pieces.text(i)) > 1 else []
        assert together == whole


def test_half_of_the_pairs_follow_and_the_others_come_from_everywhere(pieces):
    pairs = SentencePairs(pieces, PIECES, 11)
    chosen = torch.zeros(1000, dtype=torch.int64)
    labels = pairs.batch(chosen, torch.Generator().manual_seed(1), slice(0, 1000))["labels"]
    assert abs(labels.float().mean() - 0.5) < 5 * 0.5 / 1000**0.5
    sample = np.full(1000, 5)
    partners = pairs.partners(sample, uniform(torch.arange(1000), 1)[:, 0])
    texts = pairs.texts_of(np.arange(len(pairs)))
    assert set(partners.tolist()) == {k for k in range(len(pairs)) if texts[k] != texts[5]}


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


def short(tmp_path, texts, tokenizer=PIECES):
    return pack(texts, tokenizer, tmp_path / "short")


REFUSED = {
    "too few tokens for a window": (
        lambda p: Windows(short(p, ["sea"]), 9),
        r"short holds \d tokens, fewer than one window of 9: give more text or take a shorter",
    ),
    "too few tokens to mask": (lambda p: Masked(short(p, ["sea"]), PIECES, 9), "fewer than one"),
    "a window of one": (lambda p: Windows(short(p, ["sea"]), 1), "take a length of 2 or more"),
    "a masked window of two": (lambda p: Masked(short(p, ["sea"]), PIECES, 2), "take 3 or more"),
    "a rate of all": (lambda p: Masked(short(p, TEXTS), PIECES, 9, rate=1.0), "rate is 1.0; "),
    "masking without a mask token": (
        lambda p: Masked(short(p, TEXTS, BPE), BPE, 9),
        "no cls and no sep and no mask token, which BERT's objectives need: take a wordpiece",
    ),
    "a pair of four": (lambda p: SentencePairs(short(p, TEXTS), PIECES, 4), "take 5 or more"),
    "pairs of one text": (
        lambda p: SentencePairs(short(p, TEXTS[:1]), PIECES, 9),
        "1 texts have two pieces, and a pair needs another text: give two texts or more",
    ),
    "no rows": (lambda p: labelled(text=[], label=[]), "there are no rows of labelled_text"),
    "rows of another kind": (
        lambda p: Tagged(rows_of("text", text=["sea"]), PIECES, 9),
        "rows of text have no 'tokens', 'tags': read them as a kind that has",
    ),
    "a label of no class": (
        lambda p: labelled(label=["a", "b", "d", "a"]),
        "row r102 has the label 'd', which is none of 'a', 'b', 'c': correct it, or give all",
    ),
    "a row that no token is left of": (
        lambda p: made(labelled(BPE, text=["sea", "", "a", ""])),
        "no token is left of rows 'r101', 'r103': remove these rows",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_is(case, tmp_path):
    act, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        act(tmp_path)


def test_whole_words_need_a_tokenizer_that_tells_them(tmp_path):
    backend = Tokenizer.train(TEXTS, vocab=270).backend
    backend.add_special_tokens(["[CLS]", "[SEP]", "[MASK]"])
    roles = {"cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = Tokenizer(backend, roles, typed=True)
    packed = pack(TEXTS, tokenizer, tmp_path / "ids")
    assert len(Masked(packed, tokenizer, 9)) > 3
    with pytest.raises(ValueError, match="masked with a WordPiece tokenizer: pass words=False"):
        Masked(packed, tokenizer, 9, words=True)
