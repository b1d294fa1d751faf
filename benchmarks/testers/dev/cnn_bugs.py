"""Bugs of the residual network."""

from benchmarks.testers.bug import Bug

LAYERS = ("layer1", "layer2", "layer3")
NORMS = ("stem.1", *(f"{layer}.bn{i}" for layer in LAYERS for i in (1, 2)))
SWISHES = ("stem.2", *(f"{x}.act" for x in LAYERS), *(f"{x}.se.act" for x in LAYERS))
PATHS = tuple(f"{layer}.drop_path" for layer in LAYERS)
SES = tuple(f"{layer}.se" for layer in LAYERS)

BUGS = (
    Bug(
        "swish-backward-forgets-a-term",
        edits=(("(s * (1 + x * (1 - s)))", "(s * (1 - s))"),),
        kinds=("wrong-gradient",),
        where=SWISHES,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "swish-backward-sign",
        edits=(("(s * (1 + x * (1 - s)))", "(s * (1 - x * (1 - s)))"),),
        kinds=("wrong-gradient",),
        where=SWISHES,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "swish-backward-of-the-detached",
        edits=(
            (
                "        ctx.save_for_backward(x)\n",
                "        ctx.s = torch.sigmoid(x)\n        ctx.x = x.detach()\n",
            ),
            (
                "        (x,) = ctx.saved_tensors\n        s = torch.sigmoid(x)\n",
                "        x, s = ctx.x, ctx.s\n",
            ),
        ),
        kinds=("double-backward", "wrong-gradient"),
        where=SWISHES,
        needs="facts",
        source="pytorch #104040",
    ),
    Bug(
        "drop-path-in-eval",
        edits=(("if not self.training or self.p == 0.0:", "if self.p == 0.0:"),),
        kinds=("eval-noise", "train-eval", "nondeterministic"),
        where=PATHS,
        needs="nothing",
        source="PyTorchNLPBook #28",
    ),
    Bug(
        "drop-path-not-rescaled-in-train",
        edits=(("return x * mask / keep", "return x * mask"),),
        kinds=("train-eval",),
        where=PATHS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "drop-path-from-python",
        edits=(
            (
                "import torch\nfrom torch import nn",
                "import random\n\nimport torch\nfrom torch import nn",
            ),
            (
                "mask = x.new_empty(x.size(0), 1, 1, 1).bernoulli_(keep)",
                "mask = x.new_tensor([random.random() < keep for _ in x]).view(-1, 1, 1, 1)",
            ),
        ),
        kinds=("hidden-rng", "nondeterministic"),
        where=PATHS,
        needs="nothing",
        source="pytorch #5059",
    ),
    Bug(
        "batchnorm-without-running-statistics",
        edits=(
            (
                "self.bn2 = nn.BatchNorm2d(c_out)",
                "self.bn2 = nn.BatchNorm2d(c_out, track_running_stats=False)",
            ),
        ),
        kinds=("batch-leak", "train-eval"),
        where=("layer1.bn2", "layer2.bn2", "layer3.bn2"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "batchnorm-momentum-zero",
        edits=(
            ("self.bn1 = nn.BatchNorm2d(c_out)", "self.bn1 = nn.BatchNorm2d(c_out, momentum=0.0)"),
        ),
        kinds=("train-eval",),
        where=("layer1.bn1", "layer2.bn1", "layer3.bn1"),
        needs="facts",
        source="algorithmic-efficiency #783",
    ),
    Bug(
        "batchnorm-always-in-train-mode",
        edits=(
            (
                "        out = self.act(self.bn1(self.conv1(x)))",
                "        self.bn1.train()\n        out = self.act(self.bn1(self.conv1(x)))",
            ),
        ),
        kinds=("train-eval", "batch-leak", "state-carried"),
        where=("layer1.bn1", "layer2.bn1", "layer3.bn1", *LAYERS),
        needs="nothing",
        source="MultiBench #26",
    ),
    Bug(
        "constants-not-moved",
        edits=(
            (
                'self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(',
                "self.mean = (torch.tensor([0.485, 0.456, 0.406]).view(",
            ),
        ),
        kinds=("device", "unregistered", "dtype", "lost-state"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "image-normalised-in-place",
        edits=(("x = (image - self.mean) / self.std", "x = image.sub_(self.mean).div_(self.std)"),),
        kinds=("input-mutated",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "gate-without-gradient",
        edits=(("return x * s.sigmoid()", "return x * s.data.sigmoid()"),),
        kinds=("detached", "unused-parameter"),
        where=(*SES, *(f"{se}.{part}" for se in SES for part in ("reduce", "expand"))),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "gate-over-the-batch",
        edits=(("x.mean((2, 3), keepdim=True)", "x.mean((0, 2, 3), keepdim=True)"),),
        kinds=("batch-leak",),
        where=SES,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "shortcut-forgotten",
        edits=(
            ("self.act(self.shortcut(x) + self.drop_path(out))", "self.act(self.drop_path(out))"),
        ),
        kinds=("unused-parameter",),
        where=("layer2", "layer2.shortcut", "layer2.shortcut.0", "layer2.shortcut.1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "batch-lost-in-the-reshape",
        edits=(
            (
                "torch.flatten(self.pool(x), 1)",
                "self.pool(x).permute(1, 0, 2, 3).reshape(x.size(0), -1)",
            ),
        ),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "squeezed-too-far",
        edits=(("torch.flatten(self.pool(x), 1)", "self.pool(x).squeeze()"),),
        kinds=("shape", "crash"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "loss-sum",
        edits=(
            (
                "nn.CrossEntropyLoss(label_smoothing=0.05)",
                'nn.CrossEntropyLoss(label_smoothing=0.05, reduction="sum")',
            ),
        ),
        kinds=("loss-scale",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "backbone-frozen",
        edits=(
            (
                "        x = torch.flatten(self.pool(x), 1)",
                "        x = torch.flatten(self.pool(x.detach()), 1)",
            ),
        ),
        kinds=("detached", "unused-parameter", "frozen"),
        where=("", *LAYERS, "stem", "pool"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "images-up-to-255",
        edits=(("torch.rand(size, 3, 12, 12)", "255 * torch.rand(size, 3, 12, 12)"),),
        kinds=("bad-input-data", "range"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
)
