"""The checks of positions stop models that lose the order, or break at the longest length."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import decoder, encoder, findings, told
from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

MAKERS = {"decoder": decoder, "encoder": encoder}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_readers_that_know_the_order_pass(make: Any) -> None:
    assert not findings("positions", make())
    assert not findings("longest", make())


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("declared", [True, None])
def test_one_place_for_all_is_stopped_at_the_table(make: Any, declared: bool | None) -> None:
    spec = make("one place", position_sensitive=declared)
    assert told("positions", spec) == [("position-blind", "fail", "positions")]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_places_from_one_break_the_longest_sequence(make: Any) -> None:
    (found,) = findings("longest", make("from one"))
    assert (found.kind, found.severity, found.where) == ("crash", "fail", "positions")
    assert "9 positions" in found.evidence


class Pools(nn.Module):
    """A mean over tokens, with or without their places."""

    def __init__(self, *, placed: bool) -> None:
        super().__init__()
        self.placed = placed
        self.embed, self.head = nn.Embedding(13, 6), nn.Linear(6, 3)
        self.pos_table = nn.Parameter(torch.randn(8, 6))

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        places = self.pos_table[: x.shape[1]]
        x = x + (places if self.placed else places.mean(0))
        return self.head(torch.tanh(x).mean(1))


@pytest.mark.parametrize(("placed", "kinds"), [(True, []), (False, ["position-blind"])])
def test_pooled_outputs_move_when_tokens_change_places(placed: bool, kinds: list[str]) -> None:
    spec = ModelSpec(
        build=lambda: Pools(placed=placed),
        batch=lambda size: {"input_ids": torch.randint(13, (size, 7))},
        tokens="input_ids",
    )
    assert [f.kind for f in findings("positions", spec)] == kinds


class Patches(nn.Module):
    """A mean over patches of an image, with or without their places."""

    def __init__(self, *, placed: bool) -> None:
        super().__init__()
        self.placed = placed
        self.cut, self.head = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 3)
        self.places = nn.Parameter(torch.randn(4, 6))

    def forward(self, image: Tensor) -> Tensor:
        x = self.cut(image).flatten(2).mT
        return self.head(torch.tanh(x + self.places * self.placed).mean(1))


@pytest.mark.parametrize(("placed", "kinds"), [(True, []), (False, ["position-blind"])])
def test_patches_of_an_image_have_places(placed: bool, kinds: list[str]) -> None:
    spec = ModelSpec(
        build=lambda: Patches(placed=placed),
        batch=lambda size: {"image": torch.randn(size, 3, 8, 8)},
        position_sensitive=True,
    )
    assert [f.kind for f in findings("positions", spec)] == kinds


def test_sets_are_not_asked() -> None:
    spec = ModelSpec(
        build=lambda: nn.EmbeddingBag(9, 4),
        batch=lambda size: {"input": torch.randint(9, (size, 5))},
    )
    (outcome,) = check_model(spec, only=("positions",)).outcomes
    assert outcome.status == "skipped"


class Rotated(nn.Module):
    """Attention that knows distances alone, from rotated queries and keys; or knows nothing."""

    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        self.turned = turned
        self.embed, self.qkv = nn.Embedding(13, 8), nn.Linear(8, 24)

    def turn(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[2], dtype=x.dtype) * self.turned
        a, b = x.chunk(2, -1)
        sine, cosine = angle.sin()[:, None], angle.cos()[:, None]
        return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)

    def forward(self, input_ids: Tensor) -> Tensor:
        b, t = input_ids.shape
        x = self.embed(input_ids)
        q, k, v = (y.view(b, t, 2, 4).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        y = nn.functional.scaled_dot_product_attention(
            self.turn(q), self.turn(k), v, is_causal=True
        )
        return x + y.transpose(1, 2).reshape(b, t, 8)


@pytest.mark.parametrize(("turned", "kinds"), [(True, []), (False, ["position-blind"])])
def test_distances_are_positions_too(turned: bool, kinds: list[str]) -> None:
    spec = ModelSpec(
        build=lambda: Rotated(turned=turned),
        batch=lambda size: {"input_ids": torch.randint(13, (size, 7))},
        tokens="input_ids",
        position_sensitive=True,
    )
    assert [f.kind for f in findings("positions", spec)] == kinds
