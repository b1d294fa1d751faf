"""From a file to its mutants."""

import ast
import importlib.machinery
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from zoo.pyramid.mutate.mutant import Mutant, MutateError, module_name, mutated, no_python
from zoo.pyramid.mutate.operators import OPERATORS, Operator
from zoo.pyramid.mutate.rules import equivalent
from zoo.pyramid.mutate.source import Source


def mutants_of(path: Path | str, *, only: Collection[str] = ()) -> list[Mutant]:
    """Give all mutants of a file, as they stand in it; `only` names operators or families.

    Raises MutateError for a file that is no Python, and for a name that there is not.
    """
    source = Source(Path(path))
    name = module_name(source.path)
    found, seen, counts = [], set(), Counter[tuple[str, str]]()
    for operator in chosen(only):
        for place, new, words in operator.find(source):
            start, stop, node = place if isinstance(place, tuple) else (*source.span(place), place)
            statement = source.statement(node)
            function = source.name_of(statement_owner(source, statement))
            first, last = source.header(statement)
            line = max(first, source.starts_line(start))
            begin, end = source.in_file(start, stop)
            told = re.sub(r"[{}]", "", words) if "{" in words else words
            mutant = Mutant(
                id="",
                path=source.path,
                function=function,
                operator=operator.name,
                family=operator.family,
                says=operator.says.replace("{}", told),
                seen=operator.seen,
                first=line,
                last=last,
                start=begin,
                stop=end,
                new=new,
                scope=source.lines_of(statement_owner(source, statement)),
                replays=operator.replays,
            )
            if equivalent(source, node, mutant) or source.hides(statement):
                continue
            made = mutated(mutant)
            if made in seen or made == source.data or no_python(mutant):
                continue
            seen.add(made)
            counts[function, operator.name] += 1
            number = counts[function, operator.name]
            found.append((begin, f"{name}:{function}:{operator.name}:{number}", mutant))
    found.sort(key=lambda row: row[0])
    return [named(mutant, id) for _, id, mutant in found]


def named(mutant: Mutant, id: str) -> Mutant:
    """Give a mutant its name."""
    object.__setattr__(mutant, "id", id)  # it is new, and nobody has seen it
    return mutant


def statement_owner(source: Source, statement: ast.stmt) -> ast.AST:
    """Give the function that a statement is in; a definition belongs to what is around it."""
    return source.function(statement) or source.owner(statement) or source.tree


def chosen(only: Collection[str]) -> Iterator[Operator]:
    """Give the operators that are asked for, by name, family or part of one."""
    for name in only:
        if not any(name in text for row in OPERATORS.values() for text in (row.name, row.family)):
            families = sorted({row.family for row in OPERATORS.values()})
            raise MutateError(f"no operator or family {name!r}; there are {', '.join(families)}")
    for row in OPERATORS.values():
        if not only or any(n in row.name or n in row.family for n in only):
            yield row


def files_of(given: Iterable[str], cwd: Path) -> list[Path]:
    """Give the files that paths, folders and dotted modules stand for; nothing is imported."""
    found: list[Path] = []
    for name in given:
        path = cwd / name
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*.py") if p.is_file())
            if not inside:
                raise MutateError(f"{name} is a folder without a Python file")
            found += inside
        elif path.is_file():
            found.append(path)
        elif name.endswith(".py") or "/" in name:
            raise MutateError(f"there is no file {name}")
        else:
            found.append(module_file(name, cwd))
    return list(dict.fromkeys(p.resolve() for p in found))


def module_file(name: str, cwd: Path) -> Path:
    """Give the file of a dotted module, from the current folder, its src, or sys.path."""
    places = [str(cwd), str(cwd / "src"), *sys.path]
    for part in name.split("."):
        spec = importlib.machinery.PathFinder.find_spec(part, places)
        if spec is None:
            raise MutateError(f"there is no file or module {name}; give a path or a dotted name")
        places = list(spec.submodule_search_locations or [])
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise MutateError(f"module {name} has no Python file of its own")
    return Path(spec.origin)
