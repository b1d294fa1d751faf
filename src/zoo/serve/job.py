"""A request on its way to a model, and the events that come back; both are plain JSON and bytes.

    {"is": "piece", "choice": 0, "text": "...", "tokens": [ids], "finish": None, "logprobs": ...}
    {"is": "done", "answer": {...}}
    {"is": "failed", "kind": ..., "message": ..., "param": ..., "retry_after": ...}

Of a job come any number of pieces, then one of the other two. Verbs, bodies and answers:

    complete  {"prompts": [text or ids], "max_tokens": n or None, "temperature", "top_p", "top_k",
               "min_p", "repetition_penalty", "seed", "stop": [text], "logprobs": k or None,
               "n": choices a prompt, "echo": bool, "stream": bool}
              {"choices": [{"text", "finish", "tokens", "logprobs"}], "prompt_tokens", "new_tokens"}
    embed     {"texts": [text or ids], "normalize": bool or None}
              {"vectors": [base64 of little-endian float32], "size", "prompt_tokens"}
    fill      {"texts": [text], "top": n}
              {"texts": [[[{"token", "probability", "filled"}]]], "prompt_tokens"}
    classify  {"texts": [text]} or files with pictures, "top": n, "labels": [text] or None
              {"labels": [[{"label", "probability"}]], "prompt_tokens"}
    match     {"texts": [text]} and files with pictures
              {"cosines": [[a number a text] a picture], "probabilities": likewise,
               "prompt_tokens"}; probabilities of a picture are among its texts

`logprobs` of a choice or piece: {"tokens": [text], "token_logprobs": [number or None],
"top_logprobs": [{text: number}], "text_offset": [characters]}, as in OpenAI's completions.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.serve.refusal import Refusal

VERBS = ("complete", "embed", "fill", "classify", "match")
Event = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One request; `tell` hears its events, on the thread that makes them."""

    id: int
    verb: str
    body: dict[str, Any]
    tell: Callable[[Event], None]
    files: tuple[bytes, ...] = ()  # pictures
    deadline: float | None = None  # of time.monotonic, which all processes of a machine share
    start: float = 0.0  # of time.monotonic, when it was accepted


def late(job: Job, now: float) -> Refusal | None:
    """Give the Refusal of a job whose deadline has passed; None while there is time."""
    if job.deadline is None or now <= job.deadline:
        return None
    waited = f"after {now - job.start:.1f} s" if job.start else "in time"
    return Refusal("late", f"there was no answer {waited}: ask for less, or later")


def check_time(job: Job) -> None:
    """Raise the Refusal of a job whose deadline has passed: nobody waits for it any more."""
    refusal = late(job, time.monotonic())
    if refusal is not None:
        raise refusal
