"""Slips of a GPT-2's attention: the edit, then the step, the place and the words told first."""

from unit.testing.family_sources import Row, one

A0 = "attention of block 0"
SCORES = "scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))"
FILL = "scores = scores.masked_fill(~allowed, -torch.inf)"
JOIN = "y = y.transpose(1, 2).reshape(b, t, d)"
SPLIT = "view(b, t, self.heads, d // self.heads).transpose(1, 2)"
SOFT = "F.softmax(scores, dim=-1)"


ATTENTION: dict[str, Row] = {
    "no scale": one(SCORES, "scores = q @ k.mT", A0, "h.0.attn", "no scale"),
    "scaled by the width": one("math.sqrt(k.size(-1))", "math.sqrt(d)", A0, "h.0.attn", "width"),
    "scaled without the root": one(
        "math.sqrt(k.size(-1))", "k.size(-1)", A0, "h.0.attn", "1/(head"
    ),
    "multiplied, not divided": one(
        "/ math.sqrt", "* math.sqrt", A0, "h.0.attn", "sqrt(head size), w"
    ),
    "scaled twice": one("math.sqrt(k.size(-1))", "k.size(-1) ** 2", A0, "h.0.attn", "squared"),
    "scaled by the heads": one("k.size(-1))", "self.heads)", A0, "h.0.attn", "number of heads"),
    "scaled by the positions": one("k.size(-1))", "k.size(-2))", A0, "h.0.attn", "sqrt(positions)"),
    "one later": one("bool).tril()", "bool).tril(1)", A0, "h.0.attn", "one later"),
    "one earlier": one("bool).tril()", "bool).tril(-1)", A0, "h.0.attn", "one earlier"),
    "the future alone": one("bool).tril()", "bool).triu()", A0, "h.0.attn", "reversed"),
    "the mask the other way round": one("~allowed", "allowed", A0, "h.0.attn", "reversed"),
    "no mask": one(FILL, "pass", A0, "h.0.attn", "mask is none"),
    "masked with zeros": one("-torch.inf", "0.0", A0, "h.0.attn", "zeros before the softmax"),
    "masked with a small number": one("-torch.inf", "1e-9", A0, "h.0.attn", "zeros before"),
    "scores times the mask": one(FILL, "scores = scores * allowed", A0, "h.0.attn", "zeros before"),
    "the mask added": one(FILL, "scores = scores + allowed", A0, "h.0.attn", "one added"),
    "masked after the softmax": (
        ((FILL, "pass"), (f"self.drop({SOFT})", f"self.drop({SOFT} * allowed)")),
        A0,
        "h.0.attn",
        "zeros after the softmax",
    ),
    "the softmax over queries": one("scores, dim=-1", "scores, dim=-2", A0, "h.0.attn", "queries"),
    "the softmax over heads": one("scores, dim=-1", "scores, dim=1", A0, "h.0.attn", "heads"),
    "the softmax over the batch": one("scores, dim=-1", "scores, dim=0", A0, "h.0.attn", "batch"),
    "no softmax": (
        ((SOFT, "scores"), (FILL, "scores = scores.masked_fill(~allowed, 0.0)")),
        A0,
        "h.0.attn",
        "weights by none",
    ),
    "two softmaxes": one(SOFT, "scores.softmax(-1).softmax(-1)", A0, "h.0.attn", "softmax twice"),
    "a sigmoid": one(SOFT, "torch.sigmoid(scores)", A0, "h.0.attn", "by sigmoid"),
    "a log softmax": (
        ((SOFT, "F.log_softmax(scores, -1)"), (FILL, "pass")),
        A0,
        "h.0.attn",
        "log softmax",
    ),
    "heads split by a view": (
        tuple(
            (f"{x} = {x}.{SPLIT}", f"{x} = {x}.reshape(b, self.heads, t, d // self.heads)")
            for x in "qkv"
        ),
        A0,
        "h.0.attn",
        "split by view",
    ),
    "heads joined by a view": one(JOIN, "y = y.reshape(b, t, d)", A0, "h.0.attn", "joined by view"),
    "heads joined head size first": one(
        JOIN, "y = y.permute(0, 2, 3, 1).reshape(b, t, d)", A0, "h.0.attn", "head size outside"
    ),
    "keys viewed, not transposed": one(
        "k.transpose(-2, -1)", "k.reshape(b, self.heads, -1, t)", A0, "h.0.attn", "keys are viewed"
    ),
    "keys and queries swapped": one("q, k, v = self", "k, q, v = self", A0, "h.0.attn", "kqv"),
    "values first": one("q, k, v = self", "v, q, k = self", A0, "h.0.attn", "qkv"),
    "keys for values": one("y = weights @ v", "y = weights @ k", A0, "h.0.attn", "qkk"),
    "queries for keys": one("scores = q @ k.tr", "scores = q @ q.tr", A0, "h.0.attn", "qqv"),
    "cut for each head": one(
        "q, k, v = self.c_attn(x).split(d, dim=2)",
        "q, k, v = (y.flatten(2) for y in self.c_attn(x).view(b, t, self.heads, 3, -1).unbind(3))",
        A0,
        "h.0.attn",
        "for each head",
    ),
    "cut q, k, v innermost": one(
        "q, k, v = self.c_attn(x).split(d, dim=2)",
        "q, k, v = (y.flatten(2) for y in self.c_attn(x).view(b, t, self.heads, -1, 3).unbind(4))",
        A0,
        "h.0.attn",
        "innermost",
    ),
    "no scale and no mask": (
        ((SCORES, "scores = q @ k.mT"), (FILL, "pass")),
        A0,
        "h.0.attn",
        "mask is none",
    ),
    "the mean of the values": one(
        "weights = self.drop(F.softmax(scores, dim=-1))",
        "weights = allowed / allowed.sum(-1, keepdim=True) + 0 * scores.nan_to_num(neginf=0)",
        A0,
        "h.0.attn",
        "no attention that is known",
    ),
    "dropout active in eval": one(
        "self.drop(F.softmax(scores, dim=-1))",
        "F.dropout(F.softmax(scores, dim=-1), 0.1)",
        "eval mode",
        "h.0.attn",
        "dropout is active",
    ),
}
