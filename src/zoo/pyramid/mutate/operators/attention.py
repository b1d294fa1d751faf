"""Attention: its scale, its masks, and which of queries, keys and values is which."""

import ast
import re
from itertools import pairwise

from zoo.pyramid.mutate.operators.base import (
    Edits,
    Operator,
    called,
    keyword,
    last_name,
    method_of,
    names_in,
    number,
    operand,
    renamed,
    without_argument,
)
from zoo.pyramid.mutate.source import Source

SCALES = re.compile(r"(^|_)(scale|scaling|sqrt|inv_norm|norm_fact\w*)$")
MASKS = re.compile(r"(^|_)(mask|masks|padding|visible|seen|allowed|keep|attend)(_|$)")
FILLS = ("masked_fill", "masked_fill_")
COUSINS = [{"q", "k", "v"}, {"query", "key", "value"}, {"queries", "keys", "values"}]


def is_root(node: ast.AST) -> bool:
    """Say whether a factor is a scale: a root, a power of one half, or something called scale."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return number(node.right) in (0.5, -0.5)
    return called(node) in ("sqrt", "rsqrt") or bool(SCALES.search(last_name(node)))


def scale_dropped(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Mult | ast.Div) and is_root(node.right):
            yield node, source.atom(node.left), source.said(node.right)
        elif isinstance(node.op, ast.Mult) and is_root(node.left):
            yield node, source.atom(node.right), source.said(node.left)
        if isinstance(node.op, ast.Pow) and number(node.right) == -0.5:
            parent = source.parents[node]
            if not isinstance(parent, ast.BinOp):
                yield node, "1.0", source.said(node)
    for node in source.nodes(ast.Call):
        given = keyword(node, "scale")
        if given is not None and called(node) == "scaled_dot_product_attention":
            yield given, "scale=1.0", source.said(given)


def scale_twice(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Mult | ast.Div) and is_root(node.right):
            sign = "*" if isinstance(node.op, ast.Mult) else "/"
            new = f"({source.code(node)} {sign} {source.atom(node.right)})"
            yield node, new, source.said(node.right)


def sqrt_lost(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp, ast.Call):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            value = number(node.right)
            if value == 0.5:
                yield node, source.atom(node.left), source.said(node)
            elif value == -0.5:
                yield node.right, "-1", source.said(node)
        elif called(node) == "sqrt":
            inner = operand(node)
            if inner is not None:
                yield node, source.atom(inner), source.said(node)


def causal_dropped(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        given = keyword(node, "is_causal", "causal")
        if given is None or (isinstance(given.value, ast.Constant) and not given.value.value):
            continue
        yield given.value, "False", source.said(given)


def mask_argument_dropped(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        for given in [*node.args, *node.keywords]:
            value = given.value if isinstance(given, ast.keyword) else given
            if not isinstance(value, ast.Name | ast.Attribute) or called(node) in FILLS:
                continue
            if MASKS.search(last_name(value)) and not re.search(
                "isinstance|bool|int", called(node)
            ):
                yield value, "None", source.said(value)


def mask_flipped(source: Source) -> Edits:
    for node in source.nodes(ast.UnaryOp):
        assert isinstance(node, ast.UnaryOp)
        if isinstance(node.op, ast.Invert):
            yield node, source.atom(node.operand), source.said(node)
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if called(node) in FILLS and node.args:
            mask = node.args[0]
            if not isinstance(mask, ast.UnaryOp) and not isinstance(mask, ast.Compare):
                yield mask, f"~{source.atom(mask)}", source.said(mask)
        elif called(node) == "where" and len(node.args) == 3:
            yes, no = node.args[1:]
            span = (source.span(yes)[0], source.span(no)[1], node)
            yield span, f"{source.code(no)}, {source.code(yes)}", source.said(node)
        elif called(node) == "where" and len(node.args) == 2 and method_of(node) is not None:
            condition = node.args[0]
            yield condition, f"~({source.code(condition)})", source.said(node)


def mask_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        if called(node) == "masked_fill":
            inner = method_of(node)
            if inner is not None:
                yield node, source.atom(inner), source.said(node)
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Mult) and MASKS.search(names_in(node.right).replace(" ", "_")):
            yield node, source.atom(node.left), source.said(node)
        if isinstance(node.op, ast.BitAnd):
            yield node, source.atom(node.left), source.said(node)
            yield node, source.atom(node.right), source.said(node)


def mask_joined(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            sign = "|" if isinstance(node.op, ast.BitAnd) else "&"
            new = f"({source.atom(node.left)} {sign} {source.atom(node.right)})"
            yield node, new, source.said(node)


def mask_shifted(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if called(node) not in ("tril", "triu", "tril_", "triu_"):
            continue
        given = keyword(node, "diagonal")
        at = 0 if method_of(node) is not None else 1
        held = given.value if given else node.args[at] if len(node.args) > at else None
        for step in (1, -1):
            if held is not None:
                sign = "+" if step > 0 else "-"
                yield held, f"{source.atom(held)} {sign} 1", source.said(node)
            else:
                stop = source.span(node)[1] - 1
                comma = ", " if node.args else ""
                yield (stop, stop, node), f"{comma}diagonal={step}", source.said(node)


def triangle_turned(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        name = called(node)
        if name.strip("_") in ("tril", "triu"):
            new = name.replace("l", "u") if "l" in name else name.replace("u", "l")
            yield *renamed(source, node.func, new), source.said(node)


def infinity_lost(source: Source) -> Edits:
    spelt = re.compile(r"float\(\s*['\"]-inf(inity)?['\"]\s*\)|.*finfo.*\.min", re.DOTALL)
    for node in source.nodes(ast.UnaryOp, ast.Call, ast.Attribute):
        if isinstance(node, ast.UnaryOp):
            inner = node.operand
            endless = last_name(inner) == "inf" or source.code(inner).startswith("float(")
            if isinstance(node.op, ast.USub) and endless:
                yield node, "0.0", source.said(node)
        elif spelt.fullmatch(source.code(node)):
            yield node, "0.0", source.said(node)


def parts_swapped(source: Source) -> Edits:
    for node in source.nodes(ast.Tuple, ast.Call):
        parts = node.elts if isinstance(node, ast.Tuple) else getattr(node, "args", [])
        if isinstance(node, ast.Tuple) and not isinstance(node.ctx, ast.Store):
            continue
        for left, right in pairwise(parts):
            pair = {last_name(left), last_name(right)}
            if len(pair) == 2 and any(pair <= cousins for cousins in COUSINS):
                span = (source.span(left)[0], source.span(right)[1], node)
                new = f"{source.code(right)}, {source.code(left)}"
                yield span, new, f"{source.said(left)} and {source.said(right)}"


def scale_argument(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        for given in node.keywords:
            if given.arg in ("scale", "softmax_scale", "sm_scale") and (
                called(node) != "scaled_dot_product_attention"
            ):
                yield without_argument(source, node, given), "", source.said(given)


REFERENCE = "compare with a reference implementation in float64, or with its numbers for one input"
LEAK = "change one token and see which positions change (zoo.testing's check_causality)"
PAD = "pad a row on either side: the answers for its real tokens must stay (check_padding)"

OPERATORS = (
    Operator(name="scale-dropped", family="attention scale", find=scale_dropped,
             says="the factor {} is no longer applied", seen=REFERENCE,
             replays="seeded in other suites, where 10 of 16 such bugs were missed"),
    Operator(name="scale-twice", family="attention scale", find=scale_twice,
             says="the factor {} is applied twice", seen=REFERENCE),
    Operator(name="sqrt-lost", family="attention scale", find=sqrt_lost,
             says="the square root of {} is not taken", seen=REFERENCE),
    Operator(name="scale-argument-dropped", family="attention scale", find=scale_argument,
             says="{} is not passed on", seen=REFERENCE),
    Operator(name="causal-dropped", family="mask flipped", find=causal_dropped,
             says="{} is switched off: tokens see what comes after them", seen=LEAK),
    Operator(name="mask-flipped", family="mask flipped", find=mask_flipped,
             says="the mask in {} is taken the other way round", seen=LEAK),
    Operator(name="triangle-turned", family="mask flipped", find=triangle_turned,
             says="{} keeps the other triangle", seen=LEAK),
    Operator(name="mask-shifted", family="mask shifted", find=mask_shifted,
             says="the diagonal of {} is shifted by one", seen=LEAK),
    Operator(name="mask-argument-dropped", family="padding ignored", find=mask_argument_dropped,
             says="{} is not passed on", seen=PAD, replays="transformers #16136, PR #24510"),
    Operator(name="mask-lost", family="padding ignored", find=mask_lost,
             says="{} leaves a mask out", seen=PAD, replays="transformers #3021"),
    Operator(name="mask-joined", family="mask flipped", find=mask_joined,
             says="{} joins its masks with the other of and / or", seen=PAD),
    Operator(name="infinity-lost", family="mask flipped", find=infinity_lost,
             says="{} has become 0: what is masked still counts", seen=LEAK),
    Operator(name="parts-swapped", family="wrong argument", find=parts_swapped,
             says="{} are exchanged", seen=REFERENCE),
)  # fmt: skip
