"""Parts of layers: activations, dropout, ties, fresh weights, scales."""

import ast
import re

from zoo.pyramid.mutate.operators.base import (
    Edits,
    called,
    is_self,
    keyword,
    last_name,
    names_in,
    number,
    operand,
    receiver,
    renamed,
    without_argument,
)
from zoo.pyramid.mutate.source import Source

STACKS = re.compile(r"^(blocks|layers|h|encoder_layers|decoder_layers|resblocks|stages)$")
INITS = re.compile(r"^(_?init|fresh|reset_param|post_init|trunc_normal_|normal_|zeros_)")


def activation_exchanged(source: Source) -> Edits:
    pairs = {"gelu": "relu", "relu": "gelu", "silu": "relu", "GELU": "ReLU", "ReLU": "GELU",
             "SiLU": "GELU", "sigmoid": "tanh", "tanh": "sigmoid", "log_softmax": "softmax",
             "softmax": "log_softmax"}  # fmt: skip
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        new = pairs.get(called(node))
        base = last_name(receiver(node))
        if not new or base == "math":
            continue
        if base in ("torch", "F", "functional", "nn") or new in ("softmax", "log_softmax"):
            yield *renamed(source, node.func, new), f"{source.said(node)} has become {new}"
    for node in source.nodes(ast.Constant):
        assert isinstance(node, ast.Constant)
        kinds = {"tanh": "none", "none": "tanh", "erf": "tanh"}
        parent = source.parents[node]
        named = parent.arg if isinstance(parent, ast.keyword) else ""
        if isinstance(parent, ast.AnnAssign):
            named = last_name(parent.target)
        if node.value in kinds and re.search("approximate|gelu|activation|act", named or ""):
            new = "erf" if named != "approximate" and node.value == "tanh" else kinds[node.value]
            yield node, repr(new), f"the activation {node.value!r} has become {new!r}"


def activation_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        inner = operand(node)
        names = ("gelu", "relu", "silu", "tanh", "sigmoid", "act", "act_fn", "activation")
        if called(node) in names and inner is not None and last_name(receiver(node)) != "math":
            yield node, source.atom(inner), source.said(node)


def dropout_always(source: Source) -> Edits:
    for node in source.nodes(ast.Attribute):
        if is_self(node, "^training$"):
            yield node, "True", source.said(source.statement(node))


def dropout_never(source: Source) -> Edits:
    for node in source.nodes(ast.Attribute):
        if is_self(node, "^training$"):
            yield node, "False", source.said(source.statement(node))
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if is_self(node.func, r"drop") and len(node.args) == 1:
            yield node, source.atom(node.args[0]), source.said(node)


def dropout_turned(source: Source) -> Edits:
    rates = re.compile(r"(^|_)(rate|p|dropout|dropout_p|prob|drop_prob|keep)$")
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        rate = rates.search(last_name(node.right))
        if isinstance(node.op, ast.Sub) and number(node.left) == 1.0 and rate:
            yield node, source.code(node.right), source.said(node)
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if not re.search(r"drop", called(node), re.IGNORECASE):
            continue
        for given in [*node.args, *node.keywords]:
            value = given.value if isinstance(given, ast.keyword) else given
            if rates.search(last_name(value)):
                yield value, f"1 - {source.code(value)}", source.said(value)


def tie_broken(source: Source) -> Edits:
    for node in source.nodes(ast.Assign):
        assert isinstance(node, ast.Assign)
        target, value = node.targets[0], node.value
        if not isinstance(target, ast.Attribute) or not isinstance(value, ast.Attribute):
            continue
        if target.attr == value.attr == "weight":
            yield node, "pass", source.said(node)
            copied = f"type({source.code(value)})({source.code(value)}.detach().clone())"
            yield value, copied, f"{source.said(node)} as a copy"


def layer_shared(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if called(node) != "ModuleList" or len(node.args) != 1:
            continue
        made = node.args[0]
        if isinstance(made, ast.GeneratorExp | ast.ListComp) and len(made.generators) == 1:
            count = made.generators[0].iter
            if called(count) == "range" and isinstance(count, ast.Call):
                times = source.code(count.args[-1])
                many = f"[{source.code(made.elt)}] * ({times})"
                # alone in a call, a generator's own parentheses are the call's
                inside = source.code(made).startswith("(")
                yield made, f"({many})" if inside else many, source.said(node)


def layers_changed(source: Source) -> Edits:
    for node in source.nodes(ast.Attribute):
        assert isinstance(node, ast.Attribute)
        parent = source.parents[node]
        loops = isinstance(parent, ast.For) and parent.iter is node
        passed = isinstance(parent, ast.Call) and node in parent.args
        if not is_self(node, STACKS.pattern) or not (loops or passed):
            continue
        if isinstance(parent, ast.Call) and called(parent) in ("len", "isinstance"):
            continue
        code = source.code(node)
        yield node, f"{code}[:-1]", f"the last of {code} is left out"
        yield node, f"list({code})[:-1] + [{code}[0]]", f"the first of {code} runs for the last"
        yield node, f"list({code})[::-1]", f"{code} run in the other order"


def bias_turned(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        given = keyword(node, "bias")
        value = given.value if given is not None else None
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            yield value, repr(not value.value), source.said(node)


def init_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Expr):
        assert isinstance(node, ast.Expr)
        name = called(node.value)
        own = isinstance(receiver(node.value), ast.Call)  # super().__init__()
        if (INITS.search(name) or name == "apply") and not own and name != "__init__":
            yield node, "pass", source.said(node)


def std_changed(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        given = keyword(node, "std")
        if given is not None:
            yield given.value, f"10 * ({source.code(given.value)})", source.said(given)
        elif called(node) in ("ones", "zeros") and "Parameter" in source.code(source.parents[node]):
            new = "zeros" if called(node) == "ones" else "ones"
            yield *renamed(source, node.func, new), source.said(node)
    for node in source.nodes(ast.Assign):
        assert isinstance(node, ast.Assign)
        if re.search(r"(^|_)std$", last_name(node.targets[0]), re.IGNORECASE):
            yield node.value, f"10 * ({source.code(node.value)})", source.said(node)


def argument_dropped(source: Source) -> Edits:
    names = ("smoothing", "label_smoothing", "weight_decay", "pos_weight", "betas", "dropout",
             "drop_path", "antialias", "align_corners", "approximate")  # fmt: skip
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        for given in node.keywords:
            if given.arg in names and not isinstance(given.value, ast.Constant):
                yield without_argument(source, node, given), "", source.said(given)


def normalize_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        inner = operand(node)
        if called(node) in ("normalize", "l2_normalize", "l2norm") and inner is not None:
            yield node, source.atom(inner), source.said(node)
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Div) and called(node.right) in ("norm", "vector_norm"):
            yield node, source.atom(node.left), source.said(node)


def exp_lost(source: Source) -> Edits:
    for node in source.nodes(ast.Call):
        inner = operand(node)
        if called(node) in ("exp", "log", "log1p", "expm1") and inner is not None:
            yield node, source.atom(inner), source.said(node)


def temperature_turned(source: Source) -> Edits:
    warm = re.compile(r"\b(temperature|temp|tau|logit_scale|scale)\b")
    for node in source.nodes(ast.BinOp):
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Div | ast.Mult) and warm.search(names_in(node.right)):
            sign = "*" if isinstance(node.op, ast.Div) else "/"
            new = f"({source.atom(node.left)} {sign} {source.atom(node.right)})"
            yield node, new, source.said(node)
