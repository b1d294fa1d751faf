"""The functions that changed since a commit: what a pull request must answer for.

A function counts as changed when its syntax tree did, without docstrings; all of a file's do when
its constants, tables or class attributes did. A test that changed alone is left to the night.
"""

import ast
import subprocess
from pathlib import Path

from tools.mutation.escapes import Def, functions, module_name


def bare(node: ast.AST) -> str:
    """Write a syntax tree without docstrings and places."""
    for inner in ast.walk(node):
        match inner:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Module():
                inner.body = [s for s in inner.body if not is_docstring(s)]
    return ast.dump(node)


def is_docstring(node: ast.stmt) -> bool:
    """Say whether a statement is only a text."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def pictures(file: str, text: str) -> tuple[dict[str, str], str]:
    """Give each function of a file as its tree, and all the rest as one."""
    tree = ast.parse(text)
    found = {}
    for name, function, where in functions(tree, module_name(file)):
        if where == "own":
            found[name] = found.get(name, "") + bare(function)
    return found, bare(without_functions(tree))


def without_functions(tree: ast.Module) -> ast.Module:
    """Leave out the functions, the methods and the imports: constants, tables, fields stay."""
    skip = (*Def.__args__, ast.Import, ast.ImportFrom)
    kept: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            node.body = [inner for inner in node.body if not isinstance(inner, skip)]
        if not isinstance(node, skip):
            kept.append(node)
    return ast.Module(body=kept, type_ignores=[])


def changed_functions(file: str, before: str | None, after: str) -> set[str]:
    """Name the functions of a file that differ from before; all when the rest does."""
    now, rest = pictures(file, after)
    if before is None:
        return set(now)
    old, old_rest = pictures(file, before)
    if rest != old_rest:
        return set(now)
    return {name for name, picture in now.items() if old.get(name) != picture}


def at(ref: str, file: str) -> str | None:
    """Give a file's text at a commit, or None when it was not there."""
    shown = subprocess.run(
        ["git", "show", f"{ref}:{file}"], capture_output=True, text=True, check=False
    )
    return shown.stdout if shown.returncode == 0 else None


def since(ref: str, files: list[str]) -> set[str]:
    """Name the functions of these files that changed since a commit."""
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if known.returncode:
        raise ValueError(f"no commit {ref!r} here: fetch it, or name another")
    found: set[str] = set()
    for file in files:
        found |= changed_functions(file, at(ref, file), Path(file).read_text())
    return found


def fit(
    counts: dict[str, int], fixed: dict[str, float], each: dict[str, float], seconds: float
) -> dict[str, int]:
    """Give how many mutants of each room fit in the CPU seconds: all, a share, or none.

    Rooms with the most changed mutants come first; each that comes costs its fixed part.
    """
    rooms: list[str] = []
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        if not rooms or sum(fixed[n] for n in [*rooms, name]) <= 0.6 * seconds:
            rooms.append(name)
    left = max(0.0, seconds - sum(fixed[name] for name in rooms))
    wanted = sum(counts[name] * each[name] for name in rooms)
    share = min(1.0, left / wanted) if wanted else 1.0
    return {name: max(1, int(share * counts[name])) if name in rooms else 0 for name in counts}
