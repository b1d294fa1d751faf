"""What goes wrong in a graph attention network."""

from benchmarks.testers.bug import Bug

LAYERS = ("layers.0", "layers.1")

BUGS = (
    Bug(
        "everyone-is-a-neighbour",
        edits=(('        e = e.masked_fill(~edges[..., None], float("-inf"))\n', ""),),
        kinds=("ignored-input", "mask", "padding-leak"),
        where=("", *LAYERS, "adjacency"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "strangers-score-zero",
        edits=(
            (
                'e = e.masked_fill(~edges[..., None], float("-inf"))',
                "e = torch.where(edges[..., None], e, torch.zeros_like(e))",
            ),
        ),
        kinds=("mask", "padding-leak"),
        where=LAYERS,
        needs="facts",
        source="graphormer-pyg #14",
    ),
    Bug(
        "softmax-over-the-batch",
        edits=(("alpha = torch.softmax(e, dim=2)", "alpha = torch.softmax(e, dim=0)"),),
        kinds=("batch-leak", "non-finite"),
        where=LAYERS,
        needs="nothing",
        source="fastNLP #254",
    ),
    Bug(
        "lonely-nodes-are-nan",
        edits=(("edges = joined | own  # lonely", "edges = joined  # lonely"),),
        kinds=("non-finite",),
        where=("", *LAYERS),
        needs="nothing",
        source="keras-gat #11",
    ),
    Bug(
        "nodes-have-numbers",
        edits=(
            ("        x = self.inp(nodes)\n", "        x = self.inp(nodes) + self.number[:n]\n"),
            (
                "        self.out = nn.Linear(dim, CLASSES)\n",
                "        self.out = nn.Linear(dim, CLASSES)\n"
                "        self.number = nn.Parameter(0.1 * torch.randn(64, dim))\n",
            ),
        ),
        kinds=("permutation",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "heads-and-nodes-mixed",
        edits=(
            (
                "h = self.linear(x).view(b, n, self.heads, self.head_dim)",
                "h = self.linear(x).view(b, self.heads, n, self.head_dim).transpose(1, 2)",
            ),
        ),
        kinds=("permutation", "padding-leak", "mask"),
        where=LAYERS,
        needs="facts",
        source="Informer2020 #59",
    ),
    Bug(
        "absent-nodes-in-the-mean",
        edits=(
            (
                "(x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)",
                "x.mean(1, keepdim=True)",
            ),
        ),
        kinds=("padding-leak",),
        where=LAYERS,
        needs="facts",
        source="lantern_extras #91",
    ),
    Bug(
        "mean-over-the-longest",
        edits=(("weight.sum(1, keepdim=True).clamp(min=1)", "n"),),
        kinds=("padding-leak",),
        where=LAYERS,
        needs="facts",
        source="mead-baseline #325",
    ),
    Bug(
        "whole-batch-is-one-graph",
        edits=(
            (
                "(x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)",
                "(x * weight).sum((0, 1)) / weight.sum((0, 1))",
            ),
        ),
        kinds=("batch-leak",),
        where=LAYERS,
        needs="nothing",
        source="graphormer-pyg #14",
    ),
    Bug(
        "edges-drop-in-eval",
        edits=(("alpha = self.edge_dropout(alpha)", "alpha = F.dropout(alpha, 0.1)"),),
        kinds=("eval-noise", "nondeterministic"),
        where=(*LAYERS, "layers.0.edge_dropout"),
        needs="nothing",
        source="DME #3",
    ),
    Bug(
        "writes-loops-into-the-graph",
        edits=(
            (
                "joined = adjacency.bool()",
                "adjacency.diagonal(dim1=1, dim2=2).fill_(True)\n        joined = adjacency.bool()",
            ),
        ),
        kinds=("input-mutated",),
        where=("", "adjacency"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "eight-nodes-only",
        edits=(
            (
                "own = torch.eye(n, dtype=torch.bool, device=nodes.device)",
                "own = torch.eye(8, dtype=torch.bool, device=nodes.device)",
            ),
        ),
        kinds=("shape", "crash"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "attention-cut-off",
        edits=(("alpha = torch.softmax(e, dim=2)", "alpha = torch.softmax(e, dim=2).detach()"),),
        kinds=("unused-parameter", "detached"),
        where=LAYERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "absent-nodes-are-class-zero",
        edits=(
            (
                'batch["label"].flatten(), ignore_index=-1)',
                'batch["label"].flatten().clamp(min=0))',
            ),
        ),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "only-edges-forward",
        edits=(("joined = adjacency.bool()", "joined = adjacency.bool().tril()"),),
        kinds=("permutation",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
)
