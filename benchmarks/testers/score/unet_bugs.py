"""What goes wrong in a U-Net."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "group-statistics-of-the-batch",
        edits=(
            ("mean = g.mean(-1, keepdim=True)", "mean = g.mean((0, -1), keepdim=True)"),
            (".square().mean(-1, keepdim=True)", ".square().mean((0, -1), keepdim=True)"),
        ),
        kinds=("batch-leak",),
        where=("down1.norm1", "down1.norm2", "down2.norm1", "bottom.norm1", "up1.conv.norm1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "norm-forgets-its-weight",
        edits=(("(b, c, h, w) * self.weight[:, None, None] + self", "(b, c, h, w) + self"),),
        kinds=("unused-parameter",),
        where=("down1.norm1", "down1.norm2", "down2.norm1", "bottom.norm1", "up1.conv.norm1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "gate-of-one-channel-softmax",
        edits=(("torch.sigmoid(self.psi(a))", "torch.softmax(self.psi(a), dim=1)"),),
        kinds=("unused-parameter", "detached", "saturated", "ignored-input"),
        where=("up1.gate", "up2.gate", "up1.gate.psi", "up2.gate.psi"),
        needs="nothing",
        source="PyTorch-NLP #2",
    ),
    Bug(
        "doubles-instead-of-fitting",
        edits=(
            (
                "size=skip.shape[-2:], mode=",
                "scale_factor=2, mode=",
            ),
        ),
        kinds=("shape", "crash"),
        where=("", "up1", "up2"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "only-squares",
        edits=(("size=skip.shape[-2:]", "size=skip.shape[-1]"),),
        kinds=("shape", "crash"),
        where=("", "up1", "up2"),
        needs="nothing",
        source="dino #8",
    ),
    Bug(
        "dropout-in-eval",
        edits=(("x = self.drop(x)", "x = F.dropout2d(x, 0.2)"),),
        kinds=("eval-noise", "nondeterministic"),
        where=("", "drop"),
        needs="nothing",
        source="PyTorchNLPBook #28",
    ),
    Bug(
        "skip-without-gradient",
        edits=(("skip = self.gate(skip, below)", "skip = self.gate(skip.detach(), below)"),),
        kinds=("detached",),
        where=("up1", "up2", "up1.gate", "up2.gate", "down1", "down2"),
        needs="nothing",
        source="DTUM #8",
    ),
    Bug(
        "grid-on-the-processor",
        edits=(
            (
                "ys = torch.linspace(-1, 1, h, dtype=x.dtype, device=x.device)",
                "ys = torch.linspace(-1, 1, h)",
            ),
            (
                "xs = torch.linspace(-1, 1, w, dtype=x.dtype, device=x.device)",
                "xs = torch.linspace(-1, 1, w)",
            ),
        ),
        kinds=("device", "dtype"),
        where=("", "down1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "grid-of-the-first-picture",
        edits=(
            (
                '        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij"))\n',
                '        if not hasattr(self, "grid"):\n'
                '            self.grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij"))\n'
                "        grid = self.grid\n",
            ),
        ),
        kinds=("shape", "crash", "state-carried", "unregistered", "device", "dtype"),
        where=("", "down1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "centred-on-the-batch",
        edits=(
            (
                "image = image - image.mean(dim=(1, 2, 3), keepdim=True)",
                "image = image - image.mean()",
            ),
        ),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "centred-in-place",
        edits=(
            (
                "image = image - image.mean(dim=(1, 2, 3), keepdim=True)",
                "image -= image.mean(dim=(1, 2, 3), keepdim=True)",
            ),
        ),
        kinds=("input-mutated",),
        where=("", "image"),
        needs="nothing",
        source="vision #520",
    ),
    Bug(
        "dice-of-raw-scores",
        edits=(("probs = torch.softmax(logits, dim=1) * valid", "probs = logits * valid"),),
        kinds=("loss-input", "not-learning"),
        where=("",),
        needs="nothing",
        source="villa #1488",
    ),
    Bug(
        "dice-counts-what-is-ignored",
        edits=(
            ("torch.softmax(logits, dim=1) * valid", "torch.softmax(logits, dim=1)"),
            (".movedim(-1, 1) * valid", ".movedim(-1, 1)"),
        ),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "probabilities-across-columns",
        edits=(("torch.softmax(logits, dim=1)", "torch.softmax(logits, dim=-1)"),),
        kinds=("loss-input", "loss-shape"),
        where=("",),
        needs="facts",
        source="fastNLP #254",
    ),
    Bug(
        "scores-through-relu",
        edits=(("return self.out(x)", "return F.relu(self.out(x))"),),
        kinds=("dead-units", "range"),
        where=("", "out"),
        needs="facts",
        source="seeded",
    ),
)
