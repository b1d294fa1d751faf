"""Say which class a text is of, with a BERT or a GPT-2 that was trained on such classes."""

from collections.abc import Sequence
from pathlib import Path

import torch

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import find
from zoo.config import default_labels
from zoo.models import BERT, GPT2, load
from zoo.tasks.pictures import Device, Label, named
from zoo.tasks.text import elsewhere
from zoo.tokenizers import Tokenizer


class TextClassifier:
    """Texts to classes."""

    def __init__(self, model: BERT | GPT2, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, dtype: torch.dtype = torch.float32, device: Device = "cpu"
    ) -> "TextClassifier":
        """Read a model with a classifier of whole texts. Raises CheckpointError for another."""
        place = find(folder)
        model = load(place, dtype=dtype, device=device)
        if not isinstance(model, BERT | GPT2) or model.head_name != "sequence":
            raise CheckpointError(
                f"{folder} holds a {type(model).__name__} with head {model.head_name!r}; "
                f"classifying texts needs a BERT or GPT-2 with its sequence head{elsewhere(model)}"
            )
        return cls(model, Tokenizer.from_folder(place))

    def classify(
        self, texts: Sequence[str], *, top: int = 5, at_once: int = 32
    ) -> list[list[Label]]:
        """Give each text's likeliest classes, best first; all when there are fewer than `top`.

        A text that is longer than the context loses its end.
        """
        config = self.model.config
        names = config.labels or default_labels(config.classes)
        found: list[list[Label]] = []
        for start in range(0, len(texts), at_once):
            batch = self.tokenizer.batch(texts[start : start + at_once], longest=config.context)
            device = self.model.tokens.weight.device
            with torch.no_grad():
                logits = self.model(**{name: x.to(device) for name, x in batch.items()})
            found += named(names, logits.float().softmax(-1), top)
        return found
