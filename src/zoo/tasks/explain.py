"""Which patches of a picture, or which words of a text, stand in what a model answers from.

Attention rollout over the layers asked for, read where the model reads its answer: the class token
of a ViT and of CLIP's image tower (all patches where those are pooled), the last token of a GPT-2,
the first of a BERT (all of them in a sentence embedder that takes their mean), the end token of
CLIP's text tower; or at any patch or token that is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.checkpoint.packaged import find
from zoo.evaluate.rollout import rollout, share_of
from zoo.models import BERT, CLIP, GPT2, ViT, load
from zoo.models.clip import READS, SEES
from zoo.models.look import Layers, layer_numbers
from zoo.tasks.match import Matcher
from zoo.tasks.pictures import Device, check_fits, kind
from zoo.tasks.text import read_embedding_config
from zoo.tokenizers import Tokenizer

VIEW = 512  # pixels that the longer side of a drawing has at least


@dataclass(frozen=True)
class PictureShares:
    """How much each patch has in the answer; `view` is the picture as the model framed it."""

    view: Any
    shares: Float[Tensor, "y x"]  # sum to one
    layers: tuple[int, ...]

    def top(self, count: int) -> list[tuple[int, int, float]]:
        """Give (row, column, share), largest first."""
        width = self.shares.shape[1]
        return [(i // width, i % width, share) for i, share in largest(self.shares, count)]

    def draw(self) -> Any:
        """Lay the shares over the picture: no heat on the smallest, full heat on the largest."""
        from zoo.images import heat  # not at the top: texts need no Pillow until they are drawn

        return heat(self.view, from_least(self.shares))


@dataclass(frozen=True)
class TextShares:
    """How much each token has in the answer, which is read at the token with number `reader`.

    `reader` is None where the answer is the mean of all tokens.
    """

    tokens: tuple[str, ...]
    shares: Float[Tensor, " t"]  # sum to one
    words: Bool[Tensor, " t"]  # False for a token that stands for nothing in the text
    reader: int | None
    layers: tuple[int, ...]

    def top(self, count: int) -> list[tuple[int, str, float]]:
        """Give (number, token, share), largest first."""
        return [(i, self.tokens[i], share) for i, share in largest(self.shares, count)]

    def draw(self, *, width: int = 720) -> Any:
        """Colour the tokens, in lines of `width` pixels: full heat on the largest share.

        The largest of the words: the reader itself and tokens such as [CLS] and [SEP] gather so
        much that words would all look alike beside them.
        """
        from zoo.images import token_heat

        words = self.words.clone()
        if self.reader is not None:
            words[self.reader] = False
        return token_heat(self.tokens, of_largest(self.shares, words), width=width)


TINY = 1e-12
SINKS = 50


def from_least(shares: Float[Tensor, "y x"]) -> Float[Tensor, "y x"]:
    """Scale to 0 for the smallest and 1 for the largest; all 0 where they are equal.

    One patch in SINKS may be larger and ends at 1: real models use a few patches that show nothing
    as a store (Darcet et al. 2023, arXiv:2309.16588), and beside these all others would look cold.
    """
    ordered = shares.flatten().sort(descending=True).values
    low, high = ordered[-1], ordered[len(ordered) // SINKS]
    return ((shares - low) / (high - low).clamp_min(TINY)).clamp(max=1)


def of_largest(shares: Float[Tensor, " t"], among: Bool[Tensor, " t"]) -> Float[Tensor, " t"]:
    """Scale to 0 for nothing and 1 for the largest `among` some, or of all; others end at 1."""
    top = shares[among].max() if bool(among.any()) else shares.max()
    return (shares / top.clamp_min(TINY)).clamp(max=1)


def largest(shares: Float[Tensor, "..."], count: int) -> list[tuple[int, float]]:
    """Give the number and the size of the largest shares; the first of equals comes first."""
    order = shares.flatten().argsort(descending=True, stable=True)[:count].tolist()
    return [(i, float(shares.flatten()[i])) for i in order]


def half(shares: Float[Tensor, "..."]) -> int:
    """Count how few of shares that sum to one make half of it."""
    running = shares.flatten().sort(descending=True).values.cumsum(0)
    return int((running < 0.5).sum()) + 1


class Explainer:
    """Say what an answer rests on: patches for a ViT, words for a GPT-2 and a BERT, both for CLIP.

    `tokenizer` may be None for a model that reads no text, `processor` for one that sees nothing;
    `mean` says that the answer to a text is the mean of its tokens, as in many sentence embedders.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer | None = None,
        processor: Any = None,
        *,
        mean: bool = False,
    ) -> None:
        if processor is not None:
            check_fits(processor, model.config)
        self.model = model
        self.tokenizer = tokenizer
        self.processor = processor
        self.mean = mean

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        device: Device = "cpu",
    ) -> "Explainer":
        """Read a model of any family with its tokenizer and its settings for pictures.

        Raises CheckpointError, and ImageError where a model that sees has no such settings.
        """
        place = find(folder)
        model = load(place, dtype=dtype, device=device)
        tokenizer = processor = None
        if reads(model):
            tokenizer = Tokenizer.from_folder(place)
        if sees(model):
            from zoo.images import ImageProcessor

            processor = ImageProcessor.from_folder(place)
        embedder = (place / "1_Pooling").is_dir()  # without, a BERT says nothing about its answer
        mean = embedder and read_embedding_config(place).pooling == "mean"
        return cls(model, tokenizer, processor, mean=mean)

    def picture(
        self,
        picture: Any,
        *,
        layers: Layers = None,
        head: str = "mean",
        token: int | None = None,
    ) -> PictureShares:
        """Share the answer among the patches of a picture (PIL's, or whatever `read_image` reads).

        `layers` are numbers of blocks, None all of them; `head` is `mean`, `max` or `min`; `token`
        is the number of the patch to ask, row by row, in the place of what the answer is read from.
        Raises ValueError for a model that sees nothing and a patch or layer that is not there.
        """
        if not sees(self.model):
            raise ValueError(f"a {kind(self.model)} sees no pictures; give it a text")
        if self.processor is None:
            raise ValueError("pictures need a processor: Explainer(model, processor=...)")
        from zoo.images import read_image

        picture = picture if hasattr(picture, "convert") else read_image(picture)
        pixels = self.processor([picture])
        tower, prefix = eye_of(self.model)
        patch = tower.config.patch
        grid = (pixels.shape[2] // patch[0], pixels.shape[3] // patch[1])
        numbers, rolled = rolled_out(tower, {"pixel_values": self.placed(pixels)}, layers, head)
        readers = torch.zeros(rolled.shape[:2], dtype=torch.bool, device=rolled.device)
        if token is not None:
            readers[:, prefix + checked(token, grid[0] * grid[1], "patch", "patches")] = True
        elif pools_patches(self.model):
            readers[:, prefix:] = True
        else:
            readers[:, 0] = True
        shares = share_of(rolled, readers)[0, prefix:]
        shares = (shares / shares.sum()).view(grid).cpu()
        return PictureShares(framed(self.processor, picture, pixels), shares, numbers)

    def text(
        self, text: str, *, layers: Layers = None, head: str = "mean", token: int | None = None
    ) -> TextShares:
        """Share the answer among the tokens of a text; options are as for `picture`.

        `token` is the number of the token to ask, negative from the end.
        Raises ValueError for a model that reads no texts, a text that is empty or longer than the
        context, and a token or layer that is not there.
        """
        if not reads(self.model):
            raise ValueError(f"a {kind(self.model)} reads no texts; give it a picture")
        if self.tokenizer is None:
            raise ValueError("texts need a tokenizer: Explainer(model, tokenizer)")
        tower: Any = self.model.text if isinstance(self.model, CLIP) else self.model
        context = tower.config.context
        batch = self.tokenizer.batch([text], longest=context, truncate=False, offsets=True)
        places = batch.pop("offsets")[0].tolist()
        ids = batch["input_ids"][0]
        if not len(ids):
            raise ValueError("the text has no tokens, so there is nothing to explain")
        inputs = {name: self.placed(x) for name, x in batch.items()}
        reader = self.reader(ids) if token is None else checked(token, len(ids), "token", "tokens")
        numbers, all_rows = rolled_out(tower, inputs, layers, head)
        rolled = all_rows[0].cpu()
        names = self.tokenizer.tokens(ids.tolist())
        pieces = [text[a:b].strip() or name for (a, b), name in zip(places, names, strict=True)]
        return TextShares(
            tokens=tuple(pieces),
            shares=rolled.mean(0) if reader is None else rolled[reader],
            words=torch.tensor([a < b for a, b in places]),
            reader=reader,
            layers=numbers,
        )

    def match(self, picture: Any, text: str) -> float:
        """Give the cosine of a picture and a text. Raises ValueError unless both are projected."""
        if self.tokenizer is None or getattr(self.model, "head_name", None) != "match":
            raise ValueError(f"a {kind(self.model)} does not compare pictures with texts")
        matcher = Matcher(self.model, self.processor, self.tokenizer)
        return float(matcher.encode_images([picture]) @ matcher.encode_texts([text]).T)

    def reader(self, ids: Tensor) -> int | None:
        """Give the number of the token that the answer is read from, None for all of them."""
        if self.mean:
            return None
        if isinstance(self.model, CLIP):
            ends = (ids == self.model.config.end).nonzero()
            if not len(ends):
                raise ValueError("the text has no end token: this is not the model's tokenizer")
            return int(ends[0])
        return 0 if isinstance(self.model, BERT) else len(ids) - 1

    def placed(self, x: Tensor) -> Tensor:
        """Move an input to the model; pixels take its dtype."""
        like = next(self.model.parameters())
        return x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)


def rolled_out(
    tower: Any, inputs: dict[str, Tensor], layers: Layers, head: str
) -> tuple[tuple[int, ...], Float[Tensor, "b t t"]]:
    """Give the numbers of the layers asked for, and their maps rolled out one at a time."""
    numbers = layer_numbers(layers, len(tower.blocks))
    with torch.no_grad():
        maps = tower.each_attention_map(**inputs, layers=numbers)
        return tuple(numbers), rollout((found for _, found in maps), head=head)


def reads(model: Any) -> bool:
    return isinstance(model, GPT2 | BERT) or (isinstance(model, CLIP) and model.head_name in READS)


def sees(model: Any) -> bool:
    return isinstance(model, ViT) or (isinstance(model, CLIP) and model.head_name in SEES)


def eye_of(model: ViT | CLIP) -> tuple[Any, int]:
    """Give the part that sees, and how many tokens it has before the patches."""
    return (model, model.config.prefix) if isinstance(model, ViT) else (model.image, 1)


def pools_patches(model: ViT | CLIP) -> bool:
    """Tell whether the answer is read from the patches, not from the class token."""
    if isinstance(model, CLIP):
        return model.head_name == "image"
    return model.config.pooling == "mean" or model.head_name == "masked_image"


def checked(number: int, count: int, one: str, many: str) -> int:
    """Give a number from 0; raise ValueError for one that is not there."""
    if not -count <= number < count:
        raise ValueError(f"{one} {number}; there are {count} {many}, numbered from 0")
    return number % count


def framed(processor: Any, picture: Any, pixels: Tensor) -> Any:
    """Give what a processor leaves of a picture, in more pixels than the model sees of it."""
    from zoo.images.pillow import Image

    times = max(1, VIEW // max(pixels.shape[2:]))
    if processor.do_resize and times > 1:
        size = {name: side * times for name, side in processor.size.items()}
        crop = {name: side * times for name, side in processor.crop_size.items()}
        processor = replace(processor, size=size, crop_size=crop)
    plane = processor.plane(picture)
    return Image.fromarray(plane.squeeze()).convert("RGB")


def stacked(pictures: Sequence[Any]) -> Any:
    """Put drawings one below the other on white."""
    from zoo.images.pillow import Image

    size = max(p.width for p in pictures), sum(p.height for p in pictures)
    canvas, top = Image.new("RGB", size, "white"), 0
    for picture in pictures:
        canvas.paste(picture, (0, top))
        top += picture.height
    return canvas
