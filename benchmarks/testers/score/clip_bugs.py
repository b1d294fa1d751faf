"""What goes wrong in a CLIP."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "scale-is-not-an-exponent",
        edits=(("self.logit_scale.exp()", "self.logit_scale"),),
        kinds=("loss-scale", "init"),
        where=("",),
        needs="reference",
        source="M3D #64",
    ),
    Bug(
        "scale-cut-off",
        edits=(("self.logit_scale.exp()", "self.logit_scale.exp().item()"),),
        kinds=("unused-parameter", "detached"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "pictures-only",
        edits=(("return (image_loss + text_loss) / 2", "return image_loss"),),
        kinds=("loss-one-sided",),
        where=("",),
        needs="facts",
        source="OpenAI-CLIP #16",
    ),
    Bug(
        "texts-not-turned",
        edits=(("logits_per_text = logits_per_image.t()", "logits_per_text = logits_per_image"),),
        kinds=("loss-one-sided",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "features-of-any-length",
        edits=(("return F.normalize(self.visual(image), dim=-1)", "return self.visual(image)"),),
        kinds=("range",),
        where=("", "visual"),
        needs="facts",
        source="OpenAI-CLIP #16",
    ),
    Bug(
        "normalised-over-the-batch",
        edits=(
            ("F.normalize(self.textual(text), dim=-1)", "F.normalize(self.textual(text), dim=0)"),
        ),
        kinds=("batch-leak", "range"),
        where=("", "textual"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "reads-the-last-place",
        edits=(
            (
                "x = x[torch.arange(x.shape[0], device=x.device), end]",
                "x = x[:, -1]",
            ),
        ),
        kinds=("padding-leak",),
        where=("", "textual"),
        needs="facts",
        source="open_clip #1151",
    ),
    Bug(
        "looks-for-another-end",
        edits=(("end = (text == END)", "end = (text == 2)"),),
        kinds=("collapsed", "ignored-input"),
        where=("", "textual", "text"),
        needs="nothing",
        source="transformers #21029",
    ),
    Bug(
        "text-looks-ahead",
        edits=(("            x = block(x, mask)\n", "            x = block(x)\n"),),
        kinds=("padding-leak", "causal-leak", "mask"),
        where=("textual", "textual.blocks.0", "textual.blocks.1", "textual.blocks.0.attn"),
        needs="facts",
        source="xformers #103",
    ),
    Bug(
        "sees-one-ahead",
        edits=((".triu(1)", ".triu(2)"),),
        kinds=("padding-leak", "causal-leak", "mask"),
        where=("textual", "textual.blocks.0", "textual.blocks.1", "textual.blocks.0.attn"),
        needs="facts",
        source="octo #76",
    ),
    Bug(
        "patches-reshaped-not-turned",
        edits=(
            ("        x = x.permute(0, 2, 1)\n", ""),
            (
                "x = x.reshape(x.shape[0], x.shape[1], -1)",
                "x = x.reshape(x.shape[0], -1, x.shape[1])",
            ),
        ),
        kinds=("receptive-field", "shape"),
        where=("visual",),
        needs="reference",
        source="knowing-when-to-look-adaptive-attention #6",
    ),
    Bug(
        "attends-across-the-batch",
        edits=(
            (
                "nn.MultiheadAttention(d_model, n_head, batch_first=True)",
                "nn.MultiheadAttention(d_model, n_head)",
            ),
            (
                "return self.attn(x, x, x, need_weights=False, attn_mask=mask)[0]",
                "if mask is not None:\n"
                "            y = x.transpose(0, 1)\n"
                "            y = self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]\n"
                "            return y.transpose(0, 1)\n"
                "        return self.attn(x, x, x, need_weights=False)[0]",
            ),
        ),
        kinds=("ignored-input", "collapsed", "unused-parameter", "batch-leak"),
        where=("", "visual", "visual.blocks.0", "visual.blocks.1", "visual.blocks.0.attn", "image"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "plain-gelu",
        edits=(("return QuickGELUFunction.apply(x)", "return F.gelu(x)"),),
        kinds=("precision",),
        where=("visual.blocks.0.mlp.gelu", "textual.blocks.0.mlp.gelu", "visual.blocks.0.mlp"),
        needs="reference",
        source="open_clip #771",
    ),
    Bug(
        "no-norm-before-the-blocks",
        edits=(("        x = self.ln_pre(x)\n", ""),),
        kinds=("unused-parameter",),
        where=("visual", "visual.ln_pre"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "words-without-places",
        edits=((" + self.positional_embedding[:length]", ""),),
        kinds=("unused-parameter", "position-blind"),
        where=("textual",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "projection-is-a-tensor",
        edits=(
            (
                "nn.Parameter(torch.randn(width, output_dim) * width**-0.5)",
                "torch.randn(width, output_dim) * width**-0.5",
            ),
        ),
        kinds=("unregistered", "lost-state"),
        where=("textual",),
        needs="nothing",
        source="pytorch #632",
    ),
    Bug(
        "scale-in-double-precision",
        edits=(
            (
                "nn.Parameter(torch.ones([]) * np.log(1 / 0.07))",
                "nn.Parameter(torch.tensor(np.log(1 / 0.07)))",
            ),
        ),
        kinds=("dtype",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "towers-share-their-blocks",
        edits=(
            (
                "        self.textual = TextTransformer()\n",
                "        self.textual = TextTransformer()\n"
                "        self.textual.blocks = self.visual.blocks\n",
            ),
        ),
        kinds=("broken-tie",),
        where=("", "textual", "visual", "textual.blocks", "visual.blocks"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "text-norm-left-out",
        edits=(("        x = self.ln_final(x)\n", ""),),
        kinds=("unused-parameter",),
        where=("textual", "textual.ln_final"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "class-token-at-the-end",
        edits=(
            (
                "x = torch.cat([cls, x], dim=1) + self.positional_embedding",
                "x = torch.cat([x, cls], dim=1) + self.positional_embedding",
            ),
            ("return self.ln_post(x[:, 0])", "return self.ln_post(x[:, -1])"),
        ),
        kinds=("position-blind", "receptive-field"),
        where=("visual",),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "reads-the-start-of-the-picture",
        edits=(("self.ln_post(x[:, 0])", "self.ln_post(x[:, 1])"),),
        kinds=("receptive-field", "ignored-input"),
        where=("visual",),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "slope-without-the-factor",
        edits=(("(s + 1.702 * x * s * (1 - s))", "(s + x * s * (1 - s))"),),
        kinds=("wrong-gradient",),
        where=("visual.blocks.0.mlp.gelu", "textual.blocks.0.mlp.gelu", "visual.blocks.1.mlp.gelu"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "slope-of-the-forward-value",
        edits=(
            (
                "        ctx.save_for_backward(x)\n        return x * torch.sigmoid(1.702 * x)",
                "        y = x * torch.sigmoid(1.702 * x)\n"
                "        ctx.save_for_backward(y)\n"
                "        return y",
            ),
        ),
        kinds=("wrong-gradient",),
        where=("visual.blocks.0.mlp.gelu", "textual.blocks.0.mlp.gelu", "visual.blocks.1.mlp.gelu"),
        needs="nothing",
        source="seeded",
    ),
)
