"""Guard, app and a fleet that has not started, asked in one process: all that is refused, and how.

What a model answers is in tests/e2e/test_serve_http.py.
"""

import asyncio
import json

import pytest

from unit.serve.asgi import ask, guarded
from zoo.serve import page
from zoo.serve.app import create_app
from zoo.serve.fleet import Fleet
from zoo.serve.limits import Limits
from zoo.serve.metrics import Metrics
from zoo.serve.plan import plan_of
from zoo.serve.problems import MEDIA
from zoo.serve.routes import ROUTES, UNDOCUMENTED
from zoo.serve.schema import DOT
from zoo.serve.visit import Gate

JSON = {"content-type": "application/json"}
LIMITS = Limits(batch=4, depth=8)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    fleet = Fleet(plan_of([f"gpt2={tmp_path_factory.mktemp('none')}"]), LIMITS)
    metrics = Metrics(fleet.models, {route.path for route in ROUTES})
    gate = Gate(LIMITS)
    guard, _, records = guarded(create_app(fleet, gate, metrics, keys=True), LIMITS)
    guard.records, guard.leaver = records, gate
    guard.keyless = create_app(fleet, gate, metrics)
    yield guard
    asyncio.run(fleet.close())


def put(app, path, body, headers=JSON, method="POST"):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asyncio.run(ask(app, method, path, sent, headers))


def get(app, path):
    return asyncio.run(ask(app, "GET", path))


def is_problem(reply, status, says, param=None):
    told = reply.json
    assert (reply.status, reply.headers["content-type"]) == (status, MEDIA)
    assert says in told["detail"]
    assert told["error"]["param"] == param
    assert (told["status"], told["request_id"]) == (status, reply.headers["x-request-id"])
    assert b"Traceback" not in reply.body
    return True


TYPES = [
    ("application/json", 404),
    ("application/json; charset=utf-8", 404),
    ('Application/JSON; charset="UTF-8"', 404),
    ("application/json; charset=latin-1", 415),
    ("application/json, text/plain", 415),
    ("application/jsonx", 415),
    ("application/problem+json", 415),
    ("text/plain", 415),
    ("application/x-www-form-urlencoded", 415),
    ("multipart/form-data; boundary=a", 415),
    ("application/octet-stream", 415),
    ("application/python-pickle", 415),
    ("", 415),
]
GOOD = {"model": "none", "prompt": "a"}


@pytest.mark.parametrize(("kind", "status"), TYPES, ids=range(len(TYPES)))
def test_a_body_is_json_in_utf8(app, kind, status):
    assert put(app, "/v1/completions", GOOD, {"content-type": kind}).status == status


def test_a_body_without_a_type_is_refused(app):
    assert is_problem(put(app, "/v1/fill", GOOD, {}), 415, "application/json")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_a_body_is_not_packed(app, coding):
    reply = put(app, "/v1/completions", GOOD, JSON | {"content-encoding": coding})
    assert is_problem(reply, 415, "without Content-Encoding")


BODIES = [
    (b"", 400, "the body is empty", None),
    (b"{", 400, "not JSON", None),
    (b"\xff", 400, "not UTF-8", None),
    (b'{"model": NaN}', 400, "NaN is not a number", None),
    (b"[" * 9 + b"]" * 9, 400, "nested more than 8 deep", None),
    (b"[]", 422, "a JSON object was expected", None),
    (b"null", 422, "a JSON object was expected", None),
    ({"prompt": "a"}, 422, "model: this field is missing", "model"),
    (GOOD | {"temperature": "1"}, 422, "temperature: should be a valid number", "temperature"),
    (GOOD | {"path": "/etc/passwd"}, 422, "path: there is no such field", "path"),
    (GOOD | {"prompt": ["a"] * 5}, 422, "prompt: 5 at once; 4 are the most", "prompt"),
    (GOOD | {"n": 5}, 422, "n: 5 at once; 4 are the most", "n"),
    (GOOD, 404, "no model 'none'", "model"),
    (GOOD | {"model": "../../etc"}, 404, "no model '../../etc'", "model"),
    (GOOD | {"model": "\0\n\u202e"}, 404, "no model", "model"),
]


@pytest.mark.parametrize(
    ("body", "status", "says", "param"), BODIES, ids=[str(n) for n in range(len(BODIES))]
)
def test_a_bad_body_is_refused_and_told_why(app, body, status, says, param):
    assert is_problem(put(app, "/v1/completions", body), status, says, param)


OTHERS = [
    ("/v1/embeddings", {"model": "none", "input": [[1, 2]]}),
    ("/v1/fill", {"model": "none", "input": "a"}),
    ("/v1/classify", {"model": "none", "input": ["a"]}),
    ("/v1/classify", {"model": "none", "image": DOT, "labels": ["a", "b"]}),
    ("/v1/match", {"model": "none", "text": "a", "image": DOT}),
]


@pytest.mark.parametrize(("path", "body"), OTHERS, ids=range(len(OTHERS)))
def test_every_verb_asks_the_fleet_for_its_model(app, path, body):
    assert is_problem(put(app, path, body), 404, "no model 'none'", "model")
    assert (app.records[-1]["route"], app.records[-1]["model"]) == (path, "none")
    assert app.records[-1]["refused"] == "unknown"


@pytest.mark.parametrize(
    "picture", ["http://169.254.169.254/", "file:///etc/passwd", "/etc/passwd"]
)
@pytest.mark.parametrize("path", ["/v1/classify", "/v1/match"])
def test_a_picture_is_not_fetched(app, path, picture):
    more = {"/v1/match": {"text": "a"}}.get(path, {})
    reply = put(app, path, {"model": "none", "image": [picture], **more})
    assert is_problem(reply, 422, "picture", "image")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "QUERY"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_a_path_takes_its_method_and_says_which(app, route, method):
    path = route.path.replace("{name}", "x")
    reply = asyncio.run(ask(app, method, path))
    assert is_problem(reply, 405, "does not take this method")
    assert reply.headers["allow"] == route.method
    assert app.records[-1]["route"] == route.path


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/models/", "/v1/completions/", "/docs", "/redoc", "//", "/../etc"]
)
def test_there_is_nothing_at_other_paths(app, path):
    assert is_problem(get(app, path), 404, "nothing at this path")
    assert app.records[-1]["route"] == "other"


def test_an_empty_fleet_is_alive_and_not_ready(app):
    assert get(app, "/healthz").json == {"status": "alive"}
    reply = get(app, "/readyz")
    assert is_problem(reply, 503, "a model is loading")
    assert reply.headers["retry-after"] == "1"
    assert get(app, "/v1/models").json == {"object": "list", "data": []}
    assert is_problem(get(app, "/v1/models/gpt2@1"), 404, "no model 'gpt2@1'", "model")
    assert get(app, "/v1/status").json["models"] == []


def test_a_server_that_leaves_is_not_ready(app):
    app.leaver.leaving = True
    assert is_problem(get(app, "/readyz"), 503, "about to leave")
    app.leaver.leaving = False
    assert is_problem(get(app, "/readyz"), 503, "a model is loading")


def test_the_document_asks_for_a_key_where_one_is_needed(app):
    told = get(app, "/openapi.json").json
    assert told["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    free = app.keyless.state.document
    assert "securitySchemes" not in free["components"]
    assert "security" not in free["paths"]["/v1/fill"]["post"]
    assert "401" not in free["paths"]["/v1/fill"]["post"]["responses"]


def test_operators_find_numbers_and_a_page(app):
    told = get(app, "/metrics")
    assert told.headers["content-type"].startswith("text/plain; version=")
    assert b"process_open_fds" in told.body
    for path, part in page.FILES.items():
        reply = get(app, path)
        assert (reply.status, reply.body) == (200, part.body)
        assert reply.headers["content-type"] == part.type
        assert reply.headers["content-security-policy"] == page.POLICY


def test_the_document_describes_every_route_and_its_refusals(app):
    told = get(app, "/openapi.json").json
    found = {(m.upper(), path) for path, methods in told["paths"].items() for m in methods}
    assert found == {(route.method, route.path) for route in ROUTES}
    problems = {"$ref": "#/components/schemas/Problem"}
    for route in ROUTES:
        operation = told["paths"][route.path][route.method.lower()]
        refused = {code: r for code, r in operation["responses"].items() if code != "200"}
        assert {str(int(code)) for code in route.refused} <= refused.keys()
        assert all(r["content"] == {MEDIA: {"schema": problems}} for r in refused.values())
        assert ("401" in refused) == ("security" in operation) == ("/v1/" in route.path)
    assert not {route.path for route in UNDOCUMENTED} & told["paths"].keys()
    assert "HTTPValidationError" not in told["components"]["schemas"]
