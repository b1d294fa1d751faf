"""From hunt to verdicts: name causes, try commands, and sum the suite up."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from zoo.pyramid.flake import cause as causes
from zoo.pyramid.flake import chance, words
from zoo.pyramid.flake.child import Children, Runner
from zoo.pyramid.flake.command import reproducer, tries
from zoo.pyramid.flake.hunting import Aim, Clock, hunt
from zoo.pyramid.flake.lab import Count, Lab
from zoo.pyramid.flake.ledger import Ledger, Tally
from zoo.pyramid.flake.setting import Plan

Row = dict[str, Any]


def verdicts(
    suite: Children,
    run: Runner,
    plan: Plan,
    aim: Aim,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Row]:
    """Hunt, then yield a row for each test that is not clean, and last the suite's row.

    The suite's row has the exit code: 0 clean, 1 flaky or broken, 3 when time ended first.
    """
    clock, ledger = Clock(aim.seconds), Ledger()
    hunt(run, plan, aim, clock, ledger, say)
    needed, rows = aim.needed(), []
    states = ledger.states(needed)
    flaky = [name for name, state in states.items() if state == "flaky"]
    for number, name in enumerate(flaky):
        end = clock.left() * (1 - 1 / (len(flaky) - number))  # an equal part for each
        left = part(clock, end)
        say(f"looking for what makes {name} fail")
        row = flaky_row(suite, run, plan, aim, name, ledger.tests[name], left)
        rows.append(row)
        yield row
    for name, state in states.items():
        if state in ("broken", "open"):
            rows.append(plain_row(name, state, ledger.tests[name], aim))
            yield rows[-1]
    yield summary(ledger, rows, states, plan, aim)


def part(clock: Clock, end: float) -> Callable[[], float]:
    """Give a function that tells the time left until only `end` seconds are."""
    return lambda: clock.left() - end


def flaky_row(
    suite: Children,
    run: Runner,
    plan: Plan,
    aim: Aim,
    name: str,
    tally: Tally,
    left: Callable[[], float],
) -> Row:
    """Name the causes of one flaky test."""
    lab = Lab(name, run, left, aim.confidence, aim.needed())
    found = causes.find(lab, tally, plan)
    kinds = [cause.factor for cause in found.causes]
    again = kinds == ["again"]
    count = Count(tally.failures, tally.runs)
    if kinds == ["random"]:  # with more runs of it alone
        count = found.causes[0].bad
    rate = count.failures / count.runs
    command, works = reproducer(
        found, name, suite, rate=rate, left=left, tries=tries(found.arm, kinds)
    )
    known = words.rate_text(count.failures, count.runs, aim.confidence)
    if again:  # judged by its first run in each process, which is what a suite does
        known = words.bound_text(tally.first[1], aim.needed(), aim.rate, aim.confidence)
    return {
        "test": name,
        "verdict": "again" if again else "flaky",
        "failures": count.failures,
        "runs": count.runs,
        "interval": list(chance.interval(count.failures, count.runs, aim.confidence)),
        "known": known,
        "why": tally.failed[0].why,
        "factors": kinds,
        "causes": [words.cause_text(cause, known) for cause in found.causes],
        "evidence": [evidence(cause) for cause in found.causes],
        "command": command,
        "command_works": works,
        "mend": words.MEND[kinds[0]],
        "tried": lab.runs,
        "enough": again and tally.first[1] >= aim.needed(),
    }


def evidence(cause: causes.Cause) -> Row:
    """Give a cause for machines."""
    return dataclasses.asdict(cause) | {"tests": list(cause.tests)}


def plain_row(name: str, state: str, tally: Tally, aim: Aim) -> Row:
    """Give the row of a test that always fails, or that time did not suffice for."""
    row: Row = {"test": name, "failures": tally.failures, "runs": tally.runs}
    if state == "broken" or tally.failures:
        row["verdict"] = "broken" if state == "broken" else "open"
        row["known"] = f"failed all {tally.runs} runs: broken, not flaky"
        if state != "broken":
            row["known"] = f"failed all {tally.runs} runs so far"
        row["why"] = tally.failed[0].why
        return row
    row["verdict"] = "open"
    row["known"] = words.bound_text(tally.passes, aim.needed(), aim.rate, aim.confidence)
    return row


def summary(ledger: Ledger, rows: list[Row], states: dict[str, str], plan: Plan, aim: Aim) -> Row:
    """Sum the suite up."""
    count = {state: list(states.values()).count(state) for state in set(states.values())}
    code = exit_code(rows, bool(ledger.trouble))
    runs = min((t.runs for n, t in ledger.tests.items() if states[n] == "clean"), default=0)
    all_below = chance.together(runs, count.get("clean", 0), aim.confidence)
    red = list(chance.interval(ledger.red, max(1, ledger.rounds), aim.confidence))
    return {
        "suite": True,
        "exit": code,
        "tests": len(states),
        "clean": count.get("clean", 0),
        "flaky": sum(row["verdict"] == "flaky" for row in rows),
        "again": sum(row["verdict"] == "again" for row in rows),
        "broken": count.get("broken", 0),
        "open": count.get("open", 0),
        "skipped": count.get("skipped", 0),
        "needed": aim.needed(),
        "rate": aim.rate,
        "confidence": aim.confidence,
        "least": runs,
        "all_below": all_below,
        "rounds": ledger.rounds,
        "red": ledger.red,
        "red_interval": red,
        "processes": ledger.runs,
        "seconds": round(ledger.seconds, 1),
        "varied": list(plan.vary),
        "hashes": ledger.runs if "hash" in plan.vary else 0,
        "notes": notes(ledger, states),
    }


def exit_code(rows: list[Row], trouble: bool) -> int:
    """Give 1 for anything wrong, 3 when time ended first, 0 for clean."""
    if trouble or any(row["verdict"] in ("flaky", "broken") for row in rows):
        return 1
    unsure = (row["verdict"] == "open" or not row.get("enough", True) for row in rows)
    return 3 if any(unsure) else 0


def notes(ledger: Ledger, states: dict[str, str]) -> list[str]:
    """Say what is neither a pass nor a failure."""
    told = [f"{n} times: {text}" for text, n in ledger.trouble.items()]
    for name in ledger.partly_skipped():
        tally = ledger.tests[name]
        why = tally.skipped.most_common(1)[0][0]
        told.append(f"{name} was skipped in {tally.skips} of {tally.skips + tally.runs}: {why}")
    never = sorted(name for name, state in states.items() if state == "skipped")
    if never:
        told.append(f"{len(never)} skipped every time, such as {never[0]}")
    for name, times in ledger.partly_there().items():
        told.append(f"{name} was collected in only {times} of {ledger.runs} processes' runs")
    for name, tally in ledger.tests.items():
        if tally.crashes:
            told.append(f"{name} ended its process {tally.crashes} times; that is a failure")
    told += [f"{name} still ran when time was up" for name in sorted(ledger.cut)]
    for name, middle, most in ledger.wild():
        told.append(f"{name} takes {middle:.2g} s of CPU, and sometimes {most:.2g}")
    return told


def summary_text(row: Row) -> str:
    """Give the suite's row as lines."""
    sure, rate = words.percent(row["confidence"]), words.percent(row["rate"])
    kinds = ("clean", "flaky", "again", "broken", "open", "skipped")
    counts = ", ".join(f"{row[kind]} {NAMES.get(kind, kind)}" for kind in kinds if row[kind])
    lines = [f"note: {text}" for text in row["notes"]]
    lines.append(f"{row['tests']} tests: {counts}")
    if row["clean"]:
        lines.append(
            f"each of the {row['clean']} clean ones: a rate below {rate} at {sure} on its own; "
            f"of all at once: below {words.percent(row['all_below'])}"
        )
    low, high = row["red_interval"]
    lines.append(
        f"{row['red']} of {row['rounds']} rounds had a failure "
        f"[{words.percent(low)}, {words.percent(high)}]; {row['processes']} processes, "
        f"{row['seconds']:.0f} s; varied: {', '.join(row['varied'])}"
    )
    if row["hashes"]:
        missed = words.percent(chance.upper(0, row["hashes"], row["confidence"]))
        lines.append(
            f"{row['hashes']} hash seeds, one a process: what fails for less than {missed} of them "
            f"may have gone unseen"
        )
    return "\n".join(lines)


NAMES = {"again": "that cannot run twice in one process", "open": "undecided"}
