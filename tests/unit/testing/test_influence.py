"""The checks of influence find dead positions, ignored inputs and positions that see nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import VOCAB, decoder, encoder, findings, told
from unit.testing.records import check_model
from zoo.testing.spec import Input, ModelSpec


class Reads(nn.Module):
    """Embeds tokens and gives what some function makes of them."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make
        self.embed = nn.Embedding(VOCAB, 6)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.make(self.embed(input_ids))


def ids(size: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(VOCAB, (size, 8))}


def reads(make: Any, **facts: Any) -> ModelSpec:
    return ModelSpec(build=lambda: Reads(make), batch=ids, tokens="input_ids", **facts)


def skipping(x: Tensor) -> Tensor:
    return torch.cat([x[:, :3], x[:, 4:]], 1).mean(1)


DEAD = {
    "a position in the middle is left out": (skipping, "fail"),
    "only the first position is read": (lambda x: x[:, 0], "fail"),
}


@pytest.mark.parametrize(("make", "severity"), DEAD.values(), ids=DEAD)
def test_a_position_that_matters_to_nothing_is_named(make: Any, severity: str) -> None:
    assert told("influence", reads(make)) == [("dead-position", severity, "input_ids")]


ALIVE = {
    "a mean": lambda x: x.mean(1),
    "a maximum": lambda x: x.amax(1),
    "a table": lambda x: x,
    "the last two, as a window may": lambda x: x[:, -2:].sum(1),
    "all but the last, as a stride may": lambda x: x[:, :-1].mean(1),
}


@pytest.mark.parametrize("make", ALIVE.values(), ids=ALIVE)
def test_models_in_which_positions_matter_do_not_fail(make: Any) -> None:
    assert not [f for f in findings("influence", reads(make)) if f.severity == "fail"]


@pytest.mark.parametrize("spec", [decoder(), encoder()], ids=["decoder", "encoder"])
def test_readers_pass(spec: ModelSpec) -> None:
    assert not findings("influence", spec)
    assert not findings("inputs_matter", spec)


class Diagonal(nn.Module):
    """Attention whose mask lets each position see itself alone, or all."""

    def __init__(self, *, all_of_them: bool) -> None:
        super().__init__()
        self.all_of_them = all_of_them
        self.embed, self.out = nn.Embedding(VOCAB, 6), nn.Linear(6, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        mask = torch.eye(x.shape[1], dtype=torch.bool) | self.all_of_them
        y = nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)
        return self.out(x + y)


@pytest.mark.parametrize(("everything", "kinds"), [(True, []), (False, ["receptive-field"])])
def test_attention_that_sees_itself_alone_is_stopped(everything: bool, kinds: list[str]) -> None:
    spec = ModelSpec(
        build=lambda: Diagonal(all_of_them=everything), batch=ids, position_sensitive=True
    )
    assert [f.kind for f in findings("influence", spec)] == kinds


class Window(nn.Module):
    """A convolution over time, padded on both sides."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 2 * reach + 1, padding=reach)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@pytest.mark.parametrize(
    ("reach", "kinds"), [(1, ["receptive-field"]), (2, []), (3, ["receptive-field"])]
)
def test_the_declared_receptive_field_is_met(reach: int, kinds: list[str]) -> None:
    spec = ModelSpec(
        build=lambda: Window(reach),
        batch=lambda size: {"x": torch.randn(size, 2, 9)},
        inputs={"x": Input(kind="float", sequence_axis=2)},
        receptive_field=2,
    )
    assert [f.kind for f in findings("influence", spec)] == kinds


class Takes(nn.Module):
    """Takes more than it may use."""

    def __init__(self, uses: str) -> None:
        super().__init__()
        self.uses = uses
        self.kinds, self.body = nn.Embedding(3, 4), nn.Linear(5, 4)

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        features = x if "all" in self.uses else torch.cat([x[:, :2], x[:, :1], x[:, 3:]], 1)
        y = self.body(features)
        return y + self.kinds(kind if "kind" in self.uses else kind * 0)


def both(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 5), "kind": torch.randint(3, (size,))}


def takes(uses: str, **facts: Any) -> ModelSpec:
    return ModelSpec(build=lambda: Takes(uses), batch=both, **facts)


def test_an_input_that_changes_nothing_is_named() -> None:
    assert told("inputs_matter", takes("all")) == [("ignored-input", "fail", "kind")]
    assert not findings("inputs_matter", takes("all", may_ignore=["kind"]))
    assert not findings("inputs_matter", takes("all, kind"))


class Cancels(Takes):
    """Adds the same number to all that a softmax compares: it changes the last digits alone."""

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        return (self.body(x) + self.kinds(kind)[:, :1]).softmax(-1)


def test_an_input_that_cancels_is_named() -> None:
    spec = ModelSpec(build=lambda: Cancels("all"), batch=both)
    assert told("inputs_matter", spec) == [("ignored-input", "fail", "kind")]


def test_a_feature_that_changes_nothing_is_named() -> None:
    (found,) = findings("inputs_covered", takes("kind"))
    assert (found.kind, found.severity, found.where) == ("ignored-input", "fail", "x")
    assert "index [2] along axis 1" in found.evidence
    assert not findings("inputs_covered", takes("all"))


class Looks(nn.Module):
    """A mean over an image, perhaps with a hole in it, or without a channel."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        image = image.clone()
        if self.how == "hole":
            image[:, :, 4:8, 4:8] = 0
        if self.how == "channel":
            image = image[:, [0, 1, 1]]
        return torch.tanh(self.conv(image)).mean((2, 3))


SEEN = {"all": [], "hole": ["dead-position"], "channel": ["ignored-input"]}


@pytest.mark.parametrize(("how", "kinds"), SEEN.items(), ids=SEEN)
def test_regions_and_channels_of_an_image_are_seen(how: str, kinds: list[str]) -> None:
    spec = ModelSpec(
        build=lambda: Looks(how), batch=lambda size: {"image": torch.randn(size, 3, 12, 12)}
    )
    assert [f.kind for f in findings("inputs_covered", spec)] == kinds


class Noisy(nn.Module):
    """Reads tokens, and never stops dropping."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 8)
        self.read = nn.GRU(8, 8, batch_first=True)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.read(self.embed(input_ids))[0]
        return nn.functional.dropout(x, 0.5)[:, -1]


def test_where_eval_mode_draws_numbers_no_row_is_blamed() -> None:
    spec = ModelSpec(build=Noisy, batch=ids, tokens="input_ids", couples_batch=False)
    report = check_model(spec, only=("influence", "batch_independence"))
    assert not report.findings
    reasons = {o.check: o.reason for o in report.outcomes if o.status == "skipped"}
    assert reasons["influence"] == "eval mode draws random numbers: see determinism"
