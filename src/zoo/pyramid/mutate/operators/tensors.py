"""Axes, places and reductions: the wrong dimension, off by one, the wrong sum."""

import ast

from zoo.pyramid.mutate.operators.base import (
    Edits,
    Operator,
    called,
    keyword,
    last_name,
    method_of,
    number,
    renamed,
)
from zoo.pyramid.mutate.source import Source

BY_DIM = {
    "softmax", "log_softmax", "mean", "sum", "cat", "concat", "stack", "argmax", "argmin", "amax",
    "amin", "logsumexp", "norm", "normalize", "cumsum", "var", "std", "prod", "all", "any", "sort",
    "topk", "unbind", "flip", "gather", "index_select", "chunk", "split", "repeat_interleave",
    "square", "argsort",
}  # fmt: skip
OTHER = {-1: "-2", -2: "-1", 0: "1", 1: "0", 2: "1", 3: "2"}
EXCHANGED = {
    "mean": "sum", "sum": "mean", "amax": "mean", "amin": "amax", "argmax": "argmin",
    "argmin": "argmax", "cumsum": "cumprod", "any": "all", "all": "any", "max": "min", "min": "max",
}  # fmt: skip


def dims_of(call: ast.Call) -> list[ast.expr]:
    """Give the literal dimensions that a call names."""
    given = keyword(call, "dim", "axis")
    if given is not None:
        return [given.value]
    at = 0 if method_of(call) is not None else 1
    if called(call) in ("split", "chunk", "topk", "repeat_interleave"):
        at += 1
    return [call.args[at]] if len(call.args) > at else []


def axis_swapped(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if called(node) not in BY_DIM:
            continue
        for dim in dims_of(node):
            value = number(dim)
            if value is not None and int(value) == value and int(value) in OTHER:
                new = OTHER[int(value)]
                yield dim, new, f"{source.said(node)} works along dimension {new}"


def transpose_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call, ast.Attribute):
        if called(node) in ("transpose", "swapaxes", "t", "mT"):
            inner = method_of(node)
            if inner is not None:
                yield node, source.atom(inner), source.said(node)
        elif isinstance(node, ast.Attribute) and node.attr in ("mT", "T"):
            yield node, source.atom(node.value), source.said(node)


def order_changed(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        name, args = called(node), node.args
        if name == "permute" and len(args) > 2:
            pairs = [(len(args) - 2, len(args) - 1), (1, 2)]
        elif name in ("view", "reshape") and len(args) > 3:
            pairs = [(i, i + 1) for i in range(1, len(args) - 1)]
        else:
            continue
        for i, j in pairs:
            one, other = source.code(args[i]), source.code(args[j])
            span = (source.span(args[i])[0], source.span(args[j])[1], node)
            yield span, f"{other}, {one}", f"{name}({', '.join(map(source.said, args))})"


def slice_moved(source: Source) -> Edits:
    for node in source.nodes(ast.Slice):
        assert isinstance(node, ast.Slice)
        if node.step is not None:
            continue
        whole, lower, upper = source.parents[node], node.lower, node.upper
        said = source.said(whole if isinstance(whole, ast.Subscript) else source.parents[whole])
        if lower is not None:
            value = number(lower)
            yield lower, "", f"{said} begins at the start"
            if value is not None and value > 0:
                yield lower, str(int(value) + 1), f"{said} begins one later"
                if upper is None and value == 1:
                    yield node, ":-1", f"{said} leaves out the last instead of the first"
        if upper is not None:
            if number(upper) is not None and (number(upper) or 0) < 0:
                yield upper, "", f"{said} goes to the end"
                yield upper, str(int(number(upper) or 0) - 1), f"{said} ends one earlier"
                if lower is None and number(upper) == -1:
                    yield node, "1:", f"{said} leaves out the first instead of the last"
            else:
                yield upper, f"{source.atom(upper)} - 1", f"{said} ends one earlier"


def place_moved(source: Source) -> Edits:
    ends = {0: "-1", -1: "0"}
    for node in source.nodes(ast.Subscript):
        assert isinstance(node, ast.Subscript)
        if not isinstance(node.ctx, ast.Load) or not isinstance(node.slice, ast.Tuple):
            continue
        if not any(isinstance(e, ast.Slice) for e in node.slice.elts):
            continue
        for part in node.slice.elts:
            value = number(part)
            if value is not None and int(value) in ends:
                yield part, ends[int(value)], source.said(node)


def range_short(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if called(node) not in ("range", "arange") or not node.args:
            continue
        if len(node.args) == 1:
            count = source.atom(node.args[0])
            if called(node) == "range":
                yield node.args[0], f"{count} - 1", f"{source.said(node)} ends one earlier"
            else:
                yield node.args[0], f"1, 1 + {count}", f"{source.said(node)} begins at 1"
        else:
            first, last = node.args[:2]
            new = f"1 + {source.atom(first)}, 1 + {source.atom(last)}"
            span = (source.span(first)[0], source.span(last)[1], node)
            yield span, new, f"{source.said(node)} is moved by one"


def one_lost(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if not isinstance(node.op, ast.Add | ast.Sub) or number(node.right) != 1.0:
            continue
        yield node, source.atom(node.left), f"the one in {source.said(node)} is lost"
        if isinstance(node.op, ast.Add):
            yield node.right, "2", f"{source.said(node)} is one too large"


def position_moved(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        named = last_name(node.func) in ("positions", "position_embeddings", "wpe", "pos_emb")
        if named and len(node.args) == 1 and not node.keywords:
            whole = f"({source.code(node.args[0])} - 1).clamp(min=0)"
            yield node.args[0], whole, source.said(node)


def reduction_exchanged(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        name = called(node)
        if name in EXCHANGED and isinstance(node.func, ast.Attribute):
            new = EXCHANGED[name]
            yield *renamed(source, node.func, new), f"{source.said(node)} has become {new}"
        elif name in ("max", "min") and isinstance(node.func, ast.Name):
            new = EXCHANGED[name]
            yield node.func, new, f"{source.said(node)} has become {new}"


def reduction_word(source: Source) -> Edits:
    words = {"mean": "sum", "sum": "mean", "none": "mean"}
    for node in source.nodes(ast.Constant):
        assert isinstance(node, ast.Constant)
        if not isinstance(node.value, str) or node.value not in words:
            continue
        parent, new = source.parents[node], words[node.value]
        if isinstance(parent, ast.keyword) and parent.arg != "reduction":
            continue
        if isinstance(parent, ast.arguments):
            named = [a.arg for a, d in defaults(parent) if d is node]
            if "reduction" not in named:
                continue
        elif not isinstance(parent, ast.keyword | ast.Compare):
            continue
        if isinstance(parent, ast.Compare) and "reduction" not in names(parent):
            continue
        yield node, repr(new), f"{source.said(node)} has become {new!r}"


def names(node: ast.AST) -> set[str]:
    return {last_name(n) for n in ast.walk(node)}


def defaults(held: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    """Give the arguments that have a default, and it."""
    plain = [*held.posonlyargs, *held.args]
    late = zip(plain[len(plain) - len(held.defaults) :], held.defaults, strict=True)
    return [*late, *zip(held.kwonlyargs, held.kw_defaults, strict=True)]


def spread_exchanged(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if called(node) not in ("var", "std", "var_mean", "std_mean"):
            continue
        given = keyword(node, "unbiased", "correction", "ddof")
        if given is not None and isinstance(given.value, ast.Constant):
            new = (
                repr(not given.value.value)
                if given.arg == "unbiased"
                else ("1" if not given.value.value else "0")
            )
            yield given.value, new, source.said(node)
        elif given is None and method_of(node) is not None:
            stop = source.span(node)[1] - 1
            comma = ", " if node.args or node.keywords else ""
            yield (stop, stop, node), f"{comma}unbiased=False", source.said(node)


def clamp_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        inner = method_of(node)
        if called(node) in ("clamp", "clamp_min", "clamp_max", "clip") and inner is not None:
            yield node, source.atom(inner), source.said(node)


LENGTHS = "use sizes that all differ, and compare values with a reference"
EDGES = "compare with a loop in Python on a short input; look at the first and the last place"
BATCHES = "compare one row alone with the same row in a batch, and a loss with its parts"

OPERATORS = (
    Operator(name="axis-swapped", family="axis swapped", find=axis_swapped, says="{}",
             seen=LENGTHS),
    Operator(name="transpose-lost", family="axis swapped", find=transpose_lost,
             says="{} is not transposed: heads and tokens mix", seen=LENGTHS),
    Operator(name="order-changed", family="axis swapped", find=order_changed,
             says="two neighbours in {} are exchanged", seen=LENGTHS),
    Operator(name="slice-moved", family="off by one", find=slice_moved, says="{}", seen=EDGES,
             replays="the label shift, seeded in other suites"),
    Operator(name="place-moved", family="off by one", find=place_moved,
             says="{} takes the other end", seen=EDGES,
             replays="transformers #21029, #24650 (CLIP's pooled token)"),
    Operator(name="range-short", family="off by one", find=range_short, says="{}", seen=EDGES),
    Operator(name="one-lost", family="off by one", find=one_lost, says="{}", seen=EDGES),
    Operator(name="position-moved", family="off by one", find=position_moved,
             says="positions in {} are one too small", seen=EDGES,
             replays="transformers #3021, #18478"),
    Operator(name="reduction-exchanged", family="wrong reduction", find=reduction_exchanged,
             says="{}", seen=BATCHES),
    Operator(name="reduction-word", family="wrong reduction", find=reduction_word, says="{}",
             seen=BATCHES, replays="transformers PR #35438"),
    Operator(name="spread-exchanged", family="wrong reduction", find=spread_exchanged,
             says="{} divides by the other of n and n - 1", seen="compare with a reference"),
    Operator(name="clamp-lost", family="wrong reduction", find=clamp_lost,
             says="{} is no longer bounded", seen="give it a value beyond the bound",
             replays="transformers #13430 (CLIP's logit scale)"),
)  # fmt: skip
