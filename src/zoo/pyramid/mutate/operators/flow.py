"""The flow of a program: gradients, conditions, casts, caches, labels, training steps."""

import ast
import re

from zoo.pyramid.mutate.operators.base import (
    Edits,
    called,
    is_self,
    keyword,
    last_name,
    method_of,
    names_in,
    number,
    operand,
    receiver,
    renamed,
    tensor,
)
from zoo.pyramid.mutate.source import Function, Source

BACKWARD = ("backward", "jvp", "vjp")

IGNORES = re.compile(r"^(IGNORE\w*|ignore|ignore_index|IGNORED)$")
PAST = re.compile(r"(^|_)(past|cache|kv|kv_cache|layer_past)$")
OFFSETS = re.compile(r"(^|_)(past|offset|start|past_length|cache_position|start_pos|first)$")
STEPS = ("zero_grad", "step", "clip_grad_norm_", "clip_grad_value_", "eval", "train", "backward",
         "update", "manual_seed", "synchronize", "all_reduce", "requires_grad_")  # fmt: skip


def detach_inserted(source: Source) -> Edits:
    for node in source.nodes(ast.Assign, ast.Return):
        value = node.value  # type: ignore[attr-defined]
        plain = isinstance(node, ast.Return) or isinstance(node.targets[0], ast.Name)  # type: ignore[attr-defined]
        around = source.function(node)
        if value is None or not plain or around is None or around.name in BACKWARD:
            continue
        if tensor(value) and not integral(value):
            yield value, f"({source.code(value)}).detach()", source.said(value)


def integral(value: ast.expr) -> bool:
    """Say whether a tensor surely has no gradient."""
    outer = called(value)
    made = ("arange", "zeros", "ones", "full", "rand", "randint", "argmax", "bool", "long", "int")
    counts = isinstance(value, ast.BinOp) and re.search(
        r"\b(long|int|argmax|argmin|arange|numel|size|shape)\b", names_in(value)
    )
    return outer in made or bool(re.search(r"mask|padding|seed", outer)) or bool(counts)


def detach_removed(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        inner = method_of(node)
        if called(node) == "detach" and inner is not None:
            yield node, source.atom(inner), source.said(node)


def no_grad_removed(source: Source) -> Edits:
    for node in source.nodes(ast.Call, ast.Attribute):
        if isinstance(node, ast.Call) and called(node) in ("no_grad", "inference_mode"):
            new = source.code(node.func).replace(called(node), "enable_grad") + "()"
            yield node, new, source.said(node)


def condition_negated(source: Source) -> Edits:
    for node in source.nodes(ast.If, ast.IfExp):
        assert isinstance(node, ast.If | ast.IfExp)
        if node.test in source.hidden or is_self(node.test, "^training$"):
            continue
        yield node.test, f"not ({source.code(node.test)})", source.said(node.test)


def comparison_moved(source: Source) -> Edits:
    moved = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
    turned = {ast.Lt: ">", ast.LtE: ">=", ast.Gt: "<", ast.GtE: "<=", ast.Eq: "!=", ast.NotEq: "=="}
    for node in source.nodes(ast.Compare):
        assert isinstance(node, ast.Compare)
        if len(node.ops) != 1:
            continue
        left, right, sign = node.left, node.comparators[0], type(node.ops[0])
        tested = isinstance(source.parents[node], ast.If | ast.IfExp)
        for table in (moved, turned):
            if sign in table and not (table is turned and tested):  # that one is negated already
                new = f"{source.atom(left)} {table[sign]} {source.atom(right)}"
                yield node, f"({new})", f"{source.said(node)} has become {table[sign]}"


def logic_turned(source: Source) -> Edits:
    for node in source.nodes(ast.BoolOp):
        assert isinstance(node, ast.BoolOp)
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield node, "(" + word.join(map(source.atom, node.values)) + ")", source.said(node)


def swapped(source: Source) -> Edits:
    for node in source.nodes(ast.Return, ast.Assign):
        held = node.value if isinstance(node, ast.Return) else node.targets[0]  # type: ignore[attr-defined]
        if isinstance(held, ast.Tuple) and len(held.elts) == 2:
            one, other = held.elts
            if isinstance(one, ast.Starred) or isinstance(other, ast.Starred):
                continue
            span = (source.span(one)[0], source.span(other)[1], held)
            yield span, f"{source.code(other)}, {source.code(one)}", source.said(held)


def arguments_swapped(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if re.search(r"instance|attr|range|print|enumerate|zip|max|min|^[A-Z]", called(node)):
            continue
        plain = [isinstance(a, ast.Name | ast.Attribute) for a in node.args]
        for place in range(len(node.args) - 1):
            one, other = node.args[place : place + 2]
            if plain[place] and plain[place + 1] and last_name(one) != last_name(other):
                span = (source.span(one)[0], source.span(other)[1], node)
                yield span, f"{source.code(other)}, {source.code(one)}", source.said(node)
                break


def cast_lost(source: Source) -> Edits:
    casts = ("float", "double", "half", "bfloat16", "type_as", "wide")
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        inner = method_of(node)
        typed = any(re.search(r"dtype|float|double", names_in(a)) for a in node.args)
        if called(node) in casts and isinstance(node.func, ast.Attribute) and inner is not None:
            yield node, source.atom(inner), source.said(node)
        elif called(node) == "wide" and node.args:
            yield node, source.atom(node.args[0]), source.said(node)
        elif called(node) == "to" and inner is not None and typed:
            yield node, source.atom(inner), source.said(node)


def clone_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        inner = method_of(node)
        if called(node) == "clone" and inner is not None:
            yield node, source.atom(inner), source.said(node)


def cache_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Assign, ast.Expr):
        value = node.value  # type: ignore[attr-defined]
        owner = receiver(value)
        if called(value) in ("append", "update", "extend") and PAST.search(last_name(owner)):
            yield node, "pass", source.said(node)
            if isinstance(node, ast.Assign):
                yield node, source.code(value), f"what {source.said(value)} gives"
    for node in source.nodes(ast.Call):
        given = keyword(node, "past", "cache", "past_key_values", "use_cache", "layer_past")
        if given is not None and not isinstance(given.value, ast.Constant):
            yield given.value, "None", source.said(given)


def offset_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Name, ast.Attribute):
        parent = source.parents[node]
        if not OFFSETS.search(last_name(node)) or not isinstance(node.ctx, ast.Load):  # type: ignore[attr-defined]
            continue
        sums = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add | ast.Sub)
        begins = called(parent) == "arange" and parent.args[0] is node  # type: ignore[attr-defined]
        if sums or begins:
            yield node, "0", f"{source.said(node)} in {source.said(parent)}"


def ignored_counted(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        given = keyword(node, "ignore_index", "ignore")
        if given is not None:
            yield given.value, "-12345", source.said(given)
    for node in source.nodes(ast.Compare):
        assert isinstance(node, ast.Compare)
        other = node.comparators[0]
        if IGNORES.search(last_name(other)) or number(other) == -100.0:
            sign = "==" if isinstance(node.ops[0], ast.NotEq) else "!="
            left = source.atom(node.left)
            yield node, f"({left} {sign} {left})", source.said(node)


def step_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Expr):
        assert isinstance(node, ast.Expr)
        if called(node.value) in STEPS and receiver(node.value) is not None:
            yield node, "pass", source.said(node)


def decay_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        given = keyword(node, "weight_decay", "max_norm", "clip")
        if given is not None and number(given.value) != 0.0:
            yield given.value, "0.0", source.said(given)
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        power = node.right
        if not isinstance(node.op, ast.Sub) or number(node.left) != 1.0:
            continue
        if isinstance(power, ast.BinOp) and isinstance(power.op, ast.Pow):
            yield node, "1.0", f"the bias correction {source.said(node)}"
            moved = f"{source.atom(power.left)} ** ({source.code(power.right)} + 1)"
            yield power, moved, f"the step in {source.said(node)}"


def mode_turned(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        new = {"eval": "train", "train": "eval"}.get(called(node))
        if new and isinstance(node.func, ast.Attribute) and not node.args:
            yield *renamed(source, node.func, new), source.said(node)


def statement_deleted(source: Source) -> Edits:
    for node in source.nodes(ast.Assign, ast.AugAssign, ast.Expr):
        around = source.function(node)
        if around is None:
            continue
        if isinstance(node, ast.Expr):
            name = called(node.value)
            in_place = name.endswith("_") and not name.endswith("__")
            owned = receiver(node.value) is not None and not isinstance(
                receiver(node.value), ast.Call
            )
            checks = re.search(r"^_?(check|assert|validate|note|emit)", name)
            if (in_place or owned) and not checks and name not in STEPS:
                yield node, "pass", source.said(node)
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target  # type: ignore[attr-defined]
        built = around.name == "__init__" and isinstance(target, ast.Attribute)
        if built and isinstance(node, ast.Assign):
            continue  # an attribute that is never made: any use fails at once
        if isinstance(target, ast.Attribute | ast.Subscript) or isinstance(node, ast.AugAssign):
            yield node, "pass", source.said(node)


def default_changed(source: Source) -> Edits:
    for node in source.nodes(ast.FunctionDef):
        assert isinstance(node, Function)
        for given in [*node.args.defaults, *node.args.kw_defaults]:
            if isinstance(given, ast.Constant) and isinstance(given.value, bool):
                yield given, repr(not given.value), f"{given.value} of {node.name}"


def operand_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        inner = operand(node)
        lost = ("flip", "abs", "square", "cumsum", "unsqueeze", "expand", "shift", "roll")
        if called(node) in lost and inner is not None:
            yield node, source.atom(inner), source.said(node)
