"""From a folder to an engine that is ready: read, probed, packed, warm.

Reading compares the model with the probe that was written beside its weights, where there is one,
so that a damaged or mixed-up folder is refused before it takes a request. Then every verb is done a
few times, for lengths from one token to all, so that the first request is as fast as the others.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import find
from zoo.models import BERT, CLIP, GPT2, ViT
from zoo.nn.steady import holds
from zoo.serve.batches import Batches, Skill
from zoo.serve.engine import Crew, Engine
from zoo.serve.growing import Growing
from zoo.serve.job import Job
from zoo.serve.limits import Limits
from zoo.serve.skills import (
    Masks,
    PictureClasses,
    SpaceClasses,
    SpaceFits,
    SpaceVectors,
    TextClasses,
    Vectors,
)
from zoo.serve.tally import Tally
from zoo.tasks import Embedder, FillMask, Generator, ImageClassifier, Matcher, TextClassifier
from zoo.tasks.pictures import read
from zoo.tasks.text import read_embedding_config
from zoo.tokenizers import Tokenizer

Trial = tuple[dict[str, Any], tuple[bytes, ...]]


def open_engine(
    folder: str | Path, limits: Limits, *, weights: str | None = None, threads: int | None = None
) -> Engine:
    """Read a folder and make it ready. Raises CheckpointError, ValueError or OSError.

    `weights` is a form of `Model.optimize_for_inference`; None packs a decoder's as float32, which
    keeps their numbers up to rounding, and leaves the others as they are. `threads` are torch's.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = find(folder)
    model, processor = read(place, torch.float32, "cpu")
    model.eval()
    form = weights or ("float32" if isinstance(model, GPT2) else None)
    if form is not None:
        model.optimize_for_inference(form)
    crew = crew_of(place, model, processor, limits)
    about = about_of(place, model, crew) | {"weights": form}
    warm(Engine(crew, about))
    about["batches"] = keeps_bits(crew, about)
    crew.tally = Tally()
    return Engine(crew, about)


def crew_of(place: Path, model: Any, processor: Any, limits: Limits) -> Crew:
    """Choose what works for a model. Raises CheckpointError for one that nobody could use."""
    head, pixels = model.head_name, limits.pixels
    if isinstance(model, GPT2) and head == "lm":
        return Growing(Generator(model, Tokenizer.from_folder(place)), limits)
    if isinstance(model, CLIP) and head == "match":
        matcher = Matcher(model, processor, Tokenizer.from_folder(place))
        skills: dict[str, Skill] = {
            "embed": SpaceVectors(matcher, pixels),
            "classify": SpaceClasses(matcher, pixels),
            "match": SpaceFits(matcher, pixels),
        }
        return Batches(skills)
    if isinstance(model, ViT | CLIP) and head == "image":
        return Batches({"classify": PictureClasses(ImageClassifier(model, processor), pixels)})
    skills = {}
    if isinstance(model, BERT):
        tokenizer = Tokenizer.from_folder(place)
        skills["embed"] = Vectors(Embedder(model, tokenizer, read_embedding_config(place)))
        if head == "masked_lm":
            skills["fill"] = Masks(FillMask(model, tokenizer))
    if isinstance(model, BERT | GPT2) and head == "sequence":
        skills["classify"] = TextClasses(TextClassifier(model, Tokenizer.from_folder(place)))
    if not skills:
        raise CheckpointError(
            f"{place} holds a {type(model).__name__} with head {head!r}, which does nothing that "
            "is served: complete, embed, fill, classify or match"
        )
    return Batches(skills)


def about_of(place: Path, model: Any, crew: Crew) -> dict[str, Any]:
    """Say what a model is, in plain JSON."""
    config = model.config
    image = getattr(config, "image", None)
    return {
        "family": type(model).__name__,
        "head": model.head_name,
        "verbs": list(crew.verbs),
        "context": getattr(config, "context", None),
        "image": None if image is None else list(image),
        "labels": None if model.head_name not in ("sequence", "image") else config.labels,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "fingerprint": fingerprint(place),
    }


def fingerprint(folder: Path) -> str:
    """Give a short sum over the bytes of the weights and the config."""
    total = hashlib.sha256()
    kinds = ("*.safetensors", "*.bin", "config.json")
    for file in sorted(file for kind in kinds for file in folder.glob(kind)):
        with file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()[:16]


def warm(engine: Engine) -> None:
    """Let an engine do each verb a few times; what it tells is forgotten.

    Raises CheckpointError when it gives no answer: such a model is not to take requests.
    """
    for verb in engine.about["verbs"]:
        for body, files in trials(engine.crew, engine.about, verb):
            told: list[dict[str, Any]] = []
            engine.submit(Job(0, verb, body, told.append, files))
            with torch.no_grad():
                while engine.inbox or engine.crew.busy:
                    engine.turn()
            if told[-1]["is"] == "failed":
                raise CheckpointError(f"a trial of {verb} failed: {told[-1]['message']}")


def keeps_bits(crew: Crew, about: dict[str, Any]) -> bool:
    """Try whether batches leave rows their bits on this machine; where not, rows go one by one."""
    if not isinstance(crew, Batches):
        return True
    with torch.no_grad():  # as an engine computes: gradients want padding led along
        held = all(
            holds(partial(crew.compute, skill, kind), values)
            for verb, skill in crew.skills.items()
            for kind, values in kinds(skill, trials(crew, about, verb))
        )
    crew.at_once = crew.at_once if held else 1
    return held


def kinds(skill: Skill, tried: Iterator[Trial]) -> Iterator[tuple[str, list[Any]]]:
    """Give what a skill reads in its trials, a kind of rows at a time."""
    rows = [row for body, files in tried for row in skill.rows(Job(0, "", body, print, files))]
    for kind in {row.kind: None for row in rows}:
        yield kind, [row.value for row in rows if row.kind == kind]


def trials(crew: Crew, about: dict[str, Any], verb: str) -> Iterator[Trial]:
    """Give bodies and files that a verb can be tried with."""
    context = about["context"] or 1
    texts = texts_for(crew, verb, context)
    if verb == "complete":
        for tokens, many in ((1, 1), (1, engine_rows(crew)), (64, 1)):
            ids = [0] * max(1, min(tokens, context - 4))
            yield {"prompts": [ids] * many, "max_tokens": 3, "seed": 0}, ()
        return
    picture = (blank(),) if about["image"] else ()
    labels = ["a", "b"] if verb == "classify" and about["head"] == "match" else None
    for many in (1, 3):
        body = {"texts": texts * many, "top": 1, "labels": labels}
        if verb == "classify" and picture:
            body["texts"] = []
        yield body, picture * many


def texts_for(crew: Crew, verb: str, context: int) -> list[str]:
    """Give texts from a word to as many as fit."""
    if isinstance(crew, Growing):
        return []
    if verb == "fill":
        mask = crew.skills["fill"].task.tokenizer.roles["mask"]  # type: ignore[attr-defined]
        return [mask]
    return ["a", "a " * min(8, context // 2 - 2), "a " * min(64, context // 2 - 2)]


def engine_rows(crew: Crew) -> int:
    return min(crew.limits.rows, crew.limits.batch) if isinstance(crew, Growing) else 1


def blank() -> bytes:
    """Give a grey picture as PNG."""
    from PIL import Image

    held = BytesIO()
    Image.new("RGB", (64, 64), (127, 127, 127)).save(held, "PNG")
    return held.getvalue()
