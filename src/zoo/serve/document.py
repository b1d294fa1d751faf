"""The OpenAPI document: FastAPI's, with our problems in place of its own errors."""

from typing import Any

from pydantic import TypeAdapter

from zoo.serve.answers import ProblemAnswer
from zoo.serve.problems import MEDIA, title

Json = dict[str, Any]
METHODS = ("get", "post")
ANYWHERE = (408, 413, 431, 503, 504)  # of any request: guard and protocol
EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
STREAM = {"schema": EVENT | {"description": "pieces of a completion in JSON, then [DONE]"}}
KEY = {"key": {"type": "http", "scheme": "bearer"}}
NO_KEY = ("/healthz", "/readyz")


def describe(document: Json, refused: dict[str, tuple[int, ...]], *, keys: bool) -> Json:
    """Add to FastAPI's document what it does not know; `refused`: path -> statuses."""
    parts = document["components"]["schemas"]
    schema = TypeAdapter(ProblemAnswer).json_schema(ref_template="#/components/schemas/{model}")
    parts |= schema.pop("$defs") | {"Problem": schema}
    for unused in ("HTTPValidationError", "ValidationError"):
        parts.pop(unused, None)
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                finish(operations[method], path, refused[path], keys=keys)
    if keys:
        document["components"]["securitySchemes"] = KEY
    return document


def finish(operation: Json, path: str, refused: tuple[int, ...], *, keys: bool) -> None:
    """Name an operation's refusals, its stream, and the key that it asks for."""
    asks = keys and path not in NO_KEY
    statuses = sorted({*refused, *ANYWHERE, *([401] if asks else [])})
    good = {code: told for code, told in operation["responses"].items() if code == "200"}
    operation["responses"] = good | {str(code): problem(code) for code in statuses}
    if asks:
        operation["security"] = [{"key": []}]
    if path == "/v1/completions":
        good["200"]["content"]["text/event-stream"] = STREAM


def problem(status: int) -> Json:
    """Describe a refusal."""
    told: Json = {
        "description": title(status),
        "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in (429, 503):
        told["headers"] = {
            "Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}
        }
    return told
