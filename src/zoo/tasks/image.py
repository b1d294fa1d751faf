"""Pictures and a model that sees: their classes, and vectors of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from zoo import ops
from zoo.checkpoint import CheckpointError
from zoo.config import default_labels
from zoo.models import CLIP, ViT
from zoo.tasks.pictures import Device, Label, Reading, Seer, kind, read


class ImageEmbedder(Seer):
    """Turn pictures into vectors, with a ViT or with the image tower of a CLIP."""

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, dtype: torch.dtype = torch.float32, device: Device = "cpu"
    ) -> "ImageEmbedder":
        """Read a ViT or CLIP and its processor. Raises CheckpointError for another family."""
        model, processor = read(folder, dtype, device)
        if not isinstance(model, ViT) and not hasattr(model, "image_projection"):
            raise CheckpointError(
                f"{folder} holds a {kind(model)}; vectors of pictures need a ViT, or a CLIP that "
                "projects images"
            )
        return cls(model, processor)

    def embed(
        self, images: Iterable[Any], *, normalize: bool = False, **reading: Unpack[Reading]
    ) -> Float[Tensor, "b e"]:
        """Give a vector a picture, in their order: what a ViT pools, or what a CLIP projects.

        A picture that `unreadable` heard of has a row of NaN.
        """
        compute = self.model.embed if isinstance(self.model, ViT) else self.model.image_features
        result = self.vectors(images, compute, reading)
        return ops.normalize(result) if normalize else result


class ImageClassifier(Seer):
    """Say what is in pictures, in the classes that a ViT or a CLIP's image tower was trained on."""

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, dtype: torch.dtype = torch.float32, device: Device = "cpu"
    ) -> "ImageClassifier":
        """Read a model with a classifier. Raises CheckpointError for one that has none."""
        model, processor = read(folder, dtype, device)
        if not isinstance(model, ViT | CLIP) or model.head_name != "image":
            other = ", and one with both towers takes labels of your own: --labels, or Matcher"
            raise CheckpointError(
                f"{folder} holds a {kind(model)}; classifying needs a ViT or a CLIP with a "
                f"classifier{other if isinstance(model, CLIP) else ''}"
            )
        return cls(model, processor)

    @property
    def names(self) -> Sequence[str]:
        return self.model.config.labels or default_labels(self.model.config.classes)

    def classify(
        self, images: Iterable[Any], *, top: int = 5, **reading: Unpack[Reading]
    ) -> list[list[Label]]:
        """Give each picture's likeliest classes, best first; all when there are fewer than `top`.

        A picture that `unreadable` heard of has an empty list.
        """
        return self.labelled(images, self.logits, self.names, top, reading)

    def logits(self, pixels: Float[Tensor, "b c y x"]) -> Float[Tensor, "b v"]:
        return self.model(pixel_values=pixels)
