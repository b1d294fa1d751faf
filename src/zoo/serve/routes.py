"""What each path does: from a checked body to a job, from its events to an answer.

Every function is plain and is named in a row of ROUTES; refusals are raised, and told by app.py.
The visit learns which model answered and what it counted.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from zoo.serve import answers as told
from zoo.serve import page, words
from zoo.serve.asked import Answers
from zoo.serve.fleet import Fleet
from zoo.serve.metrics import Metrics, status
from zoo.serve.problems import document, of_refusal
from zoo.serve.refusal import Refusal
from zoo.serve.schema import (
    ClassifyRequest,
    CompletionRequest,
    EmbeddingRequest,
    FillRequest,
    MatchRequest,
    PictureClassifyRequest,
)
from zoo.serve.visit import Gate, Visit

MODEL = "x-model"  # the header that names the version that answered
Json = dict[str, Any]


@dataclass(frozen=True)
class House:
    """What routes work with; `request.app.state.house`."""

    fleet: Fleet
    gate: Gate
    metrics: Metrics


@dataclass(frozen=True)
class Route:
    """A path, what answers there, the form of its answer, the statuses of its refusals."""

    method: str
    path: str
    answer: Callable[..., Any]
    form: Any
    refused: Collection[int]
    says: str


def house_of(request: Request) -> House:
    """Give what a route works with."""
    house: House = request.app.state.house
    return house


def visit_of(request: Request) -> Visit:
    """Give what is known of a request."""
    visit: Visit = request.state.visit
    return visit


def ask(request: Request, model: str, verb: str, body: Json, files: list[bytes]) -> Answers:
    """Ask a model; whoever leaves, or is late, takes the job away with it. Raises Refusal."""
    visit = visit_of(request)
    visit.noted |= {"model": model, "verb": verb}
    answers = house_of(request).fleet.submit(model, verb, body, files, deadline=visit.deadline)
    visit.noted["model"] = answers.model
    visit.undo.append(answers.cancel)
    return answers


async def asked(request: Request, model: str, verb: str, body: Json, *files: bytes) -> Any:
    """Ask a model and wait; give its full name and its answer. Raises Refusal."""
    answers = ask(request, model, verb, body, list(files))
    answer = await answers.done()
    count(visit_of(request), answer)
    return answers.model, answer


def count(visit: Visit, answer: Json) -> None:
    """Note the tokens of an answer."""
    visit.noted |= {k: answer[k] for k in ("prompt_tokens", "new_tokens") if k in answer}


def sent(model: str, body: Json) -> Response:
    """Give an answer, whose model stands in a header too."""
    return JSONResponse(body, headers={MODEL: model})


async def completions(asks: CompletionRequest, request: Request) -> Response:
    """Continue texts, all at once or as a stream. Raises Refusal."""
    fleet, limits = house_of(request).fleet, house_of(request).gate.limits
    job = words.completion_job(asks, limits)
    answers = ask(request, asks.model, "complete", job, [])
    about = fleet.find(answers.model).about or {}
    head = words.completion_head(answers.model, about.get("fingerprint"), job["seed"])
    if asks.stream:
        return await streamed(asks, request, answers, head)
    answer = await answers.done()
    count(visit_of(request), answer)
    return sent(answers.model, words.completion(head, answer))


async def streamed(
    asks: CompletionRequest, request: Request, answers: Answers, head: Json
) -> Response:
    """Begin a stream when its first event is there, so that a refusal still has its status."""
    events = aiter(answers)
    first = await anext(events)
    visit = visit_of(request)
    visit.first = time.monotonic()
    with_usage = asks.stream_options is not None and asks.stream_options.include_usage
    lines = stream_lines(first, events, head, visit, with_usage=with_usage)
    headers = {MODEL: answers.model, "cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def stream_lines(
    first: Json, events: AsyncIterator[Json], head: Json, visit: Visit, *, with_usage: bool
) -> AsyncIterator[bytes]:
    """Give server-sent events: pieces, the usage where it is wanted, [DONE]; or a problem."""
    empty = {"usage": None} if with_usage else {}
    event = first
    try:
        while event["is"] == "piece":
            yield line({**head, "choices": [words.choice(event["choice"], event)], **empty})
            event = await anext(events)
    except Refusal as refusal:
        visit.noted["refused"] = refusal.kind
        yield line(document(of_refusal(refusal), visit.id))
        return
    count(visit, event["answer"])
    if with_usage:
        yield line({**head, "choices": [], "usage": words.usage(event["answer"])})
    yield b"data: [DONE]\n\n"


def line(body: Json) -> bytes:
    """Give one server-sent event."""
    return b"data: " + json.dumps(body, allow_nan=False).encode() + b"\n\n"


async def embeddings(asks: EmbeddingRequest, request: Request) -> Response:
    """Give vectors of texts. Raises Refusal."""
    texts = words.texts_of(asks.input, house_of(request).gate.limits, "input")
    job = {"texts": texts, "normalize": None}
    model, answer = await asked(request, asks.model, "embed", job)
    return sent(model, words.embeddings(asks, model, answer))


async def fill(asks: FillRequest, request: Request) -> Response:
    """Fill in masked words. Raises Refusal."""
    texts = words.texts_of(asks.input, house_of(request).gate.limits, "input")
    model, answer = await asked(request, asks.model, "fill", {"texts": texts, "top": asks.top})
    return sent(model, words.listed(model, words.each("masks", answer["texts"]), answer))


async def classify(asks: ClassifyRequest, request: Request) -> Response:
    """Label texts or pictures. Raises Refusal."""
    limits = house_of(request).gate.limits
    if isinstance(asks, PictureClassifyRequest):
        files = words.files_of(asks.image, limits)
        labels = asks.labels and words.texts_of(asks.labels, limits, "labels")
        job: Json = {"texts": [], "top": asks.top, "labels": labels}
    else:
        files = []
        texts = words.texts_of(asks.input, limits, "input")
        job = {"texts": texts, "top": asks.top, "labels": None}
    model, answer = await asked(request, asks.model, "classify", job, *files)
    return sent(model, words.listed(model, words.each("labels", answer["labels"]), answer))


async def match(asks: MatchRequest, request: Request) -> Response:
    """Compare pictures with texts, each with each. Raises Refusal."""
    limits = house_of(request).gate.limits
    texts, files = words.texts_of(asks.text, limits, "text"), words.files_of(asks.image, limits)
    model, answer = await asked(request, asks.model, "match", {"texts": texts}, *files)
    found = {key: answer[key] for key in ("cosines", "probabilities")}
    body = {"object": "match", "model": model, **found, "usage": words.usage(answer)}
    return sent(model, body)


async def models(request: Request) -> Response:
    """List the models."""
    served = house_of(request).fleet.models()
    rows = [words.model_object(model, model["name"]) for model in served]
    return JSONResponse({"object": "list", "data": rows})


async def model(name: str, request: Request) -> Response:
    """Tell of one model, or one version of it. Raises Refusal where there is none."""
    return JSONResponse(words.find_model(house_of(request).fleet.models(), name))


async def healthz() -> Response:
    """Say that the process answers."""
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> Response:
    """Say whether each model's default takes traffic and the server stays. Raises Refusal."""
    house = house_of(request)
    if house.gate.leaving:
        raise Refusal("draining", "the server is about to leave")
    if not house.fleet.ready:
        raise Refusal("unready", "a model is loading, or was refused; /v1/models says which")
    return JSONResponse({"status": "ready"})


async def metrics(request: Request) -> Response:
    """Give what Prometheus reads."""
    text, kind = house_of(request).metrics.text(request.headers.get("accept", ""))
    return Response(text, headers={"content-type": kind})


async def server_status(request: Request) -> Response:
    """Give what the status page shows."""
    house = house_of(request)
    return JSONResponse(status(house.fleet.models(), house.metrics))


async def page_file(request: Request) -> Response:
    """Give a file of the status page."""
    part = page.FILES[request.url.path]
    return Response(part.body, headers={"content-type": part.type, **page.HEADERS})


async def openapi(request: Request) -> Response:
    """Give the document that describes all this."""
    return JSONResponse(request.app.state.document)


POST = tuple(HTTPStatus(n) for n in (400, 404, 408, 411, 413, 415, 422, 429, 503, 504))
ROUTES = [
    Route("POST", "/v1/completions", completions, told.Completion, POST, "Continue texts"),
    Route("POST", "/v1/embeddings", embeddings, told.Embeddings, POST, "Vectors of texts"),
    Route("POST", "/v1/fill", fill, told.Fills, POST, "Fill in masked words"),
    Route("POST", "/v1/classify", classify, told.Classes, POST, "Label texts or pictures"),
    Route("POST", "/v1/match", match, told.Matches, POST, "Compare pictures with texts"),
    Route("GET", "/v1/models", models, told.Models, (), "What is served"),
    Route("GET", "/v1/models/{name}", model, told.Model, (404,), "One model and its versions"),
    Route("GET", "/healthz", healthz, told.Health, (), "The process answers"),
    Route("GET", "/readyz", readyz, told.Health, (503,), "All models take traffic"),
]
UNDOCUMENTED = [  # for people, for Prometheus, and the document itself
    Route("GET", "/openapi.json", openapi, None, (), ""),
    Route("GET", "/metrics", metrics, None, (), ""),
    Route("GET", "/v1/status", server_status, None, (), ""),
    *(Route("GET", path, page_file, None, (), "") for path in page.FILES),
]
