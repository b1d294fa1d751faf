"""Galleries of the models that see: what they got wrong, what they find, and where they look."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.evaluate.judge_pictures import image_vectors, text_vectors
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.sheets import picture as opened
from zoo.evaluate.sheets import sheets_of
from zoo.evaluate.subject import Subject
from zoo.report import words
from zoo.report.attention import patch_heat
from zoo.report.gallery_text import evenly, percent
from zoo.report.judged import Judged
from zoo.report.page import Figure, Search, Tile
from zoo.report.pictures import COLOURS, picture

WRONG = 24  # pictures that were called something else
SEARCHES, FOUND = 8, 5
SMALLEST = 112  # pixels of a drawing of heat


def mistakes(held: Judged, command: str) -> Figure | None:
    """Show pictures that a classifier got wrong, the surest first."""
    rows = [pair for pair in held.plain("label") if "image" in pair[0].fields]
    rows = [pair for pair in rows if pair[0].test == "mft" and "label" in pair[0].fields]
    if not rows:
        return None
    wrong = [pair for pair in rows if pair[1].right is False]
    wrong.sort(key=lambda pair: -(pair[1].confidence or 0.0))
    sheets = sheets_of(held.folder)
    says = f"{len(wrong):,} of {words.counted(len(rows), 'picture')}"
    says += f"; the {WRONG} that it was surest of." if len(wrong) > WRONG else ", the surest first."
    return Figure(
        id=f"{held.name}-mistakes",
        title="What it got wrong",
        says=says,
        kind="tiles",
        data=tuple(mistake(row, o, held, sheets) for row, o in wrong[:WRONG]),
        command=command,
    )


def mistake(row: Row, outcome: Outcome, held: Judged, sheets: dict[str, int]) -> Tile:
    truth = row.fields["label"]
    image = opened(row.fields["image"], held.folder, sheets)
    sure = percent(min(1.0, outcome.confidence or 0.0))
    lines = (f"is {truth}, says {outcome.answer}", f"{sure} sure", ", ".join(shown(row)))
    shown_lines = tuple(line for line in lines if line)
    return Tile(picture=picture(image, f"{row.id}: a picture of {truth}"), lines=shown_lines)


def shown(row: Row) -> list[str]:
    """Give the segments that say more than the label does."""
    label = str(row.fields.get("label"))
    return [words.spaced(s) for s in row.segments if not s.endswith(f"-{label}") and s != "plain"]


def looks(held: Judged, subject: Subject, command: str) -> Figure | None:
    """Show where a model looks: heat over pictures, from the surest right to the surest wrong."""
    rows = [p for p in held.plain("label", "retrieve") if "image" in p[0].fields]
    rows = [p for p in rows if p[0].test == "mft"]
    if not rows:
        return None
    right = sorted((p for p in rows if p[1].right), key=surest)
    wrong = sorted((p for p in rows if not p[1].right), key=surest)
    some = [*evenly(right, 5), *evenly(wrong, 3)]
    sheets = sheets_of(held.folder)
    return Figure(
        id=f"{held.name}-attention",
        title="Where it looks",
        says="Attention rolled out over all layers, read where the model reads its answer: bright "
        "patches stand in the answer most. From the best answered to the worst; what is wrong is "
        "framed.",
        kind="heats",
        data=tuple(look(row, outcome, held, subject, sheets) for row, outcome in some),
        command=command,
    )


def surest(pair: tuple[Row, Outcome]) -> tuple[float, str]:
    """Order classes by how sure the model is of them, pictures that were searched by their rank."""
    row, outcome = pair
    return outcome.value if row.task == "retrieve" else -(outcome.confidence or 0.0), row.id


def look(
    row: Row, outcome: Outcome, held: Judged, subject: Subject, sheets: dict[str, int]
) -> Tile:
    from zoo.images import heat

    image = opened(row.fields["image"], held.folder, sheets)
    drawn = heat(image, patch_heat(subject, image), smallest=SMALLEST)
    truth = str(row.fields.get("label") or row.fields.get("caption"))
    said = f"says {outcome.answer}" if row.task == "label" else f"rank {outcome.value:.0f}"
    shown = picture(drawn, f"heat over a picture of {truth}", colours=COLOURS)
    return Tile(picture=shown, lines=(truth, said), mark="" if outcome.right else "no")


class Gallery:
    """The pictures and captions of one group of `retrieve` rows, and how near each is to each."""

    def __init__(self, held: Judged, subject: Subject) -> None:
        rows = [(r, o) for r, o in held.plain("retrieve") if r.test == "mft"]
        group = max({r.fields["group"] for r, _ in rows}, key=lambda g: self.size(rows, g))
        self.name, self.held = group, held
        self.rows = [pair for pair in rows if pair[0].fields["group"] == group]
        self.images = list(dict.fromkeys(r.fields["image"] for r, _ in self.rows))
        self.captions = list(dict.fromkeys(r.fields["caption"] for r, _ in self.rows))
        self.names = {r.fields["image"]: r.fields["caption"] for r, _ in reversed(self.rows)}
        self.sheets = sheets_of(held.folder)
        first = self.rows[0][0]
        with torch.no_grad():
            images = image_vectors(subject, held.folder, [(first, name) for name in self.images])
            texts = text_vectors(subject, [(first, text) for text in self.captions])
        self.cosines: Tensor = texts @ images.T  # (captions, images)

    def size(self, rows: Sequence[tuple[Row, Any]], group: str) -> tuple[int, str]:
        return sum(row.fields["group"] == group for row, _ in rows), group

    def tile(self, name: str, mark: str, number: float) -> Tile:
        caption = self.names[name]
        image = picture(opened(name, self.held.folder, self.sheets), f"a drawing of {caption}")
        return Tile(picture=image, lines=(caption, f"{number:.3f}"), mark=mark)


def retrieval(held: Judged, subject: Subject, command: str) -> list[Figure]:
    """Show what a CLIP finds for captions, and for pictures, from the best to the worst."""
    if not any(row.test == "mft" for row, _ in held.plain("retrieve")):
        return []
    gallery = Gallery(held, subject)
    order = sorted(gallery.rows, key=lambda pair: (pair[1].value, pair[0].id))
    some = evenly(order, SEARCHES)
    count = len(gallery.images)
    ways = (
        (
            "captions",
            "Pictures for a caption",
            searched(gallery, some),
            f"Captions from the best found to the worst, at even distances, and the {FOUND} "
            f"nearest of {count} pictures that the model never saw; the right one is framed.",
        ),
        (
            "pictures",
            "Captions for a picture",
            described(gallery, some),
            f"The same pictures the other way round: the {FOUND} nearest of "
            f"{len(gallery.captions)} captions; the right one is marked.",
        ),
    )
    return [
        Figure(
            id=f"{held.name}-{way}",
            title=title,
            says=says,
            kind="searches",
            data=data,
            command=command,
        )
        for way, title, data, says in ways
    ]


def searched(gallery: Gallery, rows: Sequence[tuple[Row, Outcome]]) -> tuple[Search, ...]:
    result = []
    for row, outcome in rows:
        numbers = gallery.cosines[gallery.captions.index(row.fields["caption"])]
        near = numbers.argsort(descending=True, stable=True)[:FOUND].tolist()
        tiles = tuple(
            gallery.tile(
                gallery.images[i],
                "yes" if gallery.images[i] == row.fields["image"] else "",
                float(numbers[i]),
            )
            for i in near
        )
        note = f"its own is number {outcome.value:.0f} of {len(gallery.images)}"
        result.append(Search(asked=row.fields["caption"], tiles=tiles, note=note))
    return tuple(result)


def described(gallery: Gallery, rows: Sequence[tuple[Row, Outcome]]) -> tuple[Search, ...]:
    result = []
    for row, _ in rows:
        name, caption = row.fields["image"], row.fields["caption"]
        numbers = gallery.cosines[:, gallery.images.index(name)]
        order = numbers.argsort(descending=True, stable=True).tolist()
        texts = tuple(
            (gallery.captions[i], f"{float(numbers[i]):.3f}", gallery.captions[i] == caption)
            for i in order[:FOUND]
        )
        place = 1 + order.index(gallery.captions.index(caption))
        image = picture(
            opened(name, gallery.held.folder, gallery.sheets), f"a drawing of {caption}"
        )
        note = f"it is “{caption}”, number {place} of {len(gallery.captions)}"
        result.append(Search(asked=caption, picture=image, texts=texts, note=note))
    return tuple(result)
