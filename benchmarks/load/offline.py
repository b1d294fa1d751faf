"""What the answers are: each item given to zoo.tasks by itself, in a process of its own.

python -m benchmarks.load.offline ITEMS.json OUT.json
"""

import base64
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

UNDECIDED = "undecided"  # rounding decides: no server can be held to it
CLOSE = 1e-4  # between numbers of float32 that were computed in batches of different sizes


def complete(model: Any, asked: Mapping[str, Any]) -> Any:
    options = {"temperature": asked["temperature"], "seed": asked["seed"]}
    (made,) = model.generate([asked["prompt"]], max_new_tokens=asked["max_tokens"], **options)
    return {"text": made.text, "tokens": len(made.ids)}


def embed(model: Any, asked: Mapping[str, Any]) -> Any:
    read = getattr(model, "embed", None) or model.encode_texts
    return read(asked["input"]).tolist()


def fill(model: Any, asked: Mapping[str, Any]) -> Any:
    masks = model.fill(asked["input"])
    return [[[guess.token, guess.probability] for guess in mask] for mask in masks]


def classify(model: Any, asked: Mapping[str, Any]) -> Any:
    if "input" in asked:
        (found,) = model.classify([asked["input"]])
    elif "labels" in asked:
        (found,) = model.classify([opened(asked["image"])], asked["labels"])
    else:
        (found,) = model.classify([opened(asked["image"])])
    return [[*asdict(label).values()] for label in found]


def match(model: Any, asked: Mapping[str, Any]) -> Any:
    cosines = model.encode_images([opened(asked["image"])]) @ model.encode_texts(asked["text"]).T
    return cosines.tolist()


def opened(sent: str) -> Any:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(sent)))


VERBS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "complete": complete,
    "embed": embed,
    "fill": fill,
    "classify": classify,
    "match": match,
}


def reader(folder: str, verb: str, asked: Mapping[str, Any], form: str | None) -> Any:
    """Read a folder as the task that does a verb, its weights packed in a form."""
    from zoo import tasks
    from zoo.models import CLIP, load

    seen = tasks.ImageClassifier if "image" in asked else tasks.TextClassifier
    kinds = {"complete": tasks.Generator, "embed": tasks.Embedder, "fill": tasks.FillMask}
    sees = isinstance(load(tasks.find(folder)), CLIP)
    task: Any = (tasks.Matcher if sees else kinds.get(verb, seen)).from_folder(folder)
    if form is not None:
        task.model.optimize_for_inference(form)
    return task


def answers(folders: Mapping[str, str], weights: str | None, items: Sequence[Any]) -> list[Any]:
    """Give the answer of each good item, None of nonsense, and UNDECIDED."""
    models: dict[tuple[str, str], list[Any]] = {}
    found = []
    for item in items:
        if not item["good"]:
            found.append(None)
            continue
        asked, place = json.loads(item["body"]), (item["model"], item["verb"])
        if place not in models:
            forms = forms_of(item["verb"], weights)
            models[place] = [reader(folders[item["model"]], place[1], asked, f) for f in forms]
        found.append(agreed(VERBS[item["verb"]], models[place], asked))
    return found


def forms_of(verb: str, weights: str | None) -> tuple[str | None, ...]:
    """Name the forms of weights that give the server's numbers, up to rounding."""
    if weights is not None:
        return (weights,)
    return (None, "float32") if verb == "complete" else (None,)


def agreed(verb: Callable[[Any, Any], Any], models: Sequence[Any], asked: Any) -> Any:
    """Give what all forms and numbers of threads answer, or UNDECIDED.

    They add up in other orders. Where that alone changes which token is drawn, the draw fell on
    the border between two, and no text is the right one.
    """
    import torch

    found = []
    for threads in (1, 2) if verb is complete else (1,):
        torch.set_num_threads(threads)
        found += [verb(model, asked) for model in models]
    return found[0] if all(one == found[0] for one in found) else UNDECIDED


def fault(item: Mapping[str, Any], expected: Any, said: str) -> str | None:
    """Say how an answer with status 200 differs from the offline one; None where it does not."""
    try:
        return differs(item["verb"], expected, json.loads(said))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return f"no such answer: {type(error).__name__} {error}"


def differs(verb: str, expected: Any, answer: Mapping[str, Any]) -> str | None:
    if verb == "complete":
        got = answer["choices"][0]["text"]
        return None if got == expected["text"] else f"{got!r}, not {expected['text']!r}"
    if verb == "embed":
        return far(flat(expected), flat(row["embedding"] for row in answer["data"]))
    if verb == "match":
        return far(flat(expected), flat(answer["cosines"]))
    if verb == "fill":
        pairs = [(g["token"], g["probability"]) for m in answer["data"][0]["masks"] for g in m]
        return far_pairs([tuple(pair) for mask in expected for pair in mask], pairs)
    pairs = [(found["label"], found["probability"]) for found in answer["data"][0]["labels"]]
    return far_pairs([tuple(pair) for pair in expected], pairs)


def flat(rows: Iterable[Sequence[float]]) -> list[float]:
    return [number for row in rows for number in row]


def far(expected: Sequence[float], got: Sequence[float]) -> str | None:
    """Say by how much two lists of numbers differ, where that is more than rounding."""
    if len(expected) != len(got):
        return f"{len(got)} numbers, not {len(expected)}"
    off = [abs(a - b) / max(1.0, abs(a)) for a, b in zip(expected, got, strict=True)]
    worst = max(off, default=0.0)
    return None if worst <= CLOSE and math.isfinite(worst) else f"off by {worst:.1e}"


def far_pairs(
    expected: Sequence[tuple[str, float]], got: Sequence[tuple[str, float]]
) -> str | None:
    """Compare names with numbers; of names whose numbers are as good as alike the order is free."""
    wanted, found = dict(expected), dict(got)
    lowest = min(wanted.values(), default=0.0)
    strange = [name for name in found if name not in wanted and found[name] > lowest + CLOSE]
    if strange or len(wanted) != len(found):
        return f"{list(found)}, not {list(wanted)}"
    return far([wanted[n] for n in wanted if n in found], [found[n] for n in wanted if n in found])


def main(argv: Sequence[str]) -> None:
    asked = json.loads(Path(argv[0]).read_text())
    Path(argv[1]).write_text(
        json.dumps(answers(asked["folders"], asked["weights"], asked["items"]))
    )


if __name__ == "__main__":
    main(sys.argv[1:])
