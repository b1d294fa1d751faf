"""Results as Markdown and as a picture of the latency curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.stages import milliseconds

HEAD = "| run | p50 | p95 | p99 | answers/s | errors | refused | memory |"
RULE = "|---|---:|---:|---:|---:|---:|---:|---:|"
Record = Mapping[str, Any]


def row(name: str, found: Record) -> str:
    times = [milliseconds(found["latency"][share]) for share in ("p50", "p95", "p99")]
    memory = f"{found['rss_mib']:.0f} MiB" if "rss_mib" in found else ""
    counts = [f"{found['goodput']:.1f}", str(found["errors"]), str(found["refused"]), memory]
    return f"| {' | '.join([name, *times, *counts])} |"


def runs(result: Record) -> list[tuple[str, Record]]:
    """Give the lines of the table: (what it is, its summary)."""
    found: list[tuple[str, Record]] = []
    if "baseline" in result:
        found.append(("one user", result["baseline"]))
    for level in result.get("ramp", ()):
        found.append((f"{level['users']} users", level))
    if "soak" in result:
        found.append(("soak, 80 % of the ceiling", result["soak"]))
    if "overload" in result:
        says = {"before": "half the ceiling", "over": "5 × the ceiling", "after": "half again"}
        found += [(text, result["overload"]["phases"][name]) for name, text in says.items()]
    return found


def table(result: Record) -> str:
    """Write everything as Markdown: the runs, each verb, and what they show."""
    lines = [HEAD, RULE, *(row(name, found) for name, found in runs(result))]
    verbs = result.get("soak", result.get("baseline", {})).get("by_verb", {})
    if verbs:
        lines += ["", "| model, verb | answers | p50 | p95 | p99 | p99 / p50 |"]
        lines.append("|---|---:|---:|---:|---:|---:|")
    for name, found in verbs.items():
        times = " | ".join(milliseconds(found[share]) for share in ("p50", "p95", "p99"))
        ratio = found["p99"] / found["p50"]
        lines.append(f"| {name} | {found['count']} | {times} | {ratio:.1f} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in shown(result))])


def shown(result: Record) -> list[str]:
    """Say what the stages show, in sentences."""
    found = [f"Ready after {result['ready_seconds']:.1f} s."] if "ready_seconds" in result else []
    if "ceiling" in result:
        found.append(f"Ceiling: {result['ceiling']:.1f} right answers a second.")
    if "soak" in result:
        found += soak_shown(result["soak"])
    if "overload" in result:
        found += overload_shown(result["overload"])
    every = [one for _, one in runs(result) if "counts_differ" in one]
    if every:
        same = not any(one["counts_differ"] for one in every)
        found.append(f"Counts of client and /metrics: {'equal' if same else 'DIFFERENT'}.")
        wrong = sum(one["wrong"] for one in every) + result.get("overload", {}).get("wrong", 0)
        found.append(f"Answers that are not the offline ones: {wrong}.")
    return found


def soak_shown(soak: Record) -> list[str]:
    ratio = (soak["latency"]["p99"] or 0.0) / (soak["latency"]["p50"] or 1.0)
    first, last = soak["rss_growth"]
    grown = f"{(last - first) / 2**20:+.1f} MiB ({(last - first) / first:+.2%})"
    steady = {name: soak[f"{name}_growth"] for name in ("files", "threads")}
    return [
        f"Soak of {soak['seconds']:.0f} s: {soak['errors']} errors, p99 / p50 = {ratio:.1f}; "
        f"memory {grown}; " + ", ".join(f"{n} {a:.0f} to {b:.0f}" for n, (a, b) in steady.items()),
        f"Nonsense: {soak['nonsense']} requests, {soak['nonsense_let_in']} without their 4xx.",
    ]


def overload_shown(overload: Record) -> list[str]:
    over = overload["phases"]["over"]
    return [
        f"Overload: goodput {overload['goodput_share']:.0%} of the peak; "
        f"{over['refused']} refused, p99 of a refusal {milliseconds(over['refusal']['p99'])}, "
        f"{over['without_retry_after']} without Retry-After; {over['errors']} errors; "
        f"latency as usual {overload['recovered_seconds']:.1f} s after it.",
    ]


def curve(levels: Sequence[Record], file: Path) -> None:
    """Draw latency and goodput over users. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8))
    times, rate = figure.subplots(1, 2)
    users = [level["users"] for level in levels]
    for name, shade in (("p50", "#1b6ca8"), ("p95", "#d98a3d"), ("p99", "#c0392b")):
        values = [1000 * (level["latency"][name] or float("nan")) for level in levels]
        times.plot(users, values, ".-", label=name, color=shade)
    times.set_ylabel("milliseconds")
    times.set_yscale("log")
    times.legend(fontsize=8)
    rate.plot(users, [level["goodput"] for level in levels], ".-", color="#1b6ca8")
    rate.set_ylabel("right answers a second")
    rate.set_ylim(bottom=0)
    for axes in (times, rate):
        axes.set_xscale("log", base=2)
        axes.set_xticks(users, [str(n) for n in users])
        axes.set_xlabel("users")
        axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
