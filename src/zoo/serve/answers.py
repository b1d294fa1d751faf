"""What an answer holds, for the OpenAPI document; tests hold the answers against it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Usage(Answer):
    prompt_tokens: int
    completion_tokens: int | None = None
    total_tokens: int


class Logprobs(Answer):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class Choice(Answer):
    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: Logprobs | None


class Completion(Answer):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str = Field(description="name@version of the model that answered")
    system_fingerprint: str | None
    seed: int
    choices: list[Choice]
    usage: Usage | None = None


class Embedding(Answer):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="or base64 of little-endian float32")


class Embeddings(Answer):
    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage


class Guess(Answer):
    token: str
    probability: float
    filled: str


class Filled(Answer):
    index: int
    masks: list[list[Guess]] = Field(description="of each masked word the likeliest tokens")


class Fills(Answer):
    object: Literal["list"]
    model: str
    data: list[Filled]
    usage: Usage


class Label(Answer):
    label: str
    probability: float


class Labelled(Answer):
    index: int
    labels: list[Label]


class Classes(Answer):
    object: Literal["list"]
    model: str
    data: list[Labelled]
    usage: Usage


class Matches(Answer):
    object: Literal["match"]
    model: str
    cosines: list[list[float]] = Field(description="a row a picture, a number a text")
    probabilities: list[list[float]] = Field(description="of a picture among its texts")
    usage: Usage


class Version(Answer):
    version: str
    state: str
    why: str | None = None
    about: dict[str, Any] | None = None


class Model(Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    default: str = Field(description="the version that a name by itself means")
    state: str = Field(description="of the version that is meant")
    versions: list[Version]


class Models(Answer):
    object: Literal["list"]
    data: list[Model]


class Health(Answer):
    status: Literal["alive", "ready"]


class Fault(Answer):
    message: str
    type: str
    param: str | None
    code: str


class ProblemAnswer(Answer):
    """RFC 9457, and OpenAI's error beside it."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    request_id: str
    error: Fault
