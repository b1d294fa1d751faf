"""The checks of symmetry stop sets with an order and graphs whose nodes have numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import findings, told
from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec


class Set(nn.Module):
    """Maps elements and pools them."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.pool = pool
        self.map = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(torch.tanh(self.map(x)))


def elements(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 5, 3)}


INVARIANT = {
    "a mean": (lambda y: y.mean(1), []),
    "a maximum": (lambda y: y.amax(1), []),
    "the first element": (lambda y: y[:, 0], ["permutation"]),
    "weights by place": (lambda y: (y * torch.arange(5)[:, None]).sum(1), ["permutation"]),
    "all in a row": (lambda y: y.flatten(1), ["permutation"]),
}


@pytest.mark.parametrize(("pool", "kinds"), INVARIANT.values(), ids=INVARIANT)
def test_sets(pool: Any, kinds: list[str]) -> None:
    spec = ModelSpec(build=lambda: Set(pool), batch=elements, permutation_invariant="x")
    assert [f.kind for f in findings("symmetry", spec)] == kinds


EQUIVARIANT = {
    "a deviation from the mean": (lambda y: y - y.mean(1, keepdim=True), []),
    "a difference to the next": (lambda y: y - y.roll(1, 1), ["permutation"]),
}


@pytest.mark.parametrize(("pool", "kinds"), EQUIVARIANT.values(), ids=EQUIVARIANT)
def test_maps_of_sets(pool: Any, kinds: list[str]) -> None:
    spec = ModelSpec(build=lambda: Set(pool), batch=elements, permutation_equivariant="x")
    assert [f.kind for f in findings("symmetry", spec)] == kinds


class Graph(nn.Module):
    """Sums messages from neighbours, with bugs."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.map = nn.Linear(3, 4)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        joined = adjacency.to(nodes.dtype)
        if self.bug == "one direction":
            joined = joined.triu()
        if self.bug == "all":
            joined = torch.ones_like(joined)
        degree = joined.sum(-1, keepdim=True)
        degree = degree if self.bug == "divides" else degree.clamp_min(1)
        return torch.tanh(self.map(nodes)) + joined @ self.map(nodes) / degree


def graphs(size: int) -> dict[str, Tensor]:
    upper = (torch.rand(size, 6, 6) < 0.6).triu(1)
    upper[:, torch.arange(5), torch.arange(1, 6)] = True  # a path: nobody is alone
    return {"nodes": torch.randn(size, 6, 3), "adjacency": upper | upper.mT}


def graph(bug: str) -> ModelSpec:
    return ModelSpec(
        build=lambda: Graph(bug),
        batch=graphs,
        inputs={"adjacency": "adjacency"},
        permutation_equivariant=("nodes", "adjacency"),
    )


@pytest.mark.parametrize(("bug", "kinds"), [("", []), ("one direction", ["permutation"])])
def test_nodes_are_renumbered_with_their_edges(bug: str, kinds: list[str]) -> None:
    assert [f.kind for f in findings("symmetry", graph(bug))] == kinds


NEIGHBOURS = {
    "sound": ("", []),
    "a mean over no neighbour": ("divides", [("non-finite", "fail", "")]),
    "everyone is heard": ("all", [("receptive-field", "warn", "")]),
}


@pytest.mark.parametrize(("bug", "said"), NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_neighbours(bug: str, said: list[Any]) -> None:
    assert told("neighbours", graph(bug)) == said


def test_without_a_declaration_nothing_is_asked() -> None:
    spec = ModelSpec(build=lambda: Set(torch.Tensor.sum), batch=elements)
    for check in ("symmetry", "neighbours"):
        (outcome,) = check_model(spec, only=(check,)).outcomes
        assert outcome.status == "skipped"
