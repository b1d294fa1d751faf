"""What operators are made of: a row of the table, and how code is recognised."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zoo.pyramid.mutate.source import Source

# the node (or the bytes of UTF-8 and a node there), what stands there then, what fills `says`
Edit = tuple[ast.AST | tuple[int, int, ast.AST], str, str]
Edits = Iterator[Edit]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One way in which real code goes wrong.

    `says` is the bug in words, {} the code that it is about; `seen` the kind of test that notices;
    `replays` a thread in which it happened.
    """

    name: str
    family: str
    says: str
    seen: str
    find: Callable[[Source], Edits]
    replays: str = ""


def called(node: ast.AST | None) -> str:
    """Give the last name of what a call calls; an empty string for anything else."""
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def last_name(node: ast.AST | None) -> str:
    """Give the last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def receiver(node: ast.AST) -> ast.expr | None:
    """Give x of x.f(...)."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.value
    return None


OWN = {"self", "cls"}  # self.act(x) works on x
LIBRARIES = {"torch", "F", "functional", "nn", "math", "np", "numpy", "ops", "jnp", "init", "jax"}


def method_of(node: ast.AST) -> ast.expr | None:
    """Give x of x.f(...) when x is a value and no module."""
    base = receiver(node)
    module = base is None or last_name(base) in LIBRARIES
    return None if module or (isinstance(base, ast.Name) and base.id in OWN) else base


def operand(node: ast.AST) -> ast.expr | None:
    """Give what a function works on: x of x.f(...), F.f(x, ...) or f(x)."""
    own = method_of(node)
    if own is not None:
        return own
    if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
        return node.args[0]
    return None


def keyword(call: ast.AST, *names: str) -> ast.keyword | None:
    """Give the keyword argument of one of these names."""
    found = getattr(call, "keywords", [])
    return next((k for k in found if k.arg in names), None)


def number(node: ast.AST | None) -> float | None:
    """Give the value of a literal number, a negative one too."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number(node.operand)
        return None if inner is None else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def is_self(node: ast.AST | None, pattern: str = "") -> bool:
    """Say whether a node is self.<attribute>, of a name that matches."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and re.search(pattern, node.attr) is not None
    )


def mentions(node: ast.AST, dumped: str) -> bool:
    """Say whether an expression holds another one, given as ast.dump gives it."""
    return any(ast.dump(n) == dumped for n in ast.walk(node) if isinstance(n, ast.expr))


def names_in(node: ast.AST) -> str:
    """Give all names of an expression in one text."""
    parts = [last_name(n) for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)]
    return " ".join(parts)


# what gives a tensor: a layer of self, or a function that torch and its users know by name
TENSORS = re.compile(
    r"^(softmax|log_softmax|matmul|bmm|einsum|gelu|relu|silu|tanh|sigmoid|exp|sqrt|rsqrt|linear|"
    r"embedding|layer_norm|rms_norm|dropout|normalize|attention|scaled_dot_product_attention|"
    r"masked_fill|where|cat|stack|mean|sum|var|transpose|permute|reshape|view|flatten|unsqueeze|"
    r"squeeze|expand|gather|index_select|cumsum|square|pow|abs|clamp|float|detach|addmm|conv[123]d|"
    r"cross_entropy|rand|randn|arange|zeros|ones|full|amax|logsumexp|pool|patches|checkpoint)_?$"
)


def tensor(node: ast.AST) -> bool:
    """Say whether an expression surely is a tensor of floats, as far as names tell."""
    if isinstance(node, ast.Call):
        if is_self(node.func) and not re.search(r"^(check|_?get|is_|has_)", called(node)):
            return True
        return bool(TENSORS.match(called(node))) and last_name(receiver(node)) not in ("math",)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.MatMult) or tensor(node.left) or tensor(node.right)
    if isinstance(node, ast.Subscript):
        return tensor(node.value) or last_name(node.value) == "weight"
    return isinstance(node, ast.Attribute) and node.attr in ("weight", "bias")


def without_argument(source: Source, call: ast.Call, which: ast.AST) -> tuple[int, int, ast.AST]:
    """Give the bytes of an argument and of one comma."""
    every = sorted([*call.args, *call.keywords], key=lambda n: source.span(n))
    place = every.index(which)
    start, stop = source.span(which)
    if place + 1 < len(every):
        stop = source.span(every[place + 1])[0]
    elif place:
        start = source.span(every[place - 1])[1]
    return start, stop, which


def renamed(source: Source, node: ast.AST, new: str) -> tuple[tuple[int, int, ast.AST], str]:
    """Give the edit that exchanges the last name of a dotted name."""
    stop = source.span(node)[1]
    return (stop - len(last_name(node).encode()), stop, node), new
