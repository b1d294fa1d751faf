"""What a testing kit said of a model, in one form for all kits, and whether it was right."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Said:
    """One complaint. `kinds` are zoo's names of bugs that it can be read as."""

    severity: str  # "fail", "warn", "info"; "error" where a check itself broke
    kinds: tuple[str, ...]
    where: str = ""
    check: str = ""
    evidence: str = ""

    def short(self) -> dict[str, object]:
        """Give it as a few words for a line of results."""
        return {
            "severity": self.severity,
            "kinds": list(self.kinds),
            "where": self.where,
            "check": self.check,
            "evidence": " ".join(self.evidence.split())[:300],
        }


def failures(said: Sequence[Said]) -> list[Said]:
    """Keep what counts: the complaints that call the model wrong."""
    return [one for one in said if one.severity == "fail"]


def canonical(path: str, model: nn.Module | None) -> str:
    """Call repeated blocks alike: in a list of modules of one type, every index is 0.

    A bug in a block's code sits in each of them, and a kit may name any.
    """
    parts: list[str] = []
    here: object = model
    for part in path.split(".") if path else []:
        inside = list(here.children()) if isinstance(here, nn.Module) else []
        alike = len({type(child) for child in inside}) == 1
        parts.append("0" if part.isdigit() and alike and len(inside) > 1 else part)
        here = getattr(here, part, None) if isinstance(here, nn.Module) else None
    return ".".join(parts)


def parent(path: str) -> str | None:
    """Name the module around this one; None for the model itself."""
    return path.rpartition(".")[0] if path else None


def place(where: str, right: Sequence[str], model: nn.Module | None = None) -> float:
    """Score a place: 1 for a right one, a half for its parent or a child, else 0."""
    said = canonical(where, model)
    answers = {canonical(one, model) for one in right}
    if said in answers:
        return 1.0
    near = parent(said) in answers or said in {parent(one) for one in answers}
    return 0.5 if near else 0.0
