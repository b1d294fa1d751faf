"""Perturbed twins of golden rows: what should not matter to a model that knows the answer.

What each does stands at the top of `perturb_text.py` and `perturb_pictures.py`. A twin is a pure
function of its row and of the perturbation's name. It is judged as its row is: its answer must
still be right. It stands in no segment but "under:NAME".

    task                         text changed      picture changed
    choice                       prompt            -
    fill                         text              -
    label                        text              image
    closer                       anchor            -
    caption                      -                 image
    picture                      text              images
    retrieve                     caption           image

A changed picture is a Picture in memory, under the name of the one it was made of.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.evaluate import perturb_pictures as pictures
from zoo.evaluate import perturb_text as texts
from zoo.evaluate.draw import Draw
from zoo.evaluate.outcome import Row
from zoo.evaluate.sheets import Picture, name_of, picture, sheets_of

ROBUST = "robust"  # the flag of rows that have twins


@dataclass(frozen=True)
class Perturbation:
    """A change of a text or of an image's pixels, and the field that it changes, by task."""

    kind: str  # text or image
    change: Callable[[Any, Draw], Any]
    fields: dict[str, str]


class PerturbError(ValueError):
    """A perturbation that is not known."""


def perturbed(rows: Sequence[Row], names: Iterable[str], folder: str | Path) -> list[Row]:
    """Make the twins of the mft rows flagged "robust", name by name, whose task has the field.

    A row that a perturbation leaves as it is has no twin, but for `padding`. Pictures lie in the
    folder. Raises PerturbError for a name that is not known.
    """
    result = []
    sheets = sheets_of(folder)
    for name in names:
        if name not in PERTURBATIONS:
            raise PerturbError(f"no perturbation {name!r}; known are {sorted(PERTURBATIONS)}")
        for row in rows:
            if ROBUST in row.flags and row.test == "mft" and row.under is None:
                result += twins(row, name, Path(folder), sheets)
    return result


def twins(row: Row, name: str, folder: Path, sheets: dict[str, int]) -> list[Row]:
    """Make a row's twin; none where the perturbation does not apply or changes nothing."""
    perturbation = PERTURBATIONS[name]
    field = perturbation.fields.get(row.task)
    if field is None or row.fields.get(field) is None:
        return []
    before = row.fields[field]
    identity = f"{row.id}@{name}"
    draw = Draw(identity)
    if perturbation.kind == "text":
        after = perturbation.change(before, draw)
    else:
        after = changed(before, perturbation, draw, folder, sheets)
    if same(before, after) and name != "padding":
        return []
    return [
        replace(
            row,
            id=identity,
            fields=dict(row.fields) | {field: after},
            segments=(f"under:{name}",),
            flags=(),
            of=row.id,
            under=name,
        )
    ]


def same(before: Any, after: Any) -> bool:
    """Tell whether nothing was changed: texts by what they say, pictures by being the same."""
    if isinstance(before, list | tuple):
        return all(map(same, before, after))
    return before is after or (isinstance(before, str) and before == after)


def changed(
    source: Any, perturbation: Perturbation, draw: Draw, folder: Path, sheets: dict[str, int]
) -> Any:
    """Change a picture or each of a list of pictures; what comes out the same stays as it is."""
    if isinstance(source, list | tuple):
        return [changed(one, perturbation, draw, folder, sheets) for one in source]
    import numpy as np
    from PIL import Image

    before = np.asarray(picture(source, folder, sheets).convert("RGB"))
    after = perturbation.change(before, draw)
    if np.array_equal(before, after):
        return source
    return Picture(name_of(source), Image.fromarray(np.ascontiguousarray(after)))


def of_text(change: Callable[[str, Draw], str], *but: str) -> Perturbation:
    return Perturbation("text", change, {t: f for t, f in TEXT_OF.items() if t not in but})


def of_mail(change: Callable[[str, Draw], str]) -> Perturbation:
    return Perturbation("text", change, {"label": "text"})


def of_image(change: Callable[[Any, Draw], Any]) -> Perturbation:
    return Perturbation("image", change, IMAGE_OF)


TEXT_OF = {
    "choice": "prompt",
    "fill": "text",
    "label": "text",
    "closer": "anchor",
    "picture": "text",
    "retrieve": "caption",
}
IMAGE_OF = {"label": "image", "caption": "image", "picture": "images", "retrieve": "image"}
PERTURBATIONS: dict[str, Perturbation] = {
    "typos": of_text(texts.typos),
    "lower": of_text(texts.lower),
    "upper": of_text(texts.upper),
    # a prompt's end is where its continuation begins: what stands there matters
    "spaces": of_text(texts.spaces, "choice"),
    "punctuation": of_text(texts.punctuation, "choice"),
    "quotes": of_text(texts.quotes),
    "padding": of_text(texts.padding),
    "greeting": of_mail(texts.greeting),
    "signature": of_mail(texts.signature),
    "quoted": of_mail(texts.quoted),
    "shift-1": of_image(pictures.shift_1),
    "shift-2": of_image(pictures.shift_2),
    "turn-10": of_image(pictures.turn),
    "scale-0.9": of_image(pictures.scale),
    "thick": of_image(pictures.thick),
    "thin": of_image(pictures.thin),
    "noise-0.1": of_image(pictures.noise),
    "blur": of_image(pictures.blur),
    "brighter": of_image(pictures.brighter),
    "darker": of_image(pictures.darker),
    "contrast": of_image(pictures.contrast),
    "jpeg-50": of_image(pictures.jpeg),
    "grey": of_image(pictures.grey),
}
