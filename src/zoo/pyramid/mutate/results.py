"""What became of each mutant, and the score with its interval."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.pyramid.mutate.mutant import Mutant, diff, shown, source_hash

VERDICTS = ("killed", "survived", "broken", "timeout", "error")
DECIDED = ("killed", "survived")  # the others are no kills, and not in the denominator
Z = 1.959963984540054  # of a normal distribution, for 95 %


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one mutant.

    `test` names what killed it; `tests` counts the tests that were asked, `reached` those that
    execute the line (None where that is not known); `cpu` is in seconds.
    """

    mutant: Mutant
    verdict: str
    test: str = ""
    why: str = ""
    tests: int = 0
    reached: int | None = None
    cpu: float = 0.0
    resumed: bool = False

    def line(self) -> str:
        """Say it in one line."""
        head = f"{self.mutant.id} {self.mutant.where()}: {self.mutant.says}"
        if self.verdict == "killed":
            return f"killed    {head}: by {self.test or self.why}"
        if self.verdict == "survived":
            return f"SURVIVED  {head}: {self.unnoticed()}"
        return f"{self.verdict:<9} {head}: {self.why}"

    def unnoticed(self) -> str:
        """Say who did not notice."""
        if self.reached == 0:
            return "no test reaches it"
        if not self.tests:
            return "the command passes"
        some = "no test" if self.tests > 1 else "not the one test"
        return (
            f"{some} of the {self.tests} that run it noticed"
            if self.tests > 1
            else ("the one test that runs it did not notice")
        )

    def words(self) -> str:
        """Say of a survivor what changed, and which kind of test would see it."""
        m = self.mutant
        text = f"`{m.function}` {shown(m.path)} line {m.first}: {m.says}; {self.unnoticed()}"
        advice = "run it in a test first" if self.reached == 0 and not m.seen else m.seen
        replays = f" (it has happened: {m.replays})" if m.replays else ""
        return text + (f": {advice}" if advice else "") + replays

    def record(self) -> dict[str, Any]:
        """Give it for a line of JSON."""
        m = self.mutant
        return {
            "kind": "mutant",
            "id": m.id,
            "file": shown(m.path),
            "line": m.first,
            "function": m.function,
            "operator": m.operator,
            "family": m.family,
            "says": m.says,
            "seen": m.seen,
            "replays": m.replays,
            "diff": diff(m),
            "verdict": self.verdict,
            "test": self.test,
            "why": self.why,
            "tests": self.tests,
            "reached": self.reached,
            "cpu": round(self.cpu, 3),
        }


@dataclass(frozen=True, kw_only=True)
class Score:
    """How many of the decided mutants were killed, with Wilson's interval at 95 %."""

    counts: dict[str, int]
    killed: int
    decided: int
    low: float
    high: float

    @property
    def share(self) -> float | None:
        return share_of(self.killed, self.decided)

    def text(self) -> str:
        """Say it."""
        if not self.decided:
            said = "no mutant was decided"
        else:
            said = (
                f"{self.killed} of {self.decided} mutants killed: {percent(self.share or 0.0)} "
                f"(95 % interval {percent(self.low)} to {percent(self.high)})"
            )
        apart = [f"{self.counts[v]} {v}" for v in VERDICTS[2:] if self.counts.get(v)]
        return said + (f"; apart from these: {', '.join(apart)}" if apart else "")


def share_of(killed: int, decided: int) -> float | None:
    return killed / decided if decided else None


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def score(results: Iterable[Result]) -> Score:
    """Count verdicts."""
    counts = Counter(result.verdict for result in results)
    killed, decided = counts["killed"], sum(counts[v] for v in DECIDED)
    low, high = wilson(killed, decided)
    return Score(counts=dict(counts), killed=killed, decided=decided, low=low, high=high)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Give the interval of a share at 95 % (Wilson 1927): it stays in [0, 1], and is honest at 1.

    Where there is nothing it is all of [0, 1].
    """
    if not total:
        return 0.0, 1.0
    p, z2 = hits / total, Z * Z
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z * math.sqrt(p * (1 - p) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == total else min(1.0, middle + half)


def held(path: Path, mutants: Iterable[Mutant], key: str) -> dict[str, dict[str, Any]]:
    """Give the records of an earlier run that still hold: same command and tests, same source.

    What was not decided is run again.
    """
    if not path.is_file():
        return {}
    hashes = {file: source_hash(file) for file in {m.path for m in mutants}}
    wanted = {m.id: (hashes[m.path], m.says) for m in mutants}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line that was being written when the run ended
        same = (record.get("source"), record.get("says")) == wanted.get(record.get("id"))
        if same and record.get("key") == key and record.get("verdict") in DECIDED:
            found[record["id"]] = record
    return found


def again(mutant: Mutant, record: dict[str, Any]) -> Result:
    """Give the result that an earlier run wrote down."""
    return Result(
        mutant=mutant,
        verdict=record["verdict"],
        test=record["test"],
        why=record["why"],
        tests=record["tests"],
        reached=record["reached"],
        cpu=record["cpu"],
        resumed=True,
    )
