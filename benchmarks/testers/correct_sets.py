"""Correct models of sets, points and graphs."""

from typing import Any

import torch
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known, mse
from torch import Tensor, nn
from torch.nn import functional as F


class Deep(nn.Module):
    """Deep sets: a sum over the members."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 16), nn.GELU(), nn.Linear(16, 16))
        self.all = nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 4))

    def forward(self, points: Tensor) -> Tensor:
        return self.all(self.each(points).sum(1))


class Points(nn.Module):
    """PointNet: shared layers with batch norm, and a maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, 4)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.each(points.mT).amax(-1))


class Attending(nn.Module):
    """A set transformer: attention without positions, pooled by a learnt question."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(3, 16), nn.Linear(16, 4)
        self.look = nn.ModuleList(nn.MultiheadAttention(16, 2, batch_first=True) for _ in "ab")
        self.question = nn.Parameter(torch.randn(1, 1, 16))

    def forward(self, points: Tensor, present: Tensor) -> Tensor:
        x, gone = self.enter(points), ~present
        x = x + self.look[0](x, x, x, key_padding_mask=gone, need_weights=False)[0]
        asked = self.question.expand(len(x), -1, -1)
        return self.head(self.look[1](asked, x, x, key_padding_mask=gone)[0][:, 0])


class Dense(nn.Module):
    """Graph attention over a dense adjacency; nodes without a neighbour see themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.left, self.right = nn.Linear(5, 12), nn.Linear(12, 1), nn.Linear(12, 1)
        self.head = nn.Linear(12, 3)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        h = self.enter(nodes)
        scores = F.leaky_relu(self.left(h) + self.right(h).mT, 0.2)
        joined = adjacency.bool() | torch.eye(h.shape[1], dtype=torch.bool, device=h.device)
        return self.head(F.elu(scores.masked_fill(~joined, -torch.inf).softmax(-1) @ h))


class Edges(nn.Module):
    """One graph: messages along a list of edges, degrees normalised. There is no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.head = nn.Linear(5, 12), nn.Linear(12, 3)

    def forward(self, nodes: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        h = self.message(nodes)
        degree = h.new_ones(len(h)).index_add(0, target, h.new_ones(len(target)))
        norm = (degree[source] * degree[target]).rsqrt()[:, None]
        h = h / degree[:, None] + torch.zeros_like(h).index_add(0, target, norm * h[source])
        return self.head(F.relu(h))


class Equivariant(nn.Module):
    """EGNN: coordinates move along differences, so turning the input turns the output."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(1, 12), nn.SiLU(), nn.Linear(12, 1))

    def forward(self, points: Tensor) -> Tensor:
        apart = points[:, :, None] - points[:, None]
        far = apart.square().sum(-1, keepdim=True)
        return points + (apart * self.weigh(far)).mean(2)


class Process(nn.Module):
    """A conditional neural process: seen pairs, and places to predict."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Linear(2, 16), nn.GELU(), nn.Linear(16, 16))
        self.say = nn.Sequential(nn.Linear(17, 16), nn.GELU(), nn.Linear(16, 2))

    def forward(self, seen_x: Tensor, seen_y: Tensor, ask_x: Tensor) -> tuple[Tensor, Tensor]:
        r = self.see(torch.cat([seen_x, seen_y], -1)).mean(1, keepdim=True)
        r = r.expand(-1, ask_x.shape[1], -1)
        mean, spread = self.say(torch.cat([r, ask_x], -1)).chunk(2, -1)
        return mean, 0.1 + 0.9 * F.softplus(spread)


class Slots(nn.Module):
    """Neighbours in space: the three nearest points, found anew for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.edge, self.head = nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, points: Tensor) -> Tensor:
        near = torch.cdist(points, points).topk(4, largest=False).indices[..., 1:]
        rows = torch.arange(len(points), device=points.device)[:, None, None]
        others = points[rows, near]
        here = points[:, :, None].expand_as(others)
        return self.head(F.gelu(self.edge(torch.cat([here, others - here], -1))).amax((1, 2)))


def cloud(size: int) -> dict[str, Tensor]:
    return {"points": torch.randn(size, 7, 3), "labels": torch.randint(4, (size,))}


def partial(size: int) -> dict[str, Tensor]:
    present = torch.arange(7) < torch.randint(3, 8, (size, 1))
    return cloud(size) | {"present": present}


def graphs(size: int) -> dict[str, Tensor]:
    joined = (torch.rand(size, 6, 6) < 0.4).triu(1)
    return {
        "nodes": torch.randn(size, 6, 5),
        "adjacency": (joined | joined.mT).float(),
        "labels": torch.randint(3, (size, 6)),
    }


def graph(size: int) -> dict[str, Tensor]:
    nodes = 4 * size
    return {
        "nodes": torch.randn(nodes, 5),
        "edge_index": torch.randint(nodes, (2, 3 * nodes)),
        "labels": torch.randint(3, (nodes,)),
    }


def moved(size: int) -> dict[str, Tensor]:
    points = torch.randn(size, 5, 3)
    return {"points": points, "target": points * 1.5 - 0.5 * points.mean(1, keepdim=True)}


def functions(size: int) -> dict[str, Tensor]:
    x, shift = torch.rand(size, 9, 1) * 4, torch.rand(size, 1, 1) * 3
    y = torch.sin(x + shift)
    return {"seen_x": x[:, :5], "seen_y": y[:, :5], "ask_x": x[:, 5:], "ask_y": y[:, 5:]}


def surprise(output: Any, batch: Any) -> Tensor:
    return -torch.distributions.Normal(*output).log_prob(batch["ask_y"]).mean()


CLASSES = known(task="classification", num_classes=4, labels="labels", output_kind="logits")
INVARIANT = known(permutation_invariant="points")
MODELS = [
    Model("deep-sets", Deep, cloud, cross_entropy, CLASSES | INVARIANT),
    Model(
        "point-net",
        Points,
        cloud,
        cross_entropy,
        CLASSES | INVARIANT | {"couples_batch_train": True},
    ),
    Model(
        "set-transformer",
        Attending,
        partial,
        cross_entropy,
        CLASSES | known(permutation_invariant=["points", "present"], inputs={"present": "mask"}),
    ),
    Model(
        "graph-attention",
        Dense,
        graphs,
        cross_entropy,
        known(inputs={"adjacency": "adjacency"}, num_classes=3, labels="labels"),
    ),
    Model(
        "edge-list",
        Edges,
        graph,
        cross_entropy,
        known(inputs={"edge_index": "index"}, couples_batch=True, num_classes=3, labels="labels"),
    ),
    Model("equivariant", Equivariant, moved, mse, known(permutation_equivariant="points")),
    Model("neural-process", Process, functions, surprise, known(output="0")),
    Model("nearest-points", Slots, cloud, cross_entropy, CLASSES | INVARIANT),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("sets", MODELS)
