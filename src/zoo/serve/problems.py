"""What a client is told when a request is refused: RFC 9457, and what OpenAI's clients read.

    {"type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "...",
     "request_id": "...", "error": {"message": "...", "type": "...", "param": "...", "code": "..."}}

One body for all refusals, whoever makes them: protocol, guard, routes or engine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any

from zoo.serve.refusal import Kind, Refusal
from zoo.serve.schema import NEUTRAL

MEDIA = "application/problem+json"
CLIENT_GONE = 499  # nobody reads it; it stands in the record of the request
STATUS: dict[Kind, int] = {
    "invalid": 422,
    "unknown": 404,
    "busy": 429,
    "unready": 503,
    "draining": 503,
    "late": 504,
    "cancelled": CLIENT_GONE,
    "broken": 503,
}
CODES = {  # of refusals that no engine makes
    400: "malformed",
    401: "invalid_api_key",
    404: "unknown",
    405: "method_not_allowed",
    408: "timeout",
    411: "length_required",
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    422: "invalid",
    429: "busy",
    431: "headers_too_large",
    500: "internal",
    503: "unready",
    504: "late",
}
TITLES = {413: "Content Too Large", 422: "Unprocessable Content", CLIENT_GONE: "Client Gone"}
FORMS = ("body", "of texts", "of pictures")  # what stands before a field's name in pydantic's
AGAIN = 1.0  # seconds after which to come back, where nobody knows better


@dataclass(eq=False)
class Problem(Exception):
    """A refusal with its status; `param` names the field at fault, `headers` go with the answer."""

    status: int
    detail: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def title(status: int) -> str:
    """Give the phrase of a status."""
    return TITLES.get(status) or HTTPStatus(status).phrase


def document(problem: Problem, request_id: str) -> dict[str, Any]:
    """Give the body that says so."""
    status = problem.status
    return {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": problem.detail,
        "request_id": request_id,
        "error": {
            "message": problem.detail,
            "type": error_type(status),
            "param": problem.param,
            "code": problem.code or CODES.get(status, "invalid"),
        },
    }


def error_type(status: int) -> str:
    """Give OpenAI's word for a kind of error."""
    if status == HTTPStatus.UNAUTHORIZED:
        return "authentication_error"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"


def encoded(problem: Problem, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Give headers and body of the answer, for ASGI."""
    body = json.dumps(document(problem, request_id)).encode()
    headers = {"content-type": MEDIA, "content-length": str(len(body))} | problem.headers
    return [
        (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
    ], body


def of_refusal(refusal: Refusal) -> Problem:
    """Give a refusal its status, and say when to come back where that helps."""
    status = STATUS[refusal.kind]
    headers = {}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["retry-after"] = str(ceil(refusal.retry_after or AGAIN))
    if refusal.kind == "draining":
        headers["connection"] = "close"
    return Problem(status, refusal.message, refusal.param, refusal.kind, headers)


def of_errors(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Turn pydantic's errors into one sentence about the field that is at fault."""
    place = path(errors[0]["loc"])
    same = [error for error in errors if path(error["loc"]) == place]
    said = " or ".join(dict.fromkeys(sentence(error) for error in same[:4]))
    if place in NEUTRAL:
        said = f"no model here does this; the field may be {NEUTRAL[place]} or left out"
    return Problem(422, f"{place}: {said}" if place else said, place or None, "invalid")


def path(loc: Sequence[str | int]) -> str:
    """Name a field: the first name behind `body`; what follows names forms of a union."""
    return next((str(part) for part in loc if part not in FORMS), "")


def sentence(error: Mapping[str, Any]) -> str:
    """Say what pydantic found, in our words where its own are about Python."""
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    if error["type"] == "missing":
        return "this field is missing"
    if error["type"] in ("model_attributes_type", "model_type"):
        return "a JSON object was expected"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
