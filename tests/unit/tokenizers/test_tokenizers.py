"""Text to ids and back: reading, training, batching, and what is refused."""

import json
import pickle
import subprocess
import sys
from itertools import count

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.tokenizers import Tokenizer, TokenizerError
from zoo.tokenizers.pipelines import library

WORDS = [
    "the quick brown fox jumps over the lazy dog",
    "naïve café, 你好 \U0001f600!",
    "It's 12:30",
]
TEXTS = [*WORDS, "the dog and the fox", "a quick dog", "over and over again"] * 3
BPE = Tokenizer.train(TEXTS, "bpe", vocab=290)
WORDPIECE = Tokenizer.train(TEXTS, "wordpiece", vocab=95)
KINDS = {"bpe": BPE, "wordpiece": WORDPIECE}
EVERY = {**KINDS, "clip": Tokenizer.train(TEXTS, "clip", vocab=520)}
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
kinds = pytest.mark.parametrize("kind", KINDS)


def bpe_folder(folder, **config):
    """Write vocab.json and merges.txt by hand: the letters, and three merges."""
    letters = ["a", "b", "c", "Ġ", "<|endoftext|>", "ab", "Ġc", "abc"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\nĠ c\nab c\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def wordpiece_folder(folder, **config):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "run", "Run", "##ning", ".", "e", "é"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_merges_are_applied_in_their_order(tmp_path):
    tok = Tokenizer.from_folder(bpe_folder(tmp_path))
    assert tok.encode("abc c") == [7, 6]
    assert tok.encode(" ca<|endoftext|>b") == [6, 0, 4, 1]
    assert tok.decode([7, 6, 4, 1]) == "abc cb"
    assert tok.decode([7, 6, 4, 1], skip_special=False) == "abc c<|endoftext|>b"
    assert (tok.eos_id, tok.bos_id, tok.unk_id, tok.pad_id, tok.vocab_size) == (4, 4, 4, None, 8)


def test_a_prefix_space_is_added_only_when_the_folder_says_so(tmp_path):
    tok = Tokenizer.from_folder(bpe_folder(tmp_path, add_prefix_space=True))
    assert tok.encode("c") == [6]
    assert Tokenizer.from_folder(bpe_folder(tmp_path)).encode("c") == [2]


@pytest.mark.parametrize(
    ("config", "ids"),
    [
        ({}, [2, 5, 7, 8, 3]),
        ({"do_lower_case": True}, [2, 5, 7, 8, 3]),
        ({"do_lower_case": False}, [2, 6, 7, 8, 3]),
    ],
    ids=str,
)
def test_lower_casing_follows_the_config(tmp_path, config, ids):
    tok = Tokenizer.from_folder(wordpiece_folder(tmp_path, **config))
    assert tok.encode("Running.") == ids


@pytest.mark.parametrize(("config", "piece"), [({}, 9), ({"strip_accents": False}, 10)], ids=str)
def test_accents_follow_the_config(tmp_path, config, piece):
    tok = Tokenizer.from_folder(wordpiece_folder(tmp_path, **config))
    assert tok.encode("É", special=False) == [piece]


def test_berts_special_tokens_have_their_ids(tmp_path):
    tok = Tokenizer.from_folder(wordpiece_folder(tmp_path, model_max_length=6))
    assert (tok.pad_id, tok.unk_id, tok.cls_id, tok.sep_id, tok.mask_id) == (0, 1, 2, 3, 4)
    assert (tok.bos_id, tok.eos_id, tok.longest, tok.vocab_size) == (None, None, 6, 11)
    assert tok.encode("run [MASK] xx", "run") == [2, 5, 4, 1, 3, 5, 3]
    assert tok.offsets("run [MASK]") == [(0, 0), (0, 3), (4, 10), (0, 0)]
    assert tok.tokens([5, 7]) == ["run", "##ning"]


def test_what_the_config_says_outranks_tokenizer_json(tmp_path):
    WORDPIECE.save(tmp_path)
    assert Tokenizer.from_folder(tmp_path).encode("DOG") == WORDPIECE.encode("dog")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"do_lower_case": False}))
    assert Tokenizer.from_folder(tmp_path).encode("DOG") != WORDPIECE.encode("dog")


def test_special_tokens_that_the_config_adds_get_ids_behind_the_vocabulary(tmp_path):
    folder = bpe_folder(tmp_path, pad_token={"content": "<pad>"}, model_max_length=10**30)
    entry = {"content": "<x>", "special": False, "normalized": False}
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {"8": entry}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text('{"mask_token": "<m>", "pad_token": "no"}')
    tok = Tokenizer.from_folder(folder)
    assert tok.encode("a<x><pad><m>") == [0, 8, tok.pad_id, tok.mask_id]
    assert (tok.pad_id, tok.mask_id, tok.vocab_size, tok.longest) == (9, 10, 11, None)
    assert tok.decode([8, 9]) == "<x>"


def test_openais_file_names_are_read(tmp_path):
    bpe_folder(tmp_path)
    (tmp_path / "vocab.json").rename(tmp_path / "encoder.json")
    (tmp_path / "merges.txt").rename(tmp_path / "vocab.bpe")
    assert Tokenizer.from_folder(tmp_path).encode("abc") == [7]


@given(anything)
def test_byte_level_decoding_undoes_encoding(text):
    assert BPE.decode(BPE.encode(text), skip_special=False) == text


@kinds
@given(text=anything)
def test_a_saved_tokenizer_reads_back_the_same(kind, text, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / kind
    if not folder.exists():
        KINDS[kind].save(folder)
        KINDS[kind] = Tokenizer.from_folder(folder)
        KINDS[kind].save(folder / "again")
        names = [path.name for path in folder.iterdir()]
        assert sorted(names) == ["again", "tokenizer.json", "tokenizer_config.json"]
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (folder / name).read_bytes() == (folder / "again" / name).read_bytes()
    first = {"bpe": BPE, "wordpiece": WORDPIECE}[kind]
    assert KINDS[kind].encode(text, text[::2]) == first.encode(text, text[::2])
    assert KINDS[kind].roles == first.roles


def test_longest_is_saved(tmp_path):
    Tokenizer.train(TEXTS, vocab=270, longest=17).save(tmp_path)
    assert Tokenizer.from_folder(tmp_path).longest == 17


def test_a_file_saved_over_is_replaced(tmp_path):
    BPE.save(tmp_path)
    WORDPIECE.save(tmp_path)
    assert Tokenizer.from_folder(tmp_path).encode("dog") == WORDPIECE.encode("dog")


@pytest.mark.parametrize("wordpiece", [True, False])
def test_training_learns_what_is_frequent(wordpiece):
    tok = WORDPIECE if wordpiece else BPE
    assert len(tok.encode("the", special=False)) == 1
    assert len(tok.encode("quick dog", special=False)) < len("quick dog")
    assert tok.vocab_size == (95 if wordpiece else 290)


@pytest.mark.subproc
def test_training_is_the_same_in_every_process():
    """Of many pairs seen as often, the same come first: the library's own order is by a hash."""
    often = [" ".join(a + b + c for a in "abc" for b in "hijklm" for c in "nopqrstu")] * 2
    asked = [(TEXTS, "bpe", 290), (TEXTS, "wordpiece", 95), (often, "clip", 600)]
    program = (
        "import json, sys; from zoo.tokenizers import Tokenizer;"
        "print([Tokenizer.train(texts, kind, vocab=v).backend.to_str()"
        " for texts, kind, v in json.load(sys.stdin)])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    ours = [Tokenizer.train(texts, k, vocab=v).backend.to_str() for texts, k, v in asked]
    assert done.stdout.strip() == str(ours), done.stderr


def test_training_counts_to_least():
    tok = Tokenizer.train(["zq"] * 3, vocab=300, least=4)
    assert len(tok.encode("zq")) == 2
    assert len(Tokenizer.train(["zq"] * 3, vocab=300, least=3).encode("zq")) == 1


def test_training_without_lower_casing_tells_cases_apart():
    tok = Tokenizer.train(["Dog dog"] * 3, "wordpiece", vocab=40, lower=False)
    assert tok.encode("Dog") != tok.encode("dog")
    assert tok.unk_id not in tok.encode("Dog")


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("one text", "bpe", 300), TypeError, "one string; pass a list"),
        ((TEXTS, "unigram", 300), ValueError, r"kind 'unigram'; expected one of \('bpe', 'word"),
        ((TEXTS, "bpe", 256), ValueError, "vocabulary of 256 cannot hold every byte.*257 or more"),
        ((TEXTS, "wordpiece", 9), ValueError, "vocabulary of 9 cannot hold every character"),
        ((["a", "\ud800"], "bpe", 300), ValueError, "text 1 holds half of a character"),
    ],
    ids=["string", "kind", "bytes", "characters", "surrogate"],
)
def test_training_refuses(arguments, error, sentence):
    texts, kind, vocab = arguments
    with pytest.raises(error, match=sentence):
        Tokenizer.train(texts, kind, vocab=vocab)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pairs", [None, ["dog", "", "the lazy dog", "a"]], ids=["one", "pairs"])
@kinds
def test_a_batch_is_its_rows_padded(kind, pairs, side):
    tok = KINDS[kind]
    texts = ["the fox", "", "a quick dog jumps", "naïve"]
    batch = tok.batch(texts, pairs, side=side, offsets=True)
    assert ("token_type_ids" in batch) == (kind == "wordpiece")
    for i, text in enumerate(texts):
        pair = None if pairs is None else pairs[i]
        ids = tok.encode(text, pair)
        real = batch["attention_mask"][i].bool()
        n = real.shape[0]
        expected = [True] * len(ids) + [False] * (n - len(ids))
        assert real.tolist() == (expected if side == "right" else expected[::-1])
        assert batch["input_ids"][i][real].tolist() == ids
        assert batch["offsets"][i][real].tolist() == [[*o] for o in tok.offsets(text, pair)]
        pad = tok.eos_id if kind == "bpe" else tok.pad_id
        assert set(batch["input_ids"][i][~real].tolist()) <= {pad}
        if kind == "wordpiece":
            cut = ids.index(tok.sep_id) + 1
            types = batch["token_type_ids"][i]
            assert types[real].tolist() == [0] * cut + [1] * (len(ids) - cut)
            assert types[~real].sum() == 0


def test_a_batch_without_special_tokens_holds_the_text_alone():
    batch = WORDPIECE.batch(["the dog", "fox"], special=False)
    assert batch["input_ids"][0].tolist() == WORDPIECE.encode("the dog", special=False)


def test_a_batch_of_no_texts_has_no_rows():
    assert BPE.batch([])["input_ids"].shape == (0, 0)
    assert BPE.batch([""])["attention_mask"].shape == (1, 0)
    assert WORDPIECE.batch([""])["input_ids"].tolist() == [[WORDPIECE.cls_id, WORDPIECE.sep_id]]
    assert BPE.batch([])["input_ids"].dtype == torch.int64


def test_long_texts_lose_their_end():
    ids = WORDPIECE.encode("the quick brown fox")
    (row,) = WORDPIECE.batch(["the quick brown fox"], longest=4)["input_ids"].tolist()
    assert row == [*ids[:3], WORDPIECE.sep_id]
    (row,) = WORDPIECE.batch(["the quick brown fox"], longest=len(ids))["input_ids"].tolist()
    assert row == ids


@pytest.mark.parametrize(
    ("lengths", "longest", "kept"),
    [((6, 2), 8, (3, 2)), ((2, 6), 8, (2, 3)), ((5, 5), 10, (3, 4)), ((1, 9), 6, (1, 2))],
    ids=str,
)
def test_of_a_pair_the_longer_text_is_cut_first(lengths, longest, kept):
    a, b = ("the " * n for n in lengths)
    batch = WORDPIECE.batch([a], [b], longest=longest)
    the = WORDPIECE.encode("the", special=False)[0]
    types = batch["token_type_ids"][batch["input_ids"] == the]
    assert ((types == 0).sum(), (types == 1).sum()) == kept


def test_the_models_own_limit_holds_unless_told_otherwise():
    tok = Tokenizer.train(TEXTS, vocab=290, longest=3)
    assert tok.batch(["over and over again"])["input_ids"].shape == (1, 3)
    assert tok.batch(["over and over again"], longest=99)["input_ids"].shape[1] > 3


def test_settings_inside_tokenizer_json_do_not_act(tmp_path):
    WORDPIECE.save(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text())
    whole["truncation"] = {
        "max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
    }  # fmt: skip
    whole["padding"] = {
        "strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    tok = Tokenizer.from_folder(tmp_path)
    assert tok.encode("the quick fox") == WORDPIECE.encode("the quick fox")
    assert tok.batch(["the quick fox"])["input_ids"].shape == (1, 5)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "sentence"),
    [
        (("a",), {}, TypeError, "one string; pass a list"),
        ((["a", "b"], "c"), {}, TypeError, "one string; pass a list"),
        ((["a"], ["b", "c"]), {}, ValueError, "1 texts and 2 pairs"),
        ((["a"],), {"side": "both"}, ValueError, "side 'both'; expected"),
        ((["a"],), {"longest": 2}, ValueError, "longest 2 leaves no room beside 2 special"),
        ((["a", "a dog"],), {"longest": 3, "truncate": False}, ValueError, "text 1 has 4 tokens"),
        ((["ok \udfff"],), {}, ValueError, r"half of a character, '\\udfff' at 3"),
    ],
    ids=["string", "strings", "pairs", "side", "room", "long", "surrogate"],
)
def test_a_batch_refuses(arguments, options, error, sentence):
    with pytest.raises(error, match=sentence):
        WORDPIECE.batch(*arguments, **options)


def test_encoding_refuses_half_of_a_character():
    with pytest.raises(ValueError, match="text 0 holds half of a character"):
        BPE.encode("\ud800")


@pytest.mark.parametrize("ids", [[290], [-1], torch.tensor([3, 1000])], ids=str)
def test_decoding_refuses_an_id_that_it_lacks(ids):
    with pytest.raises(ValueError, match=r"id (290|-1|1000) is not in this vocabulary of 290"):
        BPE.decode(ids)


def test_decoding_reads_tensors():
    assert BPE.decode(torch.tensor(BPE.encode("the fox"))) == "the fox"


@kinds
def test_a_tokenizer_travels_to_a_worker(kind):
    other = pickle.loads(pickle.dumps(KINDS[kind]))
    assert other.encode("the fox") == KINDS[kind].encode("the fox")


DAMAGE = [
    ("tokenizer.json", "", "tokenizer.json is damaged"),
    ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": -1}}}', "json is damaged"),
    ("vocab.json", "[1]", r"vocab.json holds a list; expected a dict"),
    ("vocab.json", "{", "vocab.json is not JSON"),
    ("vocab.json", "[" * 100_000, "vocab.json is not JSON"),
    ("vocab.json", '{"a": 1.5}', "vocab.json maps a token to what is no id"),
    ("vocab.json", '{"a": true}', "vocab.json maps a token to what is no id"),
    ("vocab.json", '{"a": -1}', "vocab.json maps a token to what is no id"),
    ("vocab.json", '{"a": 1, "b": 1}', "vocab.json gives one id to two tokens"),
    ("merges.txt", "#version\na b\na x\n", "merges.txt line 3, 'a x'"),
    ("merges.txt", "a\n", "merges.txt line 1, 'a'"),
    ("merges.txt", "b a\n", "merges.txt line 1, 'b a': expected.*vocab.json"),
    ("tokenizer_config.json", "3", "tokenizer_config.json holds a int"),
    ("tokenizer_config.json", '{"model_max_length": "x"}', "json: model_max_length is 'x'"),
    ("tokenizer_config.json", '{"model_max_length": NaN}', "json: model_max_length is nan"),
    ("special_tokens_map.json", "{]", "special_tokens_map.json is not JSON"),
    ("tokenizer_config.json", '{"do_lower_case": 1}', "config.json: do_lower_case is 1; expected"),
    ("tokenizer_config.json", '{"add_prefix_space": []}', r"json: add_prefix_space is \[\]; exp"),
    ("tokenizer_config.json", '{"eos_token": "\\ud800"}', "config.json holds half of a character"),
]


@pytest.mark.parametrize(("name", "text", "sentence"), DAMAGE, ids=count())
def test_a_damaged_file_is_named(tmp_path, name, text, sentence):
    bpe_folder(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(TokenizerError, match=sentence):
        Tokenizer.from_folder(tmp_path)


def without(whole, token):
    del whole["model"]["vocab"][token]


@pytest.mark.parametrize(
    ("kind", "damage", "sentence"),
    [
        ("wordpiece", lambda w: without(w, "[UNK]"), "is damaged: .*Missing .UNK. token"),
        ("wordpiece", lambda w: w["added_tokens"].clear() or without(w, "[CLS]"), "gives id 2"),
        ("wordpiece", lambda w: w["post_processor"]["single"][0].clear(), "is damaged"),
        (
            "wordpiece",
            lambda w: w["post_processor"]["pair"][0]["SpecialToken"].update(id="no"),
            "is damaged: no entry found",
        ),
        ("bpe", lambda w: w["model"].update(continuing_subword_prefix="x" * 50), "is damaged"),
    ],
    ids=["unk", "cls", "post", "panic-later", "panic-at-once"],
)
def test_a_damaged_pipeline_is_named_when_it_is_read(tmp_path, kind, damage, sentence):
    whole = json.loads(KINDS[kind].backend.to_str())
    damage(whole)
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    with pytest.raises(TokenizerError, match=rf"tokenizer\.json {sentence}"):
        Tokenizer.from_folder(tmp_path)


def test_an_escaped_pair_of_halves_is_one_character(tmp_path):
    bpe_folder(tmp_path)
    text = '{"eos_token": "\\ud83d\\ude00"}'
    (tmp_path / "tokenizer_config.json").write_text(text)
    tok = Tokenizer.from_folder(tmp_path)
    assert tok.encode("a\N{GRINNING FACE}") == [0, tok.eos_id]


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json"])
def test_a_file_that_is_no_text_is_named(tmp_path, name):
    bpe_folder(tmp_path)
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TokenizerError, match=name):
        Tokenizer.from_folder(tmp_path)


def test_a_vocabulary_without_its_special_tokens_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(TokenizerError, match=r"vocab.txt lacks the unk token '\[UNK\]'"):
        Tokenizer.from_folder(tmp_path)


def test_a_folder_without_a_tokenizer_says_what_it_needs(tmp_path):
    with pytest.raises(TokenizerError, match=r"expected tokenizer.json, vocab.json \+ merges.txt"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("kind", EVERY)
def test_a_file_cut_anywhere_is_refused(tmp_path, kind):
    EVERY[kind].save(tmp_path)
    whole = (tmp_path / "tokenizer.json").read_bytes()
    for cut in range(0, len(whole) - 1, len(whole) // 37):
        (tmp_path / "tokenizer.json").write_bytes(whole[:cut])
        with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
            Tokenizer.from_folder(tmp_path)


def test_without_the_library_the_error_names_the_extra(monkeypatch, tmp_path):
    """Also before a folder or a text is looked at."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # as Python says: absent
    words = r'^reading text needs the tokenizers library: pip install "zoo\[text\]"$'
    for act in (
        library,
        lambda: Tokenizer.from_folder(tmp_path / "nothing"),
        lambda: Tokenizer.train("one text", "no kind", vocab=1),
    ):
        with pytest.raises(ImportError, match=words):
            act()
