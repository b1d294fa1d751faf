"""The two pipelines of the house, put together from the parts of the `tokenizers` library."""

from typing import Any

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
END_OF_TEXT = "<|endoftext|>"
GPT2_ROLES = {"bos": END_OF_TEXT, "eos": END_OF_TEXT, "unk": END_OF_TEXT}
BERT_ROLES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


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
