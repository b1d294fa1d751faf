"""Layers: residuals, norms, activations, dropout, ties, and which layers run at all."""

import ast
import re

from zoo.pyramid.mutate.operators.base import (
    Edits,
    called,
    is_self,
    last_name,
    mentions,
    number,
    receiver,
    renamed,
    tensor,
)
from zoo.pyramid.mutate.source import Source

STACKS = re.compile(r"^(blocks|layers|h|encoder_layers|decoder_layers|resblocks|stages)$")
NORMS = re.compile(r"(norm|^ln)")
EPS = re.compile(r"(^|_)(eps|epsilon|variance_epsilon)$")


def residuals(source: Source) -> list[tuple[ast.BinOp, ast.expr, ast.expr]]:
    """Give sums x + f(x), as (sum, x, f(x))."""
    found = []
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if not isinstance(node.op, ast.Add):
            continue
        for one, other in ((node.left, node.right), (node.right, node.left)):
            plain = isinstance(one, ast.Name | ast.Attribute)
            calls = any(isinstance(n, ast.Call) for n in ast.walk(other))
            if plain and calls and mentions(other, ast.dump(one)):
                found.append((node, one, other))
                break
    return found


def residual_lost(source: Source) -> Edits:
    for node, x, branch in residuals(source):
        yield node, source.atom(branch), f"{source.said(x)} + {source.said(branch)}"
    for added in source.nodes(ast.AugAssign):
        assert isinstance(added, ast.AugAssign)
        if isinstance(added.op, ast.Add) and tensor(added.value):
            new = f"{source.code(added.target)} = {source.code(added.value)}"
            yield added, new, source.said(added)


def residual_doubled(source: Source) -> Edits:
    for node, x, branch in residuals(source):
        yield node, f"(2 * {source.atom(x)} + {source.atom(branch)})", source.said(node)


def residual_negated(source: Source) -> Edits:
    for node, x, branch in residuals(source):
        yield node, f"({source.atom(x)} - {source.atom(branch)})", source.said(node)


def branch_lost(source: Source) -> Edits:
    for node, x, branch in residuals(source):
        yield node, source.atom(x), source.said(branch)


def addend_lost(source: Source) -> Edits:
    own = {id(node) for node, _, _ in residuals(source)}
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if not isinstance(node.op, ast.Add) or id(node) in own:
            continue
        if number(node.right) is not None or EPS.search(last_name(node.right)):
            continue
        if tensor(node.left) or tensor(node.right):
            yield node, source.atom(node.left), source.said(node.right)
            yield node, source.atom(node.right), source.said(node.left)


def post_norm(source: Source) -> Edits:
    for node, x, branch in residuals(source):
        for call in ast.walk(branch):
            name = source.code(call.func) if isinstance(call, ast.Call) else ""
            if not isinstance(call, ast.Call) or not NORMS.search(called(call)) or not call.args:
                continue
            if ast.dump(call.args[0]) == ast.dump(x):
                start, stop = source.span(branch)
                one, two = source.span(call)
                text = source.utf8
                inner = text[start:one] + source.code(x).encode() + text[two:stop]
                new = f"{name}({source.code(x)} + {inner.decode()})"
                yield node, new, source.said(node)
                break


def norm_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if is_self(node.func, NORMS.pattern) and len(node.args) == 1:
            yield node, source.atom(node.args[0]), source.said(node)


def layer_confused(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        found = re.fullmatch(r"(\D+)(\d)", last_name(node.func)) if is_self(node.func) else None
        if not found:
            continue
        other = f"{found[1]}{ {'1': '2', '2': '1', '0': '1'}.get(found[2], '1') }"
        if other != last_name(node.func) and f"self.{other}" in source.text:
            yield *renamed(source, node.func, other), f"{source.said(node)} uses {other}"


def eps_lost(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Add) and EPS.search(last_name(node.right)):
            yield node, source.atom(node.left), source.said(node.right)


def eps_enlarged(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        for given in [*node.args, *node.keywords]:
            value = given.value if isinstance(given, ast.keyword) else given
            if EPS.search(last_name(value)):
                yield value, f"100 * {source.code(value)}", source.said(value)


def centring_lost(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        means = called(node.right) == "mean" or last_name(node.right) in ("mean", "mu", "u")
        if isinstance(node.op, ast.Sub) and means:
            yield node, source.atom(node.left), source.said(node)


def affine_lost(source: Source) -> Edits:
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        kind = "weight" if isinstance(node.op, ast.Mult) else "bias"
        if isinstance(node.op, ast.Mult | ast.Add):
            for one, other in ((node.left, node.right), (node.right, node.left)):
                if last_name(other) in (kind, "gamma", "beta"):
                    yield node, source.atom(one), source.said(other)
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        for given in node.args:
            if last_name(given) == "bias" and called(node) != "register_parameter":
                yield given, "None", source.said(given)


def root_turned(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        new = {"rsqrt": "sqrt", "sqrt": "rsqrt"}.get(called(node))
        if new and last_name(receiver(node)) != "math":
            yield *renamed(source, node.func, new), source.said(node)
