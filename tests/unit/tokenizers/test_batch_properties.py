"""Batches of any texts: each row is its text's own ids, cut and padded and nothing else."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from unit.property_rows import examples
from unit.property_rows import text as texts_
from zoo.tokenizers import Tokenizer
from zoo.tokenizers.tokenizer import check_texts, padded, shorten

TEXTS = ["the quick brown fox", "jumps over the lazy dog", "naïve café, 你好 \U0001f600!"] * 3
EVERY = {
    "bpe": Tokenizer.train(TEXTS, "bpe", vocab=290),
    "clip": Tokenizer.train(TEXTS, "clip", vocab=520),
    "wordpiece": Tokenizer.train(TEXTS, "wordpiece", vocab=95),
}
each_kind = pytest.mark.parametrize("kind", EVERY)
words = st.lists(st.sampled_from(["the", "fox", "dog", "é", "你", "!", "  ", "x"]), max_size=8)
likely = st.one_of(texts_, words.map(" ".join))


@each_kind
@examples(8)
@example(texts=["the fox"], side="left", special=True, longest=2)
@given(
    texts=st.lists(likely, max_size=4),
    side=st.sampled_from(["left", "right"]),
    special=st.booleans(),
    longest=st.none() | st.integers(1, 9),
)
def test_a_row_is_its_text_alone_cut_and_padded(kind, texts, side, special, longest):
    tok = EVERY[kind]
    added = len(tok.encode("", special=special))
    if longest is not None and longest <= added:
        with pytest.raises(ValueError, match=f"^longest {longest} leaves no room beside {added} "):
            tok.batch(texts, side=side, special=special, longest=longest)
        return
    batch = tok.batch(texts, side=side, special=special, longest=longest, offsets=True)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    pad = tok.eos_id if tok.pad_id is None else tok.pad_id
    whole = [tok.encode(text, special=special) for text in texts]
    width = max((len(w) for w in whole), default=0)
    assert ids.shape == (len(texts), width if longest is None else min(width, longest))
    for text, full, row, real, places in zip(
        texts, whole, ids, mask, batch["offsets"], strict=True
    ):
        kept = row[real.bool()].tolist()
        assert (row[~real.bool()] == pad).all() and not places[~real.bool()].any()
        edges = real.diff().ne(0).sum()
        assert edges <= 1 and (edges == 0 or bool(real[0]) == (side == "right"))
        if longest is None or len(full) <= longest:
            assert kept == full
            continue
        assert len(kept) == longest
        bare = tok.encode(text, special=False)
        head = full.index(bare[0])
        assert kept[head : head + longest - added] == bare[: longest - added]
        assert kept[:head] + kept[head + longest - added :] == tok.encode("", special=special)
    if any(longest is not None and len(full) > longest for full in whole):
        first = next(i for i, full in enumerate(whole) if len(full) > longest)
        words = f"^text {first} has {len(whole[first])} tokens, more than {longest}:"
        with pytest.raises(ValueError, match=words):
            tok.batch(texts, special=special, longest=longest, truncate=False)


@each_kind
@examples(8)
@given(
    pairs=st.lists(st.tuples(likely, likely), min_size=1, max_size=3),
    longest=st.none() | st.integers(5, 12),
)
def test_of_a_pair_the_longer_text_is_cut_first(kind, pairs, longest):
    tok = EVERY[kind]
    firsts, seconds = [a for a, _ in pairs], [b for _, b in pairs]
    batch = tok.batch(firsts, seconds, longest=longest)
    added = len(tok.encode("", ""))
    for row, (a, b) in enumerate(pairs):
        kept = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        full = tok.encode(a, b)
        if longest is None or len(full) <= longest:
            assert kept == full
            continue
        assert len(kept) == longest
        one, two = tok.encode(a, special=False), tok.encode(b, special=False)
        room = longest - added
        sizes = sorted((len(one), len(two)))
        small = min(sizes[0], room // 2)
        held = (small, room - small) if len(one) <= len(two) else (room - small, small)
        cut = [*one[: held[0]], *two[: held[1]]]
        left = iter(kept)
        assert all(token in left for token in cut), (kept, cut)  # in this order


@each_kind
@examples(10)
@given(text=likely)
def test_offsets_say_where_each_token_stands(kind, text):
    tok = EVERY[kind]
    ids, places = tok.encode(text), tok.offsets(text)
    assert len(ids) == len(places)
    before = 0
    for start, stop in places:
        assert 0 <= start <= stop <= len(text)
        if stop:
            assert start >= before or stop >= before
            before = start
    if kind == "bpe":  # bytes: every character is in some token
        covered = {i for start, stop in places for i in range(start, stop)}
        assert covered == set(range(len(text)))


@each_kind
@examples(10)
@given(texts=st.lists(likely, min_size=1, max_size=4), at=st.integers(0, 3))
def test_a_row_does_not_know_the_others(kind, texts, at):
    tok = EVERY[kind]
    at = at % len(texts)
    batch, alone = tok.batch(texts), tok.batch([texts[at]])
    real = batch["attention_mask"][at].bool()
    for name in alone:
        assert torch.equal(batch[name][at][real], alone[name][0])


@each_kind
@examples(10)
@given(data=st.data())
def test_ids_without_a_token_are_refused_by_number_and_decoded_text_is_stable(kind, data):
    tok = EVERY[kind]
    ids = data.draw(st.lists(st.integers(-3, tok.vocab_size + 3), max_size=6))
    wrong = [i for i in ids if not 0 <= i < tok.vocab_size]
    if wrong:
        with pytest.raises(ValueError, match=rf"^id {wrong[0]} is not in this vocabulary of "):
            tok.decode(ids)
        return
    assert tok.decode(torch.tensor(ids, dtype=torch.long)) == tok.decode(ids)
    for beyond in (-1, tok.vocab_size):
        with pytest.raises(ValueError, match=rf"^id {beyond} is not in this vocabulary of "):
            tok.decode([*ids, beyond])
    text = tok.decode(ids)
    if kind == "bpe" and "\N{REPLACEMENT CHARACTER}" not in text:
        assert tok.decode(tok.encode(text)) == text


@examples(16)
@given(
    texts=st.lists(likely, max_size=3),
    at=st.integers(0, 3),
    bad=st.sampled_from([None, 3, b"x", ["a"], "a\ud800", "\udfff"]),
)
def test_what_is_no_text_is_refused_with_its_place(texts, at, bad):
    at = min(at, len(texts))
    given_texts = [*texts[:at], bad, *texts[at:]]
    half = isinstance(bad, str)
    words = (
        f"^text {at} holds half of a character" if half else f"^text {at} is a {type(bad).__name__}"
    )
    with pytest.raises(ValueError if half else TypeError, match=words):
        EVERY["bpe"].backend and list_checked(given_texts)


def list_checked(texts):
    """Ask past the annotation, which refuses what is no text in its own words."""
    return getattr(check_texts, "__wrapped__", check_texts)(texts)


class Row:
    """What `shorten` cuts."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def truncate(self, most):
        self.count = min(self.count, most)


@examples(40)
@given(a=st.integers(0, 9), b=st.none() | st.integers(0, 9), most=st.integers(0, 18))
def test_what_is_too_long_is_cut_to_the_most_and_evenly(a, b, most):
    if a + (b or 0) <= most:
        return
    one, two = Row(a), None if b is None else Row(b)
    shorten(one, two, most)
    assert len(one) + (0 if two is None else len(two)) == most
    if two is not None and min(a, b) > most // 2:
        assert abs(len(one) - len(two)) <= 1
    elif two is not None:
        assert min(a, b) in (len(one), len(two))


@examples(26)
@given(
    rows=st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=4),
    fill=st.integers(-100, 0),
    side=st.sampled_from(["left", "right"]),
)
def test_padding_is_outside_and_only_there(rows, fill, side):
    table = padded(rows, fill, side)
    assert table.shape == (len(rows), max(map(len, rows), default=0)) and table.dtype == torch.int64
    for row, found in zip(rows, table.tolist(), strict=True):
        gap = [fill] * (len(found) - len(row))
        assert found == (gap + row if side == "left" else row + gap)
