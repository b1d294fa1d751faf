"""A model and its tokenizer, and what one wants of them: continue, embed, fill in."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import find
from zoo.generate import DraftModel, Generation, NGram, Sampling, generate, stream
from zoo.models import BERT, GPT2, load
from zoo.tokenizers import Tokenizer

Device = str | torch.device


# what those are for that see
SEE = {
    "CLIP": "; a CLIP compares pictures with texts: zoo match, or Matcher",
    "ViT": "; a ViT is for pictures: zoo classify, or ImageEmbedder for vectors",
}


def elsewhere(model: Any) -> str:
    """Point to where a model of another family is of use."""
    return SEE.get(type(model).__name__, "")


class Generator:
    """Continue texts with a GPT-2; a draft may save steps and changes no text."""

    def __init__(
        self, model: GPT2, tokenizer: Tokenizer, draft: NGram | DraftModel | None = None
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.draft = draft

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        draft: str | Path | NGram | None = None,
        dtype: torch.dtype = torch.float32,
        device: Device = "cpu",
    ) -> "Generator":
        """Read a GPT-2 and its tokenizer; `draft` is "ngram" or the folder of a smaller one.

        Raises CheckpointError for another family, and for a draft with another tokenizer.
        """
        model, tokenizer = read_decoder(folder, dtype, device)
        if draft is None or isinstance(draft, NGram):
            return cls(model, tokenizer, draft)
        if draft == "ngram":
            return cls(model, tokenizer, NGram())
        small, other = read_decoder(draft, dtype, device)
        check_same_tokens(tokenizer, other, folder, draft)
        return cls(model, tokenizer, DraftModel(small))

    def generate(self, prompts: Sequence[str], **options: Any) -> list[Generation]:
        """Continue each prompt; options are fields of Sampling.

        Without `max_new_tokens` a text ends at Sampling's default or where the context does,
        the shorter of the model's and the draft's.
        """
        each = [self.sampling(prompt, options) for prompt in prompts]
        return generate(self.model, prompts, each, self.tokenizer, draft=self.draft)

    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """Give the text of `generate` in pieces as they come."""
        asked = self.sampling(prompt, options)
        return stream(self.model, prompt, asked, tokenizer=self.tokenizer, draft=self.draft)

    def sampling(self, prompt: str, options: dict[str, Any]) -> Sampling:
        if "max_new_tokens" in options:
            return Sampling(**options)
        context = self.model.config.context
        if isinstance(self.draft, DraftModel):
            small: Any = self.draft.model
            context = min(context, small.config.context)
        room = context - max(1, len(self.tokenizer.encode(prompt)))
        most = max(1, min(room, Sampling.max_new_tokens))
        return Sampling(**options, max_new_tokens=most)


def read_decoder(folder: str | Path, dtype: torch.dtype, device: Device) -> tuple[GPT2, Tokenizer]:
    """Read what generates. Raises CheckpointError for another family or head."""
    place = find(folder)
    model = load(place, dtype=dtype, device=device)
    if not isinstance(model, GPT2) or model.head_name != "lm":
        raise CheckpointError(
            f"{folder} holds a {type(model).__name__} with head {model.head_name!r}; "
            f"generating needs a GPT-2 with its language-model head{elsewhere(model)}"
        )
    return model, Tokenizer.from_folder(place)


def check_same_tokens(
    one: Tokenizer, other: Tokenizer, folder: str | Path, draft: str | Path
) -> None:
    """Raise CheckpointError unless both give each token the same id."""
    if one.backend.get_vocab(True) == other.backend.get_vocab(True):
        return
    raise CheckpointError(
        f"the tokenizers of {folder} ({one.vocab_size} tokens) and of its draft {draft} "
        f"({other.vocab_size} tokens) differ: a draft needs the model's own tokenizer, "
        'or draft="ngram", which needs none'
    )


@dataclass(frozen=True)
class EmbeddingConfig:
    """What a sentence-transformers folder says about its vectors; the defaults are for others."""

    pooling: str = "mean"
    normalize: bool = False
    longest: int | None = None  # tokens


class Embedder:
    """Turn texts into vectors with a BERT; longer texts than it reads lose their end."""

    def __init__(self, model: BERT, tokenizer: Tokenizer, config: EmbeddingConfig) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.config = config

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, dtype: torch.dtype = torch.float32, device: Device = "cpu"
    ) -> "Embedder":
        """Read a BERT, its tokenizer, and the pooling that a sentence-transformers folder names.

        Raises CheckpointError for another family, and for a pooling that is not ours.
        """
        place = find(folder)
        model = load(place, dtype=dtype, device=device)
        if not isinstance(model, BERT):
            raise CheckpointError(
                f"{folder} holds a {type(model).__name__}; embedding needs a BERT{elsewhere(model)}"
            )
        return cls(model, Tokenizer.from_folder(place), read_embedding_config(place))

    def embed(
        self,
        texts: Sequence[str],
        *,
        pooling: str | None = None,
        normalize: bool | None = None,
        at_once: int = 32,
        done: Callable[[int], None] | None = None,
    ) -> Float[Tensor, "b d"]:
        """Give a vector a text, in the order of the texts; `done` hears how many more are ready.

        Texts of like length share a batch, so that little is padding.
        """
        how = self.config.pooling if pooling is None else pooling
        result = torch.empty(len(texts), self.model.config.width, dtype=self.dtype)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), at_once):
            rows = order[start : start + at_once]
            batch = self.tokenizer.batch([texts[i] for i in rows], longest=self.longest)
            inputs = {name: tensor.to(self.device) for name, tensor in batch.items()}
            with torch.no_grad():
                result[rows] = self.model.embed(**inputs, pooling=how).cpu()
            if done is not None:
                done(len(rows))
        if self.config.normalize if normalize is None else normalize:
            return unit(result)
        return result

    def rank(
        self,
        query: str,
        texts: Sequence[str],
        *,
        pooling: str | None = None,
        done: Callable[[int], None] | None = None,
    ) -> list[tuple[int, float]]:
        """Give (index of a text, cosine with the query), best first."""
        vectors = unit(self.embed([query, *texts], pooling=pooling, done=done))
        scores = (vectors[1:] @ vectors[0]).tolist()
        return sorted(enumerate(scores), key=lambda pair: -pair[1])

    @property
    def longest(self) -> int:
        limits = (self.config.longest, self.tokenizer.longest, self.model.config.context)
        return min(limit for limit in limits if limit is not None)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.model.tokens.weight.device


def unit(vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """Scale to length 1; a vector of zeros stays."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


def read_embedding_config(folder: Path) -> EmbeddingConfig:
    """Read what sentence-transformers keeps beside a BERT; the defaults where it keeps nothing."""
    pooling = read_json(folder / "1_Pooling" / "config.json", {})
    modules = read_json(folder / "modules.json", [])
    limits = read_json(folder / "sentence_bert_config.json", {})
    asked = [
        name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True
    ]
    if pooling and (len(asked) != 1 or asked[0] not in POOLINGS):
        raise CheckpointError(
            f"{folder}: 1_Pooling/config.json asks for {asked}; expected one of {sorted(POOLINGS)}"
        )
    return EmbeddingConfig(
        pooling=POOLINGS[asked[0]] if asked else "mean",
        normalize=any(str(module.get("type")).endswith(".Normalize") for module in modules),
        longest=limits.get("max_seq_length"),
    )


POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}


def read_json(file: Path, default: Any) -> Any:
    """Read a JSON file of the default's type; the default when there is none."""
    if not file.is_file():
        return default
    try:
        value = json.loads(file.read_bytes().decode())
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from None
    if not isinstance(value, type(default)):
        raise CheckpointError(f"{file} is no {type(default).__name__}")
    return value


@dataclass(frozen=True)
class Guess:
    """A token for a mask, how likely it is, and the text with it in place."""

    token: str
    probability: float
    filled: str


class FillMask:
    """Guess masked words with a BERT."""

    def __init__(self, model: BERT, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, dtype: torch.dtype = torch.float32, device: Device = "cpu"
    ) -> "FillMask":
        """Read a BERT with a masked-LM head. Raises CheckpointError for anything else."""
        place = find(folder)
        model = load(place, dtype=dtype, device=device)
        if not isinstance(model, BERT) or model.head_name != "masked_lm":
            raise CheckpointError(
                f"{folder} holds a {type(model).__name__} with head {model.head_name!r}; "
                f"filling in needs a BERT with its masked-LM head{elsewhere(model)}"
            )
        return cls(model, Tokenizer.from_folder(place))

    def fill(self, text: str, *, top: int = 5) -> list[list[Guess]]:
        """Give for each mask in the text its likeliest tokens, best first.

        Raises ValueError when the text holds no mask or is longer than the context.
        """
        mask_id = self.check_top(top)
        batch = self.tokenizer.batch([text], longest=self.model.config.context, truncate=False)
        self.check_masks(text, batch["input_ids"][0].tolist())
        where = batch["input_ids"][0].eq(mask_id)
        device = self.model.tokens.weight.device
        inputs = {name: tensor.to(device) for name, tensor in batch.items()}
        with torch.no_grad():
            logits = self.model.head(self.model.encode(**inputs)[0, where])
        return self.guesses(text, logits, top)

    def check_top(self, top: int) -> int:
        """Give the mask's id; raise ValueError for a tokenizer without, and for a wrong `top`."""
        if self.tokenizer.mask_id is None:
            raise ValueError("this tokenizer has no mask token; filling in needs BERT's own")
        if not 1 <= top <= self.tokenizer.vocab_size:
            raise ValueError(f"top {top}; expected 1 to {self.tokenizer.vocab_size}")
        return self.tokenizer.mask_id

    def check_masks(self, text: str, ids: Sequence[int]) -> None:
        if self.tokenizer.mask_id not in ids:
            mask = self.tokenizer.roles["mask"]
            raise ValueError(f"there is no {mask} in {text!r}: write it where a word is missing")

    def guesses(self, text: str, logits: Float[Tensor, "n v"], top: int) -> list[list[Guess]]:
        """Name the likeliest tokens of each mask in the text, of which these are the logits."""
        best = logits[:, : self.tokenizer.vocab_size].float().softmax(-1).topk(top)
        mask = self.tokenizer.roles["mask"]
        pieces = text.split(mask)
        result = []
        for i, (likely, ids) in enumerate(
            zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ):
            before, after = mask.join(pieces[: i + 1]), mask.join(pieces[i + 1 :])
            names = self.tokenizer.tokens(ids)
            result.append(
                [
                    Guess(name, p, joined(before, name, after))
                    for name, p in zip(names, likely, strict=True)
                ]
            )
        return result


def joined(before: str, token: str, after: str) -> str:
    """Put a token between texts; `##` marks one that goes on with the word before it."""
    if token.startswith("##"):
        return before.rstrip() + token.removeprefix("##") + after
    return before + token + after
