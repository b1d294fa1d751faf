"""From a folder of golden sets to the page's data: every model, judged now, and its galleries."""

import platform
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import __version__
from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import PACKAGED
from zoo.evaluate.golden import GoldenError, GoldenSet, find_sets
from zoo.evaluate.sets import GoldenRows
from zoo.evaluate.subject import SPOKEN, Subject
from zoo.report import gallery_pictures, gallery_text, words
from zoo.report.figures import common, main_scores
from zoo.report.judged import Judged, judged
from zoo.report.page import Figure, Licence, Page, Part

DOES = {
    "lm": "goes on with a text",
    "masked_lm": "fills in a missing word",
    "sequence": "says of which class a text is",
    "image": "names what a picture shows",
    "match": "finds pictures for texts and texts for pictures",
    None: "turns sentences into vectors",
}
RECIPES = Path(__file__).parents[1] / "recipes"
# what a model's name or recipe must hold -> whose work it shows or learnt from
LICENCES = {
    "openmoji": Licence(
        what="OpenMoji",
        text="All emojis designed by OpenMoji, the open-source emoji and icon project, "
        "openmoji.org. License: CC BY-SA 4.0. Shown at a smaller size.",
    ),
    "mnist": Licence(
        what="MNIST",
        text="Handwritten digits by Yann LeCun and Corinna Cortes, made from NIST's databases. "
        "License: CC BY-SA 3.0.",
    ),
    "minilm": Licence(
        what="all-MiniLM-L6-v2",
        text="Sentence vectors by sentence-transformers, after MiniLM by Microsoft. "
        "License: Apache 2.0. The model is asked, not changed, and is no part of this page.",
    ),
    "english": Licence(
        what="State of the Union speeches",
        text="By the presidents of the United States, 1790 to our days; in the public domain.",
    ),
    "spam": Licence(
        what="SpamAssassin's public mail corpus",
        text="Real mails of 2002 and 2003, published by the Apache SpamAssassin project for the "
        "test of filters; their copyright stays with those who wrote them.",
    ),
}


def gather(root: Path, *, only: Sequence[str] = (), made: str | None = None) -> Page:
    """Judge every golden checkpoint, or `only` some models or sets, and fill a page.

    `made` is the page's date, as it is to stand there. Raises GoldenError where there is nothing
    to report, and ValueError for a name in `only` that is neither a model nor a set.
    """
    found = find_sets(root)
    checkpoints = {s.name: s for s in found if s.kind == "checkpoint"}
    rows = {s.name: s for s in found if s.kind == "rows"}
    asked = {name: str(s.manifest["subject"]) for name, s in rows.items()}
    names = sorted({*checkpoints, *asked.values()})
    if not names:
        raise GoldenError(f"{root} holds no golden checkpoint and no golden rows; give --root")
    known = {*names, *rows}
    for name in only:
        if name not in known:
            raise ValueError(f"--only {name!r}; there are {', '.join(sorted(known))}")
    parts, missing = [], []
    for name in names:
        mine = [each for each in rows if asked[each] == name]
        if only and name not in only:
            mine = [each for each in mine if each in only]
            if not mine:
                continue
        try:
            sets = [GoldenRows.open(rows[each].folder) for each in mine]
            parts.append(part(name, checkpoints.get(name), sets))
        except CheckpointError:
            if name in checkpoints:  # it is here, and is damaged
                raise
            missing.append(lacking(name, mine))
    return Page(
        parts=tuple(parts),
        missing=tuple(missing),
        made=made,
        versions=versions(),
        machine=machine(),
        licences=licences(parts),
    )


def lacking(name: str, sets: Iterable[str]) -> str:
    """Say which sets could not be asked, and how to get their model; no path is told."""
    why = f"install it: {PACKAGED[name].install}" if name in PACKAGED else "it is not here"
    return f"{', '.join(sets)}: not shown, as {name} is needed; {why}."


def part(name: str, checkpoint: GoldenSet | None, sets: Sequence[GoldenRows]) -> Part:
    """Fill a model's section."""
    if checkpoint is None and name not in PACKAGED:  # a hub's model may change under its name
        raise CheckpointError(f"{name} is no golden checkpoint, and no package carries it")
    subject = Subject.open(name if checkpoint is None else checkpoint.folder)
    held = [judged(each, subject) for each in sets]
    called = name if checkpoint is None else f"golden/{name}"
    figures = [figure for each in held for figure in common(each, name)]
    figures += galleries(subject, held, called, name)
    return Part(
        name=name,
        what=what(subject),
        story=story({} if checkpoint is None else checkpoint.manifest),
        facts=facts(subject, checkpoint, held),
        parameters=subject.model.parameter_count(),
        size=sum(file.stat().st_size for file in subject.folder.glob("*.safetensors")),
        main=tuple(score for each in held for score in main_scores(each)),
        rows=sum(len(each.rows) for each in held),
        accepted=", ".join(accepted(each) for each in held) or "no rows yet",
        verdict=verdict(held),
        sentences=tuple(s for each in held for s in each.sentences)
        or (() if held else ("No golden rows ask this model yet.",)),
        figures=tuple(figures),
    )


def what(subject: Subject) -> str:
    """Say what a model is, in a sentence."""
    model = subject.model
    said = f"A {SPOKEN[model.spec.name]} that {DOES.get(model.head_name, 'computes')}"
    labels = getattr(model.config, "labels", None) or ()
    return f"{said}: {', '.join(labels)}." if 0 < len(labels) <= 12 else f"{said}."


def facts(
    subject: Subject, checkpoint: GoldenSet | None, held: Sequence[Judged]
) -> tuple[tuple[str, str], ...]:
    """Give what there is to know of a model in short words."""
    model, about = subject.model, {} if checkpoint is None else checkpoint.manifest
    result = [("parameters", f"{model.parameter_count():,}")]
    config = model.config
    if hasattr(config, "depth"):
        result.append(("shape", f"{config.depth} blocks of width {config.width}"))
    recipe = about.get("recipe")
    if isinstance(recipe, str):
        result.append(("recipe", recipe))
    if isinstance(about.get("data"), str):
        result.append(("data", about["data"].removeprefix("sha256:")[:12]))
    if checkpoint is not None:
        result.append(("weights", f"version {checkpoint.manifest['version']}"))
    for each in held:
        twins = sum(row.under is not None for row in each.rows)
        count = words.counted(len(each.rows) - twins, "row")
        result.append((f"asked by {each.name}", count + (f", {twins} perturbed" if twins else "")))
        if each.history:
            last = each.history[-1]
            why = f": {words.shortened(str(last['why']), 120)}" if last.get("why") else ""
            result.append((f"accepted {last.get('date', '')}".strip(), accepted(each) + why))
    return tuple(result)


def story(manifest: Mapping[str, Any]) -> str:
    """Give what a checkpoint's recipe says of itself, where it is one of ours."""
    recipe = str(manifest.get("recipe"))
    file = RECIPES / f"{recipe}.toml"
    if not recipe.replace("-", "").isalnum() or not file.is_file():
        return ""
    return str(tomllib.loads(file.read_text(encoding="utf-8")).get("says", ""))


def accepted(held: Judged) -> str:
    return f"version {held.version}" if held.accepted else "not yet"


def verdict(held: Sequence[Judged]) -> str:
    """Give the worst of the sets' verdicts; `none` where one has none and none is worse."""
    said = [each.ok for each in held]
    if False in said:
        return "worse"
    return "ok" if said and None not in said else "none"


def galleries(subject: Subject, sets: Sequence[Judged], place: str, name: str) -> list[Figure]:
    """Give what there is to look at: examples, searches, texts, attention."""
    made: list[Figure | None] = []
    for held in sets:
        command = held.command(name)
        made += [
            gallery_text.choices(held, command),
            gallery_text.fills(held, subject, place),
            gallery_text.mails(held, command),
            gallery_text.neighbours(held, subject, place),
            gallery_pictures.mistakes(held, command),
            *gallery_pictures.retrieval(held, subject, command),
            gallery_text.readings(held, subject, place),
            gallery_pictures.looks(held, subject, f"zoo report --only {name}"),
        ]
    if subject.model.head_name == "lm" and subject.tokenizer is not None:
        made.append(gallery_text.texts_written(subject, place, name))
    return [figure for figure in made if figure is not None]


def versions() -> tuple[tuple[str, str], ...]:
    import torch

    return (
        ("zoo", __version__),
        ("torch", torch.__version__),
        ("python", platform.python_version()),
    )


def machine() -> tuple[tuple[str, str], ...]:
    """Give what of the machine may move the last bits of a number."""
    import torch

    kind: Any = platform.machine()
    return (("machine", kind), ("threads", str(torch.get_num_threads())))


def licences(parts: Sequence[Part]) -> tuple[Licence, ...]:
    names = " ".join(part.name for part in parts)
    return tuple(licence for key, licence in LICENCES.items() if key in names)
