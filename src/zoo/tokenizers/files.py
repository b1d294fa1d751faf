"""From a folder's files to a pipeline.

In this order: tokenizer.json; vocab.json + merges.txt (or OpenAI's names for them); vocab.txt.
tokenizer_config.json and special_tokens_map.json name the special tokens.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.tokenizers.pipelines import (
    BERT_ROLES,
    ROLES,
    bert_normalizer,
    bpe,
    library,
    wordpiece,
)

BPE_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
SWITCHES = {"do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space"}
UNLIMITED = 10**9  # a larger model_max_length (some folders say 1e30) means that there is none


class TokenizerError(ValueError):
    """A tokenizer file that is missing or cannot be read."""


def guarded(file: Path, act: Callable[[], Any]) -> Any:
    """Run the library; what it raises becomes ours. Its panics are no Exceptions."""
    try:
        return act()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise TokenizerError(f"{file} is damaged: {error}") from None


def read_json(file: Path, kind: type = dict) -> Any:
    text = read_text(file)
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # an escape may hold half of a character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(f"{file} holds half of a character: {error}") from None
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{file} is not JSON: {error}") from None
    if not isinstance(value, kind):
        raise TokenizerError(f"{file} holds a {type(value).__name__}; expected a {kind.__name__}")
    return value


def read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{file} is not UTF-8 text: {error}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """Join tokenizer_config.json and special_tokens_map.json; the first has the last word."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = folder / name
        if file.is_file():
            held = {k: v for k, v in read_json(file).items() if v is not None}
            for key in SWITCHES & held.keys():
                if not isinstance(held[key], bool):
                    raise TokenizerError(f"{file}: {key} is {held[key]!r}; expected true or false")
            config.update(held)
    return config


def read_backend(folder: Path, config: dict[str, Any]) -> tuple[Any, Path]:
    """Read the first kind of vocabulary that the folder holds, and say which file it was."""
    file = folder / "tokenizer.json"
    if file.is_file():
        return read_whole(file, config), file
    for names in BPE_FILES:
        vocab, merges = (folder / name for name in names)
        if vocab.is_file() and merges.is_file():
            return read_bpe(vocab, merges, config), vocab
    file = folder / "vocab.txt"
    if file.is_file():
        return read_wordpiece(file, config), file
    raise TokenizerError(
        f"{folder} has no tokenizer: expected tokenizer.json, vocab.json + merges.txt or vocab.txt"
    )


def read_whole(file: Path, config: dict[str, Any]) -> Any:
    text = read_text(file)
    backend = guarded(file, lambda: library().Tokenizer.from_str(text))
    if type(backend.normalizer).__name__ == "BertNormalizer":
        backend.normalizer = bert_normalizer(config, backend.normalizer)
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
        pair = tuple(line.rstrip("\r").split(" "))
        if len(pair) != 2 or not {*pair, "".join(pair)} <= ids.keys():
            raise TokenizerError(
                f"{merges} line {number}, {line!r}: expected two tokens of {vocab.name} "
                "whose union is one too"
            )
        pairs.append(pair)
    return bpe(ids, pairs, prefix=config.get("add_prefix_space") is True)


def read_wordpiece(file: Path, config: dict[str, Any]) -> Any:
    lines = read_text(file).removesuffix("\n").split("\n")
    ids = {token.rstrip("\r"): i for i, token in enumerate(lines)}
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
            flags = {k: entry.get(k) is True for k in ("single_word", "lstrip", "rstrip")}
            special = entry.get("special") is True
            normalized = entry.get("normalized", not special) is True
            token = added(content, **flags, normalized=normalized, special=special)
            backend.add_special_tokens([token]) if special else backend.add_tokens([token])
            known.add(content)
    for token in dict.fromkeys(roles.values()):
        if token not in known:
            backend.add_special_tokens([added(token, normalized=False, special=True)])


def longest_of(config: dict[str, Any], folder: Path) -> int | None:
    value = config.get("model_max_length")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1:
        raise TokenizerError(
            f"{folder / 'tokenizer_config.json'}: model_max_length is {value!r}; "
            "expected a count of tokens"
        )
    return None if value > UNLIMITED else int(value)


def write(file: Path, text: str) -> None:
    """Put a text in place whole: a reader finds the old file or the new one."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
