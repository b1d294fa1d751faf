"""The checks of symmetry stop sets with an order and graphs whose nodes have numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import findings, told
from unit.testing.records import check_model
from zoo.testing.spec import Input, ModelSpec


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


class Edges(nn.Module):
    """Sums over a list of edges, given as (2, e) for all rows or as (b, 2, e)."""

    def __init__(self, *, numbered: bool = False) -> None:
        super().__init__()
        self.map, self.numbered = nn.Linear(3, 4), numbered

    def forward(self, nodes: Tensor, edge_index: Tensor) -> Tensor:
        made = torch.tanh(self.map(nodes))
        there, here = edge_index if edge_index.dim() == 2 else edge_index[0]
        y = made.index_add(1, here, made[:, there])
        return y * torch.arange(1, 1 + y.shape[1])[:, None] if self.numbered else y


def edges(size: int) -> dict[str, Tensor]:
    return {"nodes": torch.randn(size, 5, 3), "edge_index": torch.tensor([[0, 1, 2], [1, 3, 4]])}


def listed(*, numbered: bool = False, **facts: Any) -> ModelSpec:
    return ModelSpec(
        build=lambda: Edges(numbered=numbered),
        batch=edges,
        inputs={"edge_index": Input(kind="index")},
        permutation_equivariant=("nodes", "edge_index"),
        **facts,
    )


class Pooled(nn.Module):
    """A mean over the elements that a mask keeps, or over all."""

    def __init__(self, *, heed: bool) -> None:
        super().__init__()
        self.map, self.heed = nn.Linear(3, 4), heed

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        real = mask[..., None].to(x.dtype)
        y = torch.tanh(self.map(x)) * (real if self.heed else torch.arange(5)[:, None])
        return y.sum(1) / real.sum(1)


def masked(size: int) -> dict[str, Tensor]:
    real = (torch.arange(5) < torch.arange(2, 2 + size)[:, None].clamp_max(5)).long()
    return {"x": torch.randn(size, 5, 3), "mask": real}


def pooled(*, heed: bool) -> ModelSpec:
    return ModelSpec(
        build=lambda: Pooled(heed=heed),
        batch=masked,
        inputs={"mask": "mask"},
        permutation_invariant=["x"],
    )


def of_set(pool: Any, how: str, **facts: Any) -> ModelSpec:
    return ModelSpec(build=lambda: Set(pool), batch=elements, **{how: "x"} | facts)


def looped(size: int) -> dict[str, Tensor]:
    given = graphs(size)
    return given | {"adjacency": given["adjacency"] | torch.eye(6, dtype=torch.bool)}


def weighted(size: int) -> dict[str, Tensor]:
    given = graphs(size)
    return given | {"adjacency": given["adjacency"] * 0.5}


def small(size: int) -> dict[str, Tensor]:
    given = graphs(size)
    return {"nodes": given["nodes"][:, :3], "adjacency": given["adjacency"][:, :3, :3]}


def joined(bug: str, make: Any, **facts: Any) -> ModelSpec:
    return ModelSpec(build=lambda: Graph(bug), batch=make, **facts)


KNOWN = {"inputs": {"adjacency": "adjacency"}}
SAID = {
    "edges in a list": ("symmetry", listed(), []),
    "edges in a list, and numbers of nodes": ("symmetry", listed(numbered=True), ["fail"]),
    "elements under a mask": ("symmetry", pooled(heed=True), []),
    "elements by their number, under a mask": ("symmetry", pooled(heed=False), ["fail"]),
    "a pool that was called a map": (
        "symmetry",
        of_set(lambda y: y.mean(1), "permutation_equivariant"),
        None,
    ),
    "a map along an axis that is told": (
        "symmetry",
        of_set(lambda y: y.mT, "permutation_equivariant", output_sequence_axis=2),
        [],
    ),
    "a map along another axis": (
        "symmetry",
        of_set(lambda y: (y @ y.mT).cumsum(1), "permutation_equivariant", output_sequence_axis=2),
        ["fail"],
    ),
    "noise": (
        "symmetry",
        of_set(lambda y: y + torch.rand_like(y), "permutation_equivariant"),
        None,
    ),
    "nodes that are their own neighbours": ("neighbours", joined("divides", looped, **KNOWN), []),
    "weights of edges": ("neighbours", joined("divides", weighted, **KNOWN), None),
    "few nodes": ("neighbours", joined("all", small, **KNOWN), []),
    "edges that nobody declares": ("neighbours", joined("divides", graphs), None),
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_an_order(name: str) -> None:
    check, given, wanted = SAID[name]
    (outcome,) = check_model(given, only=(check,)).outcomes
    said = [f.severity for f in outcome.findings]
    assert outcome.status != "error", outcome.reason
    assert (None if outcome.status == "skipped" else said) == wanted
