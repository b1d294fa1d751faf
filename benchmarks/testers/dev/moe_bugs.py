"""Bugs of the mixture of experts."""

from benchmarks.testers.bug import Bug

LAYERS = ("layers.0", "layers.1")
ROUTERS = tuple(f"{x}.router" for x in LAYERS)
GATES = tuple(f"{x}.gate" for x in ROUTERS)
EXPERTS = tuple(f"{x}.experts.{i}" for x in LAYERS for i in range(4))
LISTS = tuple(f"{x}.experts" for x in LAYERS)
LAST = tuple(f"{x}.experts.3" for x in LAYERS)

BUGS = (
    Bug(
        name="last-expert-never-asked",
        edits=(
            (
                "for i, expert in enumerate(self.experts):",
                "for i, expert in enumerate(self.experts[:-1]):",
            ),
        ),
        kinds=("unused-parameter",),
        where=LAST + LISTS + LAYERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="first-two-always-chosen",
        edits=(
            (
                "chosen = (probs + self.bias).topk(self.k, dim=-1).indices",
                "chosen = (probs + self.bias)[:, : self.k].topk(self.k, dim=-1).indices",
            ),
        ),
        kinds=("unused-parameter", "dead-units"),
        where=EXPERTS[2:4] + EXPERTS[6:8] + LISTS + ROUTERS + LAYERS,
        needs="nothing",
        source="torchtitan #1246",
    ),
    Bug(
        name="weights-without-gradient",
        edits=(
            (
                "weights = probs.gather(-1, chosen)",
                "weights = probs.detach().gather(-1, chosen)",
            ),
        ),
        kinds=("detached", "wrong-gradient"),
        where=ROUTERS + GATES,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="router-softmax-over-the-tokens",
        edits=(("probs = logits.softmax(dim=-1)", "probs = logits.softmax(dim=0)"),),
        kinds=("batch-leak",),
        where=ROUTERS,
        needs="nothing",
        source="attention-is-all-you-need-pytorch #52",
    ),
    Bug(
        name="weights-of-the-whole-batch",
        edits=(("weights.sum(-1, keepdim=True)", "weights.sum()"),),
        kinds=("batch-leak",),
        where=ROUTERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="noise-in-eval",
        edits=(
            (
                "        if self.training:\n            logits = logits + ",
                "        if self.noise > 0:\n            logits = logits + ",
            ),
        ),
        kinds=("eval-noise", "nondeterministic", "train-eval"),
        where=ROUTERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="seeded-in-forward",
        edits=(
            (
                "            logits = logits + self.noise",
                "            torch.manual_seed(0)\n            logits = logits + self.noise",
            ),
        ),
        kinds=("global-state", "hidden-rng", "no-train-noise"),
        where=ROUTERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="bias-moves-in-eval",
        edits=(
            (
                "        if self.training:\n            with torch.no_grad():\n"
                "                self.bias +=",
                "        if True:\n            with torch.no_grad():\n                self.bias +=",
            ),
        ),
        kinds=("state-carried", "train-eval"),
        where=ROUTERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="bias-not-saved",
        edits=(
            (
                'self.register_buffer("bias", torch.zeros(experts))',
                'self.register_buffer("bias", torch.zeros(experts), persistent=False)',
            ),
        ),
        kinds=("lost-state",),
        where=ROUTERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="experts-in-a-list",
        edits=(
            (
                "nn.ModuleList([Expert(width, 2 * width) for _ in range(experts)])",
                "[Expert(width, 2 * width) for _ in range(experts)]",
            ),
        ),
        kinds=("unregistered",),
        where=(*LAYERS, ""),
        needs="nothing",
        source="SLIIF #13",
    ),
    Bug(
        name="one-expert-many-times",
        edits=(
            (
                "[Expert(width, 2 * width) for _ in range(experts)]",
                "[Expert(width, 2 * width)] * experts",
            ),
        ),
        kinds=("broken-tie",),
        where=EXPERTS + LISTS + LAYERS,
        needs="facts",
        source="Liger-Kernel #269",
    ),
    Bug(
        name="experts-begin-the-same",
        edits=(
            (
                "nn.init.xavier_uniform_(m.weight)",
                "nn.init.xavier_uniform_(m.weight, generator=torch.Generator().manual_seed(0))",
            ),
        ),
        kinds=("init",),
        where=EXPERTS + LISTS + LAYERS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="experts-born-dead",
        edits=(
            (
                "                nn.init.zeros_(m.bias)",
                "                nn.init.constant_(m.bias, -8.0)",
            ),
        ),
        kinds=("dead-units", "init"),
        where=EXPERTS + tuple(f"{e}.up" for e in EXPERTS) + ("", "head"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="router-far-too-cold",
        edits=(("noise=0.1, temperature=1.0)", "noise=0.1, temperature=1e-4)"),),
        kinds=("saturated", "vanishing"),
        where=ROUTERS + GATES,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="mean-over-the-padding",
        edits=(("(x * real).sum(1) / real.sum(1).clamp_min(1)", "x.mean(1)"),),
        kinds=("padding-leak",),
        where=("",),
        needs="facts",
        source="UER-py #190",
    ),
    Bug(
        name="padding-mixed-in",
        edits=(("x = self.embed(tokens) * real", "x = self.embed(tokens)"),),
        kinds=("padding-leak",),
        where=("", "mix"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        name="sigmoid-before-the-logits-loss",
        edits=(
            (
                "binary_cross_entropy_with_logits(output.logits, tags)",
                "binary_cross_entropy_with_logits(output.logits.sigmoid(), tags)",
            ),
        ),
        kinds=("loss-input", "not-learning"),
        where=("",),
        needs="nothing",
        source="focal-loss-pytorch #5",
    ),
    Bug(
        name="tags-as-one-class",
        edits=(
            (
                "F.binary_cross_entropy_with_logits(output.logits, tags)",
                "F.cross_entropy(output.logits, tags)",
            ),
        ),
        kinds=("loss-input", "loss-targets"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "memory-not-initialised",
        edits=(("out = torch.zeros_like(tokens)", "out = torch.empty_like(tokens)"),),
        kinds=("nondeterministic", "non-finite", "eval-noise"),
        where=LAYERS,
        needs="nothing",
        source="seeded",
    ),
)
