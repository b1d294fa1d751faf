"""What is done when nothing is asked for, whole batches, and vocabularies id by id."""

import functools
import os

import pytest
import torch

from zoo.tokenizers import Tokenizer
from zoo.tokenizers.pipelines import BERT_ROLES, CLIP_ROLES, GPT2_ROLES, clip_tokens, library
from zoo.tokenizers.train import alphabet_of, train_wordpiece

END = "<|endoftext|>"
ONCE = ["zq zq", "Bé"]


@functools.cache
def trained(kind):
    """Train when a test asks: what is made at import is made of code that no mutant changes."""
    return Tokenizer.train(ONCE, kind, vocab={"bpe": 260, "clip": 520, "wordpiece": 20}[kind])


def names(tok):
    return tok.tokens(range(tok.vocab_size))


ALPHABET = sorted(library().pre_tokenizers.ByteLevel.alphabet())
VOCABULARIES = {
    # a pair that was seen twice is joined, é's two bytes were seen once
    "bpe": [END, *ALPHABET, "zq"],
    "clip": [
        *ALPHABET,
        *(letter + "</w>" for letter in ALPHABET),
        "zq</w>",
        "<|startoftext|>",
        END,
    ],
    "wordpiece": [*BERT_ROLES.values(), "b", "e", "q", "z", "##e", "##q", "zq"],
}


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_a_vocabulary_is_learnt_in_this_order(kind):
    assert names(trained(kind)) == VOCABULARIES[kind]


DEFAULTS = {
    "bpe": (GPT2_ROLES, False),
    "clip": (CLIP_ROLES, False),
    "wordpiece": (BERT_ROLES, True),
}


@pytest.mark.parametrize(("roles", "typed"), DEFAULTS.values(), ids=DEFAULTS)
@pytest.mark.parametrize("longest", [None, 7])
def test_a_trained_tokenizer_knows_its_roles(roles, typed, longest):
    kind = {False: "bpe", True: "wordpiece"}[typed] if roles is not CLIP_ROLES else "clip"
    options = {} if longest is None else {"longest": longest}
    tok = Tokenizer.train(["a"], kind, vocab=600, **options)
    assert (tok.roles, tok.typed, tok.longest) == (roles, typed, longest)
    ids = {tok.backend.token_to_id(token) for token in roles.values()}
    assert tok.special_ids == ids
    found = {role: getattr(tok, f"{role}_id") for role in roles}
    assert found == {role: tok.backend.token_to_id(token) for role, token in roles.items()}
    others = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"} - roles.keys()
    assert {getattr(tok, f"{role}_id") for role in others} == {None}


def test_bytes_are_learnt_and_seen_twice_unless_more_is_asked_for():
    plain = Tokenizer.train(["ab"], vocab=300)
    assert names(plain) == [END, *ALPHABET]
    assert names(Tokenizer.train(["ab", "ab"], vocab=300)) == [END, *ALPHABET, "ab"]
    assert names(Tokenizer.train(["ab"], vocab=300, least=1)) == [END, *ALPHABET, "ab"]


@pytest.mark.parametrize(("kind", "least"), [("bpe", 257), ("clip", 514), ("wordpiece", 5 + 4 + 2)])
def test_a_vocabulary_of_just_its_alphabet_is_learnt(kind, least):
    tok = Tokenizer.train(ONCE, kind, vocab=least)
    assert tok.vocab_size == least
    with pytest.raises(ValueError, match=f"^a vocabulary of {least - 1} cannot hold .*: ask for"):
        Tokenizer.train(ONCE, kind, vocab=least - 1)


@pytest.mark.parametrize(("lower", "first"), [(True, "b"), (False, "B")])
def test_letters_are_told_apart_when_asked_for(lower, first):
    tok = Tokenizer.train(ONCE, "wordpiece", vocab=20, lower=lower)
    accent = "e" if lower else "é"
    pieces = sorted([first, accent, "q", "z"]) + sorted([f"##{accent}", "##q"])
    assert names(tok) == [*BERT_ROLES.values(), *pieces, "zq"]
    assert tok.tokens(tok.encode("BÉ bé", special=False)) == (
        ["b", "##e", "b", "##e"] if lower else ["[UNK]", "[UNK]"]
    )
    assert tok.published_config()["do_lower_case"] is lower


def test_an_alphabet_is_of_words_and_of_what_follows_their_first_letter():
    backend, _ = train_wordpiece(["a"], 9, 2, True)
    texts = ["Ab c!", "cab", "", "d"]
    assert alphabet_of(texts, backend) == (["!", "a", "b", "c", "d"], ["a", "b"])
    assert alphabet_of([], backend) == ([], [])


def test_of_merges_seen_as_often_the_first_letters_come_first():
    """The library alone would number what ends a word by a hash."""
    ends = [*"qhzbmkxc"]
    tok = Tokenizer.train([" ".join("a" + end for end in ends)] * 2, "clip", vocab=514 + 8)
    assert names(tok)[512:-2] == [f"a{end}</w>" for end in sorted(ends)]


@pytest.mark.parametrize("kind", ["bpe", "clip", "wordpiece"])
def test_training_draws_nothing_on_a_terminal(kind):
    screen, terminal = os.openpty()
    before = os.dup(2)
    os.dup2(terminal, 2)
    try:
        Tokenizer.train(ONCE * 2, kind, vocab=600)
        os.write(2, b".")
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(terminal)
    assert os.read(screen, 9999) == b"."
    os.close(screen)


def test_another_normalizer_has_no_switches_to_publish():
    lib = library()
    backend = lib.Tokenizer(lib.models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.normalizer = lib.normalizers.Lowercase()
    assert Tokenizer(backend, {"unk": "[UNK]"}, typed=True, longest=5).published_config() == {
        "unk_token": "[UNK]",
        "tokenizer_class": "BertTokenizer",
        "model_max_length": 5,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    }


def test_clips_tokens_are_bytes_ends_merges_and_frame():
    merges = [("b", "a"), ("ba", "b</w>")]
    tokens = clip_tokens(merges)
    assert tokens[:256] == ALPHABET
    assert tokens[256:512] == [letter + "</w>" for letter in ALPHABET]
    assert tokens[512:] == ["ba", "bab</w>", "<|startoftext|>", END]


def letters(ids, **roles):
    """A tokenizer of letters with nothing around them."""
    lib = library()
    backend = lib.Tokenizer(lib.models.BPE(ids, []))
    backend.add_special_tokens([token for token in roles.values() if token not in ids])
    return Tokenizer(backend, roles, typed=False)


@pytest.mark.parametrize(
    ("roles", "pad"),
    [
        ({}, 0),
        ({"eos": "c"}, 2),
        ({"eos": "c", "pad": "b"}, 1),
        ({"eos": "c", "pad": "a"}, 0),
        ({"pad": "P"}, 3),
        ({"bos": "c", "mask": "b"}, 0),
    ],
    ids=str,
)
def test_rows_are_padded_by_pad_or_eos_or_zero(roles, pad):
    tok = letters({"a": 0, "b": 1, "c": 2}, **roles)
    assert tok.roles == roles
    assert tok.vocab_size == (4 if "P" in roles.values() else 3)
    assert tok.special_ids == ({3} if "P" in roles.values() else set())
    batch = tok.batch(["abc", "b"])
    assert {name: x.tolist() for name, x in batch.items()} == {
        "input_ids": [[0, 1, 2], [1, pad, pad]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
    }


def test_what_is_no_role_is_no_role():
    tok = letters({"a": 0, "b": 1}, pad="b", odd="a", eos="a")
    assert [*tok.roles.items()] == [("eos", "a"), ("pad", "b")]
    assert tok.longest is None


# b 5, e 6, q 7, z 8, ##e 9, ##q 10, zq 11: rows of ids, where the second text begins, offsets
BATCHES = {
    "as usual": (
        {},
        [[2, 8, 9, 11, 3, 6, 3], [2, 5, 3, 8, 3, 0, 0]],
        [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0, 0]],
        [["", "z", "e", "zq", "", "e", ""], ["", "b", "", "z", "", "", ""]],
    ),
    "on the left": (
        {"side": "left"},
        [[2, 8, 9, 11, 3, 6, 3], [0, 0, 2, 5, 3, 8, 3]],
        [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1, 1]],
        [["", "z", "e", "zq", "", "e", ""], ["", "", "", "b", "", "z", ""]],
    ),
    "of texts alone": (
        {"special": False},
        [[8, 9, 11, 6], [5, 8, 0, 0]],
        [[0, 0, 0, 1], [0, 1, 0, 0]],
        [["z", "e", "zq", "e"], ["b", "z", "", ""]],
    ),
    "cut": (
        {"longest": 5},
        [[2, 8, 3, 6, 3], [2, 5, 3, 8, 3]],
        [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1]],
        [["", "z", "", "e", ""], ["", "b", "", "z", ""]],
    ),
    "of just the longest": (
        {"longest": 7, "truncate": False},
        [[2, 8, 9, 11, 3, 6, 3], [2, 5, 3, 8, 3, 0, 0]],
        [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0, 0]],
        [["", "z", "e", "zq", "", "e", ""], ["", "b", "", "z", "", "", ""]],
    ),
    "cut to one token": (
        {"special": False, "longest": 1},
        [[8], [8]],
        [[0], [1]],
        [["z"], ["z"]],
    ),
}


@pytest.mark.parametrize(("options", "ids", "types", "places"), BATCHES.values(), ids=BATCHES)
def test_a_batch_of_pairs_is_told_whole(options, ids, types, places):
    texts, pairs = ["ze zq", "b"], ["e", "z"]
    found = trained("wordpiece").batch(texts, pairs, offsets=True, **options)
    assert {x.dtype for x in found.values()} == {torch.int64}
    assert [*found] == ["input_ids", "attention_mask", "token_type_ids", "offsets"]
    rows = {name: x.tolist() for name, x in found.items()}
    assert (rows["input_ids"], rows["token_type_ids"]) == (ids, types)
    assert rows["attention_mask"] == [[int(i != 0) for i in row] for row in ids]  # 0 is [PAD]
    for row, said, second, expected in zip(range(2), rows["offsets"], types, places, strict=True):
        sides = zip(said, second, strict=True)
        assert [(texts, pairs)[kind][row][a:b] for (a, b), kind in sides] == expected
    bare = trained("wordpiece").batch(texts, pairs, **options)
    assert {name: x.tolist() for name, x in bare.items()} == {
        name: row for name, row in rows.items() if name != "offsets"
    }


def test_both_texts_of_a_pair_are_looked_at():
    tok = trained("wordpiece")
    with pytest.raises(ValueError, match="text 1 holds half of a character"):
        tok.encode("a", "\ud800")
    with pytest.raises(ValueError, match="text 1 holds half of a character"):
        tok.batch(["a", "b"], ["a", "\ud800"])
    assert tok.offsets("ze", "zq", special=False) == [(0, 1), (1, 2), (0, 2)]
    assert tok.encode("ze", "zq", special=False) == [8, 9, 11]
    assert tok.offsets("e", "zq") == [(0, 0), (0, 1), (0, 0), (0, 2), (0, 0)]
