"""What a request may hold, field by field; whatever else it holds is refused by name.

Types are strict ("5" is no number, true is no 1), lists stop at their first fault, and what OpenAI
defines but no model here can do is accepted with the value that means nothing, and only with that.
Limits that an operator may change (batch, tokens, pixels) are not here.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

LONG = 200_000  # items of a list; what a body may hold anyway
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=8 * 2**20)]
Id = Annotated[int, Field(ge=0, lt=2**31)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=LONG, fail_fast=True)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=LONG, fail_fast=True)]
Rows = Annotated[list[Ids], Field(min_length=1, max_length=LONG, fail_fast=True)]
Prompt = Text | Texts | Ids | Rows
Stop = Annotated[str, Field(min_length=1, max_length=256)]
Stops = Annotated[list[Stop], Field(max_length=16, fail_fast=True)]
Label = Annotated[str, Field(max_length=1000)]  # it is told again with each picture
Labels = Annotated[list[Label], Field(min_length=1, max_length=LONG, fail_fast=True)]
DOT = (  # the smallest picture: one pixel, as GIF
    "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw=="
)
Picture = Annotated[str, Field(min_length=1, description="base64, or a data: URL that holds it")]
Pictures = Annotated[list[Picture], Field(min_length=1, max_length=LONG, fail_fast=True)]
Top = Annotated[int, Field(ge=1, le=1000, description="how many of the likeliest")]
Nought = Annotated[float, Field(ge=0, le=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
NEUTRAL = {  # what means nothing, of fields that no model here can do more with
    "best_of": "1",
    "suffix": "empty",
    "presence_penalty": "0",
    "frequency_penalty": "0",
    "logit_bias": "empty",
}


class Strict(BaseModel):
    """A body, or a part of one."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class StreamOptions(Strict):
    include_usage: bool = False


class CompletionRequest(Strict):
    """OpenAI's completion; without a seed one is drawn and told in the answer."""

    model: Name = Field(examples=["gpt2"])
    prompt: Prompt
    max_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        default=16, description="null: as many as the model's context leaves room for"
    )
    temperature: Annotated[float, Field(ge=0, le=100)] | None = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    top_k: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = 1.0
    n: Annotated[int, Field(ge=1, le=1000)] | None = 1
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = False
    stop: Stop | Stops | None = None
    seed: Seed | None = None
    user: str | None = Field(default=None, description="not looked at")
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    suffix: Annotated[str, Field(max_length=0)] | None = None
    presence_penalty: Nought | None = None
    frequency_penalty: Nought | None = None
    logit_bias: Annotated[dict[str, int], Field(max_length=0)] | None = None

    @model_validator(mode="after")
    def _streamed(self) -> Self:
        check_streamed(self)
        return self


def check_streamed(asked: CompletionRequest) -> None:
    """Raise ValueError for options of a stream where none is wanted, as OpenAI does."""
    if asked.stream_options is not None and not asked.stream:
        raise ValueError("stream_options is for stream: true alone")


class EmbeddingRequest(Strict):
    """OpenAI's embedding; vectors have the size that the model gives."""

    model: Name = Field(examples=["bert"])
    input: Prompt
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        default=None, description="the model's own size, or left out"
    )
    user: str | None = Field(default=None, description="not looked at")


class FillRequest(Strict):
    """Texts with masked words."""

    model: Name = Field(examples=["bert"])
    input: Text | Texts = Field(examples=["The capital of France is [MASK]."])
    top: Top = 5


class TextClassifyRequest(Strict):
    """Texts to be labelled."""

    model: Name = Field(examples=["spam"])
    input: Text | Texts
    top: Top = 5


class PictureClassifyRequest(Strict):
    """Pictures to be labelled; with `labels` by a model that compares pictures with texts."""

    model: Name = Field(examples=["vit"])
    image: Picture | Pictures = Field(examples=[DOT])
    labels: Labels | None = None
    top: Top = 5


class MatchRequest(Strict):
    """Pictures and texts, each to be compared with each."""

    model: Name = Field(examples=["clip"])
    text: Text | Texts
    image: Picture | Pictures = Field(examples=[DOT])


def kind_of(body: Any) -> str:
    """Say which of the two requests to classify is meant."""
    return "of pictures" if isinstance(body, dict) and "image" in body else "of texts"


ClassifyRequest = Annotated[
    Annotated[TextClassifyRequest, Tag("of texts")]
    | Annotated[PictureClassifyRequest, Tag("of pictures")],
    Discriminator(kind_of),
]
