"""A model that is judged, and what its folder holds beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.checkpoint.packaged import find
from zoo.models import load
from zoo.tokenizers import Tokenizer

# any of these files says that a folder has one
TOKENIZERS = (
    "tokenizer.json",
    "vocab.json",
    "encoder.json",
    "vocab.txt",
    "bpe_simple_vocab_16e6.txt.gz",
)
PROCESSORS = ("preprocessor_config.json", "processor_config.json", "open_clip_config.json")
SPOKEN = {"bert": "BERT", "clip": "CLIP", "gpt2": "GPT-2", "vit": "ViT"}
PARTS = {"tokenizer": TOKENIZERS[0], "processor": PROCESSORS[0]}  # where each is looked for first


class SubjectError(ValueError):
    """A model that cannot be asked such questions."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, its tokenizer and its image processor, each where the folder has one."""

    folder: Path
    model: Any
    tokenizer: Any = None
    processor: Any = None

    @classmethod
    def open(cls, folder_or_name: str | Path, dtype: torch.dtype = torch.float32) -> "Subject":
        """Read a model of any family and what lies beside it; a name is that of a packaged one.

        Raises CheckpointError, TokenizerError or ImageError for what is missing or damaged.
        """
        return open_subject(folder_or_name, dtype)

    def __str__(self) -> str:
        return f"{self.folder} ({kind(self.model)})"


def open_subject(folder_or_name: str | Path, dtype: torch.dtype) -> Subject:
    folder = find(folder_or_name)
    model = load(folder, dtype=dtype)
    tokenizer = processor = None
    if any((folder / name).is_file() for name in TOKENIZERS):
        tokenizer = Tokenizer.from_folder(folder)
    if any((folder / name).is_file() for name in PROCESSORS):
        from zoo.images import ImageProcessor  # needs Pillow, which is an extra

        processor = ImageProcessor.from_folder(folder)
    return Subject(folder=folder, model=model, tokenizer=tokenizer, processor=processor)


def kind(model: Any) -> str:
    return f"a {SPOKEN[model.spec.name]} with head {model.head_name!r}"


def need(
    subject: Subject, task: str, heads: dict[str, tuple[str | None, ...]], *parts: str
) -> None:
    """Raise SubjectError unless the model is of a family with one of these heads, and has parts.

    `heads` are by family; no heads are any. `parts` are fields of the subject.
    """
    model = subject.model
    known = heads.get(model.spec.name)
    if known is None or (known and model.head_name not in known):
        wanted = " or ".join(spoken(family, names) for family, names in heads.items())
        raise SubjectError(f"task {task!r} needs {wanted}; {subject.folder} holds {kind(model)}")
    for part in parts:
        if getattr(subject, part) is None:
            raise SubjectError(
                f"task {task!r} needs a {part}; {subject.folder} has none: put the "
                f"{PARTS[part]} there that the model was trained with"
            )


def spoken(family: str, heads: tuple[str | None, ...]) -> str:
    name = f"a {SPOKEN[family]}"
    return f"{name} with head {' or '.join(map(repr, heads))}" if heads else name
