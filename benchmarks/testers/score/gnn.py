"""Graph attention over dense, padded graphs: each node hears its neighbours and the whole graph."""

import torch
from torch import nn
from torch.nn import functional as F

FEATURES, CLASSES = 6, 3


class GATLayer(nn.Module):
    def __init__(self, dim, heads=2, edge_dropout=0.1):
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.linear = nn.Linear(dim, dim, bias=False)
        self.a_source = nn.Parameter(torch.empty(heads, self.head_dim))
        self.a_target = nn.Parameter(torch.empty(heads, self.head_dim))
        nn.init.xavier_uniform_(self.a_source)
        nn.init.xavier_uniform_(self.a_target)
        self.edge_dropout = nn.Dropout(edge_dropout)
        self.context = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x, edges, exists):
        b, n, d = x.shape
        h = self.linear(x).view(b, n, self.heads, self.head_dim)
        source = torch.einsum("bnhd,hd->bnh", h, self.a_source)
        target = torch.einsum("bnhd,hd->bnh", h, self.a_target)
        e = F.leaky_relu(target[:, :, None, :] + source[:, None, :, :], 0.2)  # (b, to, from, h)
        e = e.masked_fill(~edges[..., None], float("-inf"))
        alpha = torch.softmax(e, dim=2)
        alpha = self.edge_dropout(alpha)
        out = torch.einsum("bijh,bjhd->bihd", alpha, h).reshape(b, n, d)
        weight = exists.to(x.dtype)[..., None]
        mean = (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
        return self.norm(x + F.elu(out + self.context(mean)))


class Net(nn.Module):
    def __init__(self, dim=24, depth=2):
        super().__init__()
        self.inp = nn.Linear(FEATURES, dim)
        self.layers = nn.ModuleList([GATLayer(dim) for _ in range(depth)])
        self.out = nn.Linear(dim, CLASSES)

    def forward(self, nodes, adjacency, exists):
        n = nodes.size(1)
        own = torch.eye(n, dtype=torch.bool, device=nodes.device)
        joined = adjacency.bool() & exists[:, None, :] & exists[:, :, None]
        edges = joined | own  # lonely and absent nodes hear themselves
        x = self.inp(nodes)
        for layer in self.layers:
            x = layer(x, edges, exists)
        return self.out(x)


def build():
    return Net()


def batch(size):
    n = 8
    upper = (torch.rand(size, n, n) < 0.25).triu(1)
    counts = torch.randint(4, n + 1, (size, 1))
    exists = torch.arange(n) < counts
    adjacency = (upper | upper.transpose(1, 2)) & exists[:, None, :] & exists[:, :, None]
    nodes = torch.randn(size, n, FEATURES) * exists[..., None]
    label = torch.randint(CLASSES, (size, n)).masked_fill(~exists, -1)
    return {"nodes": nodes, "adjacency": adjacency, "exists": exists, "label": label}


def loss(output, batch):
    return F.cross_entropy(output.flatten(0, 1), batch["label"].flatten(), ignore_index=-1)


FACTS = {
    "task": "token_classification",
    "num_classes": CLASSES,
    "labels": "label",
    "ignore_index": -1,
    "label_shift": 0,
    "output_kind": "logits",
    "inputs": {"nodes": "float", "adjacency": "adjacency", "exists": "mask"},
    "padding_mask": "exists",
    "true_means": "keep",
    "padding_side": "both",
    "permutation_equivariant": ["nodes", "adjacency", "exists"],
    "sequence_axis": 1,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "deterministic": True,
}
