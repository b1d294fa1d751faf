"""Which samples a head learns from: rows of one kind, cut and drawn as its objective reads them."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.config import ConfigError
from zoo.data import DataError, Rows
from zoo.data.mix import Mixed
from zoo.data.pack import Packed, pack
from zoo.data.samples_packed import Masked, SentencePairs, Windows
from zoo.data.samples_text import Answers, Labelled, Tagged
from zoo.data.samples_vision import LabelledImages, MaskedImages, Pairs
from zoo.data.views import View
from zoo.train.config import RunConfig
from zoo.train.world import World

PACKED = "tokens"  # folder of a run with its packed texts


def make_samples(
    config: RunConfig, course: Any, rows: Rows, split: str, folder: Path, world: World
) -> Any:
    """Make the samples of one split; only those of `train` are moved, mixed and drawn anew."""
    length = None
    if course.tokenizer is not None:
        length = length_of(config, course.model.config.context)
    texts = None
    if course.head in PACKING:
        place = folder / PACKED / f"{split}.bin"
        if world.rank == 0:
            packed_texts(rows, course.tokenizer, place)
        world.barrier()
        texts = Packed(place, course.tokenizer, verify=False)  # the first process has
    samples = MAKERS[course.head](config, course, rows, texts, length, split == "train")
    mixed = config.data.mixup or config.data.cutmix
    if mixed and course.head != "image":
        raise ConfigError("data.mixup and data.cutmix are for the head image")
    if mixed and split == "train":
        return Mixed(samples, mixup=config.data.mixup, cutmix=config.data.cutmix)
    return samples


def length_of(config: RunConfig, context: int) -> int:
    length = context if config.data.length is None else config.data.length
    if length > context:
        raise ConfigError(f"data.length is {length}; the model reads at most {context} tokens")
    return length


def packed_texts(rows: Rows, tokenizer: Any, place: Path) -> None:
    """Pack the texts of a split, unless these are packed already."""
    version = rows.order()
    with contextlib.suppress(DataError):  # none there, or a damaged one: it is made again
        if Packed(place, tokenizer).version == version:
            return
    place.parent.mkdir(parents=True, exist_ok=True)
    pack(rows.frame["text"], tokenizer, place, version=version)


def view_of(config: RunConfig, learning: bool) -> View | None:
    """Give how pictures are moved while learning; None when they stay as they are."""
    d = config.data
    if not learning or not (d.turn or d.scale or d.shift or d.flip or d.colour):
        return None
    return View(turn=d.turn, scale=d.scale, shift=d.shift, flip=d.flip, colour=d.colour)


def windows(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return Windows(texts, length)


def masked(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return Masked(texts, course.tokenizer, length, rate=config.data.masked)


def sentences(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return SentencePairs(texts, course.tokenizer, length)


def labelled(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return Labelled(rows, course.tokenizer, length, course.rows.labels)


def tagged(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return Tagged(rows, course.tokenizer, length, course.rows.labels)


def answers(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return Answers(rows, course.tokenizer, length, augment=learning)


def pictures(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    view = view_of(config, learning)
    return LabelledImages(rows, course.processor, view, labels=course.rows.labels)


def hidden(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return MaskedImages(
        rows,
        course.processor,
        course.model.config.patch,
        view_of(config, learning),
        rate=config.data.masked,
    )


def pairs(config: Any, course: Any, rows: Any, texts: Any, length: Any, learning: bool) -> Any:
    return Pairs(rows, course.processor, course.tokenizer, length, view_of(config, learning))


PACKING = ("lm", "masked_lm", "next_sentence")
MAKERS: dict[str, Callable[..., Any]] = {
    "lm": windows,
    "masked_lm": masked,
    "next_sentence": sentences,
    "sequence": labelled,
    "token": tagged,
    "span": answers,
    "image": pictures,
    "masked_image": hidden,
    "match": pairs,
}
