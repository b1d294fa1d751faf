"""From a folder's files to a pipeline.

In this order: tokenizer.json; vocab.json + merges.txt (or OpenAI's names for them); the packed
merges that OpenAI carries for CLIP; vocab.txt. tokenizer_config.json and special_tokens_map.json
name the special tokens.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.tokenizers.inside import TokenizerError, exists, read_json, read_packed, read_text
from zoo.tokenizers.pipelines import (
    BERT_ROLES,
    CLIP_ROLES,
    ROLES,
    START_OF_TEXT,
    WORD_END,
    bert_normalizer,
    bpe,
    clip,
    clip_decoder,
    clip_tokens,
    is_clip,
    library,
    wordpiece,
)

BPE_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
# the file that OpenAI and open_clip carry; the vocabulary of 49,408 is its first 48,894 merges
CLIP_FILE, CLIP_MERGES, CLIP_CONTEXT = "bpe_simple_vocab_16e6.txt.gz", 48_894, 77
CLIP_CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")
SWITCHES = {"do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space"}
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # how a special token is found in text
UNLIMITED = 10**9  # a larger model_max_length (some folders say 1e30) means that there is none


def guarded(file: Path, act: Callable[[], Any]) -> Any:
    """Run the library; what it raises becomes ours. Its panics are no Exceptions."""
    try:
        return act()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise TokenizerError(f"{file} is damaged: {error}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """Join tokenizer_config.json and special_tokens_map.json; the first has the last word."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = folder / name
        if exists(file):
            held = {k: v for k, v in read_json(file).items() if v is not None}
            for key in SWITCHES & held.keys():
                if not isinstance(held[key], bool):
                    raise TokenizerError(f"{file}: {key} is {held[key]!r}; expected true or false")
            config.update(held)
    return config


def read_backend(folder: Path, config: dict[str, Any]) -> tuple[Any, Path]:
    """Read the first kind of vocabulary that the folder holds, and say which file it was."""
    file = folder / "tokenizer.json"
    if exists(file):
        return read_whole(file, config), file
    for names in BPE_FILES:
        vocab, merges = (folder / name for name in names)
        if exists(vocab) and exists(merges):
            return read_bpe(vocab, merges, config), vocab
    file = folder / CLIP_FILE
    if exists(file):
        return read_clip(file, config), file
    file = folder / "vocab.txt"
    if exists(file):
        return read_wordpiece(file, config), file
    raise TokenizerError(
        f"{folder} has no tokenizer: expected tokenizer.json, vocab.json + merges.txt, "
        f"{CLIP_FILE} or vocab.txt"
    )


def read_whole(file: Path, config: dict[str, Any]) -> Any:
    text = read_text(file)
    backend = guarded(file, lambda: library().Tokenizer.from_str(text))
    if type(backend.normalizer).__name__ == "BertNormalizer":
        backend.normalizer = bert_normalizer(config, backend.normalizer)
    if is_clip(backend) and type(backend.decoder).__name__ == "ByteLevel":
        backend.decoder = clip_decoder()  # the published one leaves a mark at every word's end
    return backend


def read_bpe(vocab: Path, merges: Path, config: dict[str, Any]) -> Any:
    ids = read_json(vocab)
    if not all(type(i) is int and 0 <= i < UNLIMITED for i in ids.values()):
        raise TokenizerError(f"{vocab} maps a token to what is no id")
    if len(set(ids.values())) < len(ids):
        raise TokenizerError(f"{vocab} gives one id to two tokens")
    pairs = []
    for number, line in enumerate(read_text(merges).split("\n"), 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2 or not {*pair, "".join(pair)} <= ids.keys():
            raise TokenizerError(
                f"{merges} line {number}, {line!r}: expected two tokens of {vocab.name} "
                "whose union is one too"
            )
        pairs.append(pair)
    if config.get("tokenizer_class") in CLIP_CLASSES or says_clip(ids):
        return clip(ids, pairs, clip_roles(vocab, ids, config))
    return bpe(ids, pairs, prefix=config.get("add_prefix_space") is True)


def says_clip(ids: dict[str, int]) -> bool:
    """Whether a vocabulary is CLIP's kind, should no config say so."""
    return START_OF_TEXT in ids and any(token.endswith(WORD_END) for token in ids)


def clip_roles(file: Path, ids: dict[str, int], config: dict[str, Any]) -> dict[str, str]:
    roles = {**CLIP_ROLES, **named_roles(config)}
    for role in ("bos", "eos", "unk"):
        if roles[role] not in ids:
            raise TokenizerError(f"{file} lacks the {role} token {roles[role]!r}")
    return roles


def read_clip(file: Path, config: dict[str, Any]) -> Any:
    """Build CLIP's vocabulary from its merges: what a merge joins, earlier merges have made."""
    first, *lines = read_packed(file).split("\n")
    if "#version" not in first:
        raise TokenizerError(f"{file} line 1, {first[:40]!r}: expected a line with #version")
    while lines and not lines[-1].strip():
        lines.pop()
    known = set(clip_tokens([]))
    pairs = []
    for number, line in enumerate(lines[:CLIP_MERGES], 2):
        pair = tuple(line.split())
        if len(pair) != 2 or not known.issuperset(pair):
            raise TokenizerError(
                f"{file} line {number}, {line[:40]!r}: expected two tokens that are known by then"
            )
        known.add("".join(pair))
        pairs.append(pair)
    ids = {token: i for i, token in enumerate(clip_tokens(pairs))}
    return clip(ids, pairs, clip_roles(file, ids, config))


def read_wordpiece(file: Path, config: dict[str, Any]) -> Any:
    lines = read_text(file).removesuffix("\n").split("\n")
    ids = {token: i for i, token in enumerate(lines)}
    roles = {**BERT_ROLES, **named_roles(config)}
    for role in ("unk", "cls", "sep"):
        if roles[role] not in ids:
            raise TokenizerError(f"{file} lacks the {role} token {roles[role]!r}")
    return wordpiece(ids, roles, config)


def named_roles(config: dict[str, Any]) -> dict[str, str]:
    """Take the special tokens that a config names, as strings or as {"content": ...}."""
    result = {}
    for role in ROLES:
        token = config.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            result[role] = token
    return result


def roles_of(backend: Any, config: dict[str, Any], usual: dict[str, str]) -> dict[str, str]:
    """Take the config's special tokens, and the usual ones that the vocabulary holds."""
    held = {r: token for r, token in usual.items() if backend.token_to_id(token) is not None}
    return {**held, **named_roles(config)}


def add_special(backend: Any, config: dict[str, Any], roles: dict[str, str]) -> None:
    """Let special tokens stand in text as one id; new ones get ids behind the vocabulary."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    added = library().AddedToken
    entries = config.get("added_tokens_decoder")
    for entry in entries.values() if isinstance(entries, dict) else ():
        content = entry.get("content") if isinstance(entry, dict) else None
        if isinstance(content, str) and content not in known:
            special = entry.get("special") is True
            flags = {k: entry.get(k) is True for k in FLAGS}
            flags["normalized"] = entry.get("normalized", not special) is True
            token = added(content, special=special, **flags)
            backend.add_special_tokens([token]) if special else backend.add_tokens([token])
            known.add(content)
    flags_of: dict[str, dict[str, Any]] = {}
    for role in ROLES:  # of two roles of one token, the later says how it is found, as it is theirs
        if role in roles:
            entry = config.get(f"{role}_token")
            flags_of[roles[role]] = entry if isinstance(entry, dict) else {}
    for token, entry in flags_of.items():
        if token not in known:
            flags = {k: entry.get(k) is True for k in FLAGS}
            backend.add_special_tokens([added(token, special=True, **flags)])


def longest_of(config: dict[str, Any], file: Path) -> int | None:
    """Take the most tokens that the model reads; all models of CLIP's own file read 77."""
    value = config.get("model_max_length")
    if value is None:
        return CLIP_CONTEXT if file.name == CLIP_FILE else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1:
        raise TokenizerError(
            f"{file.parent / 'tokenizer_config.json'}: model_max_length is {value!r}; "
            "expected a count of tokens"
        )
    return None if value > UNLIMITED else int(value)


def write(file: Path, text: str) -> None:
    """Put a text in place whole: a reader finds the old file or the new one."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(text.encode())
    draft.replace(file)
