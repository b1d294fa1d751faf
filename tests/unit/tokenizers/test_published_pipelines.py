"""The pipelines part by part, as the published tokenizer.json of GPT-2, CLIP and BERT has them."""

import functools
import json

import pytest

from zoo.tokenizers import Tokenizer
from zoo.tokenizers.pipelines import bert_normalizer, library

TEXTS = ["the quick brown fox", "jumps over the lazy dog", "a dog over a fox"] * 3


def token(name, i):
    return {"SpecialToken": {"id": name, "type_id": i}}


def sequence(name, i):
    return {"Sequence": {"id": name, "type_id": i}}


def byte_level(*, prefix, trim):
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": trim,
        "use_regex": True,
    }


def merging(**changes):
    same = {"dropout": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    none = {"unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    return {"type": "BPE"} | same | none | changes


CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
SPECIAL = {
    name: {"id": name, "ids": [i], "tokens": [name]} for name, i in (("[CLS]", 2), ("[SEP]", 3))
}
PUBLISHED = {
    "bpe": {
        "model": merging(),
        "normalizer": None,
        "pre_tokenizer": byte_level(prefix=False, trim=True),
        "post_processor": byte_level(prefix=True, trim=False),
        "decoder": byte_level(prefix=True, trim=True),
    },
    "clip": {
        "model": merging(
            unk_token="<|endoftext|>", continuing_subword_prefix="", end_of_word_suffix="</w>"
        ),
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": CLIP_WORDS},
                    "behavior": "Removed",
                    "invert": True,
                },
                byte_level(prefix=False, trim=True),
            ],
        },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["<|endoftext|>", 519],
            "cls": ["<|startoftext|>", 518],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        # zoo's own: the end of a word becomes a space, wherever the text is cut
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "</w>"}, "content": "Ġ"},
                byte_level(prefix=True, trim=True),
            ],
        },
    },
    "wordpiece": {
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0)],
            "pair": [
                token("[CLS]", 0),
                sequence("A", 0),
                token("[SEP]", 0),
                sequence("B", 1),
                token("[SEP]", 1),
            ],
            "special_tokens": SPECIAL,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    },
}
SIZES = {"bpe": 262, "clip": 520, "wordpiece": 52}


@functools.cache
def trained(kind):
    """Train when a test asks: what is made at import is made of code that no mutant changes."""
    return Tokenizer.train(TEXTS, kind, vocab=SIZES[kind])


@pytest.mark.parametrize(
    "part", ["model", "normalizer", "pre_tokenizer", "post_processor", "decoder"]
)
@pytest.mark.parametrize("kind", PUBLISHED)
def test_each_part_is_as_published(kind, part):
    written = json.loads(trained(kind).backend.to_str())[part]
    if part == "model":
        written = {
            name: value for name, value in written.items() if name not in ("vocab", "merges")
        }
    assert written == PUBLISHED[kind][part]


@pytest.mark.parametrize("kind", SIZES)
def test_a_trained_vocabulary_has_the_size_asked_for(kind):
    assert trained(kind).vocab_size == SIZES[kind]


CONFIGS = {
    "bpe": {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
    },
    "clip": {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "CLIPTokenizer",
        "model_input_names": ["input_ids", "attention_mask"],
    },
    "wordpiece": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    },
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_config_is_as_others_know_it(kind):
    assert trained(kind).published_config() == CONFIGS[kind]


NORMAL = {"tokenize_chinese_chars": "handle_chinese_chars", "do_lower_case": "lowercase"}


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("key", [*NORMAL, "strip_accents"])
def test_the_config_outranks_the_normalizer_of_the_file(key, value):
    names = {"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"}
    held = library().normalizers.BertNormalizer(
        **{name: not value if name != "clean_text" else value for name in names}
    )
    made = bert_normalizer({key: value}, held)
    field = NORMAL.get(key, key)
    want = {name: getattr(held, name) for name in names} | {field: value}
    assert {name: getattr(made, name) for name in names} == want


def test_a_tokenizer_without_a_vocabulary_has_no_rows():
    lib = library()
    assert Tokenizer(lib.Tokenizer(lib.models.BPE({}, [])), {}, typed=False).vocab_size == 0


def write_letters(folder, **config):
    letters = ["a", "b", "Ġ", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(letters)}))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def test_half_of_a_vocabulary_is_passed_over(tmp_path):
    write_letters(tmp_path)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    assert Tokenizer.from_folder(tmp_path).encode("a") == [2, 5, 3]


FLAGS = ("single_word", "lstrip", "rstrip")


@pytest.mark.parametrize("flag", [None, *FLAGS])
@pytest.mark.parametrize("special", [True, False, None])
def test_an_added_token_is_found_as_its_entry_says(tmp_path, flag, special):
    entry = {"content": "<x>"} | ({} if special is None else {"special": special})
    entry |= {flag: True} if flag else {}
    strange = {"5": {"content": 7}, "6": "text", "7": {"content": "a"}}
    write_letters(tmp_path, added_tokens_decoder={"4": entry} | strange)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    backend = Tokenizer.from_folder(tmp_path).backend
    (found,) = [t for t in backend.get_added_tokens_decoder().values() if t.content == "<x>"]
    assert {name: getattr(found, name) for name in FLAGS} == {name: name == flag for name in FLAGS}
    assert found.special == bool(special)
    assert found.normalized == (not special)
