"""From bodies to jobs and from answers to what is sent; pictures are never fetched."""

import base64
import struct

import pytest

from zoo.serve import words
from zoo.serve.limits import Limits
from zoo.serve.pictures import picture_of
from zoo.serve.refusal import Refusal
from zoo.serve.schema import CompletionRequest, EmbeddingRequest

FOUR = Limits(batch=4)
FORMS = [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])]
COUNT = {"prompt_tokens": 5}


def completion(**fields):
    return CompletionRequest(model="m", **{"prompt": "a"} | fields)


@pytest.mark.parametrize(("sent", "rows"), FORMS, ids=["text", "texts", "ids", "lists of ids"])
def test_each_form_of_a_prompt_becomes_rows(sent, rows):
    assert words.texts_of(sent, FOUR, "input") == rows


def test_a_batch_has_a_limit_that_names_the_field():
    with pytest.raises(Refusal, match="input: 5 at once; 4 are the most") as refused:
        words.texts_of(["a"] * 5, FOUR, "input")
    assert (refused.value.kind, refused.value.param) == ("invalid", "input")
    with pytest.raises(Refusal, match="n: 6 at once"):
        words.completion_job(completion(prompt=["a", "b"], n=3), FOUR)
    with pytest.raises(Refusal, match="image: 5 at once"):
        words.files_of(["AA=="] * 5, FOUR)
    assert words.completion_job(completion(prompt=["a", "b"], n=2), FOUR)["n"] == 2


def test_null_means_the_default():
    nulls = dict.fromkeys(("temperature", "top_p", "repetition_penalty", "n", "echo", "stream"))
    job = words.completion_job(completion(**nulls, seed=3, max_tokens=None), FOUR)
    assert job == {
        "prompts": ["a"],
        "max_tokens": None,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": None,
        "min_p": None,
        "repetition_penalty": 1.0,
        "seed": 3,
        "stop": [],
        "logprobs": None,
        "n": 1,
        "echo": False,
        "stream": False,
    }


def test_what_is_given_is_kept():
    given = {"max_tokens": 0, "temperature": 0.0, "top_p": 0.5, "top_k": 3, "min_p": 0.1}
    given |= {"repetition_penalty": 2.0, "seed": 0, "logprobs": 0, "echo": True, "stream": True}
    job = words.completion_job(completion(**given), FOUR)
    assert {name: job[name] for name in given} == given
    assert words.completion_job(completion(stop="x"), FOUR)["stop"] == ["x"]
    assert words.completion_job(completion(stop=["x", "y"]), FOUR)["stop"] == ["x", "y"]


def test_a_seed_is_drawn_anew_for_each_request():
    seeds = {words.completion_job(completion(), FOUR)["seed"] for _ in range(8)}
    assert len(seeds) > 1 and all(0 <= seed < 2**32 for seed in seeds)


def test_a_completion_has_its_choices_in_order_and_counts_tokens():
    head = words.completion_head("m@1", "f", 7)
    parts = [{"text": t, "finish": "stop", "logprobs": None, "tokens": [1]} for t in "ab"]
    told = words.completion(head, {"choices": parts, "prompt_tokens": 5, "new_tokens": 2})
    assert {name: told[name] for name in ("model", "system_fingerprint", "seed")} == {
        "model": "m@1",
        "system_fingerprint": "f",
        "seed": 7,
    }
    assert [(c["index"], c["text"], c["finish_reason"]) for c in told["choices"]] == [
        (0, "a", "stop"),
        (1, "b", "stop"),
    ]
    assert told["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert words.usage(COUNT) == {"prompt_tokens": 5, "total_tokens": 5}


@pytest.mark.parametrize("dimensions", [None, 2])
def test_vectors_are_numbers_or_base64(dimensions):
    vector = base64.b64encode(struct.pack("<2f", 0.5, -3.0)).decode()
    answer = {"vectors": [vector], "size": 2, **COUNT}
    asked = EmbeddingRequest(model="m", input="a", dimensions=dimensions)
    (row,) = words.embeddings(asked, "m@1", answer)["data"]
    assert row == {"object": "embedding", "index": 0, "embedding": [0.5, -3.0]}
    asked = EmbeddingRequest(model="m", input="a", encoding_format="base64")
    assert words.embeddings(asked, "m@1", answer)["data"][0]["embedding"] == vector


def test_vectors_have_the_models_size_and_no_other():
    asked = EmbeddingRequest(model="m", input="a", dimensions=3)
    with pytest.raises(Refusal, match="dimensions: m@1 gives vectors of 2 numbers"):
        words.embeddings(asked, "m@1", {"vectors": [], "size": 2, **COUNT})


BYTES = bytes(range(256))
ENCODED = base64.b64encode(BYTES).decode()


@pytest.mark.parametrize("head", ["", "data:image/png;base64,", "DATA:image/svg+xml;BASE64,"])
def test_a_picture_is_base64_or_a_data_url(head):
    assert picture_of(head + ENCODED) == BYTES
    assert words.files_of(head + ENCODED, FOUR) == words.files_of([head + ENCODED], FOUR) == [BYTES]


NO_PICTURES = [
    ("http://host/a.png", "none is fetched"),
    ("https://host/a.png", "none is fetched"),
    ("file:///etc/passwd", "none is fetched"),
    ("ftp:x", "none is fetched"),
    ("data:text/html;base64,AAAA", "none is fetched"),
    ("data:image/png,AAAA", "none is fetched"),
    ("/etc/passwd", "not base64"),
    ("../a.png", "not base64"),
    ("AAA", "not base64"),
    ("AA AA", "not base64"),
    ("é", "not base64"),
    ("-_-_", "not base64"),
    ("", "empty"),
    ("data:image/png;base64,", "empty"),
]


@pytest.mark.parametrize(("sent", "why"), NO_PICTURES, ids=range(len(NO_PICTURES)))
def test_what_is_no_picture_is_refused_and_nothing_is_fetched(sent, why):
    with pytest.raises(Refusal, match=why) as refused:
        picture_of(sent)
    assert (refused.value.kind, refused.value.param) == ("invalid", "image")


def version(name, state="ready"):
    return {"version": name, "state": state, "why": None, "about": {"a": 1}, "since": 5.9, "x": 1}


MODELS = [
    {"name": "a", "default": "2", "versions": [version("1", "leaving"), version("2")]},
    {"name": "b", "default": "1", "versions": [version("1", "loading")]},
]


@pytest.mark.parametrize(
    ("name", "state"), [("a", "ready"), ("a@1", "leaving"), ("a@2", "ready"), ("b", "loading")]
)
def test_a_model_is_found_by_its_name_or_a_versions(name, state):
    found = words.find_model(MODELS, name)
    assert (found["id"], found["state"], found["created"]) == (name, state, 5)
    assert found["versions"][0].keys() == {"version", "state", "why", "about"}


@pytest.mark.parametrize("name", ["", "c", "a@3", "@1", "a@", "a@1@1", "A"], ids=range(7))
def test_no_other_name_leads_to_a_model(name):
    with pytest.raises(Refusal, match="lists what is") as refused:
        words.find_model(MODELS, name)
    assert refused.value.kind == "unknown"
