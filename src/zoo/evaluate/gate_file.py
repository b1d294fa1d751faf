"""gate.toml: what a golden set promises, and which bounds its metrics keep.

    [guard]                 drop, power, alarm, churn
    [[metric]]              name, at_least or at_most, drop or rise

A metric that should be large is bounded from below (`at_least`) and may fall by `drop`; one that
should be small (bits_per_byte, ece) is bounded from above and may rise by `rise`.
"""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config import ConfigError, typed
from zoo.evaluate.tally import SMALL_IS_GOOD


class GateError(ValueError):
    """A gate file that says nothing sensible, or nothing about its set."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What the gate promises of accuracy."""

    drop: float  # a fall by so much
    power: float = 0.8  # is told with this probability
    alarm: float = 0.01  # a model as good as the accepted one is refused at most with this one
    churn: float = 0.02  # share of rows that two equally good models pass and fail differently


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What one metric keeps; of the two pairs a metric takes one, by its direction."""

    name: str
    at_least: float | None = None
    drop: float | None = None
    at_most: float | None = None
    rise: float | None = None

    def guarded(self) -> bool:
        """Tell whether it is compared with the accepted version, and so is tested for a fall."""
        return self.drop is not None or self.rise is not None

    def allowed(self) -> float | None:
        """Give how far it may get worse."""
        return self.rise if self.drop is None else self.drop


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What must hold."""

    guard: Guard
    metrics: tuple[Bound, ...]

    @classmethod
    def read(cls, path: str | Path) -> "Gate":
        """Read a gate file; raise GateError for what it must not say, naming file and key."""
        return read_gate(Path(path))

    def check_names(self, known: Iterable[str]) -> None:
        """Raise GateError for a metric that is not among the known ones, and list those."""
        known = list(known)
        for bound in self.metrics:
            if bound.name not in known:
                raise GateError(
                    f"the set has no metric {bound.name!r}{nearest(bound.name, known)}; it has "
                    f"{', '.join(known)} (a segment has one when five of its rows count)"
                )


def read_gate(path: Path) -> Gate:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateError(f"{path}: {error}") from None
    try:
        return gate_of(table)
    except GateError as error:
        raise GateError(f"{path}: {error}") from None


def gate_of(table: Mapping[str, Any]) -> Gate:
    """Make a gate of TOML tables; raise GateError for an unknown key or a number out of range."""
    refuse_unknown("", table, ("guard", "metric"))
    for name, kind in (("guard", dict), ("metric", list)):
        if not isinstance(table.get(name), kind) or not table[name]:
            raise GateError(f"no [[{name}]]" if kind is list else f"no [{name}]")
    guard = made("guard", Guard, table["guard"])
    check_guard(guard)
    bounds = []
    for number, values in enumerate(table["metric"], 1):
        where = f"metric {number}"
        if isinstance(values, Mapping) and isinstance(values.get("name"), str):
            where = f"metric {values['name']!r}"
        bounds.append(made(where, Bound, values))
        check_bound(bounds[-1])
    names = [bound.name for bound in bounds]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GateError(f"metric {twice[0]!r} stands twice; say all about it in one [[metric]]")
    return Gate(guard=guard, metrics=tuple(bounds))


def made(where: str, kind: Any, values: Any) -> Any:
    """Make a dataclass of a table; raise GateError for unknown, missing and mistyped keys."""
    if not isinstance(values, Mapping):
        raise GateError(f"{where} is {values!r}; expected a table")
    fields = dataclasses.fields(kind)
    refuse_unknown(f"{where}: ", values, [f.name for f in fields])
    needed = [f.name for f in fields if f.default is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise GateError(f"{where}: no {missing[0]}")
    try:
        return kind(**typed(kind, values))
    except ConfigError as error:
        raise GateError(f"{where}: {error}") from None


def refuse_unknown(where: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    for name in table.keys() - set(known):
        raise GateError(f"{where}no key {name!r}{nearest(name, known)}; known: {sorted(known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Give "; did you mean ...?" where something known is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_guard(guard: Guard) -> None:
    """Raise GateError for probabilities and shares that are none."""
    for name, value in dataclasses.asdict(guard).items():
        least = 0.0 if name == "churn" else math.ulp(0.0)
        if not least <= value < 1:
            wanted = "at least 0" if name == "churn" else "more than 0"
            raise GateError(f"guard: {name} is {value}; expected {wanted} and below 1")
    if guard.alarm > 0.5:
        raise GateError(f"guard: alarm is {guard.alarm}; expected at most 0.5")
    if guard.churn / 2 + guard.drop > 1:
        raise GateError(
            f"guard: half of churn {guard.churn} and drop {guard.drop} break more than all rows"
        )


def check_bound(bound: Bound) -> None:
    """Raise GateError for a metric without a bound, or with those of the other direction."""
    where = f"metric {bound.name!r}"
    given = {
        name: value
        for name, value in dataclasses.asdict(bound).items()
        if name != "name" and value is not None
    }
    small = bound.name.partition("[")[0] in SMALL_IS_GOOD
    mine, others = ("at_most", "rise"), ("at_least", "drop")
    if not small:
        mine, others = others, mine
    for name in others:
        if name in given:
            right = mine[others.index(name)]
            size = "small" if small else "large"
            raise GateError(f"{where}: {name} is for others; it should be {size}: say {right}")
    if not given:
        raise GateError(f"{where} has no bound; say {mine[0]} or {mine[1]}")
    for name, value in given.items():
        if not 0 <= value < math.inf:
            raise GateError(f"{where}: {name} is {value}; expected at least 0")
        if bound.name.partition("[")[0] != "bits_per_byte" and value > 1:
            raise GateError(f"{where}: {name} is {value}; a share is at most 1, 5 points are 0.05")
