"""Slips of a GPT-2 outside its attention: the edit, the step, the place and the words."""

from unit.testing.family_sources import Row, one

M0, B0 = "MLP of block 0", "h.0"
GELU = 'F.gelu(x, approximate="tanh")'
ATTEND = "x = x + self.drop(self.attn(self.ln_1(x)))"
FEED = "x = x + self.drop(self.mlp(self.ln_2(x)))"
SUM = "x = self.wte(ids) + self.wpe(places)"
RUN = "for block in self.h:"
HAND = ("self.ln_1 = nn.LayerNorm(width)", "self.ln_1 = Norm(width)")
MEAN = "x = (x - mean) / torch.sqrt(var + self.eps)"


def hand(old: str, new: str, found: str) -> Row:
    """Make a row of an edit of the norm that is written by hand."""
    return (HAND, (old, new)), "norm before the attention of block 0", "h.0.ln_1", found


REST: dict[str, Row] = {
    "ReLU": one(GELU, "F.relu(x)", M0, "h.0.mlp", "ReLU stands"),
    "SiLU": one(GELU, "F.silu(x)", M0, "h.0.mlp", "SiLU stands"),
    "quick GELU": one(GELU, "x * torch.sigmoid(1.702 * x)", M0, "h.0.mlp", "GELU (quick)"),
    "tanh": one(GELU, "torch.tanh(x)", M0, "h.0.mlp", "tanh stands"),
    "no activation": one(f"x = {GELU}", "pass", M0, "h.0.mlp", "no activation"),
    "GELU twice": one(
        GELU, 'F.gelu(F.gelu(x, approximate="tanh"), approximate="tanh")', M0, "h.0.mlp", "twice"
    ),
    "GELU without the half": one(
        GELU,
        "x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
        M0,
        "h.0.mlp",
        "without its half",
    ),
    "GELU with 0.44715": one(
        GELU,
        "0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.44715 * x**3)))",
        M0,
        "h.0.mlp",
        "0.44715",
    ),
    "GELU without the root": one(
        GELU,
        "0.5 * x * (1 + torch.tanh(2 / math.pi * (x + 0.044715 * x**3)))",
        M0,
        "h.0.mlp",
        "2 / pi",
    ),
    "erf without the root of two": one(
        GELU, "0.5 * x * (1 + torch.erf(x))", M0, "h.0.mlp", "without 1 / sqrt(2)"
    ),
    "an activation that nobody knows": one(
        GELU, "x * torch.cos(x)", M0, "h.0.mlp", "no activation that is known"
    ),
    "eps far too large": one(
        "self.ln_1 = nn.LayerNorm(width)",
        "self.ln_1 = nn.LayerNorm(width, eps=0.1)",
        "norm before the attention of block 0",
        "h.0.ln_1",
        "eps is 0.1",
    ),
    "a norm without scale and shift": one(
        "self.ln_1 = nn.LayerNorm(width)",
        "self.ln_1 = nn.LayerNorm(width, elementwise_affine=False)",
        "norm before the attention of block 0",
        "h.0.ln_1",
        "scale and shift are left out",
    ),
    "variance of a sample": hand("unbiased=False", "unbiased=True", "n - 1"),
    "the mean not subtracted": hand("x = (x - mean) / ", "x = x / ", "for the variance alone"),
    "root mean square": hand(
        MEAN,
        "x = x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()",
        "mean is not subtracted",
    ),
    "no root of the variance": hand("torch.sqrt(var + self.eps)", "(var + self.eps)", "root"),
    "eps beside the deviation": hand(
        "torch.sqrt(var + self.eps)", "(var.sqrt() + self.eps)", "added to the deviation"
    ),
    "the shift left out": hand(
        "return x * self.weight + self.bias", "return x * self.weight", "the shift is left out"
    ),
    "a norm over positions": (
        (HAND, ("mean = x.mean(-1,", "mean = x.mean(1,"), ("var = x.var(-1,", "var = x.var(1,")),
        "norm before the attention of block 0",
        "h.0.ln_1",
        "over positions, not",
    ),
    "a norm over the batch": (
        (HAND, ("mean = x.mean(-1,", "mean = x.mean(0,"), ("var = x.var(-1,", "var = x.var(0,")),
        "norm before the attention of block 0",
        "h.0.ln_1",
        "rows of the batch",
    ),
    "a norm over positions and features": (
        (
            HAND,
            ("mean = x.mean(-1,", "mean = x.mean((1, 2),"),
            ("var = x.var(-1,", "var = x.var((1, 2),"),
        ),
        "norm before the attention of block 0",
        "h.0.ln_1",
        "positions and features together",
    ),
    "no norm before the attention": one(
        "self.attn(self.ln_1(x))",
        "self.attn(x)",
        "norm before the attention of block 0",
        B0,
        "never run",
    ),
    "no norm before the MLP": one(
        "self.mlp(self.ln_2(x))", "self.mlp(x)", "norm before the MLP of block 0", B0, "never run"
    ),
    "no residual around the attention": one(
        ATTEND,
        "x = self.attn(self.ln_1(x))",
        "sum after the attention of block 0",
        B0,
        "residual is left out",
    ),
    "no residual around the MLP": one(
        FEED,
        "x = self.mlp(self.ln_2(x))",
        "sum after the MLP of block 0",
        B0,
        "residual is left out",
    ),
    "the attention dropped": one(
        ATTEND,
        "self.attn(self.ln_1(x))",
        "sum after the attention of block 0",
        B0,
        "branch is not added",
    ),
    "the residual of the norm": one(
        FEED,
        "y = self.ln_2(x)\n        x = y + self.mlp(y)",
        "sum after the MLP of block 0",
        B0,
        "added to what its norm gave",
    ),
    "the residual of the norm, which is run again": one(
        ATTEND,
        "x = self.ln_1(x) + self.attn(self.ln_1(x))",
        "order of norms",
        B0,
        "adds to what its norm gave",
    ),
    "the branch subtracted": one(
        ATTEND,
        "x = x - self.attn(self.ln_1(x))",
        "sum after the attention of block 0",
        B0,
        "subtracted",
    ),
    "the residual doubled": one(
        ATTEND,
        "x = 2 * x + self.attn(self.ln_1(x))",
        "sum after the attention of block 0",
        B0,
        "stream is added twice",
    ),
    "the sum halved": one(
        FEED, "x = (x + self.mlp(self.ln_2(x))) / 2", "sum after the MLP of block 0", B0, "halved"
    ),
    "the branch scaled": one(
        FEED, "x = x + 0.3 * self.mlp(self.ln_2(x))", "sum after the MLP of block 0", B0, "0.3"
    ),
    "norm last": (
        (
            (ATTEND, "x = self.ln_1(x + self.attn(x))"),
            (FEED, "x = self.ln_2(x + self.mlp(x))"),
        ),
        "order of norms",
        B0,
        "its norms come last",
    ),
    "norms of both residuals": (
        (
            (ATTEND, "x = self.ln_1(x)\n        x = x + self.attn(x)"),
            (FEED, "x = self.ln_2(x)\n        x = x + self.mlp(x)"),
        ),
        "order of norms",
        B0,
        "adds to what its norm gave",
    ),
    "the MLP reads the first norm": one(
        ATTEND,
        "z = self.ln_1(x)\n        x = x + self.attn(z)\n        x = x + self.mlp(z)\n"
        "        return x",
        "norm before the MLP of block 0",
        B0,
        "never run",
    ),
    "no positions": one(SUM, "x = self.wte(ids)", "positions", "wte", "no positions"),
    "positions one later": one(
        "torch.arange(ids.shape[1])",
        "torch.arange(ids.shape[1]) + 1",
        "positions",
        "wpe",
        "rows [1, 2, 3, 4]",
    ),
    "positions all zero": one(
        "torch.arange(ids.shape[1])", "torch.zeros_like(ids)", "positions", "wpe", "rows [0, 0"
    ),
    "positions in the first row alone": one(
        "torch.arange(ids.shape[1])",
        "torch.arange(ids.shape[1]) * (torch.arange(len(ids)) == 0)[:, None]",
        "positions",
        "wpe",
        "for row 1",
    ),
    "positions of the rows": one(
        "torch.arange(ids.shape[1])",
        "torch.arange(len(ids))[:, None].expand_as(ids)",
        "positions",
        "wpe",
        "rows [0, 0",
    ),
    "positions doubled": one(
        "x = self.drop(x)", "x = self.drop(x) + self.wpe(places)", "embedding", "wpe", "added twice"
    ),
    "tokens scaled": one(
        "self.wte(ids) +",
        "self.wte(ids) * math.sqrt(12) +",
        "embedding",
        "wpe",
        "wte.weight is multiplied by sqrt(width)",
    ),
    "tokens scaled by some number": one(
        "self.wte(ids) +", "self.wte(ids) * 3 +", "embedding", "wpe", "3 wte.weight"
    ),
    "positions scaled": one(
        "+ self.wpe(places)", "+ 0.1 * self.wpe(places)", "embedding", "wpe", "0.1 wpe.weight"
    ),
    "no final norm": one("x = self.ln_f(x)", "pass", "final norm", "", "never run"),
    "two final norms": one(
        "x = self.ln_f(x)", "x = self.ln_f(self.ln_f(x))", "final norm", "ln_f", "twice"
    ),
    "the head reads the stream": one(
        "x = self.ln_f(x)", "self.ln_f(x)", "head", "head", "before the final norm"
    ),
    "blocks in reverse": one(
        RUN, "for block in reversed(self.h):", "order of blocks", "h", "block 0 is run after"
    ),
    "the first block twice": one(
        RUN, "for block in [self.h[0], self.h[0]]:", "order of blocks", B0, "again"
    ),
    "the last block left out": one(
        RUN, "for block in self.h[:-1]:", "order of blocks", "h.1", "never run"
    ),
    "copies of one block": one(
        "[Block(width, heads) for _ in range(depth)]",
        "[Block(width, heads)] * depth",
        "order of blocks",
        B0,
        "again",
    ),
}
