"""Planted slips of a CLIP: the edit, and the step, the place and the words to be told first."""

from unit.testing.family_sources import Row, one

V0, T0 = "attention of image block 0", "attention of text block 0"
CLIP: dict[str, Row] = {
    "the features not normalised": (
        (
            ("one = one / one.norm(dim=-1, keepdim=True)", "pass"),
            ("other = F.normalize(other, dim=-1)", "pass"),
        ),
        "logits",
        "",
        "the features are not normalised",
    ),
    "the picture not normalised": one(
        "one = one / one.norm(dim=-1, keepdim=True)",
        "pass",
        "logits",
        "",
        "picture's features are not",
    ),
    "the text not normalised": one(
        "other = F.normalize(other, dim=-1)", "pass", "logits", "", "text's features are not"
    ),
    "normalised over the batch": one(
        "F.normalize(other, dim=-1)", "F.normalize(other, dim=0)", "logits", "", "over the batch"
    ),
    "divided by the squared length": one(
        "one.norm(dim=-1, keepdim=True)",
        "one.square().sum(-1, keepdim=True)",
        "logits",
        "",
        "square of",
    ),
    "the scale without exp": one("logit_scale.exp()", "logit_scale", "logits", "", "exponential"),
    "divided by the scale": one(
        "scale * one @ other.t()",
        "one @ other.t() / scale",
        "logits",
        "",
        "divided by the exponential",
    ),
    "no scale": one("scale * one @", "one @", "logits", "", "no scale"),
    "a fixed scale": one("scale * one @", "14.3 * one @", "logits", "", "14.3"),
    "texts with texts": one("one @ other.t()", "other @ other.t()", "logits", "", "with texts"),
    "no scale and no norm": (
        (
            ("one = one / one.norm(dim=-1, keepdim=True)", "pass"),
            ("other = F.normalize(other, dim=-1)", "pass"),
            ("scale * one @", "one @"),
        ),
        "logits",
        "",
        "not normalised, and there is no scale",
    ),
    "the text's last position": one(
        "text.argmax(dim=-1)]", "-1]", "text pooling", "textual", "last position"
    ),
    "the text's first position": one(
        "text.argmax(dim=-1)]", "0]", "text pooling", "textual", "first position"
    ),
    "the text's mean": one(
        "x[torch.arange(len(x)), text.argmax(dim=-1)]",
        "x.mean(1)",
        "text pooling",
        "textual",
        "mean over positions",
    ),
    "one before the end": one(
        "text.argmax(dim=-1)]",
        "text.argmax(dim=-1) - 1]",
        "text pooling",
        "textual",
        "where no text ends",
    ),
    "the smallest id": one(
        "text.argmax(dim=-1)",
        "text.argmin(dim=-1)",
        "text pooling",
        "textual",
        "where no text ends",
    ),
    "the picture's last patch": one(
        "self.ln_post(x[:, 0])",
        "self.ln_post(x[:, -1])",
        "image pooling",
        "visual.ln_post",
        "last position",
    ),
    "the picture's mean": one(
        "self.ln_post(x[:, 0])",
        "self.ln_post(x.mean(1))",
        "image pooling",
        "visual.ln_post",
        "mean over positions",
    ),
    "no map of the picture": (
        (("return x @ self.proj\n", "return x\n"), ("shared=10", "shared=12")),
        "image projection",
        "",
        "no map",
    ),
    "no norm before the picture's map": one(
        "x = self.ln_post(x[:, 0])", "x = x[:, 0]", "image final norm", "", "never run"
    ),
    "no norm before the text's map": one(
        "x = self.ln_final(x)", "pass", "text final norm", "", "never run"
    ),
    "a text that sees its future": one(
        "-torch.inf).triu(1)", "0.0).triu(1)", T0, "textual.blocks.0.attn", "mask is none"
    ),
    "a text that sees its future alone": one(
        ".triu(1)\n", ".tril(-1)\n", T0, "textual.blocks.0.attn", "reversed"
    ),
    "a text that sees one later": one(
        ".triu(1)\n", ".triu(2)\n", T0, "textual.blocks.0.attn", "one later"
    ),
    "a mask of booleans for keeping": one(
        "torch.full((context, context), -torch.inf).triu(1)",
        "torch.ones(context, context, dtype=torch.bool).tril()",
        T0,
        "textual.blocks.0.attn",
        "without the position itself",
    ),
    "rows for positions": one(
        "batch_first=True",
        "batch_first=mask is not None",
        V0,
        "visual.blocks.0.attn",
        "rows of the batch",
    ),
    "ReLU": one(
        "return x * torch.sigmoid(1.702 * x)",
        "return torch.relu(x)",
        "MLP of image block 0",
        "visual.blocks.0.mlp",
        "ReLU",
    ),
    "SiLU": one(
        "torch.sigmoid(1.702 * x)",
        "torch.sigmoid(x)",
        "MLP of image block 0",
        "visual.blocks.0.mlp",
        "SiLU",
    ),
    "1.72": one("1.702", "1.72", "MLP of image block 0", "visual.blocks.0.mlp", "1.72"),
    "the sigmoid alone": one(
        "return x * torch.sigmoid",
        "return torch.sigmoid",
        "MLP of image block 0",
        "visual.blocks.0.mlp",
        "without x",
    ),
    "the residual of the norm": one(
        "x = x + self.attn(y",
        "x = y + self.attn(y",
        "sum after the attention of image block 0",
        "visual.blocks.0",
        "its norm gave",
    ),
    "values of the stream": one(
        "self.attn(y, y, y,",
        "self.attn(y, y, x,",
        V0,
        "visual.blocks.0.attn",
        "do not read the same",
    ),
    "no norm of the embedding": one(
        "self.blocks(self.ln_pre(x))",
        "self.blocks(x)",
        "image norm of the embedding",
        "visual.conv1",
        "never run",
    ),
    "positions left out of the picture": one(
        "        x = x + self.positional_embedding\n        x = self.blocks(self.ln_pre(x))",
        "        x = self.blocks(self.ln_pre(x))",
        "image positions",
        "visual.conv1",
        "no positions",
    ),
    "positions left out of the text": one(
        "        x = x + self.positional_embedding\n        x = self.blocks(x)",
        "        x = self.blocks(x)",
        "text positions",
        "textual.token_embedding",
        "no positions",
    ),
    "patches mixed by a view": one(
        "x.flatten(2).transpose(1, 2)",
        "x.reshape(len(x), -1, x.shape[1])",
        "image tokens",
        "visual",
        "mixed by a reshape",
    ),
    "the class token last": one(
        "[head, x], dim=1", "[x, head], dim=1", "image tokens", "visual", "stands last"
    ),
    "the text's blocks in reverse": one(
        "x = self.blocks(x)\n        x = self.ln_final(x)",
        "x = self.blocks[0](self.blocks[1](x))\n        x = self.ln_final(x)",
        "text order of blocks",
        "textual.blocks",
        "run after",
    ),
    "the vision's last block left out": one(
        "self.blocks(self.ln_pre(x))",
        "self.blocks[:1](self.ln_pre(x))",
        "image order of blocks",
        "visual.blocks.1",
        "never",
    ),
}
