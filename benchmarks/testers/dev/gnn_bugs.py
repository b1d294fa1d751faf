"""Bugs of the graph network."""

from benchmarks.testers.bug import Bug

LAYERS = ("layers.0", "layers.1")
ATTEND = tuple(f"{x}.attend" for x in LAYERS)
NORMS = tuple(f"{x}.norm{i}" for x in LAYERS for i in (1, 2))

BUGS = (
    Bug(
        "no-self-loops",
        edits=(
            (
                "return linked | torch.eye(n, dtype=torch.bool, device=adjacency.device)",
                "return linked",
            ),
        ),
        kinds=("non-finite",),
        where=("", *ATTEND, *LAYERS),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "norm-over-the-batch",
        edits=(
            (
                "mean = (h * real).sum(1, keepdim=True) / count",
                "mean = (h * real).sum((0, 1), keepdim=True) / count.sum()",
            ),
        ),
        kinds=("batch-leak",),
        where=NORMS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "norm-counts-the-padding",
        edits=(
            ("mean = (h * real).sum(1, keepdim=True) / count", "mean = h.mean(1, keepdim=True)"),
        ),
        kinds=("padding-leak",),
        where=NORMS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "norm-without-eps",
        edits=(("torch.sqrt(var + self.eps)", "torch.sqrt(var)"),),
        kinds=("non-finite",),
        where=NORMS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "spread-without-gradient",
        edits=(
            (
                "torch.sqrt(var + self.eps)",
                "torch.sqrt(var + self.eps).detach()",
            ),
        ),
        kinds=("detached", "wrong-gradient"),
        where=NORMS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "softmax-over-the-batch",
        edits=(("weight = scores.softmax(-1)", "weight = scores.softmax(0)"),),
        kinds=("batch-leak", "non-finite"),
        where=ATTEND,
        needs="nothing",
        source="PyTorch-NLP #2",
    ),
    Bug(
        "softmax-over-the-heads",
        edits=(("weight = scores.softmax(-1)", "weight = scores.softmax(1)"),),
        kinds=("non-finite",),
        where=ATTEND,
        needs="nothing",
        source="fastNLP #254",
    ),
    Bug(
        "heads-split-by-view",
        edits=(
            (
                "x.unflatten(-1, (self.heads, -1)).transpose(1, 2)",
                "x.reshape(x.size(0), self.heads, x.size(1), -1)",
            ),
        ),
        kinds=("permutation", "padding-leak"),
        where=ATTEND,
        needs="facts",
        source="Chinese-Text-Classification-Pytorch #10",
    ),
    Bug(
        "messages-not-transposed",
        edits=(("message.transpose(1, 2).flatten(2)", "message.reshape(h.shape)"),),
        kinds=("permutation", "padding-leak"),
        where=ATTEND,
        needs="facts",
        source="transformer-from-scratch #6",
    ),
    Bug(
        "edges-one-way",
        edits=(("linked = adjacency & node_mask", "linked = adjacency.tril() & node_mask"),),
        kinds=("permutation",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "readout-of-the-first-node",
        edits=(("mean = (h * real).sum(1) / count", "mean = h[:, 0]"),),
        kinds=("permutation", "padding-leak"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "mean-over-the-padding",
        edits=(("mean = (h * real).sum(1) / count", "mean = h.mean(1)"),),
        kinds=("padding-leak",),
        where=("",),
        needs="facts",
        source="m2 #43",
    ),
    Bug(
        "padding-as-zero-in-the-maximum",
        edits=(("h.masked_fill(~real, -math.inf).amax(1)", "h.masked_fill(~real, 0).amax(1)"),),
        kinds=("padding-leak",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "maximum-over-graphs",
        edits=(
            (
                "h.masked_fill(~real, -math.inf).amax(1)",
                "h.masked_fill(~real, -math.inf).amax((0, 1))",
            ),
        ),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "padded-nodes-are-heard",
        edits=(
            (
                " & node_mask[:, :, None] & node_mask[:, None, :]\n        return",
                "\n        return",
            ),
        ),
        kinds=("padding-leak", "mask"),
        where=("", *ATTEND),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "adjacency-written-into",
        edits=(
            (
                "        linked = adjacency & node_mask",
                "        adjacency.diagonal(dim1=1, dim2=2).fill_(True)\n"
                "        linked = adjacency & node_mask",
            ),
        ),
        kinds=("input-mutated",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "neighbours-kept-from-the-first-call",
        edits=(
            (
                "        linked = self.neighbours(adjacency, node_mask)\n",
                '        if not hasattr(self, "linked") or self.linked.shape != adjacency.shape:\n'
                "            self.linked = self.neighbours(adjacency, node_mask)\n"
                "        linked = self.linked\n",
            ),
        ),
        kinds=("state-carried", "ignored-input"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "edge-types-ignored",
        edits=((".permute(0, 3, 1, 2)\n", ".permute(0, 3, 1, 2).mean((-1, -2), keepdim=True)\n"),),
        kinds=("ignored-input", "unused-parameter"),
        where=(*ATTEND, *(f"{x}.edge_bias" for x in ATTEND)),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "degree-in-float32",
        edits=(("linked.sum(-1).to(h.dtype)", "linked.float().sum(-1)"),),
        kinds=("dtype",),
        where=ATTEND,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "dropout-forgotten",
        edits=(
            (
                "self.read(self.dropout(torch.cat([mean, top], dim=-1)))",
                "self.read(torch.cat([mean, top], dim=-1))",
            ),
        ),
        kinds=("no-train-noise",),
        where=("", "dropout"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "loss-takes-it-for-a-logarithm",
        edits=(
            ("poisson_nll_loss(output, count, log_input=False)", "poisson_nll_loss(output, count)"),
        ),
        kinds=("loss-input", "not-learning"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "count-against-a-column",
        edits=(("F.softplus(self.out(g)).squeeze(-1)", "F.softplus(self.out(g))"),),
        kinds=("loss-shape", "shape"),
        where=("", "out"),
        needs="nothing",
        source="pytorch #1939",
    ),
    Bug(
        "squeezed-too-far",
        edits=((".squeeze(-1)", ".squeeze()"),),
        kinds=("shape",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
)
