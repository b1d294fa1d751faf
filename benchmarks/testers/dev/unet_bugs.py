"""Bugs of the U-Net."""

from benchmarks.testers.bug import Bug

UPS = ("up.0", "up.1")

BUGS = (
    Bug(
        "images-standardised-together",
        edits=(
            ("image.mean((1, 2, 3), keepdim=True)", "image.mean()"),
            ("image.std((1, 2, 3), keepdim=True)", "image.std()"),
        ),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "flat-image-divides-by-zero",
        edits=(("(image - mean) / (std + 1e-3)", "(image - mean) / std"),),
        kinds=("non-finite",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "standardised-in-place",
        edits=(
            ("return (image - mean) / (std + 1e-3)", "return image.sub_(mean).div_(std + 1e-3)"),
        ),
        kinds=("input-mutated",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "coordinates-on-the-default-device",
        edits=(
            (
                "torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)",
                "torch.linspace(-1, 1, h)",
            ),
            (
                "torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype)",
                "torch.linspace(-1, 1, w)",
            ),
        ),
        kinds=("device", "dtype"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "skips-in-the-wrong-order",
        edits=(("zip(self.up, reversed(skips), strict=True)", "zip(self.up, skips, strict=True)"),),
        kinds=("crash", "shape"),
        where=("", "up.0", "up.0.block.0", "up.0.block"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "skip-detached",
        edits=(("skips.append(x)", "skips.append(x.detach())"),),
        kinds=("detached", "wrong-gradient"),
        where=("", "enter", "down.0"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "skip-is-the-same-again",
        edits=(("torch.cat([skip, x], dim=1)", "torch.cat([skip, skip], dim=1)"),),
        kinds=("unused-parameter",),
        where=(*UPS, "middle", "middle.block", "up.0.squeeze", "up.1.squeeze", "down.1", ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "twice-as-large-whatever-the-skip",
        edits=(("size=skip.shape[-2:], mode", "scale_factor=2, mode"),),
        kinds=("shape", "crash"),
        where=UPS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "heads-in-a-plain-dict",
        edits=(("nn.ModuleDict(heads)", "heads"),),
        kinds=("unregistered",),
        where=("",),
        needs="nothing",
        source="pytorch #632",
    ),
    Bug(
        "recomputed-with-other-noise",
        edits=(("x, use_reentrant=False)", "x, use_reentrant=False, preserve_rng_state=False)"),),
        kinds=("checkpointing", "wrong-gradient"),
        where=("middle", "middle.dropout", "middle.block", ""),
        needs="nothing",
        source="OLMo-core #828",
    ),
    Bug(
        "dropout-of-the-functional",
        edits=(
            ("x + self.dropout(self.block(x))", "x + F.dropout2d(self.block(x), self.dropout.p)"),
        ),
        kinds=("eval-noise", "train-eval", "nondeterministic"),
        where=("middle",),
        needs="nothing",
        source="face_attribute_classification_pytorch #1",
    ),
    Bug(
        "weights-far-too-small",
        edits=(
            (
                'nn.init.kaiming_normal_(m.weight, nonlinearity="linear")',
                "nn.init.normal_(m.weight, std=1e-5)",
            ),
        ),
        kinds=("init", "vanishing"),
        where=("", "enter", "heads.region", "down.0", "down.1", "middle", *UPS, "enter.0"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "softmax-of-the-wrong-axis",
        edits=(("p = logits.softmax(dim=1)", "p = logits.softmax(dim=0)"),),
        kinds=("loss-input", "batch-leak"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "ignored-pixels-count-in-the-dice",
        edits=(("count = (target != IGNORE).unsqueeze(1)", "count = (target != -1).unsqueeze(1)"),),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "no-ignore-index",
        edits=((", ignore_index=IGNORE, reduction", ", reduction"),),
        kinds=("crash", "loss-ignored", "bad-input-data"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "dice-of-the-whole-batch-summed",
        edits=(("(total + eps)).mean()", "(total + eps)).sum()"),),
        kinds=("loss-scale", "accumulation", "loss-sign"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "border-against-a-channel",
        edits=(('self.heads["border"](x).squeeze(1)', 'self.heads["border"](x)'),),
        kinds=("crash", "loss-shape"),
        where=("", "heads.border"),
        needs="nothing",
        source="CoNet #3",
    ),
)
