"""Each operator on the few lines that it is made for; other lines it leaves alone."""

import ast
from pathlib import Path

import pytest

from zoo.pyramid.mutate import mutants_of, mutated
from zoo.pyramid.mutate.operators import OPERATORS

# operator -> (the line, what the line becomes: one text a mutant)
LINES = {
    "scale-dropped": ("w = q @ k / math.sqrt(d)", ["w = (q @ k)"]),
    "scale-twice": ("w = s / d**0.5", ["w = (s / d**0.5 / (d**0.5))"]),
    "sqrt-lost": ("w = s * d**-0.5", ["w = s * d**-1"]),
    "scale-argument-dropped": ("y = flash(q, scale=s)", ["y = flash(q)"]),
    "causal-dropped": ("y = sdpa(q, is_causal=True)", ["y = sdpa(q, is_causal=False)"]),
    "mask-flipped": (
        "s = s.masked_fill(~mask, 0) + torch.where(m, a, b)",
        ["s = s.masked_fill(mask, 0) + torch.where(m, a, b)",
         "s = s.masked_fill(~mask, 0) + torch.where(m, b, a)"],
    ),
    "triangle-turned": ("m = torch.tril(m)", ["m = torch.triu(m)"]),
    "mask-shifted": (
        "m = x.triu(1)",
        ["m = x.triu(1 + 1)", "m = x.triu(1 - 1)"],
    ),
    "mask-argument-dropped": ("y = f(x, attn_mask=mask)", ["y = f(x, attn_mask=None)"]),
    "mask-lost": ("s = s.masked_fill(m, v)", ["s = s"]),
    "mask-joined": ("m = a & b", ["m = (a | b)"]),
    "infinity-lost": (
        "s = f(float('-inf'), -torch.inf, -math.inf)",
        ["s = f(0.0, -torch.inf, -math.inf)", "s = f(float('-inf'), 0.0, -math.inf)",
         "s = f(float('-inf'), -torch.inf, 0.0)"],
    ),
    "parts-swapped": ("y = attend(q, k, v)", ["y = attend(k, q, v)", "y = attend(q, v, k)"]),
    "axis-swapped": ("p = F.softmax(s, dim=-1)", ["p = F.softmax(s, dim=-2)"]),
    "transpose-lost": ("y = y.transpose(1, 2).reshape(b, t, d)", ["y = y.reshape(b, t, d)"]),
    "order-changed": ("y = y.permute(0, 2, 3)", ["y = y.permute(0, 3, 2)"]),
    "slice-moved": (
        "y = x[:, 1:]",
        ["y = x[:, :]", "y = x[:, 2:]", "y = x[:, :-1]"],
    ),
    "place-moved": ("y = h[:, 0]", ["y = h[:, -1]"]),
    "range-short": ("r = torch.arange(t)", ["r = torch.arange(1, 1 + t)"]),
    "one-lost": ("n = past + 1", ["n = past", "n = past + 2"]),
    "position-moved": ("e = self.wpe(p)", ["e = self.wpe((p - 1).clamp(min=0))"]),
    "reduction-exchanged": ("y = x.mean(-1)", ["y = x.sum(-1)"]),
    "reduction-word": ("y = loss(x, reduction='mean')", ["y = loss(x, reduction='sum')"]),
    "spread-exchanged": ("v = x.var(-1, correction=0)", ["v = x.var(-1, correction=1)"]),
    "clamp-lost": ("s = s.clamp(max=100)", ["s = s"]),
    "residual-lost": ("x = x + self.mlp(x)", ["x = self.mlp(x)"]),
    "residual-doubled": ("x = x + self.mlp(x)", ["x = (2 * x + self.mlp(x))"]),
    "residual-negated": ("x = x + self.mlp(x)", ["x = (x - self.mlp(x))"]),
    "branch-lost": ("x = x + self.mlp(x)", ["x = x"]),
    "addend-lost": ("x = self.tok(i) + self.pos(p)", ["x = self.tok(i)", "x = self.pos(p)"]),
    "post-norm": ("x = x + self.mlp(self.norm(x))", ["x = self.norm(x + self.mlp(x))"]),
    "norm-lost": ("x = self.norm(x)", ["x = x"]),
    "layer-confused": ("x = self.norm1(self.norm2)", ["x = self.norm2(self.norm2)"]),
    "eps-lost": ("r = rsqrt(v + self.eps)", ["r = rsqrt(v)"]),
    "eps-enlarged": ("y = ln(x, self.eps)", ["y = ln(x, 100 * self.eps)"]),
    "centring-lost": ("c = x - x.mean(-1)", ["c = x"]),
    "affine-lost": ("y = h * self.weight", ["y = h"]),
    "root-turned": ("r = torch.rsqrt(v)", ["r = torch.sqrt(v)"]),
    "activation-exchanged": ("y = F.gelu(x)", ["y = F.relu(x)"]),
    "activation-lost": ("y = self.act(x)", ["y = x"]),
    "dropout-always": ("y = drop(x, self.training)", ["y = drop(x, True)"]),
    "dropout-never": ("y = self.drop(x)", ["y = x"]),
    "dropout-turned": ("y = F.dropout(x, p=self.rate)", ["y = F.dropout(x, p=1 - self.rate)"]),
    "tie-broken": (
        "self.head.weight = self.tok.weight",
        ["pass",
         "self.head.weight = type(self.tok.weight)(self.tok.weight.detach().clone())"],
    ),
    "layer-shared": (
        "m = nn.ModuleList(Block(c) for _ in range(n))",
        ["m = nn.ModuleList([Block(c)] * (n))"],
    ),
    "layers-changed": (
        "y = through(self.blocks, x)",
        ["y = through(self.blocks[:-1], x)",
         "y = through(list(self.blocks)[:-1] + [self.blocks[0]], x)",
         "y = through(list(self.blocks)[::-1], x)"],
    ),
    "bias-turned": ("m = nn.Linear(a, b, bias=False)", ["m = nn.Linear(a, b, bias=True)"]),
    "init-lost": ("nn.init.normal_(w)", ["pass"]),
    "std-changed": ("nn.init.normal_(w, std=s)", ["nn.init.normal_(w, std=10 * (s))"]),
    "argument-dropped": ("y = ce(x, t, smoothing=e)", ["y = ce(x, t)"]),
    "normalize-lost": ("y = F.normalize(x, dim=-1)", ["y = x"]),
    "exp-lost": ("s = self.logit_scale.exp()", ["s = self.logit_scale"]),
    "temperature-turned": ("p = x / temperature", ["p = (x * temperature)"]),
    "detach-inserted": ("y = self.mlp(x)", ["y = (self.mlp(x)).detach()"]),
    "detach-removed": ("y = x.detach()", ["y = x"]),
    "no-grad-removed": ("c = torch.no_grad()", ["c = torch.enable_grad()"]),
    "condition-negated": ("y = a if c else b", ["y = a if not (c) else b"]),
    "comparison-moved": ("y = a < b", ["y = (a <= b)", "y = (a > b)"]),
    "logic-turned": ("y = a and b", ["y = (a or b)"]),
    "swapped": ("return a, b", ["return b, a"]),
    "arguments-swapped": ("y = f(a, b)", ["y = f(b, a)"]),
    "cast-lost": ("y = x.float()", ["y = x"]),
    "clone-lost": ("y = x.clone()", ["y = x"]),
    "cache-lost": (
        "k, v = past.append(k, v)",
        ["pass", "past.append(k, v)"],
    ),
    "offset-lost": ("p = past + t", ["p = 0 + t"]),
    "ignored-counted": ("m = labels != IGNORE", ["m = (labels == labels)"]),
    "step-lost": ("optimizer.zero_grad()", ["pass"]),
    "decay-lost": (
        "c = 1 - beta**step",
        ["c = 1.0", "c = 1 - beta ** (step + 1)"],
    ),
    "mode-turned": ("model.eval()", ["model.train()"]),
    "term-dropped": ("dx = a - b", ["dx = a", "dx = (-b)"]),
    "factor-dropped": ("dx = a * b", ["dx = a", "dx = b"]),
    "sign-flipped": ("dx = -g", ["dx = g"]),
    "saved-swapped": ("ctx.save_for_backward(a, b)", ["ctx.save_for_backward(b, a)"]),
    "operand-lost": ("y = x.flip(1)", ["y = x"]),
    "statement-deleted": ("x[i] = 0", ["pass"]),
}  # fmt: skip


def file_with(tmp_path, line, name="forward"):
    path = tmp_path / "m.py"
    path.write_text(f"class M:\n    def {name}(self, x):\n        {line}\n")
    return path


def lines_of(path, operator):
    """Give what the third line becomes."""
    found = [m for m in mutants_of(path, only=[operator]) if m.operator == operator]
    return [mutated(m).decode().splitlines()[2].strip() for m in found]


@pytest.mark.parametrize("operator", LINES)
def test_an_operator_does_what_its_name_says(tmp_path, operator):
    line, expected = LINES[operator]
    path = file_with(tmp_path, line, "backward" if "dx" in line else "forward")
    assert lines_of(path, operator) == expected


def test_every_operator_has_its_lines():
    assert {*LINES, "default-changed"} == {*OPERATORS}


def test_a_default_is_turned(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("def f(x, *, causal=True):\n    return x\n")
    (made,) = mutants_of(path, only=["default-changed"])
    assert mutated(made).startswith(b"def f(x, *, causal=False):")


@pytest.mark.parametrize("row", OPERATORS.values(), ids=OPERATORS)
def test_every_operator_says_what_it_did_and_who_would_see_it(row):
    assert row.seen
    assert "{}" in row.says
    assert row.name.replace("-", "").isalpha()


# operators that look alike must leave each other's lines alone
LEFT_ALONE = {
    "scale-dropped": "y = x / count",
    "mask-flipped": "y = torch.where(a > b)",
    "axis-swapped": "y = x.softmax(dim)",
    "slice-moved": "y = x[::2]",
    "place-moved": "y = config[0]",
    "residual-lost": "y = x + other(z)",
    "addend-lost": "n = count + size",
    "eps-lost": "y = x + steps",
    "centring-lost": "y = x - other",
    "root-turned": "y = math.sqrt(2)",
    "activation-exchanged": "y = math.tanh(2)",
    "exp-lost": "y = expand(x)",
    "detach-inserted": "n = len(x)",
    "cast-lost": "y = x.to(device)",
    "cache-lost": "parts.append(k)",
    "offset-lost": "y = f(past)",
    "statement-deleted": "self.check_it(x)",
    "term-dropped": "y = a - b",
    "reduction-word": "y = f(mode='mean')",
    "tie-broken": "self.a.bias = other",
    "layers-changed": "n = len(self.blocks)",
    "step-lost": "y = optimizer.step",
}


@pytest.mark.parametrize("operator", LEFT_ALONE)
def test_an_operator_leaves_other_lines_alone(tmp_path, operator):
    assert lines_of(file_with(tmp_path, LEFT_ALONE[operator]), operator) == []


UNTOUCHED = {
    "a docstring": 'def f():\n    """x + 1 and x[1:]"""\n',
    "an annotation": "def f(x: Float[T, a + 1], y: A[1:] = z) -> B[1:]:\n    pass\n",
    "an annotated name": "x: Annotated[int, a + 1]\n",
    "a raise": "def f(x):\n    raise ValueError(x + 1, x[1:])\n",
    "a guard": "def f(x):\n    if x < 1 and y:\n        raise ValueError(x)\n",
    "an assert": "def f(x):\n    assert x < 1 and y, x + 1\n",
    "logging": "def f(x):\n    logger.info(x + 1)\n    logging.warning(a < b)\n",
    "a warning": "def f(x):\n    warnings.warn(x + 1)\n    print(x[1:])\n",
    "what types need": "if TYPE_CHECKING:\n    x = a < b\n",
    "how it prints": "class A:\n    def __repr__(self):\n        return str(self.x + 1)\n",
    "what torch prints": "class A:\n    def extra_repr(self):\n        return f(self.a, self.b)\n",
    "a script": 'if __name__ == "__main__":\n    x = a < b\n',
}


@pytest.mark.parametrize("what", UNTOUCHED)
def test_what_computes_nothing_is_left_alone(tmp_path, what):
    path = tmp_path / "m.py"
    path.write_text(UNTOUCHED[what])
    assert [m for m in mutants_of(path) if "TYPE_CHECKING" not in m.says] == []


EQUIVALENT = {
    "no detach of whole numbers": "def f(mask):\n    n = mask.long().cumsum(1) - 1\n",
    "no detach under no_grad": "def f(x):\n    with torch.no_grad():\n        y = x.detach()\n",
    "no detach in a Function": (
        "class F(Function):\n    def forward(x):\n        return x.detach()\n"
    ),
    "a symmetric function": "def f(a, b):\n    return torch.maximum(a, b)\n",
}


@pytest.mark.parametrize("what", EQUIVALENT)
def test_a_rule_leaves_out_what_changes_nothing(tmp_path, what):
    path = tmp_path / "m.py"
    path.write_text(EQUIVALENT[what])
    assert mutants_of(path, only=["detach-", "arguments-swapped"]) == []


def test_every_mutant_is_python_and_no_two_are_the_same(tmp_path):
    path = tmp_path / "m.py"
    body = "".join(f"        {line}\n" for line, _ in LINES.values())
    path.write_text(f"class M:\n    def forward(self, x):\n{body}")
    made = [mutated(m) for m in mutants_of(path)]
    assert len({*made}) == len(made) > len(LINES)
    for text in made:
        ast.parse(text)
    assert len({m.id for m in mutants_of(path)}) == len(made)


def test_the_manual_names_every_operator():
    manual = (Path(__file__).parents[3] / "docs" / "mutate.md").read_text()
    assert f"There are {len(OPERATORS)} operators" in manual
    assert [name for name in OPERATORS if f"{name}" not in manual] == []
