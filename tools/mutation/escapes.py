"""Which functions of src/zoo have statements and no mutants, and why.

mutmut leaves much alone in silence: whatever is decorated, functions under a module's `if` or
`try`, methods of nested classes, three special methods, an Enum's hooks. `of_files` finds these by
the syntax tree alone, in a second; `with_generator` counts by mutmut's own generator. A reason in
EXPLAINED passes; any other fails, unless tests/mutation/escapes.toml names the function.
"""

import ast
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

LISTED = Path("tests/mutation/escapes.toml")
BARE = {"staticmethod", "classmethod"}
NEVER = {"__new__", "__setattr__", "__getattribute__"}
ENUMS = {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"}
ENUM_HOOKS = {"__init__", "_generate_next_value_"}
UNCHANGED_CALLS = {"len", "isinstance"}

SHELL = "decorated, and only one expression or call: a shell"
NOTHING = "nothing that an operator of mutmut changes"
EXPLAINED = {SHELL, NOTHING}
HIDDEN = "decorated: mutmut leaves the whole body alone"
ELSEWHERE = "not in the module's body or in a class of it: mutmut does not look there"
LOST = "mutmut made no mutant, and no rule says why"
SPECIAL = "a special method that mutmut leaves alone"

CHANGED = (
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.AugAssign,
    ast.Assign,
    ast.Lambda,
    ast.IfExp,
    ast.Break,
    ast.Continue,
    ast.Match,
)


@dataclass(frozen=True, kw_only=True)
class Escape:
    """A function with statements and no mutants."""

    function: str
    place: str  # file:line
    reason: str

    def explained(self, listed: Collection[str]) -> bool:
        return self.reason in EXPLAINED or self.function in listed


def module_name(file: str) -> str:
    """Give the dotted name of a file below src."""
    parts = Path(file).relative_to("src").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


Def = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module, prefix: str) -> Iterator[tuple[str, Def, str]]:
    """Yield each function with its name and where it stands: `own`, `inner` or `elsewhere`."""
    yield from _below(tree.body, prefix, "own", in_class=False)


def _below(body: list, prefix: str, where: str, *, in_class: bool) -> Iterator:
    for node in body:
        if isinstance(node, Def):
            yield f"{prefix}.{node.name}", node, where
            inside = "inner" if where in ("own", "inner") else where
            yield from _below(node.body, f"{prefix}.{node.name}", inside, in_class=False)
        elif isinstance(node, ast.ClassDef):
            nested = "elsewhere" if in_class and where == "own" else where
            yield from _below(node.body, f"{prefix}.{node.name}", nested, in_class=True)
        else:
            deeper = "elsewhere" if where == "own" else where
            for name in ("body", "orelse", "finalbody"):
                yield from _below(getattr(node, name, []), prefix, deeper, in_class=in_class)
            for handler in getattr(node, "handlers", []) + getattr(node, "cases", []):
                yield from _below(handler.body, prefix, deeper, in_class=in_class)


def statements(function: Def) -> list[ast.stmt]:
    """Give what a body does: no docstring, no `...`, no `pass`."""
    kept = [s for s in function.body if not isinstance(s, ast.Pass)]
    return [s for s in kept if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]


def names_of(function: Def) -> list[str]:
    """Give the decorators' text."""
    return [ast.unparse(node) for node in function.decorator_list]


def hidden(function: Def) -> bool:
    """Say whether mutmut leaves a function alone for its decorators."""
    names = names_of(function)
    return bool(names) and not (len(names) == 1 and names[0] in BARE)


def is_shell(function: Def) -> bool:
    """Say whether a decorated body is one expression, or one block around one."""
    body = statements(function)
    if len(body) == 1 and isinstance(body[0], ast.With):
        body = body[0].body
    if len(body) != 1 or not isinstance(body[0], ast.Return | ast.Expr):
        return False
    value = body[0].value
    return isinstance(value, ast.Yield) or not _computes(value)


def _computes(value: ast.expr | None) -> bool:
    """Say whether an expression does arithmetic or decides: then it should be mutated."""
    deciding = (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Lambda)
    nodes = ast.walk(value) if value else []
    return any(isinstance(node, (*deciding, ast.comprehension)) for node in nodes)


def changeable(function: Def) -> bool:
    """Say whether an operator of mutmut changes something here (texts of errors are left out)."""
    defaults = [d for d in [*function.args.defaults, *function.args.kw_defaults] if d]
    if any(isinstance(d, ast.Constant) and _constant(d) for d in defaults):
        return True
    return any(_changeable(s) for s in function.body)


def _changeable(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise) or (isinstance(node, Def) and hidden(node)):
        return False
    if isinstance(node, Def):
        return changeable(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return False
    if isinstance(node, CHANGED) or (isinstance(node, ast.AnnAssign) and node.value):
        return True
    if isinstance(node, ast.JoinedStr):  # the words of an f-string stay, what it computes does not
        return any(_changeable(v.value) for v in node.values if isinstance(v, ast.FormattedValue))
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd | ast.USub):
        return True
    if isinstance(node, ast.UnaryOp):
        return _changeable(node.operand) or isinstance(node.operand, ast.Name | ast.Call)
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in UNCHANGED_CALLS:
            return False
        given = [*node.args, *(word.value for word in node.keywords)]
        if len(given) > 1 or any(not isinstance(a, ast.Starred) for a in given):
            return True
    inner = [
        child for name, child in ast.iter_fields(node) if name not in ("annotation", "returns")
    ]
    nodes = [n for part in inner for n in (part if isinstance(part, list) else [part])]
    return any(_changeable(n) for n in nodes if isinstance(n, ast.AST))


def _constant(node: ast.Constant) -> bool:
    return isinstance(node.value, bool | int | float | complex) or (
        isinstance(node.value, str) and node.value != ""
    )


def reason_of(name: str, function: Def, where: str, parents: dict[int, ast.ClassDef]) -> str:
    """Give why mutmut makes no mutant of a function, or '' where it should make some."""
    if hidden(function):
        return SHELL if is_shell(function) else HIDDEN
    if where == "elsewhere":
        return ELSEWHERE if changeable(function) else NOTHING
    parent = parents.get(id(function))
    bases = {ast.unparse(b).rpartition(".")[2] for b in parent.bases} if parent else set()
    hook = bool(bases & ENUMS) and function.name in ENUM_HOOKS
    if function.name in NEVER or hook:
        return SPECIAL if changeable(function) else NOTHING
    return "" if changeable(function) else NOTHING


def of_file(file: str, text: str) -> tuple[list[Escape], set[str]]:
    """Give the functions that escape by the syntax tree alone, and those that should have mutants.

    A function inside a function is mutated with the outer one; only its decorator can hide it.
    """
    tree = ast.parse(text)
    parents = {
        id(inner): node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for inner in node.body
    }
    found, expected = [], set()
    for name, function, where in functions(tree, module_name(file)):
        if not statements(function) or "overload" in names_of(function):
            continue
        if where == "inner" and not hidden(function):
            continue
        reason = reason_of(name, function, where, parents)
        if reason:
            found.append(Escape(function=name, place=f"{file}:{function.lineno}", reason=reason))
        else:
            expected.add(name)
    return found, expected


def read_listed(file: Path = LISTED) -> dict[str, str]:
    """Read the functions that escape for a reason that no rule knows."""
    return tomllib.loads(file.read_text()) if file.exists() else {}


def of_files(files: list[str]) -> list[Escape]:
    """Give what escapes by the syntax tree alone."""
    return [escape for file in files for escape in of_file(file, Path(file).read_text())[0]]


def with_generator(files: list[str], made: set[str]) -> list[Escape]:
    """Give what escapes, counted: `made` are the functions of which mutmut made a mutant.

    A function that should have had mutants and has none is unexplained; one that was thought to
    have none, and has some, does not escape.
    """
    found = []
    for file in files:
        escaped, expected = of_file(file, Path(file).read_text())
        found += [escape for escape in escaped if escape.function not in made]
        lost = sorted(expected - made)
        found += [Escape(function=name, place=file, reason=LOST) for name in lost]
    return found
