"""The checks of padding stop models that see it, on the right and on the left."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import decoder, encoder, findings, told
from zoo.testing.spec import ModelSpec

LEAKS = {
    "hidden keys are seen because queries are masked": ("queries", "padding-leak", "layers.0"),
    "no mask is used": ("unmasked", "padding-leak", "layers.0"),
    "the mask is put on after the softmax": ("after softmax", "padding-leak", "layers.0"),
    "hidden scores are -8": ("soft", "padding-leak", "layers.0"),
    "heads are merged without a transpose": ("heads", "padding-leak", "layers.0"),
    "a mean over padding too is taken off": ("mean of all", "padding-leak", ""),
    "the mask says the opposite": ("inverted", "mask", "layers.0"),
    "places count the padding": ("places count padding", "padding-leak", "positions"),
}


@pytest.mark.parametrize(("bug", "kind", "where"), LEAKS.values(), ids=LEAKS)
def test_an_encoder_that_sees_padding_is_stopped(bug: str, kind: str, where: str) -> None:
    assert told("padding", encoder(bug)) == [(kind, "fail", where)]


def test_an_encoder_that_does_not_see_padding_passes() -> None:
    assert not findings("padding", encoder())


def test_a_decoder_without_a_mask_fails_on_the_left_alone() -> None:
    assert told("padding", decoder("unmasked")) == [("padding-leak", "fail", "layers.0")]
    assert not findings("padding", decoder("unmasked", padding_side="right"))


def test_left_padding_that_nobody_promised_is_a_warning() -> None:
    bug = "places count padding"
    assert told("padding", encoder(bug, padding_side=None)) == [
        ("padding-leak", "warn", "positions")
    ]
    assert not findings("padding", encoder(bug, padding_side="right"))


class Lengths(nn.Module):
    """A mean over time, which knows how long each row is."""

    def __init__(self, *, heed: bool) -> None:
        super().__init__()
        self.heed = heed
        self.body, self.head = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        real = torch.arange(x.shape[1])[None] < lengths[:, None]
        real = real if self.heed else torch.ones_like(real)
        y = (torch.tanh(self.body(x)) * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return self.head(y)


def long_and_short(size: int) -> dict[str, Any]:
    lengths = torch.randint(2, 7, (size,))
    real = torch.arange(6)[None] < lengths[:, None]
    return {"x": torch.randn(size, 6, 3) * real[..., None], "lengths": lengths}


@pytest.mark.parametrize(("heed", "kinds"), [(True, []), (False, ["padding-leak"])])
def test_what_lies_beyond_the_lengths_is_padding(heed: bool, kinds: list[str]) -> None:
    spec = ModelSpec(build=lambda: Lengths(heed=heed), batch=long_and_short)
    assert [f.kind for f in findings("padding", spec)] == kinds


class Bag(nn.Module):
    """A mean of embeddings over what is not the padding id; or over more."""

    def __init__(self, *, right: bool) -> None:
        super().__init__()
        self.right = right
        self.embed = nn.Embedding(11, 4)

    def forward(self, input_ids: Tensor) -> Tensor:
        real = (input_ids != 0)[..., None]
        x = self.embed(input_ids)
        return (x * real).sum(1) / (real.sum(1) if self.right else x.shape[1])


@pytest.mark.parametrize(("right", "said"), [(True, []), (False, [("padding-leak", "fail", "")])])
def test_a_mask_that_the_model_makes_of_the_ids(right: bool, said: list[Any]) -> None:
    def ids(size: int) -> dict[str, Tensor]:
        x = torch.randint(1, 11, (size, 6))
        return {"input_ids": x * (torch.arange(6) < torch.randint(2, 7, (size, 1)))}

    spec = ModelSpec(build=lambda: Bag(right=right), batch=ids, pad_id=0, padding_side="right")
    assert told("padding", spec) == said


class Ends(nn.Module):
    """A mean over the last positions, as many as are not the padding id."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)

    def forward(self, input_ids: Tensor) -> Tensor:
        count = (input_ids != 0).sum(1, keepdim=True)
        real = (torch.arange(input_ids.shape[1]).flip(0) < count)[..., None]
        return (self.embed(input_ids) * real).sum(1) / count


@pytest.mark.parametrize(("padded", "severity"), [(False, "warn"), (True, "fail")])
def test_ids_that_are_hidden_on_the_left_alone_fail_where_they_are_padded_on_the_right(
    padded: bool, severity: str
) -> None:
    def ids(size: int) -> dict[str, Tensor]:
        x = torch.randint(1, 11, (size, 6))
        return {"input_ids": x * (torch.arange(6) < (4 if padded else 6))}

    spec = ModelSpec(build=Ends, batch=ids, tokens="input_ids", pad_id=0)
    assert [f.severity for f in findings("padding", spec)] == [severity]


@pytest.mark.parametrize(("ignore", "kinds"), [(True, []), (False, ["loss-ignored"])])
def test_a_loss_that_counts_padding_is_stopped(ignore: bool, kinds: list[str]) -> None:
    spec = encoder(task="masked_tokens", labels="labels", ignore_index=-100)

    def labelled(size: int) -> dict[str, Tensor]:
        given = spec.batch(size)  # type: ignore[misc]
        labels = given["input_ids"].clone()
        return given | {"labels": labels.masked_fill(given["attention_mask"] == 0, -100 * ignore)}

    def loss(output: Tensor, given: Any) -> Tensor:
        return nn.functional.cross_entropy(output.flatten(0, 1), given["labels"].flatten())

    full = ModelSpec(**{**vars(spec), "batch": labelled, "loss": loss})
    assert [f.kind for f in findings("padding_loss", full)] == kinds
