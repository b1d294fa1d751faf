"""The three pipelines of the house, put together from the parts of the `tokenizers` library."""

from typing import Any

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
START_OF_TEXT = "<|startoftext|>"
END_OF_TEXT = "<|endoftext|>"
WORD_END = "</w>"
GPT2_ROLES = {"bos": END_OF_TEXT, "eos": END_OF_TEXT, "unk": END_OF_TEXT}
CLIP_ROLES = {"bos": START_OF_TEXT, "eos": END_OF_TEXT, "unk": END_OF_TEXT, "pad": END_OF_TEXT}
BERT_ROLES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}

# a contraction's tail, a run of letters, a digit, a run of other signs; what is between is dropped
CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def library() -> Any:
    """Import `tokenizers`, or say how to get it."""
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            'reading text needs the tokenizers library: pip install "zoo[text]"'
        ) from error
    return tokenizers


def bpe(ids: dict[str, int], pairs: list[Any], *, prefix: bool = False) -> Any:
    """Make GPT-2's pipeline."""
    lib = library()
    backend = lib.Tokenizer(lib.models.BPE(ids, pairs))
    backend.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.post_processor = lib.processors.ByteLevel(trim_offsets=False)
    backend.decoder = lib.decoders.ByteLevel()
    return backend


def clip(ids: dict[str, int], pairs: list[Any], roles: dict[str, str]) -> Any:
    """Make CLIP's pipeline."""
    lib = library()
    backend = lib.Tokenizer(
        lib.models.BPE(
            ids,
            pairs,
            unk_token=roles["unk"],
            continuing_subword_prefix="",
            end_of_word_suffix=WORD_END,
            fuse_unk=False,
        )
    )
    backend.normalizer = lib.normalizers.Sequence(
        [
            lib.normalizers.NFC(),
            lib.normalizers.Replace(lib.Regex(r"\s+"), " "),
            lib.normalizers.Lowercase(),
        ]
    )
    backend.pre_tokenizer = lib.pre_tokenizers.Sequence(
        [
            lib.pre_tokenizers.Split(lib.Regex(CLIP_WORDS), behavior="removed", invert=True),
            lib.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.post_processor = lib.processors.RobertaProcessing(
        (roles["eos"], ids[roles["eos"]]),
        (roles["bos"], ids[roles["bos"]]),
        trim_offsets=False,
        add_prefix_space=False,
    )
    backend.decoder = clip_decoder()
    return backend


def clip_decoder() -> Any:
    """Make a decoder that reads a word's end as a space."""
    decoders = library().decoders
    # \u0120 is what a space is called among bytes
    return decoders.Sequence([decoders.Replace(WORD_END, "\u0120"), decoders.ByteLevel()])


def is_clip(backend: Any) -> bool:
    """Whether words are split and ended as CLIP's."""
    return (
        type(backend.model).__name__ == "BPE"
        and backend.model.end_of_word_suffix == WORD_END
        and type(backend.pre_tokenizer).__name__ == "Sequence"
    )


def clip_tokens(pairs: list[Any]) -> list[str]:
    """List CLIP's vocabulary: bytes, bytes that end a word, what merges make, start and end."""
    alphabet = sorted(library().pre_tokenizers.ByteLevel.alphabet())
    ends = [letter + WORD_END for letter in alphabet]
    return [*alphabet, *ends, *("".join(pair) for pair in pairs), START_OF_TEXT, END_OF_TEXT]


def wordpiece(ids: dict[str, int], roles: dict[str, str], config: dict[str, Any]) -> Any:
    """Make BERT's pipeline."""
    lib = library()
    backend = lib.Tokenizer(lib.models.WordPiece(ids, unk_token=roles["unk"]))
    backend.normalizer = bert_normalizer(config, lib.normalizers.BertNormalizer())
    backend.pre_tokenizer = lib.pre_tokenizers.BertPreTokenizer()
    backend.decoder = lib.decoders.WordPiece(prefix="##")
    cls, sep = roles["cls"], roles["sep"]
    backend.post_processor = lib.processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(token, ids[token]) for token in (cls, sep)],
    )
    return backend


def bert_normalizer(config: dict[str, Any], default: Any) -> Any:
    """Make BERT's normalizer; what the config says outranks what the vocabulary's file says."""
    return library().normalizers.BertNormalizer(
        clean_text=default.clean_text,
        handle_chinese_chars=config.get("tokenize_chinese_chars", default.handle_chinese_chars),
        strip_accents=config.get("strip_accents", default.strip_accents),
        lowercase=config.get("do_lower_case", default.lowercase),
    )
