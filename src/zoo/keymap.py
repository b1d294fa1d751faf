"""Published tensor names <-> ours, both ways from one table.

A table is a tuple of rules; `{}` in a name stands for a block's number. A rule turns their tensors
into ours by a linear map, so the same table carries weights, gradients and shapes.

    Rename   one of theirs is one of ours, transposed if it says so
    Reshape  one of theirs is one of ours in another shape: a patch convolution is a linear map
    Stack    several of theirs are one of ours, one above the other
    Tied     a second published name of one of our tensors
    Ignore   what old files carry and no model needs: mask buffers, position numbers

Some files name the body with a prefix (`transformer.`) and others without: a table says it once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rename:
    theirs: str
    ours: str
    transpose: bool = False


@dataclass(frozen=True)
class Reshape:
    """Shapes name every axis; -1 stands for the width, which both have once."""

    theirs: str
    ours: str
    theirs_shape: tuple[int, ...]
    ours_shape: tuple[int, ...]


@dataclass(frozen=True)
class Stack:
    theirs: tuple[str, ...]
    ours: str


@dataclass(frozen=True)
class Tied:
    theirs: str
    ours: str


@dataclass(frozen=True)
class Ignore:
    theirs: str


Carried = Rename | Reshape | Stack  # rules that bring numbers along
Rule = Carried | Tied | Ignore


@dataclass(frozen=True)
class KeyTable:
    """The names of a model family: its body's rules, each head's, and the body's prefix.

    `endings` are older spellings: (old ending, published ending). `bare` are the heads whose files
    are written without the prefix; a head may have a prefix of its own.
    """

    prefix: str
    body: tuple[Rule, ...]
    heads: Mapping[str | None, tuple[Rule, ...]]
    endings: tuple[tuple[str, str], ...] = ()
    bare: tuple[str | None, ...] = (None,)
    prefixes: Mapping[str | None, str] = field(default_factory=dict)

    def rules(self, head: str | None) -> tuple[Rule, ...]:
        return self.body + self.heads.get(head, ())

    def prefix_of(self, head: str | None) -> str:
        return self.prefixes.get(head, self.prefix)


@dataclass(frozen=True)
class Plan:
    """How a file's tensors become ours: our name -> (rule, their names), and what is left over."""

    sources: dict[str, tuple[Carried, tuple[str, ...]]]
    tied: dict[str, str]  # their name -> our name
    unread: list[str] = field(default_factory=list)  # known: another head's, or buffers
    unexpected: list[str] = field(default_factory=list)


def affine(theirs: str, ours: str, *, transpose: bool = False) -> tuple[Rename, Rename]:
    """Give the rules of a linear map's, or a norm's, weight and bias."""
    return (
        Rename(f"{theirs}.weight", f"{ours}.weight", transpose=transpose),
        Rename(f"{theirs}.bias", f"{ours}.bias"),
    )


def plan(table: KeyTable, head: str | None, names: Iterable[str]) -> Plan:
    """Match a file's `names` against the rules of one head."""
    found: dict[tuple[str, str], dict[int, str]] = {}  # (our name, number) -> part -> their name
    rules: dict[str, Carried] = {}
    result = Plan({}, {})
    known = [
        (rule, table.prefix_of(head)) for head, rules_ in table.heads.items() for rule in rules_
    ]
    own = [(rule, table.prefix_of(head)) for rule in table.rules(head)]
    for name in sorted(names):
        for rule, part, number in matches(table, own, name):
            if isinstance(rule, Ignore):
                result.unread.append(name)
            elif isinstance(rule, Tied):
                result.tied[name] = rule.ours.replace("{}", number)
            else:
                ours = rule.ours.replace("{}", number)
                found.setdefault((ours, number), {})[part] = name
                rules[ours] = rule
            break
        else:
            other = any(True for _ in matches(table, known, name))
            (result.unread if other else result.unexpected).append(name)
    for (ours, _), parts in found.items():
        rule = rules[ours]
        wanted = rule.theirs if isinstance(rule, Stack) else (rule.theirs,)
        if len(parts) == len(wanted):
            result.sources[ours] = (rule, tuple(parts[i] for i in range(len(wanted))))
        else:  # a stack with a part missing: ours is missing, and the other parts say why
            result.unexpected.extend(parts.values())
    for theirs, ours in list(result.tied.items()):
        if ours not in result.sources:  # the file holds a tied tensor by its second name only
            result.sources[ours] = (Rename(theirs, ours), (theirs,))
            del result.tied[theirs]
    return result


def matches(
    table: KeyTable, rules: Iterable[tuple[Rule, str]], name: str
) -> Iterator[tuple[Rule, int, str]]:
    """Yield each rule that knows `name` (with or without its prefix), its part and the number."""
    for old, new in table.endings:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    for without in (False, True):
        for rule, prefix in rules:
            parts = rule.theirs if isinstance(rule, Stack) else (rule.theirs,)
            for part, pattern in enumerate(parts):
                number = match(pattern, prefix + name if without else name)
                if number is not None:
                    yield rule, part, number


def match(pattern: str, name: str) -> str | None:
    """Give the block's number in `name` ('' where the pattern has none), or None."""
    if "{}" not in pattern:
        return "" if pattern == name else None
    before, after = pattern.split("{}")
    if not (name.startswith(before) and name.endswith(after)):
        return None
    number = name[len(before) : len(name) - len(after)]
    return number if re.fullmatch("0|[1-9][0-9]{0,8}", number) else None


def combine(rule: Carried, tensors: list[Tensor]) -> Tensor:
    """Make one of ours of theirs."""
    if isinstance(rule, Stack):
        return torch.cat(tensors)
    if isinstance(rule, Reshape):
        return tensors[0].reshape(rule.ours_shape)
    return tensors[0].t() if rule.transpose else tensors[0]


def combined_shape(rule: Carried, shapes: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Give the shape that `combine` would give, or None where it could not."""
    if isinstance(rule, Reshape):
        return reshaped(rule, shapes[0])
    if isinstance(rule, Stack):
        if any(len(s) == 0 or s[1:] != shapes[0][1:] for s in shapes):
            return None
        return (sum(s[0] for s in shapes), *shapes[0][1:])
    if rule.transpose:
        return (shapes[0][1], shapes[0][0]) if len(shapes[0]) == 2 else None
    return shapes[0]


def reshaped(rule: Reshape, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Give our shape of their `shape`, None when that is not what the rule says."""
    if len(shape) != len(rule.theirs_shape):
        return None
    width = 1
    for said, size in zip(rule.theirs_shape, shape, strict=True):
        if said == -1:
            width = size
        elif said != size:
            return None
    return tuple(width if said == -1 else said for said in rule.ours_shape)


def from_theirs(
    table: KeyTable, head: str | None, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rename a whole state; raise KeyError for names that no rule knows."""
    result = plan(table, head, state)
    if result.unexpected:
        raise KeyError(f"no rule for {result.unexpected}")
    return {
        ours: combine(rule, [state[name] for name in names])
        for ours, (rule, names) in result.sources.items()
    }


def to_theirs(
    table: KeyTable, head: str | None, state: Mapping[str, Tensor], *, prefix: bool = True
) -> dict[str, Tensor]:
    """Rename ours to the published names, without second names; `prefix=False` leaves it away."""
    result: dict[str, Tensor] = {}
    left = set(state)
    for rule in table.rules(head):
        if isinstance(rule, Ignore):
            continue
        for ours in sorted(state):
            number = match(rule.ours, ours)
            if number is None:
                continue
            left.discard(ours)
            for theirs, tensor in split(rule, state[ours]):
                name = theirs.replace("{}", number)
                result[name if prefix else name.removeprefix(table.prefix_of(head))] = tensor
    if left:
        raise KeyError(f"no rule for {sorted(left)}")
    return result


def split(rule: Carried | Tied, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """Undo `combine`; a second name is not written."""
    if isinstance(rule, Tied):
        return []
    if isinstance(rule, Stack):
        return list(zip(rule.theirs, tensor.chunk(len(rule.theirs)), strict=True))
    if isinstance(rule, Reshape):
        return [(rule.theirs, tensor.reshape(rule.theirs_shape))]
    return [(rule.theirs, tensor.t() if rule.transpose else tensor)]
