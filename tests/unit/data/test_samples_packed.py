import numpy as np
import pytest
import torch

from unit.data.tables import BPE, PIECES, TEXTS, made, unpadded
from zoo.data.masking import Vocabulary
from zoo.data.order import uniform
from zoo.data.pack import pack
from zoo.data.samples import IGNORE
from zoo.data.samples_packed import Masked, SentencePairs, Windows
from zoo.tokenizers import Tokenizer


@pytest.fixture
def packed(tmp_path):
    return pack(TEXTS, BPE, tmp_path / "bpe")


@pytest.fixture
def pieces(tmp_path):
    return pack(TEXTS, PIECES, tmp_path / "pieces")


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


def test_another_epoch_masks_other_tokens(pieces):
    masked = Masked(pieces, PIECES, 11)
    first, again, other = (made(masked, seed=seed)["labels"] for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


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
