"""Learn a vocabulary from texts: byte-level BPE as GPT-2's or as CLIP's, WordPiece as BERT's.

The same texts give the same vocabulary, in every process.
"""

import json
from collections.abc import Callable
from typing import Any

from zoo.tokenizers.files import add_special
from zoo.tokenizers.pipelines import (
    BERT_ROLES,
    CLIP_ROLES,
    END_OF_TEXT,
    GPT2_ROLES,
    WORD_END,
    bpe,
    clip,
    clip_tokens,
    library,
    wordpiece,
)


def train_bpe(texts: list[str], vocab: int, least: int, lower: bool) -> tuple[Any, dict[str, str]]:
    lib = library()
    alphabet = sorted(lib.pre_tokenizers.ByteLevel.alphabet())
    check_vocab(vocab, 1 + len(alphabet), f"every byte and {END_OF_TEXT}")
    backend = bpe({}, [])
    trainer = lib.trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=least,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend, GPT2_ROLES


def train_clip(texts: list[str], vocab: int, least: int, lower: bool) -> tuple[Any, dict[str, str]]:
    """Learn CLIP's merges, and number what they make as the published vocabulary does: start and
    end have the largest ids, so that the end is where a row of ids is largest."""
    base = clip_tokens([])
    check_vocab(vocab, len(base), "every byte, every byte that ends a word, start and end of text")
    frame = clip({token: i for i, token in enumerate(base)}, [], CLIP_ROLES)
    # given in order: the library would number the letters that end a word by a hash
    trainer = library().trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=least,
        special_tokens=base[:-2],
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    frame.train_from_iterator(texts, trainer)
    learnt = json.loads(frame.to_str())["model"]["merges"]
    pairs = [tuple(pair) for pair in learnt[: vocab - len(base)]]
    tokens = dict.fromkeys(clip_tokens(pairs))  # two merges may make the same token
    backend = clip({token: i for i, token in enumerate(tokens)}, pairs, CLIP_ROLES)
    add_special(backend, {}, CLIP_ROLES)
    return backend, CLIP_ROLES


def train_wordpiece(
    texts: list[str], vocab: int, least: int, lower: bool
) -> tuple[Any, dict[str, str]]:
    """Learn BERT's pieces. The alphabet is given beforehand, in order: the library would number
    its inner half by a hash that changes from run to run."""
    lib = library()
    special = list(BERT_ROLES.values())
    frame = wordpiece({token: i for i, token in enumerate(special)}, BERT_ROLES, {})
    frame.normalizer = lib.normalizers.BertNormalizer(lowercase=lower)
    first, inner = alphabet_of(texts, frame)
    check_vocab(vocab, len(special) + len(first) + len(inner), "every character of the texts")
    trainer = lib.trainers.WordPieceTrainer(
        vocab_size=vocab,
        min_frequency=least,
        special_tokens=[*special, *first, *(f"##{c}" for c in inner)],
        show_progress=False,
    )
    frame.train_from_iterator(texts, trainer)
    backend = wordpiece(frame.get_vocab(), BERT_ROLES, {"do_lower_case": lower})
    add_special(backend, {}, BERT_ROLES)
    return backend, BERT_ROLES


def alphabet_of(texts: list[str], backend: Any) -> tuple[list[str], list[str]]:
    """Find the characters that words have, and those that words have after their first."""
    every: set[str] = set()
    inner: set[str] = set()
    for text in texts:
        normal = backend.normalizer.normalize_str(text)
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal):
            every.update(word)
            inner.update(word[1:])
    return sorted(every), sorted(inner)


def check_vocab(vocab: int, least: int, what: str) -> None:
    if vocab < least:
        raise ValueError(f"a vocabulary of {vocab} cannot hold {what}: ask for {least} or more")


TRAINERS: dict[str, Callable[..., tuple[Any, dict[str, str]]]] = {
    "bpe": train_bpe,
    "wordpiece": train_wordpiece,
    "clip": train_clip,
}
