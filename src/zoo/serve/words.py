"""From a body to a job's, and from an engine's answer to the one that is sent; no HTTP.

The forms on one side are OpenAI's (and, for fill, classify and match, like them); those on the
other are in zoo.serve.job.
"""

import array
import base64
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Any

from zoo.serve.limits import Limits
from zoo.serve.pictures import picture_of
from zoo.serve.refusal import Refusal
from zoo.serve.schema import CompletionRequest, EmbeddingRequest

Json = dict[str, Any]


def rows_of(sent: Any) -> list[Any]:
    """Give the texts, or lists of ids, of any of the four forms that a prompt may have."""
    if isinstance(sent, str):
        return [sent]
    return [sent] if isinstance(sent[0], int) else list(sent)


def check_batch(count: int, limits: Limits, param: str) -> None:
    """Raise Refusal for more texts or pictures than one request may hold."""
    if count > limits.batch:
        said = f"{count:,} at once; {limits.batch} are the most of one request"
        raise Refusal("invalid", f"{param}: {said}", param=param)


def texts_of(sent: Any, limits: Limits, param: str) -> list[Any]:
    """Give the rows of a field that holds one or several."""
    rows = rows_of(sent)
    check_batch(len(rows), limits, param)
    return rows


def files_of(sent: str | list[str], limits: Limits) -> list[bytes]:
    """Give the pictures of a field that holds one or several."""
    pictures = [sent] if isinstance(sent, str) else sent
    check_batch(len(pictures), limits, "image")
    return [picture_of(picture) for picture in pictures]


def completion_job(asked: CompletionRequest, limits: Limits) -> Json:
    """Give what an engine is to complete; draw a seed where none is given."""
    prompts = texts_of(asked.prompt, limits, "prompt")
    many = asked.n or 1
    check_batch(many * len(prompts), limits, "n")
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    return {
        "prompts": prompts,
        "max_tokens": asked.max_tokens,
        "temperature": given(asked.temperature, 1.0),
        "top_p": given(asked.top_p, 1.0),
        "top_k": asked.top_k,
        "min_p": asked.min_p,
        "repetition_penalty": given(asked.repetition_penalty, 1.0),
        "seed": given(asked.seed, secrets.randbits(32)),
        "stop": stop or [],
        "logprobs": asked.logprobs,
        "n": many,
        "echo": bool(asked.echo),
        "stream": bool(asked.stream),
    }


def given(value: Any, otherwise: Any) -> Any:
    """Give a value, or another for null."""
    return otherwise if value is None else value


def completion_head(model: str, fingerprint: str | None, seed: int) -> Json:
    """Give what a completion and every piece of a stream begin with."""
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": fingerprint,
        "seed": seed,
    }


def choice(index: int, part: Json) -> Json:
    """Give a choice, or a piece of one."""
    return {
        "index": index,
        "text": part["text"],
        "finish_reason": part["finish"],
        "logprobs": part["logprobs"],
    }


def usage(answer: Json) -> Json:
    """Count the tokens of an answer."""
    prompt = answer["prompt_tokens"]
    if "new_tokens" not in answer:
        return {"prompt_tokens": prompt, "total_tokens": prompt}
    new = answer["new_tokens"]
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def completion(head: Json, answer: Json) -> Json:
    """Give a completion."""
    choices = [choice(index, part) for index, part in enumerate(answer["choices"])]
    return {**head, "choices": choices, "usage": usage(answer)}


def listed(model: str, data: list[Json], answer: Json) -> Json:
    """Give a list of answers, one for each text or picture."""
    return {"object": "list", "model": model, "data": data, "usage": usage(answer)}


def embeddings(asked: EmbeddingRequest, model: str, answer: Json) -> Json:
    """Give vectors in the encoding that was asked for. Raises Refusal for another size."""
    size = answer["size"]
    if asked.dimensions not in (None, size):
        said = f"dimensions: {model} gives vectors of {size} numbers, and of no other size"
        raise Refusal("invalid", said, param="dimensions")
    whole = asked.encoding_format == "base64"
    vectors = [vector if whole else floats(vector) for vector in answer["vectors"]]
    rows = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    return listed(model, rows, answer)


def floats(encoded: str) -> list[float]:
    """Read base64 of little-endian float32."""
    numbers = array.array("f", base64.b64decode(encoded))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def each(name: str, rows: Sequence[Any]) -> list[Json]:
    """Number what is of one text or picture each."""
    return [{"index": index, name: row} for index, row in enumerate(rows)]


def model_object(model: Json, name: str) -> Json:
    """Give OpenAI's object for a model, and its versions. Raises Refusal for one that is not."""
    _, at, version = name.partition("@")
    wanted = version if at else model["default"]
    versions = {row["version"]: row for row in model["versions"]}
    if wanted not in versions:
        raise unknown(name)
    told = ("version", "state", "why", "about")
    return {
        "id": name,
        "object": "model",
        "created": int(versions[wanted]["since"]),
        "owned_by": "zoo",
        "default": model["default"],
        "state": versions[wanted]["state"],
        "versions": [{key: v.get(key) for key in told} for v in versions.values()],
    }


def find_model(models: Sequence[Json], name: str) -> Json:
    """Give the object of `name` or `name@version`. Raises Refusal where there is none."""
    for model in models:
        if model["name"] == name.partition("@")[0]:
            return model_object(model, name)
    raise unknown(name)


def unknown(name: str) -> Refusal:
    return Refusal(
        "unknown", f"no model {name[:200]!r} here; /v1/models lists what is", param="model"
    )
