"""Counts from graphs: attention over neighbours with edge types, graph norm, a readout that no
order of the nodes changes. Padded nodes are no part of a graph."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from zoo.testing.spec import Input

FEATURES, EDGE_TYPES = 5, 3


class GraphNorm(nn.Module):
    """Normalises each channel over the real nodes of one graph."""

    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, h, real):
        count = real.sum(1, keepdim=True).clamp_min(1)
        mean = (h * real).sum(1, keepdim=True) / count
        var = ((h - mean).square() * real).sum(1, keepdim=True) / count
        return (h - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias


class NeighbourAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.edge_bias = nn.Embedding(EDGE_TYPES, heads)
        self.o = nn.Linear(width, width)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (b, heads, n, d)

    def forward(self, h, linked, edge_type):
        q, k, v = self.split(self.q(h)), self.split(self.k(h)), self.split(self.v(h))
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(q.size(-1))
        scores = scores + self.edge_bias(edge_type).permute(0, 3, 1, 2)
        scores = scores.masked_fill(~linked[:, None], -math.inf)
        weight = scores.softmax(-1)
        message = torch.einsum("bhij,bhjd->bhid", weight, v)
        degree = linked.sum(-1).to(h.dtype)[:, None, :, None]
        message = message * torch.log1p(degree)
        return self.o(message.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attend = NeighbourAttention(width, heads)
        self.norm1 = GraphNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.norm2 = GraphNorm(width)

    def forward(self, h, linked, edge_type, real):
        h = h + self.attend(self.norm1(h, real), linked, edge_type)
        return h + self.ff(self.norm2(h, real))


class Net(nn.Module):
    def __init__(self, width=24, heads=3, depth=2, dropout=0.1):
        super().__init__()
        self.encode = nn.Linear(FEATURES, width)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(depth)])
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, 1)

    def neighbours(self, adjacency, node_mask):
        """Give who hears whom: along the edges between real nodes, and oneself."""
        n = adjacency.size(1)
        linked = adjacency & node_mask[:, :, None] & node_mask[:, None, :]
        return linked | torch.eye(n, dtype=torch.bool, device=adjacency.device)

    def forward(self, nodes, adjacency, edge_type, node_mask):
        real = node_mask.unsqueeze(-1)
        linked = self.neighbours(adjacency, node_mask)
        h = self.encode(nodes)
        for layer in self.layers:
            h = layer(h, linked, edge_type, real)
        count = real.sum(1).clamp_min(1)
        mean = (h * real).sum(1) / count
        top = h.masked_fill(~real, -math.inf).amax(1)
        top = torch.where(real.any(1), top, 0)
        g = F.silu(self.read(self.dropout(torch.cat([mean, top], dim=-1))))
        return F.softplus(self.out(g)).squeeze(-1)


def build():
    return Net()


def batch(size):
    n = 6
    mask = torch.arange(n) < torch.randint(2, n + 1, (size, 1))
    upper = (torch.rand(size, n, n) < 0.4).triu(1)
    kinds = torch.randint(0, EDGE_TYPES, (size, n, n)).triu()
    return {
        "nodes": torch.randn(size, n, FEATURES),
        "adjacency": upper | upper.mT,  # between padded nodes it means nothing
        "edge_type": kinds + kinds.triu(1).mT,
        "node_mask": mask,
        "count": torch.randint(0, 6, (size,)).float(),
    }


def loss(output, batch):
    count = batch["count"].to(output.dtype)
    return F.poisson_nll_loss(output, count, log_input=False)


FACTS = {
    "task": "regression",
    "labels": "count",
    "reduction": "mean",
    "inputs": {
        "nodes": Input(kind="float", sequence_axis=1, mask="node_mask"),
        "adjacency": "adjacency",
        "edge_type": Input(kind="adjacency", low=0, high=EDGE_TYPES - 1),
        "node_mask": "mask",
    },
    "padding_mask": "node_mask",
    "true_means": "keep",
    "padding_side": "both",
    "permutation_invariant": ("nodes", "adjacency", "edge_type", "node_mask"),
    "output_kind": "real",
    "output_range": (0.0, math.inf),
    "output_shape": lambda batch: (batch["nodes"].shape[0],),
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "deterministic": True,
    "stop_gradient": False,
}
