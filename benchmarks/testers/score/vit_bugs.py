"""What goes wrong in a vision transformer."""

from benchmarks.testers.bug import Bug

ATTENTIONS = ("blocks.0.attn", "blocks.1.attn")
MLPS = ("blocks.0.mlp", "blocks.1.mlp")

BUGS = (
    Bug(
        "sdpa-drops-in-eval",
        edits=(("dropout_p=self.attn_drop if self.training else 0.0", "dropout_p=self.attn_drop"),),
        kinds=("eval-noise", "nondeterministic"),
        where=ATTENTIONS,
        needs="nothing",
        source="pytorch-image-models #1978",
    ),
    Bug(
        "places-not-added",
        edits=(("return x + pos_embed", "return x"),),
        kinds=("unused-parameter", "position-blind"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "one-place-for-all",
        edits=(("return x + pos_embed", "return x + pos_embed[:, [x.shape[1] - 1]]"),),
        kinds=("position-blind", "unused-parameter"),
        where=("",),
        needs="facts",
        source="annotated_deep_learning_paper_implementations #133",
    ),
    Bug(
        "class-token-without-place",
        edits=(
            (
                "        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)\n"
                "        return x + pos_embed",
                "        x = x + pos_embed[:, 1:]\n"
                "        return torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)",
            ),
        ),
        kinds=("unused-parameter", "position-blind"),
        where=("",),
        needs="reference",
        source="annotated_deep_learning_paper_implementations #221",
    ),
    Bug(
        "patches-reshaped-not-turned",
        edits=(
            (
                "x = x.flatten(2).transpose(1, 2)  # BCHW -> BNC",
                "x = x.reshape(x.shape[0], -1, x.shape[1])  # BCHW -> BNC",
            ),
        ),
        kinds=("receptive-field", "shape"),
        where=("patch_embed",),
        needs="reference",
        source="knowing-when-to-look-adaptive-attention #6",
    ),
    Bug(
        "heads-not-put-back",
        edits=(("x = x.transpose(1, 2).reshape(B, N, C)", "x = x.reshape(B, N, C)"),),
        kinds=("receptive-field", "shape"),
        where=ATTENTIONS,
        needs="reference",
        source="Informer2020 #59",
    ),
    Bug(
        "sdpa-without-scale",
        edits=(("q, k, v, dropout_p=", "q, k, v, scale=1.0, dropout_p="),),
        kinds=("saturated", "exploding"),
        where=ATTENTIONS,
        needs="reference",
        source="GenerativeModels #146",
    ),
    Bug(
        "mlp-without-activation",
        edits=(("self.fc2(self.drop(self.act(self.fc1(x))))", "self.fc2(self.drop(self.fc1(x)))"),),
        kinds=("saturated", "dead-units"),
        where=(*MLPS, "blocks.0.mlp.act", "blocks.1.mlp.act"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "reads-the-first-patch",
        edits=(("self.head(x[:, 0])", "self.head(x[:, 1])"),),
        kinds=("ignored-input", "receptive-field"),
        where=("", "head"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "layer-scale-is-no-parameter",
        edits=(
            (
                "self.gamma = nn.Parameter(torch.full((dim,), init_values))",
                "self.gamma = torch.full((dim,), init_values)",
            ),
        ),
        kinds=("unregistered", "device", "dtype"),
        where=("blocks.0.ls1", "blocks.0.ls2", "blocks.1.ls1", "blocks.1.ls2"),
        needs="nothing",
        source="pytorch #632",
    ),
    Bug(
        "only-square-pictures",
        edits=(
            ("F.interpolate(patches, size=(h, w)", "F.interpolate(patches, size=(side, side)"),
            (
                "        h, w = grid\n",
                "        h, w = grid\n        side = int(x.shape[1] ** 0.5)\n",
            ),
        ),
        kinds=("shape", "crash"),
        where=("",),
        needs="nothing",
        source="dinov2 #333",
    ),
    Bug(
        "standardised-by-the-batch",
        edits=(("x = (x - self.mean) / self.std", "x = (x - x.mean()) / x.std()"),),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "standardised-in-place",
        edits=(("x = (x - self.mean) / self.std", "x = x.sub_(self.mean).div_(self.std)"),),
        kinds=("input-mutated",),
        where=("", "pixel_values"),
        needs="nothing",
        source="vision #520",
    ),
    Bug(
        "a-class-token-for-each-row",
        edits=(
            ("torch.zeros(1, 1, dim)", "torch.zeros(4, 1, dim)"),
            ("self.cls_token.expand(x.shape[0], -1, -1)", "self.cls_token"),
        ),
        kinds=("crash", "shape", "batch-leak"),
        where=("",),
        needs="nothing",
        source="medium_articles #1",
    ),
    Bug(
        "attends-across-pictures",
        edits=(
            (
                "reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)",
                "reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 1, 3, 0, 4)",
            ),
            (
                "x = x.transpose(1, 2).reshape(B, N, C)",
                "x = x.permute(2, 0, 1, 3).reshape(B, N, C)",
            ),
        ),
        kinds=("ignored-input", "collapsed", "unused-parameter", "batch-leak"),
        where=("", "blocks.0.attn", "blocks.1.attn", "pixel_values"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "mlp-of-zeros",
        edits=(
            (
                "        nn.init.normal_(self.cls_token, std=1e-6)\n",
                "        nn.init.normal_(self.cls_token, std=1e-6)\n"
                "        for block in self.blocks:\n"
                "            nn.init.zeros_(block.mlp.fc1.weight)\n"
                "            nn.init.zeros_(block.mlp.fc2.weight)\n",
            ),
        ),
        kinds=("init", "unused-parameter", "dead-units", "vanishing"),
        where=(
            *MLPS,
            "blocks.0.mlp.fc1",
            "blocks.0.mlp.fc2",
            "blocks.1.mlp.fc1",
            "blocks.1.mlp.fc2",
        ),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "norm-with-a-large-eps",
        edits=(("partial(nn.LayerNorm, eps=1e-6)", "partial(nn.LayerNorm, eps=1e-1)"),),
        kinds=("precision", "vanishing"),
        where=("blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2"),
        needs="reference",
        source="gReLU #147",
    ),
    Bug(
        "places-not-trained",
        edits=(
            (
                "self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim))",
                "places = torch.zeros(1, 1 + self.grid**2, dim)\n"
                "        self.pos_embed = nn.Parameter(places, requires_grad=False)",
            ),
        ),
        kinds=("frozen", "unused-parameter"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "bytes-for-fractions",
        edits=(
            ("torch.rand(size, 3, 16, 16)", "torch.randint(0, 256, (size, 3, 16, 16)).float()"),
        ),
        kinds=("bad-input-data", "range"),
        where=("", "pixel_values"),
        needs="facts",
        source="clip-as-service #904",
    ),
    Bug(
        "switches-gradients-for-everyone",
        edits=(
            (
                "        x = self.forward_features(pixel_values)\n",
                "        torch.set_grad_enabled(self.training)\n"
                "        x = self.forward_features(pixel_values)\n",
            ),
        ),
        kinds=("global-state", "detached"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "residual-of-the-normed",
        edits=(
            (
                "        return x + self.ls2(self.mlp(self.norm2(x)))\n",
                "        x = self.norm2(x)\n        return x + self.ls2(self.mlp(x))\n",
            ),
        ),
        kinds=("vanishing", "saturated"),
        where=("blocks.0", "blocks.1", "blocks.0.norm2", "blocks.1.norm2"),
        needs="reference",
        source="xformers #233",
    ),
    Bug(
        "one-norm-for-both",
        edits=(("self.mlp(self.norm2(x))", "self.mlp(self.norm1(x))"),),
        kinds=("unused-parameter",),
        where=("blocks.0", "blocks.1", "blocks.0.norm2", "blocks.1.norm2"),
        needs="nothing",
        source="libreyolo #422",
    ),
    Bug(
        "gelu-after-the-second",
        edits=(
            (
                "self.fc2(self.drop(self.act(self.fc1(x))))",
                "self.act(self.fc2(self.drop(self.fc1(x))))",
            ),
        ),
        kinds=("dead-units", "saturated"),
        where=("blocks.0.mlp", "blocks.1.mlp", "blocks.0.mlp.act", "blocks.1.mlp.act"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "scaled-by-the-full-width",
        edits=(("q, k, v, dropout_p=", "q, k, v, scale=C**-0.5, dropout_p="),),
        kinds=("saturated", "vanishing"),
        where=("blocks.0.attn", "blocks.1.attn"),
        needs="reference",
        source="solving-ml-papers #1",
    ),
)
