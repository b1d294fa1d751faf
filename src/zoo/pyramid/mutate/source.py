"""A file as operators see it: its tree, the bytes of each node, and what is left alone.

Never mutated: docstrings, annotations, raise and assert statements, what a guard checks (`if ...:
raise`), messages (logging, warnings, print), `if TYPE_CHECKING`, and how an object prints itself.
None of these computes.
"""

import ast
import bisect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from zoo.pyramid.mutate.mutant import MutateError, brief, read, shown

Function = ast.FunctionDef | ast.AsyncFunctionDef
PRINTS = ("__repr__", "__str__", "__format__", "__dir__", "__doc__", "extra_repr", "_get_name")
SAYS = ("print", "warn", "debug", "info", "warning", "error", "exception", "critical", "log", "say")
LOGGERS = ("logging", "logger", "log", "warnings", "LOG", "LOGGER", "_logger", "console")
ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant, ast.List, ast.Dict)


class Source:
    """A parsed file; raises MutateError for one that is no Python."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.data, self.encoding = read(path)
        # ast counts in UTF-8 whatever the file is written in
        self.bom = 3 if self.data.startswith(b"\xef\xbb\xbf") else 0
        self.text = self.data[self.bom :].decode(self.encoding)
        self.utf8 = self.text.encode("utf-8")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an odd escape is the owner's business
                self.tree = ast.parse(self.text)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            at = f"{shown(path)}:{line}" if line else shown(path)
            reason = getattr(error, "msg", None) or error
            raise MutateError(f"{at}: this is no Python: {reason}") from None
        self.starts = [0, *(m.end() for m in re.finditer(rb"\r\n|\r|\n", self.utf8))]
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }
        self.hidden = hidden_nodes(self.tree)
        self.open = [node for node in ast.walk(self.tree) if node not in self.hidden]
        self.open = [node for node in self.open if hasattr(node, "lineno")]
        self.open.sort(key=lambda node: (node.lineno, node.col_offset))  # type: ignore[attr-defined]

    def nodes(self, *kinds: type) -> list[ast.AST]:
        """Give the nodes of some kinds that may be mutated, as they stand in the file."""
        return [node for node in self.open if isinstance(node, kinds)]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Give where a node begins and ends, in bytes of UTF-8."""
        first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        start = self.starts[first - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self.starts[last - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def code(self, node: ast.AST) -> str:
        """Give the text of a node."""
        start, stop = self.span(node)
        return self.utf8[start:stop].decode("utf-8")

    def said(self, node: ast.AST) -> str:
        """Give the text of a node for a sentence."""
        return brief(self.code(node))

    def atom(self, node: ast.AST) -> str:
        """Give the text of a node so that it can stand anywhere in an expression."""
        code = self.code(node)
        safe = isinstance(node, ATOMS) and "\n" not in code
        return code if safe else f"({code})"

    def in_file(self, start: int, stop: int) -> tuple[int, int]:
        """Turn bytes of UTF-8 into bytes of the file."""
        if self.encoding.lower().startswith("utf-8"):
            return start + self.bom, stop + self.bom
        head = self.utf8[:start].decode("utf-8").encode(self.encoding)
        body = self.utf8[start:stop].decode("utf-8").encode(self.encoding)
        return len(head), len(head) + len(body)

    def up(self, node: ast.AST) -> Iterator[ast.AST]:
        """Give what is around a node, from the inside out."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> Function | None:
        """Give the function around a node."""
        return next((n for n in self.up(node) if isinstance(n, Function)), None)

    def owner(self, node: ast.AST) -> ast.ClassDef | None:
        """Give the class around a node."""
        return next((n for n in self.up(node) if isinstance(n, ast.ClassDef)), None)

    def statement(self, node: ast.AST) -> ast.stmt:
        """Give the innermost statement that a node belongs to."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def name_of(self, node: ast.AST) -> str:
        """Give the dotted name of the function around a node, with its classes."""
        around = [node, *self.up(node)]
        names = [n.name for n in around if isinstance(n, Function | ast.ClassDef)]
        return ".".join(reversed(names)) or "<module>"

    def header(self, node: ast.stmt) -> tuple[int, int]:
        """Give the lines of a statement, of a compound one those of its head."""
        body = getattr(node, "body", None)
        if isinstance(body, list) and body:
            return node.lineno, max(node.lineno, body[0].lineno - 1)
        return node.lineno, node.end_lineno or node.lineno

    def scope_at(self, line: int) -> tuple[str, tuple[int, int]]:
        """Name the innermost function at a line, and give its lines."""
        best: ast.AST = self.tree
        for node in ast.walk(self.tree):
            if isinstance(node, Function | ast.ClassDef) and (
                node.lineno <= line <= (node.end_lineno or 0)
            ):
                best = node
        name = self.name_of(best) if best is not self.tree else "<module>"
        return name, self.lines_of(best)

    def class_lines(self, line: int) -> tuple[int, int] | None:
        """Give the lines of the innermost class at a line."""
        found = None
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0):
                found = self.lines_of(node)
        return found

    def lines_of(self, node: ast.AST) -> tuple[int, int]:
        """Give the first and the last line of a function or of the file."""
        if node is self.tree:
            return 1, len(self.starts)
        return node.lineno, node.end_lineno or node.lineno  # type: ignore[attr-defined]

    def starts_line(self, offset: int) -> int:
        """Give the line of a byte of UTF-8, counted from 1."""
        return bisect.bisect_right(self.starts, offset)

    def hides(self, statement: ast.stmt) -> bool:
        """Say whether a statement is one that is left alone."""
        return statement in self.hidden

    def line_of(self, offset: int) -> int:
        """Give the line of a byte of the file, counted from 1."""
        return len(re.findall(rb"\r\n|\r|\n", self.data[:offset])) + 1

    def statement_lines(self, first: int, last: int) -> tuple[int, int]:
        """Give the lines of the smallest statements that these lines belong to."""
        heads = [self.header(node) for node in ast.walk(self.tree) if isinstance(node, ast.stmt)]
        hit = [h for h in heads if h[0] <= last and first <= h[1]]
        narrow = [h for h in hit if h[1] - h[0] == min(b - a for a, b in hit)] if hit else []
        return (narrow[0][0], max(last, narrow[0][1])) if narrow else (first, last)


def hidden_nodes(tree: ast.Module) -> set[ast.AST]:
    """Give the nodes that compute nothing: see the top of this file."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
            roots.append(node)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            roots += [node.annotation] if node.annotation else []
        elif isinstance(node, Function):
            roots += [node] if node.name in PRINTS else [node.returns] if node.returns else []
        elif isinstance(node, ast.Expr) and silent(node.value):
            roots.append(node)
        elif isinstance(node, ast.If) and ("TYPE_CHECKING" in ast.unparse(node.test)):
            roots += node.body
        elif isinstance(node, ast.If) and all(isinstance(s, ast.Raise) for s in node.body):
            roots.append(node.test)  # a guard: it checks, it does not compute
    return {node for root in roots for node in ast.walk(root)}


def silent(value: ast.expr) -> bool:
    """Say whether an expression statement is a docstring or a message."""
    if isinstance(value, ast.Constant):
        return True
    if not isinstance(value, ast.Call):
        return False
    called = value.func
    if isinstance(called, ast.Name):
        return called.id in ("print", "warn", "say")
    if not isinstance(called, ast.Attribute) or called.attr not in SAYS:
        return False
    base = called.value
    name = base.id if isinstance(base, ast.Name) else getattr(base, "attr", "")
    return name in LOGGERS
