"""The check of causality stops decoders that see the future, and lets the others pass."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import (
    VOCAB,
    Reader,
    batch,
    decoder,
    encoder,
    findings,
    next_loss,
    told,
)
from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

LEAKS = {
    "the mask lets one position too many through": ("off by one", "layers.0"),
    "there is no causal mask": ("no causal mask", "layers.0"),
    "the mask is put on after the softmax": ("after softmax", "layers.0"),
    "hidden scores are -8, not minus infinity": ("soft", "layers.0"),
    "heads are merged without a transpose": ("heads", "layers.0"),
    "a mean over all positions is taken off": ("mean of all", ""),
}


@pytest.mark.parametrize(("bug", "where"), LEAKS.values(), ids=LEAKS)
def test_it_is_found_without_a_declaration_where_the_loss_asks_for_the_next(
    bug: str, where: str
) -> None:
    bare = ModelSpec(build=lambda: Reader(bug), batch=batch, loss=next_loss)
    assert told("causality", bare) == [("causal-leak", "fail", where)]


def test_a_causal_decoder_passes() -> None:
    assert not findings("causality", decoder())


def test_an_encoder_is_not_asked() -> None:
    (outcome,) = check_model(encoder(), only=("causality",)).outcomes
    assert outcome.status == "skipped"


def test_a_model_that_may_see_the_future_is_not_asked() -> None:
    (outcome,) = check_model(decoder("no causal mask", causal=False), only=("causality",)).outcomes
    assert "may see the future" in outcome.reason


LINES = {
    "the mask lets one position too many through": ".tril(up)",
    "there is no causal mask": "masked_fill",
    "the mask is put on after the softmax": "softmax",
    "hidden scores are -8, not minus infinity": "masked_fill",
    "heads are merged without a transpose": "y.reshape(",
    "a mean over all positions is taken off": "logits.mean(1",
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_of_the_future_is_a_failure_at_its_module_and_at_the_line_of_its_mask(
    name: str,
) -> None:
    (found,) = findings("causality", decoder(LEAKS[name][0]))
    assert (found.kind, found.severity, found.where) == ("causal-leak", "fail", LEAKS[name][1])
    assert LINES[name] in found.line


def test_the_finding_says_how_far_ahead_it_sees_and_keeps_the_picture() -> None:
    (found,) = findings("causality", decoder("off by one"))
    assert "up to 2 ahead in all layers together, 1 ahead in layers.0 alone" in found.evidence
    assert "the mask lets 1 position too many through" in found.fix
    assert len(found.data["matrix"]) == 7


class Recurrent(nn.Module):
    """An LSTM over real numbers; both ways it sees the future."""

    def __init__(self, *, both: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


def series(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 6, 3)}


@pytest.mark.parametrize(("both", "kinds"), [(False, []), (True, ["causal-leak"])])
def test_a_recurrence_over_real_numbers(both: bool, kinds: list[str]) -> None:
    spec = ModelSpec(build=lambda: Recurrent(both=both), batch=series, causal="x")
    assert [f.kind for f in findings("causality", spec)] == kinds


class Shifted(nn.Module):
    """Gives at each position what it knows of those before, the present one not included."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Embedding(VOCAB, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        y = self.inner(input_ids).cumsum(1)
        return torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)


def test_a_model_that_hides_the_present_from_itself_is_stopped() -> None:
    def ids(size: int) -> dict[str, Any]:
        return {"input_ids": torch.randint(VOCAB, (size, 7))}

    def loss(output: Tensor, given: Any) -> Tensor:
        return next_loss(output, given | {"attention_mask": torch.ones_like(given["input_ids"])})

    spec = ModelSpec(build=Shifted, batch=ids, loss=loss, causal="input_ids")
    assert told("causality", spec) == [("mask", "fail", "")]
