"""What of a folder's files decides answers: facts, and how each that differs is named."""

import copy
import hashlib
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from unit.models.tiny import tiny
from zoo.checkpoint.safetensors import checksum, read_header
from zoo.models import probe_files as files
from zoo.tokenizers import Tokenizer

MADE = ", the probe was made with "


def test_a_long_value_is_cut_in_a_sentence():
    assert files.shown("x" * 58) == repr("x" * 58)
    assert files.shown("x" * 59) == "'" + "x" * 55 + " ..."
    assert files.shown(7) == "7"


def test_a_config_is_told_under_the_names_of_its_file():
    model = tiny("vit", "image", gelu="quick", dropout=0.1, labels=("a", "b", "c"))
    facts = files.config_facts(model.spec, model.config)
    silent = {"dropout", "attention_dropout", "drop_path"}
    keys = {ours: k.theirs[0] for ours, k in model.spec.config_keys.keys.items()}
    assert facts.keys() == {k for ours, k in keys.items() if ours not in silent} | {"id2label"}
    some = {
        "image_size": [12, 10],
        "patch_size": [3, 5],
        "hidden_size": 20,
        "num_hidden_layers": 3,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-2,
        "id2label": ["a", "b", "c"],
    }
    assert {name: facts[name] for name in some} == some
    model = tiny("clip", "match")
    facts = files.config_facts(model.spec, model.config)
    assert facts["id2label"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert facts["text_config.eos_token_id"] == 96
    assert not {"logit_scale_init_value", "logit_bias_init_value"} & facts.keys()


# name -> (what was kept, what is found, what is said of it)
DIFFER = {
    "a number": (4, 5, f"a is 5{MADE}4"),
    "as it was": (4, 4, None),
    "one and true": (1, True, f"a is True{MADE}1"),
    "true and one": (True, 1, f"a is 1{MADE}True"),
    "true": (True, True, None),
    "whole or not": (1, 1.0, None),
    "a word": ("gelu", "relu", f"a is 'relu'{MADE}'gelu'"),
    "nothing": (None, 0, f"a is 0{MADE}None"),
    "a list": ([1, 2, 3], [1, 5, 6], f"a[1] is 5{MADE}2"),
    "a list as it was": ([1, 2], [1, 2], None),
    "a longer list": ([1, 2], [1, 2, 3], f"a has 3 entries{MADE}2"),
    "a list of none": ([1], [], f"a has 0 entries{MADE}1"),
    "a list for a number": (1, [1], f"a is [1]{MADE}1"),
    "a number for a list": ([1], 1, f"a is 1{MADE}[1]"),
    "long values": ("x" * 90, "y" * 90, f"a is '{'y' * 55} ...{MADE}'{'x' * 55} ..."),
}


@pytest.mark.parametrize("row", DIFFER)
def test_a_setting_that_differs_is_said(row):
    kept, found, said = DIFFER[row]
    more = {"b": 1}
    faults = files.config_faults({"a": kept, "gone": 3} | more, {"a": found, "new": 9} | more)
    assert faults == ([] if said is None else [f"config.json: {said}"])


def test_every_setting_that_differs_is_said():
    said = [f"config.json: {n} is 2{MADE}1" for n in "ba"]
    assert files.config_faults({"a": 1, "b": 1}, {"b": 2, "a": 2}) == said


TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(7), "c": torch.ones(3).half()}


def test_tensors_are_marked_with_dtype_shape_and_checksum(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors")  # without checksums, so they are read
    lazy, _ = read_header(tmp_path, "x.safetensors")
    sums = {name: f"{checksum(t):08x}" for name, t in TENSORS.items()}
    marks = {"a": f"F32 2x3 {sums['a']}", "b": f"I64 1 {sums['b']}", "c": f"F16 3 {sums['c']}"}
    assert files.tensor_marks(lazy) == marks
    found = {}
    assert torch.equal(files.read_marked(lazy["a"], found), TENSORS["a"])
    assert found == {"a": marks["a"]}
    assert torch.equal(files.read_marked(lazy["b"], None), TENSORS["b"])
    assert files.mark(lazy["c"], None) == "F16 3 00000000"
    assert files.mark(lazy["c"], 10) == "F16 3 0000000a"


def test_a_checksum_that_a_file_carries_is_believed():
    def read():
        raise AssertionError("a tensor that carries its checksum is not read for it")

    lazy = SimpleNamespace(dtype=torch.float32, shape=(4,), checksum=255, read=read, name="n")
    assert files.tensor_marks({"n": lazy}) == {"n": "F32 4 000000ff"}
    lazy.read = lambda: torch.ones(4)
    found = {}
    files.read_marked(lazy, found)
    assert found == {"n": "F32 4 000000ff"}


MARKS = {"a": "F32 2x3 01", "b": "F32 4 02", "c": "F16 4 03"}
FILES = {name: f"{name}.safetensors" for name in "abcxy"}
TENSOR_FAULTS = {
    "as they were": (MARKS, None),
    "fewer": ({"a": MARKS["a"]}, None),
    "another name for the same": (MARKS | {"x": MARKS["b"]}, None),
    "other numbers": (MARKS | {"b": "F32 4 09"}, "b.safetensors: b is not the tensor it was"),
    "another tensor of the same file": (
        MARKS | {"b": MARKS["a"]},
        "b.safetensors: b is F32 2x3, it was F32 4",
    ),
    "another dtype": (MARKS | {"c": "BF16 4 03"}, "c.safetensors: c is BF16 4, it was F16 4"),
    "another shape": (MARKS | {"c": "F16 2x2 03"}, "c.safetensors: c is F16 2x2, it was F16 4"),
    "a new one": (MARKS | {"x": "F32 4 08"}, "x.safetensors: x was not there"),
    "two": (
        MARKS | {"b": "F32 4 09", "c": "F16 4 09"},
        "b.safetensors: b is not the tensor it was (and 1 more)",
    ),
    "three": (
        {"y": "F32 1 1", "a": "F32 2x3 3", "x": "F32 4 8"},
        "y.safetensors: y was not there (and 2 more)",
    ),
}


@pytest.mark.parametrize("row", TENSOR_FAULTS)
def test_the_first_tensor_that_differs_is_named(row):
    found, said = TENSOR_FAULTS[row]
    assert files.tensor_faults(MARKS, found, FILES) == ([] if said is None else [said])


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_files_that_are_there_are_hashed(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("")
    assert files.hashes(tmp_path, ("b", "none", "a")) == {"b": sha(""), "a": sha("x")}


WORDS = [f"{a}{b} Café {a} {b}{a}{a} {a}b" for a, b in zip("abcdefg", "tuvwxyz", strict=True)]


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory):
    """A folder with a tokenizer of two files, and what is told of it."""
    place = tmp_path_factory.mktemp("tokenized")
    Tokenizer.train(WORDS * 2, "bpe", vocab=290, longest=9).save(place)
    return place, files.tokenizer_facts(place)


def test_a_tokenizer_is_told_by_files_settings_and_ids(tokenized):
    place, facts = tokenized
    made = Tokenizer.from_folder(place)
    names = {p.name for p in place.iterdir()}
    assert names <= set(files.TOKENIZER_FILES)
    assert facts["files"] == {n: sha((place / n).read_text()) for n in names}
    assert facts["settings"] == {
        "model_max_length": 9,
        "token_type_ids": made.typed,
        **{f"{n}_id": getattr(made, f"{n}_id") for n in "bos eos unk sep pad cls mask".split()},
    }
    assert facts["size"] == made.vocab_size
    assert facts["texts"] == [[text, made.encode(text)] for text in files.TEXTS]
    rows = sorted((number, token) for token, number in made.backend.get_vocab(True).items())
    lines = [f"{number} {token!r}" for number, token in rows] + files.merges(made)
    assert facts["vocabulary"] == sha("\n".join(lines))
    assert files.merges(made) and all(len(m.split(" ")) == 2 for m in files.merges(made))
    few = files.tokenizer_facts(place, ["a b"], vocabulary=False)
    assert few == {
        **{n: facts[n] for n in ("files", "settings", "size")},
        "texts": [["a b", made.encode("a b")]],
    }


def test_merges_are_texts_however_they_are_written():
    def tokenizer(text):
        return SimpleNamespace(backend=SimpleNamespace(to_str=lambda: text))

    assert files.merges(tokenizer('{"model": {"merges": ["a b", ["c", "d"]]}}')) == ["a b", "c d"]
    assert files.merges(tokenizer('{"model": {"merges": null}}')) == []
    assert files.merges(tokenizer('{"model": {}}')) == []


def test_settings_alone_are_no_tokenizer(tmp_path):
    assert files.tokenizer_facts(tmp_path) is None
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        (tmp_path / name).write_text("{}")
    assert files.tokenizer_facts(tmp_path) is None
    assert files.tokenizer_faults(tmp_path, {"files": {}, "texts": []}) == []


AS_IT_WAS = "the tokenizer's files are as they were, and its library gives other ids"
CHANGED = "tokenizer_config.json"


def test_a_tokenizer_that_differs_is_named_by_what_changed_first(tokenized):
    place, facts = tokenized
    assert files.tokenizer_faults(place, facts) == []
    kept = copy.deepcopy(facts)
    text, ids = kept["texts"][2]
    kept["texts"][2] = [text, [*ids[:2], 9, *ids[3:]]]
    kept["texts"][4] = [kept["texts"][4][0], []]
    kept["size"] += 1
    kept["vocabulary"] = "x"
    kept["settings"]["pad_id"] = -1
    now, then = files.brief(ids, kept["texts"][2][1]), files.brief(kept["texts"][2][1], ids)
    said = f"{files.shown(text)} gives {now}, gave {then}"
    assert files.tokenizer_faults(place, kept) == [f"{AS_IT_WAS}: {said}"]
    kept["files"][CHANGED] = "x"
    assert files.tokenizer_faults(place, kept) == [f"{CHANGED}: {said}"]
    kept["texts"] = facts["texts"]
    size = facts["size"]
    said = f"it has {size} tokens{MADE}{size + 1}"
    assert files.tokenizer_faults(place, kept) == [f"{CHANGED}: {said}"]
    kept["size"] = size
    assert files.tokenizer_faults(place, kept) == [
        f"{CHANGED}: under some ids stand other tokens, or they merge otherwise, than when the "
        "probe was made"
    ]
    kept["vocabulary"] = facts["vocabulary"]
    pad = facts["settings"]["pad_id"]
    assert files.tokenizer_faults(place, kept) == [f"{CHANGED}: pad_id is {pad}{MADE}-1"]
    kept["settings"] = {"model_max_length": 9, "more": 1}
    assert files.tokenizer_faults(place, kept) == []
    kept = copy.deepcopy(facts) | {"vocabulary": "x"}
    assert files.tokenizer_faults(place, kept) == []  # no file changed, so it is not asked


def test_a_tokenizer_that_is_damaged_is_one_fault(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    (fault,) = files.tokenizer_faults(tmp_path, {"files": {}, "texts": []})
    assert "tokenizer.json" in fault


BRIEF = {
    "the first": ([1, 2, 3], [9, 2, 3], "[1, 2, 3]"),
    "the second": ([1, 2, 3, 4, 5, 6], [1, 9], "[1, 2, 3, 4, ...]"),
    "the third": ([1, 2, 3, 4, 5], [1, 2, 9], "[..., 2, 3, 4, 5]"),
    "the third of many": ([1, 2, 3, 4, 5, 6], [1, 2, 9], "[..., 2, 3, 4, 5, ...]"),
    "none, but it is longer": ([1, 2, 3], [1, 2], "[..., 2, 3]"),
    "none, but it is shorter": ([1, 2], [1, 2, 3], "[..., 2]"),
    "nothing": ([], [1], "[]"),
    "four": ([1, 2, 3, 4], [9], "[1, 2, 3, 4]"),
}


@pytest.mark.parametrize("row", BRIEF)
def test_ids_are_shown_from_the_one_before_the_first_that_differs(row):
    ids, other, said = BRIEF[row]
    assert files.brief(ids, other) == said


def test_files_of_other_bytes_are_named():
    assert files.changed({"a": "1", "b": "2", "d": "4"}, {"c": "3", "b": "9", "a": "1"}) == (
        "b, c, d"
    )
    assert files.changed({"a": "1"}, {"a": "1"}) == ""
