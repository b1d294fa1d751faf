"""Bugs of the two towers."""

from benchmarks.testers.bug import Bug

VISION = ("visual.blocks.0", "visual.blocks.1")
WORDS = ("textual.blocks.0", "textual.blocks.1")
BLOCKS = VISION + WORDS

BUGS = (
    Bug(
        "one-sided-loss",
        edits=(("    return (i2t + t2i) / 2\n", "    return i2t\n"),),
        kinds=("loss-one-sided",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "same-side-twice",
        edits=(('output["logits_per_text"], target', 'output["logits_per_image"], target'),),
        kinds=("loss-one-sided",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "scale-without-exp",
        edits=(("self.logit_scale.exp().clamp(max=100.0)", "self.logit_scale.clamp(max=100.0)"),),
        kinds=(
            "formula",
            "range",
            "init",
            "loss-scale",
        ),
        where=("",),
        needs="reference",
        source="M3D #52",
    ),
    Bug(
        "scale-never-clamped",
        edits=(("self.logit_scale.exp().clamp(max=100.0)", "self.logit_scale.exp()"),),
        kinds=("range", "non-finite"),
        where=("",),
        needs="facts",
        source="openai/CLIP #46",
    ),
    Bug(
        "scale-not-trained",
        edits=(
            (
                "nn.Parameter(torch.tensor(math.log(1 / 0.07)))",
                "torch.tensor(math.log(1 / 0.07))",
            ),
        ),
        kinds=("unregistered", "device", "lost-state"),
        where=("",),
        needs="nothing",
        source="clip-as-service #710",
    ),
    Bug(
        "features-not-normalised",
        edits=(
            ("F.normalize(self.visual(image), dim=-1)", "self.visual(image)"),
            ("F.normalize(self.textual(text), dim=-1)", "self.textual(text)"),
        ),
        kinds=("range", "init", "loss-scale"),
        where=("",),
        needs="facts",
        source="OpenAI-CLIP #16",
    ),
    Bug(
        "normalised-over-the-batch",
        edits=(
            ("F.normalize(self.visual(image), dim=-1)", "F.normalize(self.visual(image), dim=0)"),
        ),
        kinds=("batch-leak", "range"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "text-mask-inverted",
        edits=(("device=x.device).triu(1)", "device=x.device).tril()"),),
        kinds=("dead-position", "mask", "ignored-input", "collapsed"),
        where=WORDS + tuple(f"{b}.attn" for b in WORDS) + ("textual",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "pooled-at-the-last-position",
        edits=(
            (
                "return x[torch.arange(x.size(0), device=x.device), end] @",
                "return x[:, -1] @",
            ),
        ),
        kinds=("padding-leak",),
        where=("textual",),
        needs="facts",
        source="transformers #21029",
    ),
    Bug(
        "pooled-at-the-first-token",
        edits=(
            (
                "end = (text == EOT).int().argmax(dim=-1)",
                "end = (text == 49407).int().argmax(dim=-1)",
            ),
        ),
        kinds=("dead-position", "collapsed", "ignored-input"),
        where=("textual",),
        needs="nothing",
        source="diffusers #10754",
    ),
    Bug(
        "text-positions-not-added",
        edits=((" + self.positional_embedding[: text.size(1)]", ""),),
        kinds=("unused-parameter", "position-blind"),
        where=("textual",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "class-token-without-position",
        edits=(
            (
                "x = torch.cat([cls, x], dim=1) + self.positional_embedding\n",
                "x = torch.cat([cls, x + self.positional_embedding[1:]], dim=1)\n",
            ),
        ),
        kinds=(
            "formula",
            "unused-parameter",
        ),
        where=("visual",),
        needs="reference",
        source="labmlai/annotated_deep_learning_paper_implementations #221",
    ),
    Bug(
        "patches-in-the-wrong-order",
        edits=(
            (
                "x = x.flatten(2).transpose(1, 2)",
                "x = x.flatten(2).reshape(x.size(0), -1, x.size(1))",
            ),
        ),
        kinds=(
            "formula",
            "receptive-field",
        ),
        where=("visual",),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "class-token-of-the-last",
        edits=(("self.ln_post(x[:, 0]) @ self.proj", "self.ln_post(x[:, -1]) @ self.proj"),),
        kinds=("formula",),
        where=("visual", "visual.ln_post"),
        needs="reference",
        source="llama.cpp #25844",
    ),
    Bug(
        "exact-gelu",
        edits=(("x * torch.sigmoid(1.702 * x)", "F.gelu(x)"),),
        kinds=("formula",),
        where=tuple(f"{b}.mlp.1" for b in BLOCKS) + tuple(f"{b}.mlp" for b in BLOCKS),
        needs="reference",
        source="open_clip #771",
    ),
    Bug(
        "text-tower-without-gradient",
        edits=(
            (
                "text_features = self.encode_text(text)",
                "text_features = self.encode_text(text).detach()",
            ),
        ),
        kinds=("detached", "unused-parameter", "frozen"),
        where=("", "textual"),
        needs="nothing",
        source="SLIP #31",
    ),
    Bug(
        "targets-of-another-order",
        edits=(
            (
                'target = torch.arange(batch["text"].size(0), device=batch["text"].device)',
                'target = torch.arange(batch["text"].size(0)).flip(0)',
            ),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "no-end-is-accepted",
        edits=(
            (
                "        if not (text == EOT).any(dim=-1).all():\n"
                '            raise ValueError("a text has no end-of-text token")\n',
                "",
            ),
        ),
        kinds=("accepts-bad-input",),
        where=("", "textual"),
        needs="facts",
        source="open_clip #1154",
    ),
    Bug(
        "batch-of-the-second-axis",
        edits=(
            (
                "self.attn = nn.MultiheadAttention(width, heads, batch_first=True)",
                "self.attn = nn.MultiheadAttention(width, heads)",
            ),
            ("n = x.size(1)\n", "n = x.size(0)\n"),
        ),
        kinds=("batch-leak",),
        where=BLOCKS + tuple(f"{b}.attn" for b in BLOCKS),
        needs="facts",
        source="AEMatter #3",
    ),
    Bug(
        "first-norm-forgotten",
        edits=(("        x = self.ln_pre(x)\n", ""),),
        kinds=("unused-parameter",),
        where=("visual", "visual.ln_pre"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "no-activation",
        edits=(
            (
                "nn.Linear(width, 4 * width), QuickGELU(), nn.Linear",
                "nn.Linear(width, 4 * width), nn.Identity(), nn.Linear",
            ),
        ),
        kinds=("formula",),
        where=tuple(f"{b}.mlp" for b in BLOCKS) + tuple(f"{b}.mlp.1" for b in BLOCKS) + BLOCKS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        "text-sees-what-follows",
        edits=(("heads, causal=True)", "heads, causal=False)"),),
        kinds=("padding-leak", "mask"),
        where=WORDS + tuple(f"{b}.attn" for b in WORDS) + ("textual",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "norm-of-all-at-once",
        edits=(
            (
                "F.normalize(self.textual(text), dim=-1)",
                "self.textual(text) / self.textual(text).norm()",
            ),
        ),
        kinds=("batch-leak", "range"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
)
