import hashlib
import json

import numpy as np
import pytest

from zoo.data.errors import DataError
from zoo.data.pack import (
    DTYPES,
    HEADER,
    Packed,
    check_of,
    dtype_of,
    fingerprint,
    lock,
    pack,
    pieces,
)
from zoo.tokenizers import Tokenizer
from zoo.tokenizers.pipelines import bpe

TEXTS = [
    "The whale, the sea and the ship.",
    "",
    "  two  spaces, a tab\tand a line\nend ",
    "naïve – 雪 \N{SNOWMAN}\U0001f40b",
    "<|endoftext|> in a text",
]
BPE = Tokenizer.train(TEXTS, vocab=270)
WORDPIECE = Tokenizer.train(TEXTS, "wordpiece", vocab=90)


def untouched(folder, name="ids"):
    """Tell that a folder holds one file and nothing half-written."""
    return [file.name for file in folder.iterdir()] == [name]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ids"


def test_texts_are_found_again_to_the_letter(path):
    packed = pack(TEXTS, BPE, path)
    assert len(packed) == len(TEXTS)
    ids = [packed.text(i) for i in range(len(TEXTS))]
    assert ids == [BPE.encode(text, special=False) for text in TEXTS]
    assert [BPE.decode(row, skip_special=False) for row in ids] == TEXTS


def test_every_text_is_ended_by_the_end_token(path):
    packed = pack(TEXTS, BPE, path)
    expected = [i for text in TEXTS for i in (*BPE.encode(text, special=False), BPE.eos_id)]
    assert packed.ids.tolist() == expected
    assert [packed.ids[end - 1] for end in packed.ends] == [BPE.eos_id] * len(TEXTS)
    assert packed.end == BPE.eos_id


def test_berts_texts_are_ended_by_sep(path):
    packed = pack(["the sea", "a ship"], WORDPIECE, path)
    assert packed.end == WORDPIECE.sep_id
    assert packed.ids.tolist() == [
        *WORDPIECE.encode("the sea", special=False),
        WORDPIECE.sep_id,
        *WORDPIECE.encode("a ship", special=False),
        WORDPIECE.sep_id,
    ]


def test_a_file_opened_later_is_the_same(path):
    packed = pack(TEXTS, BPE, path, version="sha256:5")
    again = Packed(path, BPE)
    assert np.array_equal(again.ids, packed.ids) and np.array_equal(again.ends, packed.ends)
    assert (again.version, again.sha256) == ("sha256:5", packed.sha256)
    assert not again.ids.flags.writeable


@pytest.mark.parametrize(("vocab", "dtype"), [(2**16, "uint16"), (2**16 + 1, "uint32")])
def test_ids_are_as_wide_as_the_vocabulary_needs(vocab, dtype):
    assert dtype_of(vocab) == dtype
    assert np.array([vocab - 1]).astype(DTYPES[dtype]).tolist() == [vocab - 1]


def test_an_id_above_two_bytes_is_found_again(path):
    backend = bpe({"<|endoftext|>": 0, "a": 2**16 + 2, "b": 2}, [])
    packed = pack(["ab"], Tokenizer(backend, BPE.roles, typed=False), path)
    assert packed.text(0) == [2**16 + 2, 2]
    assert packed.ids.dtype == "uint32"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_ends_lie_behind_any_number_of_ids(path, count):
    packed = pack(["a" * count], BPE, path)
    assert packed.ends.tolist() == [len(packed.ids)]


@pytest.mark.parametrize(
    ("text", "at_once"),
    [("sea", 256), ("s" * 2**18, 4), ("s" * 2**20, 1)],
    ids=["short", "", "long"],
)
def test_texts_are_taken_a_few_at_a_time(text, at_once):
    taken = iter([text] * 600)
    assert len(next(pieces(taken))) == at_once
    assert len(list(taken)) == 600 - at_once


def test_more_texts_than_are_taken_at_once_are_all_packed(path):
    packed = pack((f"sea {i}" for i in range(600)), BPE, path)
    assert [BPE.decode(packed.text(i)) for i in (0, 255, 256, 599)] == [
        "sea 0",
        "sea 255",
        "sea 256",
        "sea 599",
    ]
    assert len(packed) == 600


@pytest.mark.parametrize(("texts", "padding"), [(["abc"], 0), (["ab", "c"], 6)])
def test_a_file_is_laid_out_as_its_head_says(path, texts, padding):
    """Files live longer than the code that wrote them: read one by hand."""
    pack(texts, BPE, path, version="sha256:5")
    data = path.read_bytes()
    header = json.loads(data[:4096])
    ids = [i for text in texts for i in (*BPE.encode(text, special=False), BPE.eos_id)]
    ends = [sum(len(text) + 1 for text in texts[: i + 1]) for i in range(len(texts))]
    assert data[4095:4096] == b"\n"
    assert np.frombuffer(data, "<u2", len(ids), 4096).tolist() == ids
    behind = 4096 + 2 * len(ids) + padding
    assert np.frombuffer(data, "<i8", len(texts), behind).tolist() == ends
    assert len(data) == behind + 8 * len(texts)
    assert {name: header[name] for name in ("format", "dtype", "tokens", "texts", "version")} == {
        "format": "zoo packed ids 1",
        "dtype": "uint16",
        "tokens": len(ids),
        "texts": len(texts),
        "version": "sha256:5",
    }
    assert header["sha256"] == hashlib.sha256(data[4096:]).hexdigest()


def test_packing_the_same_again_gives_the_same_bytes(path):
    pack(TEXTS, BPE, path)
    first = path.read_bytes()
    pack(iter(TEXTS), BPE, path)
    assert path.read_bytes() == first
    assert untouched(path.parent)


def test_a_tokenizer_has_the_same_fingerprint_wherever_it_lies(tmp_path):
    for name, tokenizer in (("bpe", BPE), ("wordpiece", WORDPIECE)):
        tokenizer.save(tmp_path / name)
        assert fingerprint(Tokenizer.from_folder(tmp_path / name)) == fingerprint(tokenizer)
    assert fingerprint(BPE) != fingerprint(WORDPIECE)
    assert fingerprint(Tokenizer.train(TEXTS, vocab=258)) != fingerprint(BPE)


def damaged(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def in_header(path, **changes):
    data = path.read_bytes()
    header = json.loads(data[:HEADER]) | changes
    path.write_bytes(json.dumps(header).encode().ljust(HEADER) + data[HEADER:])


def checked_header(path, **changes):
    header = json.loads(path.read_bytes()[:HEADER]) | changes
    del header["check"]
    in_header(path, **changes, check=check_of(header))


FAULTS = {
    "missing": (lambda path: path.unlink(), "No such file or directory; pack the texts first"),
    "empty": (lambda path: path.write_bytes(b""), "is no file of packed ids"),
    "another kind of file": (lambda path: path.write_bytes(b"PK" * 9999), "is no file of packed"),
    "another kind of JSON": (lambda path: path.write_bytes(b"[]"), "is no file of packed ids"),
    "a later format": (
        lambda path: in_header(path, format="zoo packed ids 2"),
        "is no file of packed ids, 'zoo packed ids 1': pack the texts first",
    ),
    "cut within the header": (
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        "is no file of packed ids",
    ),
    "a changed count": (lambda path: in_header(path, tokens=3), "has a damaged header: pack the"),
    "a changed end token": (lambda path: in_header(path, end=1), "has a damaged header"),
    "a count that is no number": (
        lambda path: checked_header(path, tokens="3"),
        "has a damaged header",
    ),
    "another dtype": (lambda path: checked_header(path, dtype="int8"), "has a damaged header"),
    "cut short": (
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        r"is cut short, 4,\d{3} bytes and not 4,\d{3}: pack the texts again",
    ),
    "longer than it says": (
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        "is longer than it says",
    ),
    "a changed id": (lambda path: damaged(path, HEADER), "its content has another SHA-256"),
    "a changed end": (lambda path: damaged(path, -8), "its content has another SHA-256"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_is_refused_that_is(path, fault):
    pack(TEXTS, BPE, path)
    spoil, words = FAULTS[fault]
    spoil(path)
    with pytest.raises(DataError, match=words):
        Packed(path)


def test_only_the_content_goes_unread_when_told_so(path):
    pack(TEXTS, BPE, path)
    damaged(path, HEADER)
    assert len(Packed(path, BPE, verify=False)) == len(TEXTS)
    in_header(path, tokens=3)
    with pytest.raises(DataError, match="damaged header"):
        Packed(path, verify=False)


def test_another_tokenizer_is_refused(path):
    pack(TEXTS, BPE, path)
    with pytest.raises(DataError, match="was packed with another tokenizer: pack the texts again"):
        Packed(path, WORDPIECE)


def test_no_texts_are_refused_and_leave_nothing(path):
    with pytest.raises(DataError, match="there is no text to pack: give at least one"):
        pack([], BPE, path)
    assert list(path.parent.iterdir()) == []


def test_a_source_that_fails_leaves_the_old_file(path):
    def texts():
        yield from TEXTS * 99
        raise KeyError("gone")

    pack(TEXTS, BPE, path)
    before = path.read_bytes()
    with pytest.raises(KeyError, match="gone"):
        pack(texts(), BPE, path)
    assert path.read_bytes() == before
    assert untouched(path.parent)


def test_one_text_for_a_list_of_them_is_refused(path):
    with pytest.raises(TypeError, match=r"pass a list: \[text\]"):
        pack("the sea", BPE, path)


def test_half_a_character_is_refused(path):
    with pytest.raises(ValueError, match="holds half of a character"):
        pack(["\ud800"], BPE, path)


def test_a_tokenizer_without_an_end_is_refused(path):
    bare = Tokenizer(BPE.backend, {}, typed=False)
    with pytest.raises(DataError, match="neither an eos nor a sep token"):
        pack(TEXTS, bare, path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*ids: (Not a directory|File exists)"):
        pack(TEXTS, BPE, tmp_path / "file" / "ids")


def test_what_a_killed_writer_left_is_removed_and_what_another_writes_is_not(path):
    left, busy, other = (path.with_name(f".{name}.partial") for name in ("ids.1", "ids.2", "id.3"))
    for file in (left, busy, other):
        file.write_bytes(b"half")
    with open(busy, "rb") as file:
        assert lock(file)
        pack(TEXTS, BPE, path)
    assert sorted(path.parent.iterdir()) == sorted([busy, other, path])


def test_a_version_that_no_header_holds_is_refused(path):
    with pytest.raises(DataError, match="the version should be a short text"):
        pack(TEXTS, BPE, path, version="x" * HEADER)
