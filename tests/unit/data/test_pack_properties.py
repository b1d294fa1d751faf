"""Packed texts: found again to the letter, in windows that lose no token; any damage is seen."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unit.data.tables import BPE, TEXTS
from unit.property_rows import examples, seeds
from unit.property_rows import text as texts_
from zoo.data.errors import DataError
from zoo.data.pack import Packed, dtype_of, pack, pieces, whole
from zoo.data.samples_packed import Masked, SentencePairs, Windows
from zoo.tokenizers import Tokenizer

WORDPIECE = Tokenizer.train(TEXTS, "wordpiece", vocab=70)


class Held(Packed):
    """Packed ids that were never in a file."""

    def __init__(self, rows, end=3):
        self.path = "memory"
        self.end, self.version, self.sha256 = end, "", "0"
        self.ids = np.array([i for row in rows for i in (*row, end)], dtype="<u2")
        self.ends = np.cumsum([len(row) + 1 for row in rows], dtype="<i8")


ids = st.lists(st.lists(st.integers(5, 60), max_size=9), min_size=1, max_size=6)


def batch_of(samples):
    count = len(samples)
    generator = torch.Generator().manual_seed(0)
    return samples.batch(torch.arange(count), generator, slice(0, count))


@examples(6)
@given(some=st.lists(texts_, min_size=1, max_size=5))
def test_texts_are_found_again_and_the_file_says_the_same_to_all(some, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "ids"
    packed = pack(some, BPE, path, version="v")
    again = Packed(path, BPE)
    for one in (packed, again):
        assert len(one) == len(some)
        found = [BPE.decode(one.text(i), skip_special=False) for i in range(len(one))]
        assert found == some
    assert (
        np.array_equal(packed.ids, again.ids) and (packed.ids[packed.ends - 1] == BPE.eos_id).all()
    )
    assert int(packed.ends[-1]) == len(packed.ids)


def read_as_json(header):
    try:
        return json.loads(header)
    except ValueError:
        return None


@examples(25)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7), how=st.sampled_from(["flip", "cut", "add"]))
def test_damage_of_any_byte_is_seen(at, bit, how, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "sound"
    sound = folder / "ids"
    if not sound.exists():
        pack(["a whale", "", "the sea"], BPE, sound)
    data = bytearray(sound.read_bytes())
    # the header is mostly spaces: half of the damage goes to what stands in it, or behind it
    place = at % len(data) if at % 2 else min(at % 700, len(data) - 1) if at % 4 else -1 - at % 60
    if how == "flip":
        data[place] ^= 1 << bit
    elif how == "cut":
        del data[place:]
    else:
        data[place:place] = b" " * (1 + bit)
    broken = folder / "broken"
    broken.write_bytes(data)
    # JSON's blanks say nothing: a header that differs in those alone is the same
    unsaid = how == "flip" and read_as_json(data[:4096]) == read_as_json(sound.read_bytes()[:4096])
    if unsaid and data[4096:] == sound.read_bytes()[4096:]:
        assert np.array_equal(Packed(broken, BPE).ids, Packed(sound, BPE).ids)
        return
    with pytest.raises(DataError, match="broken"):
        Packed(broken, BPE)


@examples(40)
@given(rows=ids, length=st.integers(1, 12))
def test_every_token_but_the_first_is_predicted_once_up_to_the_last_whole_window(rows, length):
    packed = Held(rows)
    if length < 2:
        with pytest.raises(DataError, match=f"^windows of {length} predict nothing"):
            Windows(packed, length)
        return
    if len(packed.ids) < length:
        with pytest.raises(
            DataError, match=f"holds {len(packed.ids)} tokens, fewer than one window"
        ):
            Windows(packed, length)
        return
    batch = batch_of(Windows(packed, length))["input_ids"]
    predicted = batch[:, 1:].reshape(-1).tolist()
    assert predicted == packed.ids[1 : 1 + len(predicted)].tolist()
    assert len(packed.ids) - 1 - len(predicted) < length - 1
    assert batch[1:, 0].tolist() == batch[:-1, -1].tolist()


@examples(25)
@given(rows=ids, length=st.integers(3, 9), rate=st.integers(1, 15), seed=seeds, words=st.booleans())
def test_every_token_is_in_one_masked_window_and_only_guesses_differ(
    rows, length, rate, seed, words
):
    packed = Held(rows)
    if len(packed.ids) < length - 2:
        return
    samples = Masked(packed, WORDPIECE, length, rate=rate / 16, words=words)
    count = len(samples)
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    batch = samples.batch(chosen, torch.Generator().manual_seed(seed), slice(0, count))
    labels, given_ids = batch["labels"], batch["input_ids"]
    original = torch.where(labels == -100, given_ids, labels)[chosen.argsort(), 1:-1]
    assert original.reshape(-1).tolist() == packed.ids[: count * (length - 2)].tolist()
    assert len(packed.ids) - count * (length - 2) < length - 2
    assert (given_ids[:, 0] == WORDPIECE.cls_id).all() and (labels[:, 0] == -100).all()
    assert (given_ids[:, -1] == WORDPIECE.sep_id).all() and (labels[:, -1] == -100).all()
    guessed = set(labels[labels != -100].tolist())
    assert not guessed & WORDPIECE.special_ids


@examples(25)
@given(rows=ids, length=st.integers(5, 12), seed=seeds)
def test_pairs_hold_a_piece_and_the_next_one_or_one_of_another_text(rows, length, seed):
    packed = Held(rows)
    if sum(len(row) > 1 for row in rows) < 2:
        with pytest.raises(DataError, match="texts have two pieces, and a pair needs another text"):
            SentencePairs(packed, WORDPIECE, length)
        return
    samples = SentencePairs(packed, WORDPIECE, length)
    count = len(samples)
    batch = samples.batch(torch.arange(count), torch.Generator().manual_seed(seed), slice(0, count))
    assert batch["input_ids"].shape[1] <= length
    texts = samples.texts_of(np.arange(count)).tolist()
    before = None
    for i in range(count):
        real = batch["attention_mask"][i].bool()
        line, kinds = batch["input_ids"][i][real].tolist(), batch["token_type_ids"][i][real]
        first = line[1 : int((kinds == 0).sum()) - 1]
        second = line[int((kinds == 0).sum()) : -1]
        own = rows[texts[i]]
        start = 0 if texts[i] != (before or (None,))[0] else before[1]
        assert first and second and own[start : start + len(first)] == first
        follows = own[start + len(first) :][: len(second)] == second
        elsewhere = any(
            row[j : j + len(second)] == second
            for k, row in enumerate(rows)
            if k != texts[i]
            for j in range(len(row))
        )
        assert elsewhere if batch["labels"][i] else follows
        before = (texts[i], start + len(first))


@examples(40)
@given(
    some=st.lists(st.integers(0, 3), max_size=9),
    vocab=st.integers(1, 2**20),
    size=st.integers(0, 99),
)
def test_small_tools_keep_everything(some, vocab, size):
    texts = ["x" * n for n in some]
    assert [text for piece in pieces(texts) for text in piece] == texts
    assert np.iinfo(np.dtype(dtype_of(vocab))).max >= vocab - 1
    assert (dtype_of(vocab) == "uint16") == (vocab <= 65536)
    assert whole(size) % 8 == 0 and 0 <= whole(size) - size < 8
