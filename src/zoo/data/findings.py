"""What a check of data says: findings, and the report that holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("error", "warning", "note")
SHOWN = 3  # examples that the text names; the JSON has them all


@dataclass(frozen=True)
class Finding:
    """One thing found: how bad, by which check, in words, in which rows (ids), and its numbers.

    `numbers` is plain JSON; `examples` are lines that show what is meant.
    """

    level: str
    check: str
    text: str
    rows: tuple[str, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "check": self.check,
            "text": self.text,
            "rows": list(self.rows),
            "numbers": self.numbers,
            "examples": list(self.examples),
        }

    def lines(self) -> list[str]:
        """Say it for people: a sentence, and below it some examples."""
        shown = [f"{'':9}{line}" for line in self.examples[:SHOWN]]
        more = len(self.examples) - SHOWN
        if more > 0:
            shown.append(f"{'':9}and {more:,} more (--json names them)")
        return [f"{self.level:<8} {self.check}: {self.text}", *shown]


@dataclass(frozen=True)
class Report:
    """All that was found in rows, the worst first, and which checks looked."""

    facts: Mapping[str, Any]  # kind, rows, splits, version
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]

    def __post_init__(self) -> None:
        worst = sorted(self.findings, key=lambda found: LEVELS.index(found.level))
        object.__setattr__(self, "findings", tuple(worst))

    @property
    def passed(self) -> bool:
        """Tell whether nothing found is an error."""
        return self.count("error") == 0

    def count(self, level: str) -> int:
        return sum(found.level == level for found in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain JSON."""
        return {
            "format": "zoo data report 1",
            **self.facts,
            "passed": self.passed,
            "checks": list(self.checks),
            "findings": [found.as_dict() for found in self.findings],
        }

    def text(self) -> str:
        """Give the report for people."""
        lines = [opening(self.facts)]
        for found in self.findings:
            lines += found.lines()
        counts = [plural(self.count(level), level) for level in LEVELS]
        verdict = "sound" if self.passed else "not sound"
        lines.append(f"{verdict}: {', '.join(counts)} from {plural(len(self.checks), 'check')}")
        return "\n".join(lines)


def opening(facts: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{name} {count:,}" for name, count in facts["splits"].items())
    return f"{facts['rows']:,} rows of {facts['kind']} ({splits})"


def plural(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def some(names: Sequence[str], most: int = 5) -> str:
    """Name some of many."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
