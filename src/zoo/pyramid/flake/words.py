"""Verdicts in words, and what mends each kind of flake."""

from typing import Any

from zoo.pyramid.flake import chance
from zoo.pyramid.flake.cause import Cause
from zoo.pyramid.flake.setting import zone

MEND = {
    "seed": "Seed the test from its own name, or draw from a generator that the test makes; "
    "then ask whether its tolerance follows from the draw.",
    "order": "Let the first test put back what it changed (a fixture that undoes it), or let this "
    "one set up all it reads.",
    "needs": "Move what the other test leaves behind into a fixture that this one asks for.",
    "workers": "Give each test a place of its own: tmp_path instead of a common file, port 0 "
    "instead of a fixed port.",
    "threads": "Sums of floats depend on how they are split: compare within a bound that follows "
    "from dtype and length, or pin the threads.",
    "load": "Wait for the event itself, not for a time; measure CPU time, not wall time.",
    "clock": "Pass the time in, with its zone, and test with fixed times.",
    "hash": "The order of a set of strings follows the hash seed: sort before order matters.",
    "again": "It leaves something behind in its process; a fixture that puts it back lets it run "
    "in any order.",
    "random": "Nothing that can be held explains it: look for os.urandom, uuid4, secrets, the "
    "address or id of an object, threads that race, files or sockets of others.",
    "time": "Give it more --seconds.",
}


def percent(rate: float) -> str:
    """Give a rate in per cent, with two digits that matter."""
    return f"{100 * rate:.2g} %" if rate < 0.1 else f"{100 * rate:.0f} %"


def cause_text(cause: Cause, flaky: str) -> str:
    """Say one cause in a sentence."""
    tests = ", ".join(cause.tests)
    counts = f"fails {cause.bad}; otherwise {cause.good}"
    if cause.factor == "random":
        return f"none of what was varied: at random, {flaky}"
    if cause.factor == "again":
        return f"run a second time in one process it always fails ({cause.bad}), the first never"
    if cause.factor == "time":
        return "time ended before its cause was found"
    if cause.factor == "order":
        return f"order: it fails after {tests} (then {counts})"
    if cause.factor == "needs":
        return f"order: it passes only after {tests} (without, {counts})"
    if cause.factor == "workers":
        met = f", beside {tests}" if tests else ""
        return f"worker count: with -n {cause.level}{met} it {counts}"
    if cause.factor == "clock":
        return f"clock: at {clock_text(str(cause.level))} it {counts}"
    kind = {"seed": "random seed", "hash": "hash seed (PYTHONHASHSEED)", "threads": "thread count"}
    if cause.factor == "load":
        return f"load: with {cause.level} processes computing beside it, it {counts}"
    return f"{kind[cause.factor]}: with {cause.level} it {counts}"


def clock_text(level: str) -> str:
    """Give a clock in words."""
    time = level.partition(" ")[0]
    return f"{time or 'the time of now'}, time zone {zone(level)}" if level else "the time of now"


def bound_text(runs: int, needed: int, rate: float, confidence: float) -> str:
    """Say what is known when time ended first."""
    sure = percent(confidence)
    if runs == 0:
        return f"{needed} runs are needed for {percent(rate)} at {sure}; it did not run"
    known = percent(chance.upper(0, runs, confidence))
    return (
        f"{needed} runs are needed for {percent(rate)} at {sure}; {runs} done, without a failure: "
        f"its rate is below {known}"
    )


def rate_text(failures: int, runs: int, confidence: float) -> str:
    """Say how often it fails, with the interval."""
    low, high = chance.interval(failures, runs, confidence)
    return (
        f"failed {failures} of {runs} runs: {percent(failures / runs)} "
        f"[{percent(low)}, {percent(high)} at {percent(confidence)}]"
    )


def test_text(row: dict[str, Any]) -> str:
    """Give one test's verdict as lines."""
    lines = [f"{row['verdict'].upper()} {row['test']}", f"  {row['known']}"]
    if row.get("why"):
        lines.append(f"  it said: {row['why']}")
    lines += [f"  {text}" for text in row.get("causes", ())]
    if row.get("command"):
        shown = "" if row["command_works"] else "   # not seen to fail when it was tried"
        lines.append(f"  {row['command']}{shown}")
    if row.get("mend"):
        lines.append(f"  {row['mend']}")
    return "\n".join(lines)
