"""Bugs of the vision transformer."""

from benchmarks.testers.bug import Bug

BLOCKS = ("blocks.0", "blocks.1", "blocks.2")
ATTN = tuple(f"{b}.attn" for b in BLOCKS)
MLP = tuple(f"{b}.mlp" for b in BLOCKS)
NORMS = tuple(f"{b}.norm{i}" for b in BLOCKS for i in (1, 2))
PATHS = tuple(f"{b}.drop_path" for b in BLOCKS)

BUGS = (
    Bug(
        "patches-not-permuted",
        edits=(("        x = x.permute(0, 2, 4, 1, 3, 5)  # B, H / p, W / p, C, p, p\n", ""),),
        kinds=(
            "formula",
            "receptive-field",
        ),
        where=("patch_embed",),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "scaled-by-the-whole-width",
        edits=(("self.scale = self.head_dim**-0.5", "self.scale = dim**-0.5"),),
        kinds=(
            "formula",
            "init",
        ),
        where=ATTN,
        needs="reference",
        source="ViT-CIFAR #11",
    ),
    Bug(
        "divided-by-the-scale",
        edits=(("(q * self.scale) @", "(q / self.scale) @"),),
        kinds=(
            "formula",
            "saturated",
        ),
        where=ATTN,
        needs="reference",
        source="perceiver-io #9",
    ),
    Bug(
        "softmax-over-the-queries",
        edits=(("attn.softmax(dim=-1)", "attn.softmax(dim=-2)"),),
        kinds=(
            "formula",
            "mask",
        ),
        where=ATTN,
        needs="reference",
        source="nerminnuraydogan/vision-transformer #1",
    ),
    Bug(
        "softmax-over-the-batch",
        edits=(("attn.softmax(dim=-1)", "attn.softmax(dim=0)"),),
        kinds=("batch-leak",),
        where=ATTN,
        needs="nothing",
        source="attention-is-all-you-need-pytorch #52",
    ),
    Bug(
        "heads-merged-without-transpose",
        edits=(("(attn @ v).transpose(1, 2).reshape(B, N, C)", "(attn @ v).reshape(B, N, C)"),),
        kinds=(
            "formula",
            "receptive-field",
        ),
        where=ATTN,
        needs="reference",
        source="QAnet-pytorch #2",
    ),
    Bug(
        "class-token-of-one-batch-size",
        edits=(
            ("nn.Parameter(torch.zeros(1, 1, dim))", "nn.Parameter(torch.zeros(4, 1, dim))"),
            ("cls = self.cls_token.expand(x.shape[0], -1, -1)", "cls = self.cls_token"),
        ),
        kinds=("shape", "crash", "batch-leak"),
        where=("",),
        needs="nothing",
        source="medium_articles #1",
    ),
    Bug(
        "positions-not-added",
        edits=(("self.pos_drop(x + self.pos_embed)", "self.pos_drop(x)"),),
        kinds=("unused-parameter", "position-blind"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "class-token-data",
        edits=(("self.cls_token.expand(", "self.cls_token.data.expand("),),
        kinds=("detached", "unused-parameter"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "final-norm-forgotten",
        edits=(("        return self.norm(x)\n", "        return x\n"),),
        kinds=("unused-parameter",),
        where=("", "norm"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "last-block-left-out",
        edits=(("for block in self.blocks:", "for block in self.blocks[:-1]:"),),
        kinds=("unused-parameter",),
        where=("", "blocks.2", "blocks"),
        needs="nothing",
        source="llama.cpp #25844",
    ),
    Bug(
        "softmax-stays-in-float32",
        edits=(("attn.softmax(dim=-1)", "attn.softmax(dim=-1, dtype=torch.float32)"),),
        kinds=("dtype", "crash"),
        where=ATTN,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "gradients-switched-off",
        edits=(
            (
                "        x = self.forward_features(pixel_values)\n",
                "        torch.set_grad_enabled(self.training)\n"
                "        x = self.forward_features(pixel_values)\n",
            ),
        ),
        kinds=("global-state",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "attention-dropout-in-eval",
        edits=((", training=self.training)", ", training=True)"),),
        kinds=("eval-noise", "train-eval", "nondeterministic"),
        where=ATTN,
        needs="nothing",
        source="vjepa2 #160",
    ),
    Bug(
        "drop-path-keeps-too-few",
        edits=((".bernoulli_(keep_prob) / keep_prob", ".bernoulli_(self.drop_prob) / keep_prob"),),
        kinds=("train-eval",),
        where=PATHS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "no-activation",
        edits=(("self.drop(self.act(self.fc1(x)))", "self.drop(self.fc1(x))"),),
        kinds=("formula",),
        where=MLP,
        needs="reference",
        source="seeded",
    ),
    Bug(
        "eps-far-too-large",
        edits=(
            ("self.norm1 = nn.LayerNorm(dim, eps=1e-6)", "self.norm1 = nn.LayerNorm(dim, eps=1e6)"),
        ),
        kinds=(
            "formula",
            "vanishing",
            "init",
        ),
        where=tuple(f"{b}.norm1" for b in BLOCKS),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "residual-of-the-normed",
        edits=(
            (
                "        x = x + self.drop_path(self.attn(self.norm1(x)))\n",
                "        x = self.norm1(x)\n        x = x + self.drop_path(self.attn(x))\n",
            ),
        ),
        kinds=("formula",),
        where=BLOCKS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        "loss-maximised",
        edits=(
            (
                'return F.cross_entropy(output, batch["labels"])',
                'return -F.cross_entropy(output, batch["labels"])',
            ),
        ),
        kinds=("loss-sign",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "patches-frozen",
        edits=(
            (
                "        trunc_normal_(self.cls_token)\n",
                "        trunc_normal_(self.cls_token)\n"
                "        self.patch_embed.requires_grad_(False)\n",
            ),
        ),
        kinds=("frozen",),
        where=("patch_embed", "patch_embed.proj", ""),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "weights-of-width-one",
        edits=(
            (
                "            trunc_normal_(m.weight)\n",
                "            trunc_normal_(m.weight, std=1.0)\n",
            ),
        ),
        kinds=("init", "exploding", "saturated"),
        where=("", "patch_embed", "patch_embed.proj", "head", *BLOCKS, *ATTN, *MLP),
        needs="nothing",
        source="nanoT5 #25",
    ),
)
