"""Mutants that surely change nothing, by rule: they are not made.

Each rule is a sentence and a test of the edit; none of them looks at results.
"""

import ast
import re
from collections.abc import Callable

from zoo.pyramid.mutate.mutant import Mutant
from zoo.pyramid.mutate.operators.base import called, last_name, number
from zoo.pyramid.mutate.source import Source

Rule = Callable[[Source, ast.AST, Mutant], bool]


def default_ignore(source: Source, node: ast.AST, mutant: Mutant) -> bool:
    """F.cross_entropy ignores -100 by itself: dropping that argument changes nothing."""
    return mutant.operator == "argument-dropped" and bool(
        re.search(r"ignore_index=\s*-100", source.code(node))
    )


def one_part(source: Source, node: ast.AST, mutant: Mutant) -> bool:
    """any and all, max and min, sum and mean of one number are the same."""
    whole = source.parents.get(node)
    return (
        mutant.operator == "reduction-exchanged"
        and isinstance(whole, ast.Call)
        and isinstance(whole.func, ast.Name)
        and len(whole.args) == 1
        and number(whole.args[0]) is not None
    )


def no_gradient(source: Source, node: ast.AST, mutant: Mutant) -> bool:
    """Inside torch.no_grad() a detach changes nothing."""
    if mutant.operator not in ("detach-inserted", "detach-removed"):
        return False
    around = [n for n in source.up(node) if isinstance(n, ast.With)]
    return any(
        called(i.context_expr) in ("no_grad", "inference_mode") for w in around for i in w.items
    )


def inside_function(source: Source, node: ast.AST, mutant: Mutant) -> bool:
    """In forward of an autograd.Function nothing is recorded: a detach changes nothing."""
    owner, around = source.owner(node), source.function(node)
    bases = [last_name(base) for base in owner.bases] if owner is not None else []
    return (
        mutant.operator in ("detach-inserted", "detach-removed")
        and "Function" in bases
        and around is not None
        and around.name != "backward"
    )


def never_run(source: Source, node: ast.AST, mutant: Mutant) -> bool:
    """What stands below `if __name__ == "__main__"` is not imported."""
    return any(isinstance(n, ast.If) and "__main__" in ast.unparse(n.test) for n in source.up(node))


def same_swap(source: Source, node: ast.AST, mutant: Mutant) -> bool:
    """The two sides of a symmetric function may be exchanged."""
    symmetric = (
        "maximum",
        "minimum",
        "equal",
        "allclose",
        "gcd",
        "mul",
        "add",
        "eq",
        "logical_and",
    )
    return mutant.operator == "arguments-swapped" and called(node) in symmetric


RULES: tuple[Rule, ...] = (
    default_ignore,
    one_part,
    no_gradient,
    inside_function,
    never_run,
    same_swap,
)


def equivalent(source: Source, node: ast.AST, mutant: Mutant) -> bool:
    """Say whether a rule knows that an edit changes nothing."""
    return any(rule(source, node, mutant) for rule in RULES)
