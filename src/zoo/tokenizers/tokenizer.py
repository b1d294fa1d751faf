"""Text <-> ids, one by one and in batches."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.tokenizers.files import (
    add_special,
    guarded,
    longest_of,
    read_backend,
    read_config,
    roles_of,
    write,
)
from zoo.tokenizers.inside import TokenizerError
from zoo.tokenizers.pipelines import BERT_ROLES, CLIP_ROLES, GPT2_ROLES, ROLES, is_clip, library
from zoo.tokenizers.train import TRAINERS

PROBE = "a \N{SNOWMAN}"  # a letter, and what few vocabularies hold


class Tokenizer:
    """Text <-> ids; `longest` is the most tokens the model reads, None when unknown."""

    def __init__(
        self, backend: Any, roles: dict[str, str], *, longest: int | None = None, typed: bool
    ) -> None:
        # what a tokenizer.json remembers of past batches must not act on ours
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.roles = {role: roles[role] for role in ROLES if role in roles}
        self.longest = longest
        self.typed = typed  # whether batches carry token_type_ids
        self.parted = is_clip(backend)  # whether decoding puts a space behind each word
        self.vocab_size = 1 + max(backend.get_vocab(True).values(), default=-1)  # rows of a table
        ids = [backend.token_to_id(roles[role]) if role in roles else None for role in ROLES]
        self.bos_id, self.eos_id, self.unk_id, self.sep_id = ids[:4]
        self.pad_id, self.cls_id, self.mask_id = ids[4:]
        self.special_ids = {
            i for i, token in backend.get_added_tokens_decoder().items() if token.special
        }

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Tokenizer":
        """Read a folder's tokenizer. Raises TokenizerError that names the file at fault."""
        library()
        folder = Path(folder)
        config = read_config(folder)
        backend, file = read_backend(folder, config)
        wordpiece = type(backend.model).__name__ == "WordPiece"
        usual = CLIP_ROLES if is_clip(backend) else BERT_ROLES if wordpiece else GPT2_ROLES
        roles = roles_of(backend, config, usual)
        add_special(backend, config, roles)
        try_out(backend, file)
        inputs = config.get("model_input_names")
        typed = "token_type_ids" in inputs if isinstance(inputs, list) else wordpiece
        return cls(backend, roles, longest=longest_of(config, file), typed=typed)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        kind: str = "bpe",
        *,
        vocab: int,
        lower: bool = True,
        longest: int | None = None,
        least: int = 2,
    ) -> "Tokenizer":
        """Learn a vocabulary of at most `vocab` tokens.

        `kind` is "bpe", GPT-2's way, "clip", CLIP's, or "wordpiece", BERT's. A merge must be seen
        `least` times; `lower` is for wordpiece, and clip is always lower-cased. The same texts give
        the same tokenizer.
        """
        library()
        if isinstance(texts, str):
            raise TypeError("texts is one string; pass a list: [text]")
        if kind not in TRAINERS:
            raise ValueError(f"kind {kind!r}; expected one of {tuple(TRAINERS)}")
        held = list(texts)
        check_texts(held)
        backend, roles = TRAINERS[kind](held, vocab, least, lower)
        return cls(backend, roles, longest=longest, typed=kind == "wordpiece")

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as Hugging Face's loaders read them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "tokenizer.json", self.backend.to_str(pretty=True))
        write(folder / "tokenizer_config.json", json.dumps(self.published_config(), indent=2))

    def published_config(self) -> dict[str, Any]:
        """Give tokenizer_config.json as others know it."""
        normalizer = self.backend.normalizer
        config: dict[str, Any] = {f"{role}_token": token for role, token in self.roles.items()}
        if type(self.backend.model).__name__ == "WordPiece":
            config["tokenizer_class"] = "BertTokenizer"
            if type(normalizer).__name__ == "BertNormalizer":
                config["do_lower_case"] = normalizer.lowercase
                config["strip_accents"] = normalizer.strip_accents
                config["tokenize_chinese_chars"] = normalizer.handle_chinese_chars
        else:
            config["tokenizer_class"] = (
                "CLIPTokenizer" if self.parted else "PreTrainedTokenizerFast"
            )
        if self.longest is not None:
            config["model_max_length"] = self.longest
        names = ["input_ids", "token_type_ids", "attention_mask"]
        config["model_input_names"] = names if self.typed else names[::2]
        return config

    def encode(self, text: str, pair: str | None = None, *, special: bool = True) -> list[int]:
        """Give the ids of a text, or of a pair; `special` adds what the model expects around."""
        return self.encoding(text, pair, special=special).ids

    def offsets(
        self, text: str, pair: str | None = None, *, special: bool = True
    ) -> list[tuple[int, int]]:
        """Give where each token of `encode` stands in its text, in characters; (0, 0) if added."""
        return self.encoding(text, pair, special=special).offsets

    def encoding(self, text: str, pair: str | None, *, special: bool) -> Any:
        check_texts([text] if pair is None else [text, pair])
        return self.backend.encode(text, pair, add_special_tokens=special)

    def decode(self, ids: Sequence[int] | Tensor, *, skip_special: bool = True) -> str:
        """Give the text of ids: CLIP's in lower case, with a space between all words.

        Raises ValueError for an id that the vocabulary lacks.
        """
        held = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        self.tokens(held)
        text: str = self.backend.decode(held, skip_special_tokens=skip_special)
        return text.strip() if self.parted else text

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Give the vocabulary's name of each id. Raises ValueError for an id that it lacks."""
        names: list[Any] = [self.backend.id_to_token(i) if i >= 0 else None for i in ids]
        if None in names:
            raise ValueError(
                f"id {ids[names.index(None)]} is not in this vocabulary of {self.vocab_size}: "
                "use the tokenizer that the model was trained with"
            )
        return names

    def batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        side: str = "right",
        longest: int | None = None,
        truncate: bool = True,
        special: bool = True,
        offsets: bool = False,
    ) -> dict[str, Tensor]:
        """Make `input_ids` and `attention_mask` (b, t), padded on one side to the longest row.

        `side` is "right" or "left". Rows hold at most `longest` tokens (the model's, if its
        folder says): longer texts lose their end, of a pair the longer text first; with
        truncate=False they are an error.
        BERT's batches have `token_type_ids` too, and `offsets=True` adds `offsets` (b, t, 2).
        Without a padding token, padding is eos (GPT-2), and CLIP's padding token is eos itself:
        only the mask tells it from a real one, and CLIP reads its text at the row's first eos.
        """
        if side not in ("right", "left"):
            raise ValueError(f"side {side!r}; expected 'right' or 'left'")
        if isinstance(texts, str) or isinstance(pairs, str):
            raise TypeError("texts is one string; pass a list: [text]")
        if pairs is not None and len(pairs) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(pairs)} pairs; expected one pair a text")
        longest = self.longest if longest is None else longest
        added = self.backend.num_special_tokens_to_add(pairs is not None) if special else 0
        if longest is not None and longest <= added:
            raise ValueError(f"longest {longest} leaves no room beside {added} special tokens")
        check_texts(texts)
        first = self.backend.encode_batch(list(texts), add_special_tokens=False)
        second: list[Any] = [None] * len(first)
        if pairs is not None:
            check_texts(pairs)
            second = self.backend.encode_batch(list(pairs), add_special_tokens=False)
        rows = []
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            count = len(a) + len(b or ()) + added
            if longest is not None and count > longest:
                if not truncate:
                    raise ValueError(
                        f"text {i} has {count} tokens, more than {longest}: pass truncate=True "
                        "to lose its end, or split it"
                    )
                shorten(a, b, longest - added)
            rows.append(self.backend.post_process(a, b, add_special_tokens=special))
        return self.collate(rows, side, offsets)

    def collate(self, rows: list[Any], side: str, offsets: bool) -> dict[str, Tensor]:
        pad = self.eos_id if self.pad_id is None else self.pad_id
        columns = {
            "input_ids": ([row.ids for row in rows], pad or 0),
            "attention_mask": ([[1] * len(row) for row in rows], 0),
        }
        if self.typed:
            columns["token_type_ids"] = ([row.type_ids for row in rows], 0)
        result = {name: padded(lists, fill, side) for name, (lists, fill) in columns.items()}
        if offsets:
            ends = [[[place[k] for place in row.offsets] for row in rows] for k in (0, 1)]
            result["offsets"] = torch.stack([padded(lists, 0, side) for lists in ends], -1)
        return result


def try_out(backend: Any, file: Path) -> None:
    """Raise TokenizerError unless a text and a pair come out as ids of the vocabulary."""
    probes = guarded(file, lambda: [backend.encode(PROBE), backend.encode(PROBE, PROBE)])
    for encoded in probes:
        lacking = [i for i in encoded.ids if backend.id_to_token(i) is None]
        if lacking:
            raise TokenizerError(f"{file} gives id {lacking[0]}, which its vocabulary lacks")


def check_texts(texts: Sequence[str]) -> None:
    """Raise for what is no text, or text that no file can hold."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {i} is a {type(text).__name__}; expected a string")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text {i} holds half of a character, {text[error.start]!r} at {error.start}: "
                'repair it with text.encode("utf-8", "replace").decode()'
            ) from None


def shorten(a: Any, b: Any, most: int) -> None:
    """Cut the ends of a, or of a and b, to `most` tokens in all; the longer of two first."""
    if b is None:
        a.truncate(most)
        return
    small, large = sorted((a, b), key=len)
    n = min(len(small), most // 2)
    small.truncate(n)
    large.truncate(most - n)


def padded(rows: list[list[int]], fill: int, side: str) -> Tensor:
    longest = max(map(len, rows), default=0)
    result = torch.full((len(rows), longest), fill)
    for i, row in enumerate(rows):
        start = longest - len(row) if side == "left" else 0
        result[i, start : start + len(row)] = torch.tensor(row, dtype=torch.long)
    return result
