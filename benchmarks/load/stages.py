"""What is measured, stage by stage: one user, more users up to the ceiling, hours, too many.

    baseline  one user
    ramp      1, 2, 4, ... users, until two levels in a row add less than 5 % of goodput
    soak      arrivals at 80 % of the ceiling, 1 % nonsense among them; what memory does
    overload  half the ceiling, five times the ceiling, half the ceiling again

Every answer with status 200 is compared with the offline one, and every run's counts with those of
/metrics.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import stats
from benchmarks.load.drive import Plan, Run, counts, drive, judged
from benchmarks.load.items import Item, items_of, nonsense
from benchmarks.load.offline import UNDECIDED
from benchmarks.load.serving import PASSIVE, ROOT, Serving, counted, gained

MIB = 1 << 20
SHARE, TIMES, USUAL = 0.8, 5.0, 0.5  # of the ceiling: soak, overload, before and after it
USERS = 256  # the highest level of a ramp
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A server, what it is asked, and where results go."""

    server: Serving
    items: list[Item]
    expected: list[Any]
    out: Path
    seed: int = 0
    say: Callable[[str], None] = print

    def carry_out(self, name: str, plan: Plan) -> tuple[Run, Record]:
        """Carry out a plan; give what came of it, and its summary."""
        before = counted(self.server.text("/metrics"))
        run = drive(self.server, self.out / "items.json", plan, self.out / name)
        theirs = gained(before, counted(self.server.text("/metrics")))
        right, faults = judged(run, self.items, self.expected)
        good = [item["good"] for item in self.items]
        ours = counts(run, self.items)
        found = stats.summary(run.asked, good, right) | {
            "name": name,
            "faults": faults,
            "counts_differ": {n: [ours.get(n), theirs.get(n)] for n in different(ours, theirs)},
            "client": run.client,
            **memory(run.footprints),
            "by_verb": self.by_verb(run, right),
        }
        self.say(brief(found))
        return run, found

    def by_verb(self, run: Run, right: Sequence[bool]) -> Record:
        """Sum up what was right, by model and verb."""
        found: dict[str, list[float]] = {}
        for one in run.asked:
            if one.status == 200 and right[one.variant] and self.items[one.item]["good"]:
                found.setdefault(self.items[one.item]["name"], []).append(one.seconds)
        return {n: stats.quantiles(v) | {"count": len(v)} for n, v in sorted(found.items())}


def prepare(
    server: Serving,
    folders: Mapping[str, str],
    out: Path,
    *,
    seed: int = 0,
    tokens: int = 16,
    only: Sequence[str] = (),
    weights: str | None = None,
    say: Callable[[str], None] = print,
) -> Bench:
    """Draw what will be asked, and let another process find out what the answers are."""
    models = server.json("/v1/status")["models"]
    items = items_of(models, seed=seed, tokens=tokens, only=only)
    items += nonsense(models[0]["name"])
    out.mkdir(parents=True, exist_ok=True)
    asked, file = out / "offline.asked.json", out / "offline.json"
    asked.write_text(json.dumps({"folders": dict(folders), "weights": weights, "items": items}))
    command = [sys.executable, "-m", "benchmarks.load.offline", str(asked), str(file)]
    subprocess.run(command, cwd=ROOT, check=True, env=PASSIVE | os.environ)
    pairs = zip(items, json.loads(file.read_text()), strict=True)
    kept = [(item, answer) for item, answer in pairs if answer != UNDECIDED]
    say(f"{len(kept)} requests; {len(items) - len(kept)} left out: rounding decides their texts")
    (out / "items.json").write_text(json.dumps([item for item, _ in kept]))
    expected = [answer for _, answer in kept]
    items = [item for item, _ in kept]
    return Bench(server=server, items=items, expected=expected, out=out, seed=seed, say=say)


def baseline(bench: Bench, seconds: float) -> Record:
    """Ask as one user."""
    return bench.carry_out("baseline", Plan(users=1, seconds=seconds, seed=bench.seed))[1]


def ramp(bench: Bench, seconds: float, most: int = USERS) -> list[Record]:
    """Ask as 1, 2, 4, ... users, `seconds` each, until the ceiling is reached."""
    levels: list[Record] = []
    users = 1
    while users <= most and not stats.at_ceiling([level["goodput"] for level in levels]):
        plan = Plan(users=users, seconds=seconds, seed=bench.seed + users)
        levels.append(bench.carry_out(f"ramp-{users}", plan)[1] | {"users": users})
        users *= 2
    return levels


def soak(bench: Bench, peak: float, seconds: float, *, even: bool, share: float = SHARE) -> Record:
    """Let requests arrive at a share of the ceiling for long; a tenth of the time is warm-up."""
    plan = Plan(rates=((share * peak, seconds),), even=even, nonsense=0.01, seed=bench.seed + 1000)
    run, found = bench.carry_out("soak", plan)
    warm = [one for one in run.footprints if one["at"] > seconds / 10]
    for name in ("rss", "files", "threads"):
        found[f"{name}_growth"] = stats.growth([one[name] for one in warm or run.footprints])
    return found


def overload(
    bench: Bench, peak: float, seconds: float, *, even: bool, times: float = TIMES
) -> Record:
    """Let requests arrive at half the ceiling, then at many times it, then at half again."""
    usual = (USUAL * peak, seconds)
    rates = (usual, (times * peak, seconds), usual)
    run, found = bench.carry_out("overload", Plan(rates=rates, even=even, seed=bench.seed + 2000))
    right, _ = judged(run, bench.items, bench.expected)
    good = [item["good"] for item in bench.items]
    parts = ("before", "over", "after")
    phases = [stats.between(run.asked, i * seconds, (i + 1) * seconds) for i in range(3)]
    found["phases"] = {
        name: stats.summary(part, good, right) for name, part in zip(parts, phases, strict=True)
    }
    before = found["phases"]["before"]["latency"]["p95"] or 0.0
    answered = [one for one in phases[2] if one.status == 200]
    found["recovered_seconds"] = stats.recovered(answered, 2 * seconds, before)
    found["goodput_share"] = served(run, right, seconds) / peak
    return found


def served(run: Run, right: Sequence[bool], seconds: float) -> float:
    """Give the right answers a second that ended while there was too much to do."""
    ends = [one.at + one.seconds for one in run.asked if one.status == 200 and right[one.variant]]
    return sum(seconds <= end < 2 * seconds for end in ends) / seconds


def memory(footprints: Sequence[Mapping[str, float]]) -> Record:
    """Give the most memory (MiB), files and threads that were seen."""
    most = {name: max(one[name] for one in footprints) for name in ("rss", "files", "threads")}
    return {"rss_mib": most["rss"] / MIB, "files": most["files"], "threads": most["threads"]}


def different(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[str]:
    """Name what client and server count differently."""
    return sorted(n for n in {*ours, *theirs} if ours.get(n, 0.0) != theirs.get(n, 0.0))


def brief(found: Mapping[str, Any]) -> str:
    """Say in a line what a run came to."""
    times = [milliseconds(found["latency"][name]) for name in ("p50", "p95", "p99")]
    wrong = f", {found['wrong']} WRONG" if found["wrong"] else ""
    differ = f", COUNTS DIFFER {found['counts_differ']}" if found["counts_differ"] else ""
    client = found["client"]
    busy = f"client late by {milliseconds(client['late_seconds'])}, {client['processor_share']:.0%}"
    return (
        f"{found['name']}: {found['goodput']:.1f} answers/s, p50 {times[0]}, p95 {times[1]}, "
        f"p99 {times[2]}, {found['errors']} errors, {found['refused']} refused{wrong}{differ}"
        f" ({busy} of a processor)"
    )


def milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"
