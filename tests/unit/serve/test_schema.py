"""What requests may hold: good ones pass, each bad field is named, neutral values mean nothing."""

import pytest
from pydantic import TypeAdapter, ValidationError

from zoo.serve.problems import of_errors
from zoo.serve.schema import (
    DOT,
    NEUTRAL,
    ClassifyRequest,
    CompletionRequest,
    EmbeddingRequest,
    FillRequest,
    MatchRequest,
    PictureClassifyRequest,
    TextClassifyRequest,
)

COMPLETION = {"model": "m", "prompt": "a"}
GOOD = [
    {},
    {"prompt": ["a", "b"]},
    {"prompt": [1, 2]},
    {"prompt": [[1], [2, 3]]},
    {"prompt": ""},
    {"max_tokens": None, "n": 4, "echo": True, "logprobs": 5},
    {"temperature": 0, "top_p": 1, "top_k": 5, "min_p": 0.5},
    {"stop": "x"},
    {"stop": ["x", "y", "z", "u", "v"], "seed": 2**63 - 1},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"presence_penalty": 0.0, "frequency_penalty": 0, "best_of": 1},
    {"logit_bias": {}, "suffix": "", "user": "someone"},
]
BAD = [
    ({"prompt": {"a": 1}}, "prompt", "should be a valid string or should be a valid list"),
    ({"prompt": []}, "prompt", "at least 1 item"),
    ({"prompt": [1, "a"]}, "prompt", "should be a valid integer"),
    ({"prompt": [True]}, "prompt", "should be a valid integer"),
    ({"prompt": [-1]}, "prompt", "greater than or equal to 0"),
    ({"prompt": None}, "prompt", "should be a valid string"),
    ({"model": ""}, "model", "at least 1 character"),
    ({"model": 5}, "model", "should be a valid string"),
    ({"max_tokens": -1}, "max_tokens", "greater than or equal to 0"),
    ({"max_tokens": 1.5}, "max_tokens", "should be a valid integer"),
    ({"max_tokens": "5"}, "max_tokens", "should be a valid integer"),
    ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
    ({"temperature": True}, "temperature", "should be a valid number"),
    ({"temperature": float("nan")}, "temperature", "finite number"),
    ({"top_p": 0}, "top_p", "greater than 0"),
    ({"top_p": 1.1}, "top_p", "less than or equal to 1"),
    ({"top_k": 0}, "top_k", "greater than or equal to 1"),
    ({"min_p": 2}, "min_p", "less than or equal to 1"),
    ({"repetition_penalty": 5e-324}, "repetition_penalty", "greater than or equal to 0.01"),
    ({"n": 0}, "n", "greater than or equal to 1"),
    ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
    ({"logprobs": True}, "logprobs", "should be a valid integer"),
    ({"echo": 1}, "echo", "should be a valid boolean"),
    ({"stop": ""}, "stop", "at least 1 character"),
    ({"stop": ["a", ""]}, "stop", "at least 1 character"),
    ({"stop": ["a"] * 17}, "stop", "at most 16 items"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
    ({"seed": 2**63}, "seed", "less than"),
    ({"stream_options": {}}, None, "stream_options is for stream: true alone"),
    ({"stream": True, "stream_options": {"x": 1}}, "stream_options", "there is no such field"),
    ({"best_of": True}, "best_of", "no model here does this; the field may be 1 or left out"),
    ({"best_of": 2}, "best_of", "no model here does this"),
    ({"presence_penalty": 0.5}, "presence_penalty", "the field may be 0 or left out"),
    ({"presence_penalty": False}, "presence_penalty", "no model here does this"),
    ({"frequency_penalty": -2}, "frequency_penalty", "no model here does this"),
    ({"logit_bias": {"5": 1}}, "logit_bias", "the field may be empty or left out"),
    ({"suffix": "b"}, "suffix", "the field may be empty or left out"),
    ({"messages": []}, "messages", "there is no such field"),
]
OTHERS = [
    (EmbeddingRequest, {"model": "m", "input": [[1]]}, {"encoding_format": "base64", "user": "u"}),
    (EmbeddingRequest, {"model": "m", "input": "a"}, {"dimensions": 5}),
    (FillRequest, {"model": "m", "input": ["a [MASK]"]}, {"top": 1}),
    (MatchRequest, {"model": "m", "text": "a", "image": [DOT]}, {}),
    (TextClassifyRequest, {"model": "m", "input": "a"}, {"top": 1000}),
    (PictureClassifyRequest, {"model": "m", "image": DOT}, {"labels": ["a"], "top": 2}),
]


def fault(form, body):
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(form).validate_python(body)
    return of_errors(refused.value.errors())


@pytest.mark.parametrize("fields", GOOD, ids=range(len(GOOD)))
def test_a_good_completion_passes(fields):
    asked = CompletionRequest.model_validate(COMPLETION | fields)
    assert asked.model_dump(include=set(fields), exclude_unset=True) == fields


@pytest.mark.parametrize(("fields", "param", "says"), BAD, ids=range(len(BAD)))
def test_a_bad_field_is_named_and_told_why(fields, param, says):
    problem = fault(CompletionRequest, COMPLETION | fields)
    assert problem.status == 422
    assert problem.param == param
    assert says in problem.detail
    assert param is None or problem.detail.startswith(f"{param}: ")


@pytest.mark.parametrize(("form", "needed", "more"), OTHERS, ids=range(len(OTHERS)))
def test_a_good_request_passes_needs_its_fields_and_has_no_others(form, needed, more):
    assert form.model_validate(needed | more).model_dump(exclude_unset=True) == needed | more
    assert fault(form, needed | {"more": 1}).detail == "more: there is no such field"
    for name in needed:
        rest = {key: value for key, value in needed.items() if key != name}
        assert fault(form, rest).detail == f"{name}: this field is missing"


def test_to_classify_is_of_texts_or_of_pictures():
    read = TypeAdapter(ClassifyRequest).validate_python
    assert isinstance(read({"model": "m", "input": "a"}), TextClassifyRequest)
    assert isinstance(read({"model": "m", "image": "AA", "labels": ["x"]}), PictureClassifyRequest)
    assert fault(ClassifyRequest, {"model": "m", "image": "AA", "input": "a"}).param == "input"
    assert fault(ClassifyRequest, {"model": "m", "input": "a", "labels": ["x"]}).param == "labels"
    long = {"model": "m", "image": "AA", "labels": ["x", "x" * 1001]}
    assert "at most 1000 characters" in fault(ClassifyRequest, long).detail
    assert fault(ClassifyRequest, {"model": "m"}).param == "input"


@pytest.mark.parametrize("body", [None, [], "a", 5], ids=range(4))
@pytest.mark.parametrize("form", [CompletionRequest, ClassifyRequest], ids=["plain", "either"])
def test_a_body_that_is_no_object_is_told_so(form, body):
    problem = fault(form, body)
    assert (problem.param, problem.detail) == (None, "a JSON object was expected")


def test_neutral_fields_are_those_of_openai_that_nothing_here_does():
    assert set(NEUTRAL) <= set(CompletionRequest.model_fields)


def test_a_long_list_of_the_wrong_kind_gives_few_errors():
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(CompletionRequest).validate_python(COMPLETION | {"prompt": [None] * 100_000})
    assert refused.value.error_count() < 10
