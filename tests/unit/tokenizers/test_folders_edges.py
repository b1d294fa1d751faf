"""What a folder's files say, at the borders: numbers, lines, special tokens, drafts."""

import json
import os
import re
from itertools import count
from pathlib import Path

import pytest

from zoo.tokenizers import Tokenizer, TokenizerError
from zoo.tokenizers.files import (
    CLIP_FILE,
    add_special,
    guarded,
    longest_of,
    named_roles,
    read_backend,
    read_config,
    roles_of,
    says_clip,
    write,
)
from zoo.tokenizers.pipelines import GPT2_ROLES, library

END = "<|endoftext|>"
IDS = {"a": 0, "b": 1, "c": 2, END: 3, "ab": 4, "abc": 5, "#version": 6, "#versiona": 7}
PLAIN = "tokenizer.json"


def bpe_folder(folder, merges="#version: 0.2\na b\nab c\n", ids=IDS, **config):
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_bytes(merges.encode())
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("said", "file", "longest"),
    [
        (None, PLAIN, None),
        (None, CLIP_FILE, 77),
        (32, CLIP_FILE, 32),
        (1, PLAIN, 1),
        (1.0, PLAIN, 1),
        (512.9, PLAIN, 512),
        (10**9, PLAIN, 10**9),
        (10**9 + 1, PLAIN, None),
        (1e30, PLAIN, None),
        (float("inf"), PLAIN, None),
    ],
    ids=str,
)
def test_the_longest_text_is_what_the_folder_says(said, file, longest):
    found = longest_of({} if said is None else {"model_max_length": said}, Path(file))
    assert (found, type(found)) == (longest, type(longest))


@pytest.mark.parametrize("said", [0, 0.5, -1, True, False, "77", [77], float("nan")], ids=str)
def test_a_longest_text_that_is_no_count_is_refused(said):
    words = r"^here/tokenizer_config\.json: model_max_length is .*; expected a count of tokens$"
    with pytest.raises(TokenizerError, match=words):
        longest_of({"model_max_length": said}, Path("here/vocab.txt"))


MERGES = {
    "as published": "#version: 0.2\na b\nab c\n",
    "without a first line": "a b\nab c\n",
    "with blank lines": "\na b\n \n\nab c",
    "with ends of lines of another system": "#version: 0.2\r\na b\r\nab c\r\n",
}


@pytest.mark.parametrize("merges", MERGES.values(), ids=MERGES)
def test_merges_are_read(tmp_path, merges):
    tok = Tokenizer.from_folder(bpe_folder(tmp_path, merges))
    model = json.loads(tok.backend.to_str())["model"]
    assert [tuple(pair) for pair in model["merges"]] == [("a", "b"), ("ab", "c")]
    assert model["vocab"] == IDS
    assert tok.encode("abcab") == [5, 4]


def test_only_the_first_line_of_merges_names_a_version(tmp_path):
    tok = Tokenizer.from_folder(bpe_folder(tmp_path, "#version\n#version a\na b\n"))
    assert len(json.loads(tok.backend.to_str())["model"]["merges"]) == 2
    with pytest.raises(TokenizerError, match=r"merges.txt line 2, '#version: 0.2': expected two"):
        Tokenizer.from_folder(bpe_folder(tmp_path, "a b\n#version: 0.2\n"))


def test_merges_may_take_up_the_whole_vocabulary(tmp_path):
    folder = bpe_folder(tmp_path, "a b\n", {"a": 0, "b": 1, "ab": 2})
    assert read_backend(folder, {})[0].encode("ab").ids == [2]


@pytest.mark.parametrize(
    "line", ["a\tb", "a  b", " a b", "a b ", "ab", "a b c", "a x", "b a"], ids=count()
)
def test_a_merge_is_two_tokens_with_one_space_between(tmp_path, line):
    words = (
        rf"merges\.txt line 3, {re.escape(repr(line))}: expected two tokens of vocab\.json whose"
    )
    with pytest.raises(TokenizerError, match=words):
        read_backend(bpe_folder(tmp_path, f"a b\n\n{line}\n"), {})


@pytest.mark.parametrize("most", [10**9 - 1, 10**9])
def test_an_id_has_a_largest_value(tmp_path, most):
    config = {}
    folder = bpe_folder(tmp_path, "", {"a": 0, END: most})
    if most < 10**9:
        backend, file = read_backend(folder, config)
        assert (backend.token_to_id(END), file) == (most, folder / "vocab.json")
        return
    with pytest.raises(TokenizerError, match=r"vocab.json maps a token to what is no id"):
        read_backend(folder, config)


@pytest.mark.parametrize(
    ("ids", "clips"),
    [
        ({"<|startoftext|>": 0, "a</w>": 1}, True),
        ({"<|startoftext|>": 0, "a": 1, "b</w>": 2}, True),
        ({"<|startoftext|>": 0, "</w>a": 1}, False),
        ({END: 0, "a</w>": 1}, False),
        ({}, False),
    ],
    ids=["clip", "some", "begins", "other", "empty"],
)
def test_a_vocabulary_says_whether_it_is_clips(ids, clips):
    assert says_clip(ids) is clips


ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def test_special_tokens_are_named_as_strings_or_with_their_content():
    config = {f"{role}_token": f"<{role}>" for role in ROLES}
    assert named_roles(config) == {role: f"<{role}>" for role in ROLES}
    assert [*named_roles(config)] == [*ROLES]
    strange = {"pad_token": {"content": "P"}, "eos_token": {"text": "E"}, "sep_token": 7}
    assert named_roles(strange | {"mask_token": {"content": 7}, "odd_token": "o"}) == {"pad": "P"}


def test_usual_special_tokens_are_those_that_the_vocabulary_holds():
    lib = library()
    backend = lib.Tokenizer(lib.models.BPE({"B": 0, "U": 1}, []))
    usual = {"bos": "B", "eos": "E", "unk": "U"}
    assert roles_of(backend, {}, usual) == {"bos": "B", "unk": "U"}
    named = {"unk_token": "X", "pad_token": "P"}
    assert roles_of(backend, named, usual) == {"bos": "B", "unk": "X", "pad": "P"}


def test_the_second_file_has_the_last_word_but_where_it_says_nothing(tmp_path):
    first = {"eos_token": "1", "bos_token": "1", "pad_token": "1", "do_lower_case": True}
    second = {"eos_token": "2", "bos_token": None, "do_lower_case": False, "unk_token": None}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(first))
    assert read_config(tmp_path) == first
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(second))
    want = {"eos_token": "2", "bos_token": "1", "pad_token": "1", "do_lower_case": False}
    assert read_config(tmp_path) == want
    (tmp_path / "special_tokens_map.json").unlink()
    assert read_config(tmp_path) == {"eos_token": "2", "do_lower_case": False}


def added(backend):
    """List what was added: id, text, whether special, and the flags that are set."""
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    return [
        (i, t.content, t.special, {name for name in flags if getattr(t, name)})
        for i, t in backend.get_added_tokens_decoder().items()
    ]


def test_every_added_token_has_its_id_and_its_flags(tmp_path):
    """First the folder's entries in their order, then roles that are still unknown, in theirs."""
    entries = {
        "9": {"content": "<x>", "special": True, "lstrip": True},
        "8": {"content": "<y>", "special": False, "rstrip": True},
        "7": {"content": "<z>", "special": 1, "normalized": False, "single_word": "yes"},
        "6": {"content": "<x>", "special": False},
        "5": {"content": "<w>", "special": True, "normalized": True},
        "4": None,
    }
    roles = {
        "mask_token": {"content": "<m>", "lstrip": True, "normalized": True},
        "pad_token": {"content": "<p>", "single_word": True, "rstrip": 1},
        "sep_token": "<x>",
        "cls_token": "<c>",
    }
    backend = Tokenizer.from_folder(
        bpe_folder(tmp_path, added_tokens_decoder=entries, **roles)
    ).backend
    assert sorted(added(backend)) == [
        (3, END, True, set()),
        (8, "<x>", True, {"lstrip"}),
        (9, "<y>", False, {"rstrip", "normalized"}),
        (10, "<z>", False, set()),
        (11, "<w>", True, {"normalized"}),
        (12, "<p>", True, {"single_word"}),
        (13, "<c>", True, set()),
        (14, "<m>", True, {"lstrip", "normalized"}),
    ]


@pytest.mark.parametrize("entries", [None, [], "text", 3], ids=str)
def test_added_tokens_that_are_no_table_are_passed_over(entries):
    lib = library()
    backend = lib.Tokenizer(lib.models.BPE({END: 0}, []))
    add_special(backend, {"added_tokens_decoder": entries}, GPT2_ROLES)
    assert added(backend) == [(0, END, True, set())]


class Panic(BaseException):
    """What Rust raises is no Exception."""


@pytest.mark.parametrize("error", [Panic, ValueError, TypeError, Exception])
def test_what_the_library_raises_becomes_ours(error):
    def act():
        raise error("no such piece")

    with pytest.raises(TokenizerError, match=r"^here/a\.json is damaged: no such piece$") as caught:
        guarded(Path("here/a.json"), act)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_ends_a_program_is_not_the_files_fault(error):
    def act():
        raise error

    with pytest.raises(error):
        guarded(Path("a.json"), act)


def test_what_the_library_gives_is_given():
    assert guarded(Path("a.json"), lambda: [3]) == [3]


def test_a_text_is_put_in_place_whole(tmp_path):
    write(tmp_path / "a.json", "é 你")
    write(tmp_path / "a.json", "ñ")
    assert (tmp_path / "a.json").read_bytes() == "ñ".encode()
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_draft_is_hidden_and_of_this_process_alone(tmp_path):
    """Where nothing can be put in place the draft is what is left."""
    (tmp_path / "a.json" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match=r"a\.json"):
        write(tmp_path / "a.json", "é")
    assert sorted(os.listdir(tmp_path)) == [f".a.json.{os.getpid()}", "a.json"]
    assert (tmp_path / f".a.json.{os.getpid()}").read_bytes() == "é".encode()


def test_a_tokenizer_is_saved_for_people_to_read(tmp_path):
    folder = tmp_path / "not" / "yet" / "there"
    tok = Tokenizer.from_folder(bpe_folder(tmp_path, model_max_length=9))
    tok.save(folder)
    names = ("tokenizer.json", "tokenizer_config.json")
    whole, config = ((folder / name).read_text() for name in names)
    assert whole == tok.backend.to_str(pretty=True) and whole.startswith('{\n  "version"')
    assert json.loads(config)["model_max_length"] == 9
    assert config == json.dumps(json.loads(config), indent=2)


def test_the_first_kind_of_vocabulary_is_read(tmp_path):
    """Of all kinds at once, from the last to the first."""
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\r\na")
    assert read_backend(tmp_path, {})[1].name == "vocab.txt"
    assert read_backend(tmp_path, {})[0].get_vocab() == {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}
    for vocab, merges in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
        (tmp_path / merges).write_text("")
        assert read_backend(tmp_path, {})[1].name != vocab  # half of a pair is none
        (tmp_path / vocab).write_text(json.dumps({"a": 0, END: 1}))
        assert read_backend(tmp_path, {})[1].name == vocab
    Tokenizer.from_folder(tmp_path).save(tmp_path)
    assert read_backend(tmp_path, {})[1].name == "tokenizer.json"


@pytest.mark.parametrize("last", ["", "\n"], ids=["open", "closed"])
def test_each_line_of_a_vocabulary_is_a_token(tmp_path, last):
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\n\n ##a" + last)
    backend, _ = read_backend(tmp_path, {})
    assert backend.get_vocab() == {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "": 3, " ##a": 4}


@pytest.mark.parametrize("role", ["unk", "cls", "sep"])
def test_a_vocabulary_holds_the_special_tokens_that_are_named(tmp_path, role):
    names = {"unk": "U", "cls": "C", "sep": "S"}
    config = {f"{name}_token": token for name, token in names.items()}
    held = [token for name, token in names.items() if name != role]
    (tmp_path / "vocab.txt").write_text("\n".join(held))
    words = rf"vocab.txt lacks the {role} token '{names[role]}'"
    with pytest.raises(TokenizerError, match=words):
        read_backend(tmp_path, config)
    (tmp_path / "vocab.txt").write_text("\n".join([*held, names[role]]))
    backend, _ = read_backend(tmp_path, config)
    assert backend.token_to_id(names[role]) == 2
    assert backend.encode("x", "y").tokens == ["C", "U", "S", "U", "S"]


@pytest.mark.parametrize(
    ("inputs", "typed"),
    [
        (None, (True, False)),
        (["input_ids"], (False, False)),
        (["input_ids", "token_type_ids"], (True, True)),
        ([], (False, False)),
        ("token_type_ids", (True, False)),
    ],
    ids=["unsaid", "bare", "typed", "none", "text"],
)
def test_batches_have_token_types_where_the_folder_says_so_or_as_usual(tmp_path, inputs, typed):
    """A BERT's by default, a GPT-2's not."""
    config = {} if inputs is None else {"model_input_names": inputs}
    for name in ("bert", "gpt2"):
        (tmp_path / name).mkdir()
    bpe_folder(tmp_path / "gpt2", **config)
    (tmp_path / "bert" / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na")
    (tmp_path / "bert" / "tokenizer_config.json").write_text(json.dumps(config))
    made = [Tokenizer.from_folder(tmp_path / name) for name in ("bert", "gpt2")]
    assert tuple(tok.typed for tok in made) == typed
    assert tuple("token_type_ids" in tok.batch(["a"]) for tok in made) == typed
