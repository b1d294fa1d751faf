"""Refusals told: each kind has its status, one body serves RFC 9457 and OpenAI's clients."""

import json
from typing import get_args

import pytest
from pydantic import TypeAdapter

from zoo.serve.answers import ProblemAnswer
from zoo.serve.problems import CODES, STATUS, Problem, document, encoded, of_refusal, title
from zoo.serve.refusal import Kind, Refusal

KINDS = [
    ("invalid", 422, "invalid_request_error", None),
    ("unknown", 404, "invalid_request_error", None),
    ("busy", 429, "rate_limit_error", "3"),
    ("unready", 503, "server_error", "3"),
    ("draining", 503, "server_error", "3"),
    ("late", 504, "server_error", None),
    ("cancelled", 499, "invalid_request_error", None),
    ("broken", 503, "server_error", "3"),
]


@pytest.mark.parametrize(("kind", "status", "error_type", "again"), KINDS)
def test_a_kind_has_its_status_and_says_when_to_come_back(kind, status, error_type, again):
    problem = of_refusal(Refusal(kind, "why", param="prompt", retry_after=2.1))
    told = document(problem, "r")
    assert problem.status == told["status"] == status
    assert told["detail"] == told["error"]["message"] == "why"
    assert told["error"] == {
        "message": "why",
        "type": error_type,
        "param": "prompt",
        "code": kind,
    }
    assert problem.headers.get("retry-after") == again
    assert ("connection" in problem.headers) == (kind == "draining")


def test_every_kind_has_a_status():
    assert {kind for kind, *_ in KINDS} == set(STATUS) == set(get_args(Kind))


@pytest.mark.parametrize(("after", "told"), [(None, "1"), (0.2, "1"), (0.0, "1"), (1.2, "2")])
def test_to_come_back_is_told_in_whole_seconds_and_at_least_one(after, told):
    assert of_refusal(Refusal("busy", "", retry_after=after)).headers["retry-after"] == told


def test_whoever_has_no_key_made_an_error_of_authentication():
    assert document(Problem(401, "no key"), "r")["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("status", [*CODES, 499])
def test_every_status_has_a_body_of_the_form_that_is_documented(status):
    headers, body = encoded(Problem(status, "é\n", headers={"Retry-After": "1"}), "id")
    told = json.loads(body)
    TypeAdapter(ProblemAnswer).validate_python(told)
    assert told["request_id"] == "id"
    assert told["title"] == title(status) != ""
    assert told["error"]["code"] == CODES.get(status, "invalid")
    assert dict(headers) == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(body)).encode(),
        b"retry-after": b"1",
    }
