"""What goes wrong in a residual net with a frozen stem."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "drop-path-in-eval",
        edits=(("if self.p == 0.0 or not self.training:", "if self.p == 0.0:"),),
        kinds=("eval-noise", "nondeterministic"),
        where=("layers.0.drop_path", "layers.1.drop_path", "layers.2.drop_path"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "frozen-statistics-move",
        edits=(
            (
                "        self.stem.eval()  # the statistics are those of the stem's own training\n",
                "",
            ),
        ),
        kinds=("frozen", "train-eval"),
        where=("stem", "stem.1"),
        needs="facts",
        source="gt-pyg #112",
    ),
    Bug(
        "freezes-an-attribute",
        edits=(("self.stem.requires_grad_(False)", "self.stem.requires_grad = False"),),
        kinds=("frozen",),
        where=("stem", "stem.0", "stem.1"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "statistics-of-the-batch-in-eval",
        edits=(
            (
                "self.bn2 = nn.BatchNorm2d(cout)",
                "self.bn2 = nn.BatchNorm2d(cout, track_running_stats=False)",
            ),
        ),
        kinds=("batch-leak", "train-eval"),
        where=("layers.0.bn2", "layers.1.bn2", "layers.2.bn2"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "always-in-training",
        edits=(
            (
                "y = F.relu(self.bn1(self.conv1(x)))",
                "bn = self.bn1\n"
                "        y = F.batch_norm(\n"
                "            self.conv1(x), bn.running_mean, bn.running_var, bn.weight, bn.bias,\n"
                "            training=True,\n"
                "        )\n"
                "        y = F.relu(y)",
            ),
        ),
        kinds=("train-eval", "batch-leak", "state-carried"),
        where=("layers.0", "layers.1", "layers.2", "layers.0.bn1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "squeezes-the-batch-too",
        edits=(("s = x.mean((2, 3), keepdim=True)", "s = x.mean((0, 2, 3), keepdim=True)"),),
        kinds=("batch-leak",),
        where=("layers.0.se", "layers.1.se", "layers.2.se"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "softmax-before-cross-entropy",
        edits=(('"logits": self.head(features)', '"logits": self.head(features).softmax(-1)'),),
        kinds=("loss-input",),
        where=("", "head"),
        needs="nothing",
        source="lightning-bolts #654",
    ),
    Bug(
        "likelihood-of-raw-scores",
        edits=(("return F.cross_entropy(", "return F.nll_loss("),),
        kinds=("loss-input",),
        where=("", "head"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "pooled-shortcut",
        edits=(
            (
                "nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))",
                "nn.Sequential(\n"
                "                nn.AvgPool2d(stride), conv(cin, cout, 1), nn.BatchNorm2d(cout)\n"
                "            )",
            ),
        ),
        kinds=("shape", "crash"),
        where=("layers.2", "layers.2.shortcut"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "grey-picture-divides-by-zero",
        edits=(("/ (spread + 1e-5)", "/ spread"),),
        kinds=("non-finite",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "one-block-twice",
        edits=(
            (
                "                BasicBlock(width, width, drop_path=0.05),\n"
                "                BasicBlock(width, width, drop_path=0.1),\n",
                "                *[BasicBlock(width, width, drop_path=0.1)] * 2,\n",
            ),
        ),
        kinds=("broken-tie",),
        where=("layers.0", "layers.1", "layers"),
        needs="facts",
        source="encodecmae #3",
    ),
    Bug(
        "flips-by-another-dice",
        edits=(
            (
                "import torch\nimport torch.nn.functional",
                "import random\n\nimport torch\nimport torch.nn.functional",
            ),
            ("torch.rand(()) < 0.5", "random.random() < 0.5"),
        ),
        kinds=("hidden-rng", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="vision #430",
    ),
    Bug(
        "flips-in-eval",
        edits=(("if self.training and torch.rand(()) < 0.5:", "if torch.rand(()) < 0.5:"),),
        kinds=("eval-noise", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "standardises-over-the-batch",
        edits=(
            ("images.mean((1, 2, 3), keepdim=True)", "images.mean()"),
            ("images.std((1, 2, 3), keepdim=True)", "images.std()"),
        ),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "scheduler-goes-first",
        edits=(
            (
                "    optimizer.step()\n    scheduler.step()",
                "    scheduler.step()\n    optimizer.step()",
            ),
        ),
        kinds=("scheduler",),
        where=("",),
        needs="facts",
        source="hyrax #983",
    ),
    Bug(
        "measures-in-train-mode",
        edits=(("    model.eval()\n", ""),),
        kinds=("eval-mode",),
        where=("",),
        needs="facts",
        source="MultiBench #26",
    ),
    Bug(
        "head-is-not-trained",
        edits=(
            (
                "[p for p in model.parameters() if p.requires_grad]",
                "[p for p in model.layers.parameters() if p.requires_grad]",
            ),
        ),
        kinds=("optimizer",),
        where=("", "head"),
        needs="facts",
        source="HVPNeT #5",
    ),
    Bug(
        "labels-from-one",
        edits=(("torch.randint(CLASSES, (size,))", "torch.randint(1, CLASSES + 1, (size,))"),),
        kinds=("bad-input-data", "crash"),
        where=("", "label"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "no-gradients-after-evaluation",
        edits=(
            ("@torch.no_grad()\ndef evaluate", "def evaluate"),
            (
                "    training = model.training\n",
                "    training = model.training\n    torch.set_grad_enabled(False)\n",
            ),
        ),
        kinds=("global-state", "eval-mode"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "zeroed-just-before-the-step",
        edits=(
            (
                "    optimizer.zero_grad()\n    error.backward()\n",
                "    error.backward()\n    optimizer.zero_grad()\n",
            ),
        ),
        kinds=("zero-grad", "optimizer", "not-learning"),
        where=("",),
        needs="facts",
        source="llm.c #548",
    ),
)
