"""The mutants of a file, as mutmut's own generator makes them, each with a name that stays.

A mutant is known by its function and by what it changes (`Mutant.key`), not by its number: a line
moved or a mutant added before it changes nothing. Its kind tells what the score of operators and
numbers alone counts.
"""

import ast
import difflib
import functools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import (
    Mutation,
    combine_mutations_to_source,
    create_mutations,
    deep_replace,
)
from mutmut.mutation.trampoline_templates import mangle_function_name

# kinds that say something of the arithmetic; an argument dropped or set to None dies at once
COMPUTING = frozenset({"number", "operator", "condition", "flow", "flag", "method"})


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mutant: where it is, what it changes, and the generator's own object."""

    function: str  # zoo.train.loop.Loop.step
    number: int  # of the function's mutants, from 1
    kind: str
    file: str
    line: int
    in_raise: bool  # inside a raise statement: the words of an error
    mutation: Mutation

    @property
    def id(self) -> str:
        return f"{self.function}#{self.number}"

    @property
    def computes(self) -> bool:
        return self.kind in COMPUTING

    def diff(self) -> str:
        """Give the changed lines, `- old` and `+ new`, without their indentation."""
        return _diff(self)


def _diff(mutant: Mutant) -> str:
    function = mutant.mutation.contained_by_top_level_function
    assert function is not None
    change = mutant.mutation
    changed = deep_replace(function, change.original_node, change.mutated_node)
    code = [cst.Module([node]).code.strip().splitlines() for node in (function, changed)]
    before, after = ([line.strip() for line in lines] for lines in code)
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    return "\n".join(f"{x[0]} {x[1:]}" for x in lines if not x.startswith(("---", "+++", "@@")))


@dataclass(frozen=True)
class Mutated:
    """A file's mutants, and what is needed to write it with some of them."""

    file: str
    module: cst.Module
    mutants: list[Mutant]
    without_classes: set[str]
    without_functions: set[str]

    def write(self, chosen: set[str]) -> tuple[str, dict[str, str]]:
        """Give the file's text with the chosen mutants inside, and mutmut's name of each."""
        mine = [mutant for mutant in self.mutants if mutant.id in chosen]
        text = combine_mutations_to_source(
            self.module,
            [mutant.mutation for mutant in mine],
            self.without_classes,
            self.without_functions,
        ).code
        seen: dict[str, int] = defaultdict(int)
        names = {}
        for mutant in mine:
            seen[mutant.function] += 1
            names[mutant.id] = (
                f"{mangled(mutant.function, self.file)}__mutmut_{seen[mutant.function]}"
            )
        return text, names


def module_name(file: str) -> str:
    """Give the dotted name of a file below src."""
    parts = Path(file).relative_to("src").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def mangled(function: str, file: str) -> str:
    """Give mutmut's name of a function: zoo.a.x_f, zoo.a.xǁClassǁmethod."""
    module = module_name(file)
    *classes, name = function.removeprefix(module + ".").split(".")
    return f"{module}.{mangle_function_name(name=name, class_name='.'.join(classes) or None)}"


def holders(module: cst.Module, prefix: str) -> dict[cst.FunctionDef, str]:
    """Name the functions that mutmut can give mutants: in the module, or in a class of it."""
    found = {}
    for node in module.body:
        if isinstance(node, cst.FunctionDef):
            found[node] = f"{prefix}.{node.name.value}"
        elif isinstance(node, cst.ClassDef) and isinstance(node.body, cst.IndentedBlock):
            for inner in node.body.body:
                if isinstance(inner, cst.FunctionDef):
                    found[inner] = f"{prefix}.{node.name.value}.{inner.name.value}"
    return found


def raising(text: str) -> set[int]:
    """Give the lines of raise statements."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


@functools.cache
def mutated(file: str) -> Mutated:
    """Make all mutants of a file that is named from the root of the checkout."""
    text = Path(file).read_text()
    module, mutations, classes, functions = create_mutations(file, text)
    names = holders(module, module_name(file))
    places = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
    words = raising(text)
    numbers: dict[cst.CSTNode, int] = defaultdict(int)
    found = []
    for mutation in mutations:
        holder = mutation.contained_by_top_level_function
        if holder not in names:
            continue
        numbers[holder] += 1
        place = places.get(mutation.original_node)
        line = place.start.line if place else places[holder].start.line
        found.append(
            Mutant(
                function=names[holder],
                number=numbers[holder],
                kind=kind_of(mutation.original_node, mutation.mutated_node),
                file=file,
                line=line,
                in_raise=line in words,
                mutation=mutation,
            )
        )
    return Mutated(file, module, found, classes, functions)


def kind_of(before: cst.CSTNode, after: cst.CSTNode) -> str:
    """Name what a mutant changes, from the two nodes."""
    if isinstance(before, cst.BaseNumber):
        return "number"
    if isinstance(before, cst.BaseString):
        return "words"
    if isinstance(before, cst.Name):
        return "flag" if before.value in ("True", "False") else "method"
    if isinstance(before, cst.Assign | cst.AnnAssign | cst.Lambda):
        return "value"  # x = None, lambda: None
    if isinstance(before, cst.Call):
        called = isinstance(after, cst.Call) and not after.func.deep_equals(before.func)
        return "method" if called else "argument"
    if isinstance(before, cst.IfExp):
        return "condition"
    if isinstance(before, cst.Break | cst.Continue | cst.Match):
        return "flow"
    return "operator"


def of_files(files: list[str]) -> Iterator[Mutant]:
    """Yield the mutants of many files; those of an error's words are left out."""
    for file in files:
        yield from (mutant for mutant in mutated(file).mutants if not mutant.in_raise)
