"""What differs from the base and is as right: edits, and modules of other styles."""

from collections.abc import Callable

from unit.testing.family_sources import edited
from unit.testing.family_torch import OTHERS
from zoo.testing.spec import ModelSpec

QKV = "q, k, v = self.c_attn(x).split(d, dim=2)"
OWN = "self.c_attn = nn.Linear(width, 3 * width)"
MATRIX = (OWN, "self.w = nn.Parameter(torch.zeros(width, 3 * width))")
SDPA = (
    ("scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))", "pass"),
    ("scores = scores.masked_fill(~allowed, -torch.inf)", "pass"),
    ("weights = self.drop(F.softmax(scores, dim=-1))", "pass"),
    ("y = weights @ v", "y = F.scaled_dot_product_attention(q, k, v, is_causal=True)"),
)
THREE = "self.a, self.b, self.c = (nn.Linear(width, width) for _ in range(3))"
NORMS = tuple((f"self.{n} = nn.LayerNorm(width)", f"self.{n} = Norm(width)") for n in
              ("ln_1", "ln_2", "ln_f"))  # fmt: skip
VIT_NORMS = "nn.LayerNorm(dim, eps=1e-6)"
Edits = tuple[tuple[str, str], ...]

GPT: dict[str, Edits] = {
    "as it is": (),
    "torch's attention function": SDPA,
    "GELU by erf": (('approximate="tanh"', 'approximate="none"'),),
    "GELU by its formula": (
        (
            'F.gelu(x, approximate="tanh")',
            "0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
        ),
    ),
    "hand-made norms": NORMS,
    "hand-made norms, scale first": (
        *NORMS,
        ("x = (x - mean) / torch.sqrt(var + self.eps)", "s = torch.sqrt(var + self.eps)"),
        ("x * self.weight + self.bias", "self.weight * (x - mean) / s + self.bias"),
    ),
    "hand-made norms without a shift": (
        *NORMS,
        ("        self.bias = nn.Parameter(torch.zeros(width))\n", ""),
        ("x * self.weight + self.bias", "x * self.weight"),
    ),
    "norms by one op": (
        *NORMS,
        ("x * self.weight + self.bias", "torch.addcmul(self.bias, x, self.weight)"),
    ),
    "norms without a shift": (("nn.LayerNorm(width)", "nn.LayerNorm(width, bias=False)"),),
    "no biases": (("width)\n        self.c_proj", "width, bias=False)\n        self.c_proj"),),
    "a tied head": (
        (
            "width, vocab, bias=False)",
            "width, vocab, bias=False)\n        self.head.weight = self.wte.weight",
        ),
    ),
    "the table for a head": (
        ("self.head(x)", "x @ self.wte.weight.T"),
        ("        self.head = nn.Linear(width, vocab, bias=False)\n", ""),
    ),
    "no head": (
        ("return self.head(x)", "return x"),
        ("        self.head = nn.Linear(width, vocab, bias=False)\n", ""),
    ),
    "weights outright": (MATRIX, ("self.c_attn(x)", "(x @ self.w)")),
    "weights outright and a bias": (
        (OWN, MATRIX[1] + "\n        self.v = nn.Parameter(torch.zeros(3 * width))"),
        ("self.c_attn(x)", "(x @ self.w + self.v)"),
    ),
    "Conv1D's addmm": (
        (OWN, MATRIX[1] + "\n        self.v = nn.Parameter(torch.zeros(3 * width))"),
        ("self.c_attn(x)", "torch.addmm(self.v, x.view(-1, d), self.w).view(b, t, 3 * d)"),
    ),
    "einsum for each head": (
        (OWN, "self.w = nn.Parameter(torch.zeros(3, width, heads, width // heads))"),
        (QKV, "q, k, v = (torch.einsum('btd,dhk->bthk', x, w) for w in self.w)"),
    ),
    "einsum, heads first": (
        (OWN, "self.w = nn.Parameter(torch.zeros(3, heads, width, width // heads))"),
        (QKV, "q, k, v = torch.einsum('btd,chdk->cbhtk', x, self.w)"),
        *(
            (f"{x} = {x}.view(b, t, self.heads, d // self.heads).transpose(1, 2)", "pass")
            for x in "qkv"
        ),
    ),
    "einsum out of the heads": (
        (
            "self.c_proj = nn.Linear(width, width)\n        self.drop",
            "self.o = nn.Parameter(torch.zeros(heads, width // heads, width))\n        self.drop",
        ),
        (
            "        y = y.transpose(1, 2).reshape(b, t, d)\n        return self.c_proj(y)",
            "        return torch.einsum('bhtk,hkd->btd', y, self.o)",
        ),
    ),
    "three maps that are named": (
        (OWN, THREE.replace("self.a, self.b, self.c", "self.q_proj, self.k_proj, self.v_proj")),
        (QKV, "q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)"),
    ),
    "three maps, keys first": (
        (OWN, THREE.replace("self.a, self.b, self.c", "self.key, self.query, self.value")),
        (QKV, "k, q, v = self.key(x), self.query(x), self.value(x)"),
    ),
    "three maps without names": ((OWN, THREE), (QKV, "v, k, q = self.a(x), self.b(x), self.c(x)")),
    "maps of each head": (
        (
            OWN,
            "self.key, self.query, self.value = (nn.ModuleList([nn.Linear(width, width // heads,"
            " bias=False) for _ in range(heads)]) for _ in range(3))",
        ),
        (
            QKV,
            "made = [(m(x), n(x), o(x)) for m, n, o in zip(self.key, self.query, self.value)]\n"
            "        k, q, v = (torch.cat(z, -1) for z in zip(*made))",
        ),
    ),
    "heads of another name": (("self.heads", "self.num"),),
    "hidden as wide as the stream": (("4 * width", "width"),),
    "hidden three times as wide": (("4 * width", "3 * width"),),
    "hidden half as wide": (("4 * width", "width // 2"),),
    "as many heads as width": (("heads=3", "heads=12"),),
    "one head": (("heads=3", "heads=1"),),
    "positions sliced": (("self.wpe(places)", "self.wpe.weight[: ids.shape[1]]"),),
    "positions of a parameter": (
        (
            "self.wpe = nn.Embedding(context, width)",
            "self.wpe = nn.Parameter(torch.zeros(1, context, width))",
        ),
        ("self.wpe(places)", "self.wpe[:, : ids.shape[1]]"),
    ),
    "positions first": (("self.wte(ids) + self.wpe(places)", "self.wpe(places) + self.wte(ids)"),),
    "positions of a batch": (
        ("torch.arange(ids.shape[1])", "torch.arange(ids.shape[1]).expand_as(ids)"),
    ),
    "positions in place": (
        (
            "x = self.wte(ids) + self.wpe(places)",
            "x = self.wte(ids)\n        x += self.wpe.weight[: ids.shape[1]]",
        ),
    ),
    "sinusoids": (
        ("        self.wpe = nn.Embedding(context, width)\n", ""),
        ("self.wpe(places)", "torch.sin(places[:, None] / 3 ** torch.arange(12.0))"),
    ),
    "ids as one-hot rows": (
        ("self.wte(ids)", "F.one_hot(ids, 23).to(self.wte.weight) @ self.wte.weight"),
    ),
    "checkpointed": (
        ("x = block(x)", "x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)"),
        ("from torch import nn", "import torch.utils.checkpoint\nfrom torch import nn"),
    ),
    "a softmax in float32": (
        (
            "F.softmax(scores, dim=-1)",
            "F.softmax(scores.float(), dim=-1, dtype=torch.float32).type_as(q)",
        ),
    ),
    "half precision": (("return Net()", "return Net().bfloat16()"),),
    "a model in a model": (
        ("return Net()", "outer = nn.Sequential(nn.Sequential(Net()))\n    return outer"),
        ('def batch(size):\n    return {"ids":', 'def batch(size):\n    return {"input":'),
    ),
    "learned gates": (
        (
            "self.drop = nn.Dropout(0.1)\n\n    def forward(self, x):\n"
            "        x = x + self.drop(self.attn(self.ln_1(x)))",
            "self.drop = nn.Dropout(0.1)\n        self.gate = nn.Parameter(torch.zeros(1))\n\n"
            "    def forward(self, x):\n        x = x + self.gate * self.attn(self.ln_1(x))",
        ),
    ),
    "maps by convolutions": (
        ("self.c_fc = nn.Linear(width, 4 * width)", "self.c_fc = nn.Conv1d(width, 4 * width, 1)"),
        ("x = self.c_fc(x)", "x = self.c_fc(x.mT).mT"),
    ),
    "three blocks": (("depth=2", "depth=3"),),
    "one block": (("depth=2", "depth=1"),),
    "as many positions as heads": (("(size, 7)", "(size, 3)"),),
    "two positions": (("(size, 7)", "(size, 2)"),),
}
BERT: dict[str, Edits] = {
    "as it is": (),
    "torch's attention function": (
        ("scores = scores.masked_fill(mask == 0, -1e9)", "pass"),
        ("weights = scores.softmax(dim=-1)", "pass"),
        ("(weights @ v)", "F.scaled_dot_product_attention(q, k, v, attn_mask=mask.bool())"),
    ),
    "no types": (
        (" + self.types(token_type_ids)", ""),
        ("        self.types = nn.Embedding(2, width)\n", ""),
        (", token_type_ids):", ", token_type_ids=None):"),
    ),
    "types of nothing": (
        (" + self.types(token_type_ids)", " + self.types(torch.zeros_like(input_ids))"),
    ),
    "positions from the mask": (
        ("torch.arange(input_ids.shape[1])", "(attention_mask.cumsum(1) - 1).clamp_min(0)"),
    ),
    "rows that are padded": (
        (
            "torch.ones(size, 7, dtype=torch.long)",
            "(torch.arange(7) < torch.tensor([[7], [4], [5], [6], [3]])[:size]).long()",
        ),
    ),
    "a mask from the ids": (
        ("mask = attention_mask[:, None, None, :]", "mask = (input_ids != 0)[:, None, None, :]"),
        (
            "torch.randint(1, 23, (size, 7))",
            "torch.randint(1, 23, (size, 7)).masked_fill(torch.arange(7) > 4, 0)",
        ),
    ),
    "GELU by tanh": (("F.gelu(self.up(x))", 'F.gelu(self.up(x), approximate="tanh")'),),
    "no head and no pooler": (
        ('return {"logits": self.head(x), "pairs": self.pairs(pooled)}', "return x"),
        ("pooled = torch.tanh(self.pooler(x[:, 0]))", "pass"),
    ),
    "a classifier": (('"logits": self.head(x), ', ""),),
    "the mean for a pooler": (("self.pooler(x[:, 0])", "self.pooler(x.mean(1))"),),
    "eps of 1e-5": (("eps=1e-12", "eps=1e-5"),),
    "an untied decoder": (("        self.head.decoder.weight = self.tokens.weight\n", ""),),
    "hidden as wide as the stream": (("4 * width", "width"),),
    "half precision": (("return Net()", "return Net().bfloat16()"),),
}
VIT: dict[str, Edits] = {
    "as it is": (),
    "layer scale": (("nn.Identity()", "LayerScale(dim)"),),
    "torch's attention function": (
        ("attn = (q * self.scale) @ k.transpose(-2, -1)", "pass"),
        ("attn = attn.softmax(dim=-1)", "pass"),
        ("(attn @ v)", "F.scaled_dot_product_attention(q, k, v)"),
        ("from torch import nn", "from torch import nn\nfrom torch.nn import functional as F"),
    ),
    "the mean of all positions": (("x[:, 0]", "x.mean(1)"),),
    "the mean of the patches": (("x[:, 0]", "x[:, 1:].mean(1)"),),
    "no class token, and the mean": (
        ("        x = torch.cat((cls, x), dim=1)\n", ""),
        ("tokens=7", "tokens=6"),
        ("x[:, 0]", "x.mean(1)"),
    ),
    "a norm after the mean": (("x = self.norm(x)", "x = self.norm(x.mean(1))"), ("x[:, 0]", "x")),
    "a norm of the class token": (
        ("x = self.norm(x)", "x = self.norm(x[:, 0])"),
        ("x[:, 0])\n", "x)\n"),
        ("self.norm(x)", "self.norm(x[:, 0])"),
    ),
    "registers": (
        (
            "self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))",
            "self.cls_token = nn.Parameter(torch.zeros(1, 3, dim))",
        ),
        ("tokens=7", "tokens=9"),
    ),
    "the class token repeated": (
        ("self.cls_token.expand(x.shape[0], -1, -1)", "self.cls_token.repeat(x.shape[0], 1, 1)"),
    ),
    "positions of the patches alone": (
        (
            "        x = torch.cat((cls, x), dim=1)\n        x = x + self.pos_embed",
            "        x = x + self.pos_embed\n        x = torch.cat((cls, x), dim=1)",
        ),
        ("tokens=7", "tokens=6"),
    ),
    "positions cut for the class token": (
        (
            "        x = torch.cat((cls, x), dim=1)\n        x = x + self.pos_embed",
            "        x = x + self.pos_embed[:, 1:]\n"
            "        cls = self.cls_token + self.pos_embed[:, :1]\n"
            "        x = torch.cat((cls.expand_as(x[:, :1]), x), 1)",
        ),
    ),
    "positions that do not learn": (
        (
            "self.pos_embed = nn.Parameter(torch.zeros(1, tokens, dim))",
            'self.register_buffer("pos_embed", torch.randn(1, tokens, dim))',
        ),
    ),
    "patches by unfolding": (
        (
            "nn.Conv2d(3, dim, 4, stride=4)",
            "nn.Sequential(nn.Unfold(4, stride=4), nn.Flatten(0, 0))",
        ),
        ("x = x.flatten(2).transpose(1, 2)", "x = self.map(x.transpose(1, 2))"),
        ("self.norm = nn", "self.map = nn.Linear(48, dim)\n        self.norm = nn"),
    ),
    "a bias for q, k, v that is absent": (("3 * dim)", "3 * dim, bias=False)"),),
    "a head of two maps": (
        (
            "nn.Linear(dim, classes)",
            "nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, classes))",
        ),
    ),
    "pictures of one row": (("(size, 3, 8, 12)", "(size, 3, 4, 24)"),),
    "eps of 1e-12": (("eps=1e-6", "eps=1e-12"),),
}
CLIP: dict[str, Edits] = {
    "as it is": (),
    "texts against pictures": (("scale * one @ other.t()", "scale * other @ one.t()"),),
    "the text first": (
        (
            "one = self.visual(image)\n        other = self.textual(text)",
            "other = self.textual(text)\n        one = self.visual(image)",
        ),
    ),
    "both norms by F.normalize": (
        ("one / one.norm(dim=-1, keepdim=True)", "F.normalize(one, dim=-1)"),
    ),
    "a scale that is clamped": (
        ("self.logit_scale.exp()", "self.logit_scale.exp().clamp(max=100)"),
    ),
    "time first": (
        ("batch_first=True", "batch_first=False"),
        (
            "x = self.blocks(self.ln_pre(x))",
            "x = self.blocks(self.ln_pre(x).permute(1, 0, 2)).permute(1, 0, 2)",
        ),
        (
            "x = self.blocks(x)\n        x = self.ln_final(x)",
            "x = self.blocks(x.permute(1, 0, 2)).permute(1, 0, 2)\n        x = self.ln_final(x)",
        ),
    ),
    "the norm of all positions": (("x = self.ln_post(x[:, 0])", "x = self.ln_post(x)[:, 0]"),),
    "the end by its id": (("text.argmax(dim=-1)", "(text == END).int().argmax(-1)"),),
    "features beside": (
        (
            "return scale * one @ other.t()",
            'return {"a": one, "b": other, "logits": scale * one @ other.t()}',
        ),
    ),
    "features alone": (("return scale * one @ other.t()", "return one, other, scale"),),
    "maps of modules": (
        (
            "self.proj = nn.Parameter(torch.randn(width, shared))",
            "self.proj = nn.Linear(width, shared, bias=False)",
        ),
        ("return x @ self.proj\n", "return self.proj(x)\n"),
    ),
}
VARIANTS = {"gpt2": GPT, "bert": BERT, "vit": VIT, "clip": CLIP}


def every() -> dict[str, tuple[str, Callable[[], ModelSpec]]]:
    """Give every right model by a sentence: its family, and how to describe it."""
    found: dict[str, tuple[str, Callable[[], ModelSpec]]] = {}
    for family, table in VARIANTS.items():
        for name, edits in table.items():
            found[f"{family}: {name}"] = (family, lambda f=family, e=edits: edited(f, e))
    for name, (family, spec) in OTHERS.items():
        found[name] = (family, lambda s=spec: s)
    return found
