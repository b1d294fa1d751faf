"""Derivatives written by hand: a term, a factor or a sign that is not there."""

import ast
import re

from zoo.pyramid.mutate.operators.base import Edits, Operator, called, number
from zoo.pyramid.mutate.source import Source

BACKWARD = ("backward", "jvp", "vjp")


def in_backward(source: Source, node: ast.AST) -> bool:
    """Say whether a node is part of a derivative written by hand."""
    around = source.function(node)
    return around is not None and (
        around.name in BACKWARD or bool(re.search(r"(_|^)(backward|grads?|gradient)", around.name))
    )


def derivative(source: Source, *kinds: type) -> list[ast.BinOp]:
    """Give the sums or products of derivatives written by hand."""
    found = [n for n in source.nodes(ast.BinOp) if in_backward(source, n)]
    return [n for n in found if isinstance(n, ast.BinOp) and isinstance(n.op, kinds)]


def term_dropped(source: Source) -> Edits:
    for node in derivative(source, ast.Add, ast.Sub):
        if number(node.right) is not None or number(node.left) is not None:
            continue
        sign = "-" if isinstance(node.op, ast.Sub) else ""
        yield node, source.atom(node.left), source.said(node.right)
        yield node, f"({sign}{source.atom(node.right)})", source.said(node.left)


def factor_dropped(source: Source) -> Edits:
    for node in derivative(source, ast.Mult, ast.Div):
        yield node, source.atom(node.left), source.said(node.right)
        if isinstance(node.op, ast.Mult):
            yield node, source.atom(node.right), source.said(node.left)


def sign_flipped(source: Source) -> Edits:
    for node in derivative(source, ast.Add, ast.Sub):
        sign = "-" if isinstance(node.op, ast.Add) else "+"
        yield (
            node,
            f"({source.atom(node.left)} {sign} {source.atom(node.right)})",
            source.said(node),
        )
    for minus in source.nodes(ast.UnaryOp):
        assert isinstance(minus, ast.UnaryOp)
        negated = isinstance(minus.op, ast.USub) and number(minus) is None
        if negated and in_backward(source, minus):
            yield minus, source.atom(minus.operand), source.said(minus)


def saved_swapped(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if called(node) == "save_for_backward" and len(node.args) > 1:
            one, other = node.args[:2]
            span = (source.span(one)[0], source.span(other)[1], node)
            yield span, f"{source.code(other)}, {source.code(one)}", source.said(node)


CHECK = "compare with finite differences (torch.autograd.gradcheck) on numbers of all signs"
OTHERS = "seeded in other suites, which miss a wrong GELU or softmax backward"

OPERATORS = (
    Operator(name="term-dropped", family="backward", find=term_dropped,
             says="the term {} is missing in the gradient", seen=CHECK, replays=OTHERS),
    Operator(name="factor-dropped", family="backward", find=factor_dropped,
             says="the factor {} is missing in the gradient", seen=CHECK, replays=OTHERS),
    Operator(name="sign-flipped", family="backward", find=sign_flipped,
             says="a sign in the gradient {} is turned", seen=CHECK),
    Operator(name="saved-swapped", family="backward", find=saved_swapped,
             says="{} saves two in the wrong order", seen=CHECK),
)  # fmt: skip
