"""Tasks of pictures. A row's picture is a name or one in memory: see zoo.evaluate.sheets.

`label`, of a ViT or CLIP with its image head: value = p(label), or p(answer) without a label.

`caption`, `picture` and `retrieve`, of a CLIP with both towers, whose vectors have length one:

    caption     cos(image, caption) for each caption    value = that of the answer - the best other
    picture     cos(text, image) for each image         value = that of the answer - the best other
    retrieve    value = rank = 1 + how many other pictures of the group have cos(caption, picture)
                of at least that of the row's own; passes within the first 5

confidence is the softmax of the cosines times the model's own scale; `retrieve` has none, as to be
among five is not what it speaks of. Pictures go by their names.

The group of a `retrieve` row are the pictures of all mft rows in this run with the same `group`,
each name once. A row that is not mft, or was made by a perturbation, is ranked among them too, with
its own picture in the place of that of the row that it is `of`; so variants never stand in each
other's way.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.config import default_labels
from zoo.evaluate.judging import (
    chosen,
    classified,
    cosines_of,
    cut_ids,
    distinct,
    finite,
    known,
    options,
    vectors_of,
    wrong,
)
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.sheets import SheetError, name_of, picture, sheets_of
from zoo.evaluate.subject import Subject, need

AT_ONCE = 64  # pictures in a batch
TOP = 5  # a retrieved picture is right among so many
MATCH: dict[str, tuple[str | None, ...]] = {"clip": ("match",)}


def label_pictures(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge which class a model puts a picture in; see above."""
    need(subject, "label", {"vit": ("image",), "clip": ("image",)}, "processor")
    config = subject.model.config
    names = config.labels or default_labels(config.classes)
    wanted = [(row, row.fields["image"]) for row in rows]
    found = seen(subject, folder, wanted, lambda pixels: subject.model(pixel_values=pixels))
    return [classified(row, names, logits) for row, logits in zip(rows, found, strict=True)]


def caption(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge which caption a model gives to a picture; see above."""
    need(subject, "caption", MATCH, "processor", "tokenizer")
    images = image_vectors(subject, folder, [(row, row.fields["image"]) for row in rows])
    asked = [(row, text) for row in rows for text in row.fields["captions"]]
    texts = iter(text_vectors(subject, asked))
    result = []
    for row, image in zip(rows, images, strict=True):
        captions = options(row, row.fields["captions"], "captions")
        held = torch.stack([next(texts) for _ in captions])
        result.append(nearest(subject, row, captions, cosines_of(held, image)))
    return result


def one_picture(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge which picture a model gives to a text; see above."""
    need(subject, "picture", MATCH, "processor", "tokenizer")
    texts = text_vectors(subject, [(row, row.fields["text"]) for row in rows])
    asked = [(row, image) for row in rows for image in row.fields["images"]]
    images = iter(image_vectors(subject, folder, asked))
    result = []
    for row, text in zip(rows, texts, strict=True):
        names = options(row, [name_of(image) for image in row.fields["images"]], "images")
        held = torch.stack([next(images) for _ in names])
        result.append(nearest(subject, row, names, cosines_of(held, text)))
    return result


def nearest(subject: Subject, row: Row, names: list[str], cosines: Float[Tensor, " n"]) -> Outcome:
    """Make the outcome of a choice by cosine."""
    scores = dict(zip(names, finite(row, cosines), strict=True))
    chances = (subject.model.scale().double().cpu() * cosines).softmax(0)
    return chosen(row, scores, known(row, "answer", names), chances)


def retrieve(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge how far up a model ranks a caption's own picture among those of its group."""
    need(subject, "retrieve", MATCH, "processor", "tokenizer")
    texts = text_vectors(subject, [(row, row.fields["caption"]) for row in rows])
    images = image_vectors(subject, folder, [(row, row.fields["image"]) for row in rows])
    groups: dict[str, dict[str, Tensor]] = {}
    for row, image in zip(rows, images, strict=True):
        if is_plain(row):
            groups.setdefault(group_of(row), {})[name_of(row.fields["image"])] = image
    places = {row.id: name_of(row.fields["image"]) for row in rows}
    result = []
    for row, text, image in zip(rows, texts, images, strict=True):
        gallery = dict(groups.get(group_of(row), {}))
        own = places.get(row.id if is_plain(row) else str(row.of), "")
        if own not in gallery:
            raise wrong(row, f"it is of {row.of!r}, no mft row of group {group_of(row)!r}")
        gallery[own] = image
        result.append(ranked(row, gallery, own, text))
    return result


def is_plain(row: Row) -> bool:
    return row.test == "mft" and row.under is None


def group_of(row: Row) -> str:
    return str(row.fields.get("group", ""))


def ranked(row: Row, gallery: dict[str, Tensor], own: str, text: Tensor) -> Outcome:
    """Make the outcome of a row whose own picture stands in a gallery; a tie counts against it."""
    names = list(gallery)
    cosines = cosines_of(torch.stack(list(gallery.values())), text)
    finite(row, cosines)
    place = names.index(own)
    rank = int((cosines >= cosines[place]).sum())  # with itself
    first = place if rank == 1 else int(cosines.masked_fill(one_of(len(names), place), -2).argmax())
    return Outcome(
        id=row.id,
        answer=names[first],
        value=float(rank),
        passed=rank <= TOP,
        right=rank <= TOP,
    )


def one_of(count: int, place: int) -> Tensor:
    return torch.arange(count) == place


def image_vectors(
    subject: Subject, folder: Path, wanted: Sequence[tuple[Row, Any]]
) -> Float[Tensor, "n e"]:
    """Give a vector a picture, in float64."""
    return seen(subject, folder, wanted, subject.model.encode_image).double()


def seen(
    subject: Subject, folder: Path, wanted: Sequence[tuple[Row, Any]], compute: Any
) -> Float[Tensor, "n k"]:
    """Give what a model makes of pictures, batch by batch; of equal pixels once."""
    sheets = sheets_of(folder)
    like = next(subject.model.parameters())
    made = torch.cat([pixels_of(row, source, folder, sheets, subject) for row, source in wanted])
    _, places = distinct(pixels.numpy().tobytes() for pixels in made)
    first = [places.index(place) for place in range(max(places) + 1)]
    batches = made[first].to(like.device, like.dtype).split(AT_ONCE)
    return torch.cat([compute(pixels).cpu() for pixels in batches])[places]


def pixels_of(
    row: Row, source: Any, folder: Path, sheets: dict[str, int], subject: Subject
) -> Float[Tensor, "1 c y x"]:
    """Make pixels of a row's picture; what is wrong with it names the row."""
    from zoo.images import ImageError

    try:
        pixels: Tensor = subject.processor([picture(source, folder, sheets)])
    except (SheetError, ImageError) as error:
        raise wrong(row, str(error)) from None
    return pixels


def text_vectors(subject: Subject, wanted: Sequence[tuple[Row, str]]) -> Float[Tensor, "n e"]:
    """Give a vector a text, in float64; one that is longer than the context loses its end."""
    context = subject.model.config.context
    longest = min(context, subject.tokenizer.longest or context)
    asked = cut_ids(subject, [text for _, text in wanted], longest)
    made = vectors_of(subject, [row for row, _ in wanted], asked, subject.model.encode_text)
    return made.cpu()
