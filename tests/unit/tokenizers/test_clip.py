"""CLIP's byte-pair encoding: words, training, batches, what decoding gives."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.tokenizers import Tokenizer

TEXTS = [
    "A red circle above a blue square, isn't it?",
    "two green rings, 12 naïve cafés",
    "a blue circle, a red square, a green circle",
] * 3
CLIP = Tokenizer.train(TEXTS, "clip", vocab=550, longest=77)
BASE = 2 * 256 + 2  # bytes, bytes that end a word, start and end
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def words(text):
    """Read a text's words off its tokens."""
    names = "".join(CLIP.tokens(CLIP.encode(text, special=False)))
    return names.split("</w>")[:-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red CIRCLE", ["a", "red", "circle"]),
        (" \t a\n\r\n red ", ["a", "red"]),
        ("don't we'll I'm", ["don", "'t", "we", "'ll", "i", "'m"]),
        ("'tis 'quoted'", ["'t", "is", "'", "quoted", "'"]),
        ("in 2021", ["in", "2", "0", "2", "1"]),
        ("b2b a_b", ["b", "2", "b", "a", "_", "b"]),
        ("hi!!! (ok)", ["hi", "!!!", "(", "ok", ")"]),
        ("&amp;", ["&", "amp", ";"]),
        ("", []),
        ("   ", []),
    ],
    ids=["case", "space", "tails", "quotes", "digits", "mixed", "signs", "entity", "empty", "none"],
)
def test_words_are_clips(text, expected):
    assert words(text) == expected


def test_a_text_stands_between_start_and_end():
    ids = CLIP.encode("a red circle")
    assert (ids[0], ids[-1]) == (CLIP.bos_id, CLIP.eos_id)
    assert CLIP.encode("a red circle", special=False) == ids[1:-1]
    assert CLIP.encode("") == [CLIP.bos_id, CLIP.eos_id]


def test_special_ids_are_the_last_two():
    n = CLIP.vocab_size
    assert (CLIP.bos_id, CLIP.eos_id, CLIP.pad_id, CLIP.unk_id) == (n - 2, n - 1, n - 1, n - 1)
    assert CLIP.special_ids == {n - 2, n - 1}


def test_ids_are_numbered_as_in_the_published_vocabulary():
    tokens = CLIP.tokens(range(CLIP.vocab_size))
    # the ids of clip-vit-base-patch32
    assert (tokens[0], tokens[64], tokens[187], tokens[188]) == ("!", "a", "ÿ", "Ā")
    assert (tokens[256], tokens[320], tokens[511]) == ("!</w>", "a</w>", "Ń</w>")
    assert tokens[-2:] == ["<|startoftext|>", "<|endoftext|>"]


@pytest.mark.parametrize("text", ["", "a ring", "a red circle above a blue square " * 9])
@pytest.mark.parametrize("longest", [3, 7, 77])
def test_a_cut_row_keeps_its_end(text, longest):
    batch = CLIP.batch([text, "a ring, two rings"], longest=longest)
    ids = CLIP.encode(text)
    kept = ids if len(ids) <= longest else [*ids[: longest - 1], CLIP.eos_id]
    row, mask = batch["input_ids"][0].tolist(), batch["attention_mask"][0].tolist()
    assert row == kept + [CLIP.pad_id] * (len(row) - len(kept))
    assert mask == [1] * len(kept) + [0] * (len(row) - len(kept))
    assert row.index(CLIP.eos_id) == len(kept) - 1  # the first end is the text's


def test_padding_may_stand_before_the_text():
    batch = CLIP.batch(["a", "a b c"], side="left")
    rows = (batch["input_ids"], batch["attention_mask"])
    assert [row[0].tolist() for row in rows] == [
        [CLIP.eos_id, CLIP.eos_id, *CLIP.encode("a")],
        [0, 0, 1, 1, 1],
    ]
    assert set(batch) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("longest", [0, 1, 2])
def test_no_room_between_start_and_end_is_refused(longest):
    with pytest.raises(ValueError, match=f"longest {longest} leaves no room beside 2 special"):
        CLIP.batch(["a"], longest=longest)


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("A red  CIRCLE", "a red circle"),
        (" a\tring\n", "a ring"),
        ("Isn't it?", "isn 't it ?"),
        ("12 CAFÉS", "1 2 cafés"),
        ("e\u0301", "é"),
        ("你好 \U0001f600", "你好 \U0001f600"),
        ("a</w>", "a </ w >"),
        ("", ""),
    ],
    ids=["case", "space", "tail", "digits", "composed", "far", "mark", "empty"],
)
def test_decoding_gives_the_lower_cased_words(text, decoded):
    assert CLIP.decode(CLIP.encode(text)) == decoded


@given(anything)
def test_no_sign_is_lost_but_space(text):
    decoded = CLIP.decode(CLIP.encode(text))
    plain = CLIP.backend.normalizer.normalize_str(text)
    assert "".join(decoded.split()) == "".join(plain.split())
    assert CLIP.decode(CLIP.encode(decoded)) == decoded


def test_special_tokens_are_decoded_when_asked_for():
    ids = CLIP.encode("a ring")
    assert CLIP.decode(ids, skip_special=False) == "<|startoftext|>a ring <|endoftext|>"


def test_training_learns_whole_words():
    assert len(CLIP.encode("circle square", special=False)) == 2
    assert len(CLIP.encode("circ", special=False)) > 1


def test_training_stops_at_the_size_asked_for():
    assert CLIP.vocab_size == 550
    assert Tokenizer.train(TEXTS, "clip", vocab=BASE + 1).vocab_size == BASE + 1
    assert Tokenizer.train(["ab"] * 3, "clip", vocab=2000).vocab_size == BASE + 1


def test_training_counts_to_least():
    sizes = [Tokenizer.train(["zq"] * 3, "clip", vocab=600, least=n).vocab_size for n in (3, 4)]
    assert sizes == [BASE + 1, BASE]


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(ValueError, match=r"vocabulary of 513 cannot hold every byte.*514 or more"):
        Tokenizer.train(TEXTS, "clip", vocab=513)


def test_a_saved_tokenizer_reads_back_the_same(tmp_path):
    CLIP.save(tmp_path / "a")
    again = Tokenizer.from_folder(tmp_path / "a")
    again.save(tmp_path / "b")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (again.roles, again.longest, again.typed) == (CLIP.roles, 77, False)
    config = json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "CLIPTokenizer"
    text = "It's a NAÏVE café 12"
    assert again.encode(text) == CLIP.encode(text)
    assert again.decode(again.encode(text)) == CLIP.decode(CLIP.encode(text))
