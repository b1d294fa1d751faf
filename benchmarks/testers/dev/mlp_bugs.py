"""Bugs of the perceptron for tables."""

from benchmarks.testers.bug import Bug

BLOCKS = ("blocks.0", "blocks.1", "blocks.2")

BUGS = (
    Bug(
        "batch-mean",
        edits=(("(x - self.mean) / self.std", "(x - x.mean(0)) / self.std"),),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "blocks-in-a-list",
        edits=(
            (
                "nn.ModuleList([Block(width, 4 * width, dropout) for _ in range(depth)])",
                "[Block(width, 4 * width, dropout) for _ in range(depth)]",
            ),
        ),
        kinds=("unregistered",),
        where=("",),
        needs="nothing",
        source="pytorch #715",
    ),
    Bug(
        "dropout-always-on",
        edits=((", training=self.training", ""),),
        kinds=("eval-noise", "train-eval", "nondeterministic"),
        where=BLOCKS,
        needs="nothing",
        source="PyTorchNLPBook #28",
    ),
    Bug(
        "statistics-not-buffers",
        edits=(
            (
                'self.register_buffer("mean", torch.zeros(columns))',
                "self.mean = torch.zeros(columns)",
            ),
            ('self.register_buffer("std", torch.ones(columns))', "self.std = torch.ones(columns)"),
        ),
        kinds=("unregistered", "lost-state", "device", "dtype"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "statistics-not-saved",
        edits=(("torch.ones(columns))", "torch.ones(columns), persistent=False)"),),
        kinds=("lost-state",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "input-standardised-in-place",
        edits=(("x = (x - self.mean) / self.std", "x.sub_(self.mean).div_(self.std)"),),
        kinds=("input-mutated",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "softmax-before-cross-entropy",
        edits=(("self.head(self.norm(h))", "self.head(self.norm(h)).softmax(-1)"),),
        kinds=("loss-input", "range"),
        where=("",),
        needs="facts",
        source="Deep-learning-activity-recognition #10",
    ),
    Bug(
        "noise-from-numpy",
        edits=(
            ("import torch\nimport torch.nn", "import numpy as np\nimport torch\nimport torch.nn"),
            (
                "self.noise * torch.randn_like(x)",
                "self.noise * torch.from_numpy(np.random.randn(*x.shape)).to(x)",
            ),
        ),
        kinds=("hidden-rng", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="pytorch #5059",
    ),
    Bug(
        "gate-detached",
        edits=(("torch.sigmoid(self.gate(h))", "torch.sigmoid(self.gate(h)).detach()"),),
        kinds=("detached", "unused-parameter"),
        where=tuple(f"{b}.gate" for b in BLOCKS) + BLOCKS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "category-ignored",
        edits=(("self.category(category)", "self.category(torch.zeros_like(category))"),),
        kinds=("ignored-input",),
        where=("category", ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "head-after-relu",
        edits=(("return self.head(self.norm(h))", "return F.relu(self.head(self.norm(h)))"),),
        kinds=("range", "dead-units", "loss-input"),
        where=("", "head"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "weights-all-zero",
        edits=(
            (
                'nn.init.kaiming_normal_(module.weight, nonlinearity="linear")',
                "nn.init.zeros_(module.weight)",
            ),
        ),
        kinds=("init", "collapsed", "not-learning", "ignored-input", "unused-parameter"),
        where=("", "stem", "head", *BLOCKS),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "weights-far-too-large",
        edits=(
            (
                'nn.init.kaiming_normal_(module.weight, nonlinearity="linear")',
                "nn.init.normal_(module.weight)",
            ),
        ),
        kinds=("init", "exploding", "saturated"),
        where=(
            "",
            "stem",
            "head",
            *BLOCKS,
            *(f"{b}.{n}" for b in BLOCKS for n in ("fc1", "fc2", "gate")),
        ),
        needs="nothing",
        source="nanoT5 #25",
    ),
    Bug(
        "loss-over-the-batch-axis",
        edits=(
            (
                'return F.cross_entropy(output, batch["label"])',
                'return F.nll_loss(F.log_softmax(output, dim=0), batch["label"])',
            ),
        ),
        kinds=("loss-input", "batch-leak", "loss-scale"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "noise-on-the-default-device",
        edits=(("torch.randn_like(x)", "torch.randn(x.shape)"),),
        kinds=("device", "dtype"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "gradients-never-zeroed",
        edits=(
            (
                "    optimizer.zero_grad()\n    value = batch_loss(model, batch)",
                "    value = batch_loss(model, batch)",
            ),
        ),
        kinds=("zero-grad",),
        where=("",),
        needs="facts",
        source="tt-blacksmith #711",
    ),
    Bug(
        "clipped-after-the-step",
        edits=(
            (
                "    nn.utils.clip_grad_norm_(model.parameters(), CLIP)\n    optimizer.step()\n"
                "    scheduler.step()\n    return",
                "    optimizer.step()\n    nn.utils.clip_grad_norm_(model.parameters(), CLIP)\n"
                "    scheduler.step()\n    return",
            ),
        ),
        kinds=("clipping",),
        where=("",),
        needs="facts",
        source="onsets-and-frames #24",
    ),
    Bug(
        "no-eval-in-evaluate",
        edits=(("    model.eval()\n", ""),),
        kinds=("eval-mode",),
        where=("",),
        needs="facts",
        source="ethos-ares #20",
    ),
    Bug(
        "biases-not-in-the-optimizer",
        edits=(
            (
                'groups = [{"params": decay, "weight_decay": 0.01}, '
                '{"params": rest, "weight_decay": 0.0}]',
                'groups = [{"params": decay, "weight_decay": 0.01}]',
            ),
        ),
        kinds=("optimizer", "frozen"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "log-of-the-softmax",
        edits=(
            (
                'F.cross_entropy(output, batch["label"])',
                'F.nll_loss(output.softmax(-1).log(), batch["label"])',
            ),
        ),
        kinds=("non-finite", "precision"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "labels-count-from-one",
        edits=(("torch.randint(0, CLASSES, (size,))", "torch.randint(1, CLASSES + 1, (size,))"),),
        kinds=("bad-input-data", "crash"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
)
