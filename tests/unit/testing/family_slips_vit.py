"""Planted slips of a ViT: the edit, and the step, the place and the words to be told first."""

from unit.testing.family_sources import Row, one

A0, M0 = "attention of block 0", "MLP of block 0"

A0V, EMB = "blocks.0.attn", "patches"
VIT: dict[str, Row] = {
    "no scale": one("(q * self.scale)", "q", A0, A0V, "no scale"),
    "divided by the scale": one("(q * self.scale)", "(q / self.scale)", A0, A0V, "sqrt(head"),
    "scaled twice": one("(q * self.scale)", "(q * self.scale * self.scale)", A0, A0V, "1/(head"),
    "the softmax over queries": one("softmax(dim=-1)", "softmax(dim=2)", A0, A0V, "queries"),
    "the softmax over heads": one("softmax(dim=-1)", "softmax(dim=1)", A0, A0V, "over heads"),
    "heads joined by a view": one(
        "(attn @ v).transpose(1, 2).reshape(B, N, C)",
        "(attn @ v).reshape(B, N, C)",
        A0,
        A0V,
        "joined by view",
    ),
    "causal": one(
        "attn = attn.softmax(dim=-1)",
        "attn = (attn + torch.full((N, N), -torch.inf).triu(1)).softmax(-1)",
        A0,
        A0V,
        "causal",
    ),
    "q, k, v inside the heads": (
        (
            (
                "(B, N, 3, self.num_heads, C // self.num_heads)",
                "(B, N, self.num_heads, 3, C // self.num_heads)",
            ),
            ("permute(2, 0, 3, 1, 4)", "permute(3, 0, 2, 1, 4)"),
        ),
        A0,
        A0V,
        "for each head",
    ),
    "k, q, v": one("q, k, v = qkv.permute", "k, q, v = qkv.permute", A0, A0V, "kqv"),
    "ReLU": one("nn.GELU()", "nn.ReLU()", M0, "blocks.0.mlp", "ReLU"),
    "no activation": one("self.act(self.fc1(x))", "self.fc1(x)", M0, "blocks.0.mlp", "no activ"),
    "activation after the second map": one(
        "self.fc2(self.act(self.fc1(x)))",
        "self.act(self.fc2(self.fc1(x)))",
        M0,
        "blocks.0.mlp",
        "no activation",
    ),
    "no residual around the MLP": one(
        "x = x + self.ls2(",
        "x = self.ls2(",
        "sum after the MLP of block 0",
        "blocks.0",
        "residual is left out",
    ),
    "no residual around the attention": one(
        "x = x + self.ls1(",
        "x = self.ls1(",
        "sum after the attention of block 0",
        "blocks.0",
        "residual is left out",
    ),
    "no first norm": one(
        "self.attn(self.norm1(x))",
        "self.attn(x)",
        "norm before the attention of block 0",
        "blocks.0",
        "never run",
    ),
    "norms last": (
        (
            ("x = x + self.ls1(self.attn(self.norm1(x)))", "x = self.norm1(x + self.attn(x))"),
            ("x = x + self.ls2(self.mlp(self.norm2(x)))", "x = self.norm2(x + self.mlp(x))"),
        ),
        "order of norms",
        "blocks.0",
        "come last",
    ),
    "an eps of a hundredth": one(
        "self.norm2 = nn.LayerNorm(dim, eps=1e-6)",
        "self.norm2 = nn.LayerNorm(dim, eps=1e-2)",
        "norm before the MLP of block 0",
        "blocks.0.norm2",
        "eps is 0.01",
    ),
    "patches column by column": one(
        "flatten(2).transpose(1, 2)",
        "transpose(2, 3).flatten(2).transpose(1, 2)",
        "tokens",
        "",
        "column by column",
    ),
    "patches mixed by a view": one(
        "x.flatten(2).transpose(1, 2)",
        "x.reshape(x.shape[0], -1, x.shape[1])",
        "tokens",
        "",
        "mixed by a reshape",
    ),
    "patches in reverse": one(
        "flatten(2).transpose(1, 2)",
        "flatten(2).transpose(1, 2).flip(1)",
        "tokens",
        "",
        "reverse order",
    ),
    "the class token last": one("(cls, x), dim=1", "(x, cls), dim=1", "tokens", "", "stands last"),
    "no positions": one("x = x + self.pos_embed", "pass", "positions", "patch_embed", "no posit"),
    "positions doubled": one(
        "+ self.pos_embed", "+ 2 * self.pos_embed", "positions", "", "doubled"
    ),
    "positions scaled": one("+ self.pos_embed", "+ 0.1 * self.pos_embed", "positions", "", "0.1"),
    "positions subtracted": one(
        "x + self.pos_embed", "x - self.pos_embed", "positions", "", "subtracted"
    ),
    "positions one late": one(
        "+ self.pos_embed", "+ self.pos_embed.roll(1, 1)", "positions", "", "one row late"
    ),
    "positions turned round": one(
        "+ self.pos_embed", "+ self.pos_embed.flip(1)", "positions", "", "reverse order"
    ),
    "positions multiplied": one(
        "x + self.pos_embed", "x * self.pos_embed", "positions", "", "multiplied with"
    ),
    "tokens scaled": one(
        "x + self.pos_embed",
        "x * 12**0.5 + self.pos_embed",
        "positions",
        "",
        "multiplied by sqrt(width)",
    ),
    "one position for all": one(
        "+ self.pos_embed", "+ self.pos_embed[:, :1]", "positions", "", "row 0"
    ),
    "the class token without position": (
        (
            (
                "        x = torch.cat((cls, x), dim=1)\n        x = x + self.pos_embed",
                "        x = x + self.pos_embed[:, 1:]\n        x = torch.cat((cls, x), dim=1)",
            ),
        ),
        "positions",
        "",
        "rows 1, 2",
    ),
    "the class token left out": (
        (
            ("        x = torch.cat((cls, x), dim=1)\n", ""),
            ("+ self.pos_embed", "+ self.pos_embed[:, : x.shape[1]]"),
        ),
        "head",
        "head",
        "there is no class token",
    ),
    "overlapping patches": (
        (("4, stride=4", "4, stride=2"), ("tokens=7", "tokens=16")),
        "patches",
        "patch_embed",
        "a kernel of (4, 4)",
    ),
    "no final norm": one("x = self.norm(x)", "pass", "final norm", "", "never run"),
    "two final norms": one(
        "x = self.norm(x)", "x = self.norm(self.norm(x))", "final norm", "norm", "twice"
    ),
    "the head reads the last patch": one("x[:, 0]", "x[:, -1]", "head", "head", "last position"),
    "the head reads the first patch": one("x[:, 0]", "x[:, 1]", "head", "head", "position 1"),
    "the head reads a sum": one("x[:, 0]", "x.sum(1)", "head", "head", "sum over positions"),
    "the head reads before the norm": one(
        "x = self.norm(x)", "self.norm(x)", "head", "head", "before the final norm"
    ),
    "blocks in reverse": one(
        "x = self.blocks(x)",
        "for b in reversed(self.blocks):\n            x = b(x)",
        "order of blocks",
        "blocks",
        "run after",
    ),
    "the last block skipped": one(
        "self.blocks(x)", "self.blocks[0](x)", "order of blocks", "blocks.1", "never run"
    ),
    "the first block twice": one(
        "x = self.blocks(x)",
        "x = self.blocks[0](self.blocks[0](x))",
        "order of blocks",
        "blocks.0",
        "again",
    ),
    "rows and columns swapped": (
        (
            ("self.patch_embed(pixels)", "self.patch_embed(pixels.mT)"),
            ("4, stride=4", "4, stride=4"),
        ),
        "patches",
        "patch_embed",
        "swapped",
    ),
    "dropout active in eval": one(
        "x = self.norm(x)",
        "x = torch.nn.functional.dropout(self.norm(x), 0.1)",
        "eval mode",
        "",
        "dropout is active",
    ),
}
