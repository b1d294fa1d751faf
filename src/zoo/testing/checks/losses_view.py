"""What the checks of a loss look at together: the free loss, its readings, and the labels."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.testing.blame import Place, record
from zoo.testing.checks.losses_free import Free, label_entries, loss_line, make_free
from zoo.testing.checks.losses_read import Reading, normal, read
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

IGNORED = -100  # torch's own default
Severity = Literal["fail", "warn", "info"]


@dataclass
class View:
    """A loss under examination."""

    subject: Subject
    free: Free
    labels: dict[str, Tensor]
    readings: dict[str, Reading | None] = field(default_factory=dict)
    line: str = ""

    def reading(self) -> Reading | None:
        """Give what the loss wants of the output that counts, where that is understood."""
        return self.readings.get(self.free.path)

    def coupled(self) -> bool:
        """Say whether rows of a batch are meant to be compared with each other."""
        spec = self.subject.spec
        return bool(
            spec.task == "contrastive" or spec.couples_batch or self.subject.facts.output_couples
        )

    def finding(
        self,
        kind: str,
        severity: Severity,
        evidence: str,
        explanation: str,
        fix: str,
        *,
        where: str = "",
        line: str | None = None,
    ) -> Finding:
        """Make a finding about the loss, with the line at which it is taken."""
        return Finding(
            kind=kind,
            severity=severity,
            where=where,
            evidence=evidence,
            explanation=explanation,
            fix=fix,
            line=self.line if line is None else line,
        )


def make_view(subject: Subject, size: int = 4) -> View:
    """Look at the loss of one batch. Raises NotApplicable where that cannot be done."""
    free = make_free(subject, size)
    view = View(subject, free, label_entries(subject, free.batch), line=loss_line(free))
    view.readings = {path: read(free, path) for path in free.live}
    return view


def drawn(x: Tensor, seed: int) -> Tensor:
    """Draw a standard normal tensor like x."""
    return normal(x)(seed).to(x.dtype)


def probe(view: View, path: str) -> Tensor | None:
    """Give random numbers that the loss can be taken of: free ones, or near what the model gave."""
    x = view.free.base(path)
    n = drawn(x, 5)
    for tried in (n, x * (0.3 * n).exp(), x):
        try:
            if bool(view.free.gradient(tried, path=path).isfinite().all()):
                return tried
        except Exception:
            continue
    return None


def whole(x: Tensor) -> bool:
    """Say whether a tensor holds classes or ids."""
    return not (x.is_floating_point() or x.is_complex() or x.dtype is torch.bool)


def fitting(view: View, shape: tuple[int, ...]) -> tuple[str, Tensor] | None:
    """Give the labels of whole numbers that have one number for each position."""
    for name, x in view.labels.items():
        if whole(x) and (tuple(x.shape) == shape or tuple(x.squeeze(-1).shape) == shape):
            return name, x.reshape(shape)
    return None


def shift_of(classes: Tensor, counted: Tensor, wanted: Tensor, valid: Tensor) -> int | None:
    """Find s so that position t is trained to emit wanted[t + s]; None where no s fits.

    Only positions count whose label is valid. Without a sequence axis s can only be 0.
    """
    shifts = (0, 1, 2, -1, -2) if classes.dim() == 2 else (0,)
    best = [s for s in shifts if agreement(classes, counted, wanted, valid, s) == 1.0]
    return best[0] if len(best) == 1 or (best and best[0] == 0 and classes.dim() < 2) else None


def agreement(classes: Tensor, counted: Tensor, wanted: Tensor, valid: Tensor, shift: int) -> float:
    """Give the share of counted positions that are trained to emit the number `shift` later."""
    if classes.dim() < 2 or shift == 0:
        mine, use = wanted, counted & valid
        equal = classes == mine
    else:
        t = classes.shape[1]
        here = slice(max(0, -shift), t - max(0, shift))
        there = slice(max(0, shift), t - max(0, -shift))
        use = counted[:, here] & valid[:, there]
        equal = classes[:, here] == wanted[:, there]
    return float(equal[use].double().mean()) if bool(use.any()) else 0.0


def shifted(x: Tensor, shift: int, fill: Any) -> Tensor:
    """Give x[t + shift] at every t, and `fill` where there is none."""
    if shift == 0 or x.dim() < 2:
        return x
    out = torch.full_like(x, fill)
    t = x.shape[1]
    here = slice(max(0, -shift), t - max(0, shift))
    out[:, here] = x[:, max(0, shift) : t - max(0, -shift)]
    return out


LAST = ("softmax", "log_softmax", "sigmoid", "relu", "relu_", "tanh", "normalize", "gumbel_softmax")


def ending(view: View, path: str, ops: tuple[str, ...] = LAST) -> Place | None:
    """Find the op of some that gives a tensor of the output as it is."""
    bench = view.subject.bench()
    batch = bench.batch()
    made = record(bench.module, lambda: bench.run(batch))
    found = tensors(made.output)
    wanted = found.get(path)
    if wanted is None:
        wanted = view.subject.main(made.output)
    place = None
    for step in made.steps:
        for x in step.tensors if step.kind == "op" else ():
            same = x.numel() == wanted.numel() and torch.equal(x.flatten(), wanted.flatten())
            if same and step.name in ops:
                place = Place(step.module, step.line, step.name)
    return place
