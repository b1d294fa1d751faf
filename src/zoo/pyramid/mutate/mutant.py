"""What a mutant is: a small edit of one file, in words, and the text that it makes."""

import difflib
import hashlib
import re
import tokenize
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path


class MutateError(ValueError):
    """What cannot be mutated or run, and what to do about it."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One edit of one file.

    `id` is stable as long as the function is; `first` and `last` are the lines of the statement
    that is edited, counted from 1; `seen` says what kind of test notices such a bug.
    """

    id: str
    path: Path
    function: str  # "<module>" outside of any
    operator: str
    family: str
    says: str
    seen: str
    first: int
    last: int
    start: int  # bytes of the file that are replaced
    stop: int
    new: str
    scope: tuple[int, int]  # first and last line of the function around it
    replays: str = ""  # a thread in which it happened

    def where(self) -> str:
        """Give file:line."""
        return f"{shown(self.path)}:{self.first}"


def read(path: Path) -> tuple[bytes, str]:
    """Give a file's bytes and its encoding; raise MutateError where Python could not read it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MutateError(f"{shown(path)}: {error.strerror or error}") from None
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        encoding = "utf-8" if encoding == "utf-8-sig" else encoding  # its mark stays where it is
        data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise MutateError(f"{shown(path)} cannot be read as Python: {error}") from None
    return data, encoding


def shown(path: Path) -> str:
    """Name a file from where one stands, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def mutated(mutant: Mutant) -> bytes:
    """Give the whole file with the edit made; all other bytes stay."""
    data, encoding = read(mutant.path)
    return data[: mutant.start] + mutant.new.encode(encoding) + data[mutant.stop :]


def diff(mutant: Mutant) -> str:
    """Give the edit as one hunk of a unified diff."""
    _, encoding = read(mutant.path)
    old = mutant.path.read_bytes().decode(encoding).splitlines(keepends=True)
    new = mutated(mutant).decode(encoding).splitlines(keepends=True)
    name = shown(mutant.path)
    lines = difflib.unified_diff(old, new, name, name, n=1)
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def source_hash(path: Path) -> str:
    """Name the contents of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def module_name(path: Path) -> str:
    """Give the dotted name that a file has as a module: folders with an __init__.py count."""
    path = path.resolve()
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) or path.parent.name


def mutant_from_edit(path: Path | str, old: str, new: str, says: str, id: str = "") -> Mutant:
    """Make a mutant by hand: `old`, which must occur exactly once in the file, becomes `new`.

    Raises MutateError when `old` is not there once, when nothing changes, or when what comes out
    is no Python.
    """
    from zoo.pyramid.mutate.source import Source  # it needs this module

    path = Path(path)
    data, encoding = read(path)
    sought = old.encode(encoding)
    count = data.count(sought)
    if count != 1:
        raise MutateError(f"{shown(path)} holds {old!r} {count} times; it must occur exactly once")
    if old == new:
        raise MutateError(f"{shown(path)}: the edit of {old!r} changes nothing")
    source = Source(path)
    start = data.index(sought)
    function, scope = source.scope_at(source.line_of(start))
    # without what both begin and end with, so that the lines are those that change
    before = len(shared(old, new))
    after = len(shared(old[before:][::-1], new[before:][::-1]))
    inner = start + len(old[:before].encode(encoding))
    outer = start + len(old[: len(old) - after].encode(encoding))
    made = Mutant(
        id=id or f"{module_name(path)}:{function}:edit:{start}",
        path=path.resolve(),
        function=function,
        operator="edit",
        family="by hand",
        says=says,
        seen="",
        first=source.line_of(inner),
        last=source.line_of(max(inner, outer - 1)),
        start=start,
        stop=start + len(sought),
        new=new,
        scope=scope,
    )
    first, last = source.statement_lines(made.first, made.last)
    made = replace(made, first=first, last=last)
    why = no_python(made)
    if why:
        raise MutateError(f"{shown(path)}: the edit of {old!r} makes no Python: {why}")
    return made


def shared(one: str, other: str) -> str:
    """Give what two texts begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return one[:count]


def no_python(mutant: Mutant) -> str:
    """Say why the mutated file does not compile; an empty string when it does."""
    try:
        compile(mutated(mutant), str(mutant.path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return ""


def brief(code: str, limit: int = 60) -> str:
    """Give code on one line, cut to a length that a sentence can carry."""
    code = re.sub(r"\s+", " ", code).strip()
    return code if len(code) <= limit else code[: limit - 3].rstrip() + "..."
