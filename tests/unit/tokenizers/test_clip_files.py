"""CLIP's files: the forms a folder comes in, and what is refused of them."""

import gzip
import json

import pytest

from zoo.tokenizers import Tokenizer, TokenizerError
from zoo.tokenizers.inside import UNPACKED

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = ["a", "b", "a</w>", "b</w>", "ab</w>", "ba", "bab</w>", "!", "!</w>", START, END]
IDS = {token: i for i, token in enumerate(LETTERS)}
MERGES = "#version: 0.2\nb a\na b</w>\nba b</w>\n"
PACKED = "bpe_simple_vocab_16e6.txt.gz"
CLIP = {"tokenizer_class": "CLIPTokenizer"}


def split_folder(folder, *, ids=IDS, merges=MERGES, config=CLIP):
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text(merges)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def packed_folder(folder, text=MERGES):
    (folder / PACKED).write_bytes(gzip.compress(text.encode()))
    return folder


@pytest.mark.parametrize(
    "config",
    [CLIP, {"tokenizer_class": "CLIPTokenizerFast"}, {}, {"do_lower_case": False}],
    ids=["class", "fast", "none", "cased"],
)
def test_a_split_vocabulary_is_clips(tmp_path, config):
    tok = Tokenizer.from_folder(split_folder(tmp_path, config=config))
    assert tok.encode("AB  bab ba") == [9, 4, 6, 1, 2, 10]
    assert tok.decode([9, 4, 6, 1, 2, 10]) == "ab bab ba"
    assert (tok.bos_id, tok.eos_id, tok.pad_id, tok.unk_id) == (9, 10, 10, 10)
    assert (tok.vocab_size, tok.longest) == (11, None)
    assert set(tok.batch(["a"])) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("end", [{"a</w>": 0, "b": 1}, {START: 0, "b": 1}], ids=["words", "start"])
def test_another_kind_of_vocabulary_is_not_taken_for_clips(tmp_path, end):
    tok = Tokenizer.from_folder(split_folder(tmp_path, ids=end, merges="", config={}))
    assert tok.encode("b") == [1]


def test_the_class_alone_makes_a_vocabulary_clips(tmp_path):
    tok = Tokenizer.from_folder(split_folder(tmp_path, ids={"b": 0, START: 1, END: 2}, merges=""))
    assert tok.encode("b") == [1, 2, 2]  # the library knows b, but no b that ends a word


def test_what_the_vocabulary_lacks_is_the_unknown_token(tmp_path):
    tok = Tokenizer.from_folder(split_folder(tmp_path))
    assert tok.encode("a c!", special=False) == [2, 10, 8]


def entry(token, **flags):
    return {"content": token, "lstrip": False, "rstrip": False, "single_word": False, **flags}


LOUD = entry(START, normalized=True)


@pytest.mark.parametrize(
    ("config", "text", "found"),
    [
        ({}, START, True),
        ({}, START.upper(), False),
        ({"bos_token": LOUD}, START.upper(), True),
        ({"bos_token": entry(START, normalized=False)}, START.upper(), False),
        ({"added_tokens_decoder": {"9": LOUD | {"special": True}}}, START.upper(), True),
        ({"eos_token": entry(END, normalized=True)}, END.upper(), False),
        ({"pad_token": entry(END, normalized=True)}, END.upper(), True),
    ],
    ids=["plain", "loud", "role", "verbatim", "added", "not-last-role", "last-role"],
)
def test_special_tokens_are_found_as_the_folder_says(tmp_path, config, text, found):
    """Before the text is lower-cased or after; of a token's roles the last one decides."""
    tok = Tokenizer.from_folder(split_folder(tmp_path, config=CLIP | config))
    ids = tok.encode(text, special=False)
    assert (ids == [tok.bos_id if text.lower() == START else tok.eos_id]) == found


def test_a_special_token_takes_the_space_before_it_when_the_folder_says_so(tmp_path):
    folder = split_folder(tmp_path, config=CLIP | {"pad_token": entry("!", lstrip=True)})
    assert Tokenizer.from_folder(folder).offsets("a  !")[1:3] == [(0, 1), (1, 4)]


def test_another_padding_token_pads(tmp_path):
    tok = Tokenizer.from_folder(split_folder(tmp_path, config=CLIP | {"pad_token": "!"}))
    batch = tok.batch(["a b", "a"])
    assert batch["input_ids"].tolist() == [[9, 2, 3, 10], [9, 2, 10, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


def test_packed_merges_make_the_vocabulary(tmp_path):
    tok = Tokenizer.from_folder(packed_folder(tmp_path))
    base = 2 * 256
    assert (tok.vocab_size, tok.bos_id, tok.eos_id) == (base + 5, base + 3, base + 4)
    assert tok.tokens([base, base + 1, base + 2]) == ["ba", "ab</w>", "bab</w>"]
    assert tok.encode("AB bab é", special=False)[:2] == [base + 1, base + 2]
    assert tok.longest == 77


def test_a_config_beside_packed_merges_is_read(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 32}')
    assert Tokenizer.from_folder(packed_folder(tmp_path)).longest == 32


def test_of_packed_merges_no_more_are_read_than_clip_has(tmp_path):
    """The published file goes on behind the merges that its vocabulary is made of."""
    names = ["a", "b", "c", "d", "e", "f", "g", "h"]
    level = [(x, y) for x in names for y in names]
    triples = [("".join(pair), z) for pair in level for z in names]
    fours = [("".join(pair), z) for pair in triples for z in names]
    fives = [("".join(pair), z) for pair in fours for z in names]
    sixes = [("".join(pair), z) for pair in fives for z in names]
    merges = [*level, *triples, *fours, *fives, *sixes][:48_897]
    text = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
    tok = Tokenizer.from_folder(packed_folder(tmp_path, text))
    assert tok.vocab_size == 49_408
    assert tok.tokens([49_405]) == ["".join(merges[48_893])]


def test_a_tokenizer_json_outranks_packed_merges(tmp_path):
    Tokenizer.train(["a b"] * 3, "clip", vocab=520).save(tmp_path)
    assert Tokenizer.from_folder(packed_folder(tmp_path)).vocab_size < 520


def test_the_published_tokenizer_json_reads_without_marks(tmp_path):
    """It decodes bytes only; the mark at a word's end is then a matter of who reads."""
    tok = Tokenizer.from_folder(split_folder(tmp_path))
    whole = json.loads(tok.backend.to_str()) | {"decoder": {"type": "ByteLevel"}}
    whole["decoder"] |= {"add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    again = Tokenizer.from_folder(tmp_path)
    assert again.decode([9, 4, 6, 10]) == "ab bab"
    assert again.decode([9, 4, 10], skip_special=False) == f"{START}ab {END}"


WHERE = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
BPE_DECODER = {"type": "BPEDecoder", "suffix": "</w>"}


@pytest.mark.parametrize(
    ("parts", "decoded"),
    [
        # as Llama 3 and Qwen: pieces that know no end of a word
        ({"model": {"end_of_word_suffix": None}}, "ab</w>a"),
        # as the first GPT: ends of words, but words are found otherwise
        ({"pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": BPE_DECODER}, "ab a"),
    ],
    ids=["no-end", "other-words"],
)
def test_another_kind_of_tokenizer_json_is_not_taken_for_clips(tmp_path, parts, decoded):
    whole = json.loads(Tokenizer.from_folder(split_folder(tmp_path)).backend.to_str())
    model = whole["model"] | {"vocab": IDS, "merges": []} | parts.get("model", {})
    whole |= {"decoder": WHERE} | parts | {"model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    (tmp_path / "tokenizer_config.json").unlink()
    tok = Tokenizer.from_folder(tmp_path)
    assert tok.decode([4, 0]) == decoded
    assert tok.pad_id is None
    tok.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ({"merges": "#version: 0.2\na b\n"}, "merges.txt line 2, 'a b': expected two tokens of"),
        ({"merges": "a b</w> b\n"}, "merges.txt line 1, 'a b</w> b'"),
        ({"ids": {"a": 0, START: 1}, "merges": ""}, "vocab.json lacks the eos token"),
        ({"ids": {"a": 0, END: 1}, "merges": ""}, "vocab.json lacks the bos token"),
        ({"config": CLIP | {"unk_token": "?"}}, r"vocab.json lacks the unk token '\?'"),
        ({"config": CLIP | {"eos_token": "<end>"}}, "vocab.json lacks the eos token '<end>'"),
    ],
    ids=["union", "three", "end", "start", "unk", "named"],
)
def test_a_damaged_split_vocabulary_is_refused(tmp_path, damage, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        Tokenizer.from_folder(split_folder(tmp_path, **damage))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a b\n", "line 1, 'a b': expected a line with #version"),
        ("", "line 1, '': expected a line with #version"),
        ("#version\na b\nab\n", "line 3, 'ab': expected two tokens that are known by then"),
        ("#version\na b\n\nab c\n", "line 3, ''"),
        ("#version\nab c\na b\n", "line 2, 'ab c'"),
        ("#version\na b c\n", "line 2, 'a b c'"),
        ("#version\n你 a\n", "line 2, '你 a'"),
        ("#version\n" + "x" * 10**6, f"line 2, '{'x' * 40}'"),
    ],
    ids=["header", "empty", "one", "blank", "order", "three", "no-byte", "long"],
)
def test_wrong_packed_merges_are_refused(tmp_path, text, sentence):
    with pytest.raises(TokenizerError, match=rf"{PACKED} {sentence}"):
        Tokenizer.from_folder(packed_folder(tmp_path, text))


def flipped(data):
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-9],
        lambda d: d[:12],
        lambda d: b"text",
        lambda d: d[:10] + b"\xff" + d[11:],
        flipped,
        lambda d: d + b"more",
    ],
    ids=["tail", "head", "plain", "stream", "sum", "more"],
)
def test_a_damaged_gz_is_refused(tmp_path, damage):
    packed_folder(tmp_path)
    data = (tmp_path / PACKED).read_bytes()
    (tmp_path / PACKED).write_bytes(damage(data))
    with pytest.raises(TokenizerError, match=rf"{PACKED} is not whole gzip data"):
        Tokenizer.from_folder(tmp_path)


def test_a_gz_that_holds_no_text_is_refused(tmp_path):
    (tmp_path / PACKED).write_bytes(gzip.compress(b"#version\n\xff\xfe"))
    with pytest.raises(TokenizerError, match=rf"{PACKED} is not UTF-8 text"):
        Tokenizer.from_folder(tmp_path)


def test_a_gz_that_unpacks_to_too_much_is_refused(tmp_path):
    (tmp_path / PACKED).write_bytes(gzip.compress(bytes(2**20)) * (UNPACKED // 2**20) * 50)
    with pytest.raises(TokenizerError, match=rf"{PACKED} unpacks to more than {UNPACKED} bytes"):
        Tokenizer.from_folder(tmp_path)


def test_a_gz_is_no_larger_than_what_it_may_unpack_to(tmp_path):
    with (tmp_path / PACKED).open("wb") as file:
        file.truncate(UNPACKED + 1)  # a hole: it takes no room
    with pytest.raises(TokenizerError, match=rf"{PACKED} is larger than {UNPACKED} bytes"):
        Tokenizer.from_folder(tmp_path)
