"""What goes wrong in a mixture of experts."""

from benchmarks.testers.bug import Bug

MOES = ("layers.0.moe", "layers.1.moe")
ATTENTIONS = ("layers.0.attn", "layers.1.attn", "layers.0", "layers.1")

BUGS = (
    Bug(
        "words-compete-for-experts",
        edits=(("probs = scores.softmax(dim=-1)", "probs = scores.softmax(dim=0)"),),
        kinds=("batch-leak", "padding-leak"),
        where=MOES,
        needs="nothing",
        source="llms-from-scratch-rs #30",
    ),
    Bug(
        "padding-is-balanced-too",
        edits=(("        probs, chosen = probs[real], chosen[real]\n", ""),),
        kinds=("loss-ignored", "padding-leak"),
        where=("", *MOES),
        needs="facts",
        source="transformers #31464",
    ),
    Bug(
        "router-cut-off",
        edits=(("share = weights[token, place]", "share = weights.data[token, place]"),),
        kinds=("detached", "wrong-gradient"),
        where=(*MOES, "layers.0.moe.router", "layers.1.moe.router"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "noise-in-eval",
        edits=(
            (
                "        if self.training:\n            scores = scores + self.noise",
                "        if self.noise > 0:\n            scores = scores + self.noise",
            ),
        ),
        kinds=("eval-noise", "nondeterministic"),
        where=MOES,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "experts-in-a-dictionary",
        edits=(
            (
                "nn.ModuleList([Expert(dim, 2 * dim) for _ in range(experts)])",
                "{i: Expert(dim, 2 * dim) for i in range(experts)}",
            ),
        ),
        kinds=("unregistered",),
        where=(*MOES, "layers.0.moe.experts"),
        needs="nothing",
        source="pytorch #632",
    ),
    Bug(
        "one-expert-four-times",
        edits=(
            (
                "nn.ModuleList([Expert(dim, 2 * dim) for _ in range(experts)])",
                "nn.ModuleList([Expert(dim, 2 * dim)] * experts)",
            ),
        ),
        kinds=("broken-tie",),
        where=(*MOES, "layers.0.moe.experts", "layers.0.moe.experts.0", "layers.0.moe.experts.1"),
        needs="facts",
        source="encodecmae #3",
    ),
    Bug(
        "mask-of-the-real-words",
        edits=(("key_padding_mask=padded", "key_padding_mask=~padded"),),
        kinds=("mask", "padding-leak", "non-finite"),
        where=ATTENTIONS,
        needs="facts",
        source="pytorch #27968",
    ),
    Bug(
        "no-mask",
        edits=(("key_padding_mask=padded, need_weights", "need_weights"),),
        kinds=("padding-leak", "mask"),
        where=ATTENTIONS,
        needs="facts",
        source="transformers #16136",
    ),
    Bug(
        "padding-has-a-place",
        edits=(
            (
                "place = ((~padded).long().cumsum(dim=1) - 1).clamp(min=0)",
                "place = torch.arange(words.size(1), device=words.device)",
            ),
        ),
        kinds=("padding-leak",),
        where=("", "places"),
        needs="facts",
        source="nnsight #673",
    ),
    Bug(
        "rows-and-words-swapped-once",
        edits=(("flat = x.reshape(-1, dim)", "flat = x.transpose(0, 1).reshape(-1, dim)"),),
        kinds=("batch-leak",),
        where=MOES,
        needs="nothing",
        source="Speech-Separation #4",
    ),
    Bug(
        "sum-of-the-default-type",
        edits=(("out = torch.zeros_like(flat)", "out = torch.zeros(flat.shape)"),),
        kinds=("dtype", "device"),
        where=MOES,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "unmarked-words-count-as-zero",
        edits=(
            (
                'batch["tags"].flatten())',
                'batch["tags"].flatten(), reduction="none").mean()',
            ),
        ),
        kinds=("loss-scale", "loss-ignored"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "padding-is-tagged",
        edits=(('batch["tags"].flatten())', 'batch["tags"].clamp(min=0).flatten())'),),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "last-expert-never-runs",
        edits=(("range(len(self.experts))", "range(len(self.experts) - 1)"),),
        kinds=("unused-parameter",),
        where=(*MOES, "layers.0.moe.experts.3", "layers.1.moe.experts.3"),
        needs="facts",
        source="seeded",
        facts={"unused_ok": []},
    ),
    Bug(
        "centred-on-the-batch",
        edits=(
            (
                "x = x + self.drop(y)\n        y, balance",
                "x = x + self.drop(y - y.mean(0))\n        y, balance",
            ),
        ),
        kinds=("batch-leak",),
        where=("layers.0", "layers.1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "the-same-dice-for-everyone",
        edits=(
            (
                "            scores = scores + self.noise",
                "            torch.manual_seed(0)\n            scores = scores + self.noise",
            ),
        ),
        kinds=("global-state", "hidden-rng", "no-train-noise"),
        where=MOES,
        needs="nothing",
        source="seeded",
    ),
)
