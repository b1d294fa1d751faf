"""What is asked: requests for whatever the served models do, drawn from a seed, and nonsense.

An item is plain JSON: name, method, path, body (a string), good (whether it deserves an answer),
and of a good one model, verb and stream.
"""

import base64
import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Item = dict[str, Any]
WORDS = """the a house garden cat dog red green blue is in of hello world and rain sun was not with
who had been seen by all men before it came to us at night when she said that he would go""".split()
EACH = 24  # items of a model and verb
PATHS = {
    "complete": "/v1/completions",
    "embed": "/v1/embeddings",
    "fill": "/v1/fill",
    "classify": "/v1/classify",
    "match": "/v1/match",
}
LABELS = ["a cat", "a red flag", "a house", "the sun"]


def text(draw: random.Random, least: int = 4, most: int = 24) -> str:
    """Draw a text of some words."""
    return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))


def picture(draw: random.Random, size: int = 64) -> str:
    """Draw a PNG with a few shapes, as base64."""
    from PIL import Image, ImageDraw

    made = Image.new("RGB", (size, size), tuple(draw.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(made)
    for shape in (pen.rectangle, pen.ellipse):
        x, y, side = (draw.randrange(8, size // 2) for _ in range(3))
        shape((x, y, x + side, y + side), fill=tuple(draw.randrange(256) for _ in range(3)))
    out = io.BytesIO()
    made.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def body(verb: str, about: Mapping[str, Any], draw: random.Random, tokens: int) -> dict[str, Any]:
    """Draw the body of a request, without its model."""
    if verb == "complete":
        stream = draw.random() < 0.5
        asked = {"max_tokens": tokens, "temperature": 0.8, "seed": draw.randrange(2**31)}
        streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return {"prompt": text(draw)} | asked | streamed
    if verb == "embed":
        return {"input": [text(draw, 2, 10) for _ in range(draw.randint(1, 3))]}
    if verb == "fill":
        return {"input": f"{text(draw, 2, 8)} [MASK] {text(draw, 1, 6)}."}
    if verb == "match":
        return {"image": picture(draw), "text": LABELS}
    if about["image"] is None:
        return {"input": text(draw)}
    return {"image": picture(draw)} | ({"labels": LABELS} if about["head"] == "match" else {})


def items_of(
    models: Iterable[Mapping[str, Any]], *, seed: int, tokens: int, only: Iterable[str] = ()
) -> list[Item]:
    """Give items for all that models do (as /v1/status tells them), or for the verbs of `only`.

    Raises ValueError where that is nothing.
    """
    chosen, found = frozenset(only), []
    for model in models:
        about = next(v["about"] for v in model["versions"] if v["version"] == model["default"])
        for verb in about["verbs"]:
            if not chosen or verb in chosen:
                draw = random.Random(f"{seed} {model['name']} {verb}")
                bodies = [body(verb, about, draw, tokens) for _ in range(EACH)]
                found += [item(model["name"], verb, one) for one in bodies]
    if not found:
        raise ValueError(f"no model does any of {sorted(chosen)}")
    return found


def item(model: str, verb: str, asked: dict[str, Any]) -> Item:
    return {
        "name": f"{model} {verb}",
        "method": "POST",
        "path": PATHS[verb],
        "body": json.dumps({"model": model} | asked),
        "good": True,
        "model": model,
        "verb": verb,
    }


def nonsense(model: str) -> Iterator[Item]:
    """Yield requests that deserve a 4xx, whatever the model does."""
    prompt = {"model": model, "prompt": "x"}
    bodies: dict[str, tuple[str, str]] = {
        "no JSON": ("/v1/completions", '{"model": '),
        "a number that is none": ("/v1/completions", '{"model": "x", "temperature": NaN}'),
        "deep": ("/v1/completions", "[" * 500 + "]" * 500),
        "a wrong type": ("/v1/completions", json.dumps(prompt | {"max_tokens": "many"})),
        "an unknown field": ("/v1/completions", json.dumps(prompt | {"sudo": True})),
        "no such model": ("/v1/completions", json.dumps(prompt | {"model": "nobody"})),
        "no such token": ("/v1/embeddings", json.dumps({"model": model, "input": [2**31 - 1]})),
        "too many texts": ("/v1/embeddings", json.dumps({"model": model, "input": ["x"] * 65})),
        "no picture": ("/v1/classify", json.dumps({"model": model, "image": "AAAA"})),
        "no such path": ("/v1/nothing", "{}"),
    }
    for name, (path, sent) in bodies.items():
        yield {"name": name, "method": "POST", "path": path, "body": sent, "good": False}
