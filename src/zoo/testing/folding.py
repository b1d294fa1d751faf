"""One cause, one finding: which findings follow from an earlier one, or say it again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from zoo.testing.finding import Finding

# What a failure of one kind makes other checks say. Such a finding is kept, with its severity, but
# told in a line behind the others: mend the cause and run again.
NOISE = (
    "nondeterministic",
    "eval-noise",
    "train-eval",
    "state-carried",
    "batch-leak",
    "padding-leak",
    "cache",
    "lost-state",
    "compile",
    "checkpointing",
)
EXPLAINS: dict[str, tuple[str, ...]] = {
    "input-mutated": NOISE,
    "hidden-rng": NOISE,
    "eval-noise": NOISE,
    "nondeterministic": NOISE,
    "state-carried": (*NOISE, "resume"),
    "unregistered": (
        *NOISE,
        "unregistered",
        "dtype",
        "device",
        "frozen",
        "optimizer",
        "resume",
        "not-learning",
    ),
    "causal-leak": ("cache",),
    "wrong-gradient": ("double-backward", "not-learning"),
    "detached": ("unused-parameter", "vanishing", "not-learning"),
    "loss-shape": ("loss-scale", "loss-ignored", "accumulation", "not-learning"),
    "loss-constant": ("loss-sign", "loss-ignored", "unused-parameter", "not-learning"),
    "loss-sign": ("not-learning",),
    "loss-input": ("loss-scale", "not-learning"),
    "loss-targets": ("not-learning",),
    "loss-ignored": ("accumulation",),
    "dtype": ("precision",),
    "non-finite": ("range", "not-learning"),
    "init": (
        "exploding",
        "vanishing",
        "dead-units",
        "saturated",
        "collapsed",
        "precision",
        "loss-scale",
        "not-learning",
    ),
}
EVERYWHERE = ("input-mutated", "hidden-rng", "eval-noise", "nondeterministic", "state-carried")
LOST = "(unregistered"  # the place of a module that has no path


def marked(findings: Sequence[Finding]) -> list[Finding]:
    """Mark what follows from an earlier failure, or says the same again; a cause is not marked."""
    told: list[Finding] = []
    made: list[Finding] = []
    for finding in findings:
        cause = next((c for c in told if repeats(c, finding) or explains(c, finding)), None)
        if cause is None:
            told.append(finding)
        made.append(finding if cause is None else replace(finding, because=title(cause)))
    return made


def explains(cause: Finding, finding: Finding) -> bool:
    """Say whether a failure is known to make another check say this, there."""
    if cause.severity != "fail" or finding.kind not in EXPLAINS.get(cause.kind, ()):
        return False
    if finding.kind == cause.kind and finding.check == cause.check:
        return False  # one check tells two things of one kind apart
    one, other = cause.where, finding.where
    if cause.kind in EVERYWHERE or other == one or not other or other.startswith(LOST):
        return True
    return bool(one) and (f"{other}.".startswith(f"{one}.") or f"{one}.".startswith(f"{other}."))


def repeats(first: Finding, finding: Finding) -> bool:
    """Say whether a finding is an earlier one again: of another check, or at a numbered sibling."""
    if (first.kind, first.severity, first.line) != (finding.kind, finding.severity, finding.line):
        return False
    if first.where == finding.where:
        return bool(first.line) and first.check != finding.check
    return first.check == finding.check and siblings(first, finding)


def siblings(first: Finding, finding: Finding) -> bool:
    """Say whether two findings of a check say the same of blocks.0 and of blocks.1."""

    def unnumbered(text: str) -> str:
        return re.sub(r"\d[\d.e+-]*", "#", text)

    pairs = ((first.where, finding.where), (first.fix, finding.fix))
    return all(unnumbered(one) == unnumbered(other) for one, other in pairs)


def title(finding: Finding) -> str:
    """Name a finding in a few words: its kind and its place."""
    return f"{finding.kind} at {finding.where}" if finding.where else finding.kind


def followers(findings: Sequence[Finding]) -> Mapping[str, list[str]]:
    """Give, by cause, what follows from it, each in a few words with the check that says so."""
    found: dict[str, list[str]] = {}
    told = {title(f): f for f in reversed(findings) if not f.because}
    for one in findings:
        cause = told.get(one.because)
        if one.because and not (cause is not None and same_elsewhere(cause, one)):
            said = f"{title(one)} ({one.check})" if one.check else title(one)
            found.setdefault(one.because, []).append(said)
    return {cause: list(dict.fromkeys(said)) for cause, said in found.items()}


def also(finding: Finding, findings: Sequence[Finding]) -> list[str]:
    """List the other places that a check says the same of."""
    name = title(finding)
    return [f.where for f in findings if f.because == name and same_elsewhere(finding, f)]


def same_elsewhere(cause: Finding, finding: Finding) -> bool:
    """Say whether a marked finding is its cause at another place."""
    return repeats(cause, finding) and cause.where != finding.where
