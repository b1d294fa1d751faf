"""Whether a model leaves the process as it was: settings, and the seeds of generators."""

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from zoo.testing import blame
from zoo.testing.checks.running_spy import spy
from zoo.testing.engine import Check
from zoo.testing.finding import Finding
from zoo.testing.guard import put_back, seed_all, settings
from zoo.testing.subject import Subject

SPEED = ("float32 matmul precision", "cudnn benchmark", "attention fast path")


def check_global_state(subject: Subject) -> Iterable[Finding]:
    """Stop a model that changes a setting of the process, or seeds its generators."""
    rows = max(3, subject.spec.min_batch_train or 1)
    before = settings()
    module = subject.fresh(train=True)
    batch = subject.batch(rows)
    yield from changed(before, "build()")
    yield from seeds_itself(subject)
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("forward in train mode", lambda: subject.call(module.train(), batch)),
        ("forward in eval mode", lambda: subject.call(module.eval(), batch)),
    ]
    if subject.has_loss():
        steps.append(("the loss", lambda: subject.loss(subject.call(module, batch), batch)))
    for what, run in steps:
        before = settings()
        try:
            run()
        except Exception:
            continue
        finally:
            found = list(changed(before, what))
        yield from found
        if found:
            return
        seeded = list(reseeded(module, run, what))
        yield from seeded
        if seeded:
            return


def changed(before: dict[str, Any], what: str) -> Iterator[Finding]:
    """Find settings that are not as they were, and put them back."""
    after = settings()
    put_back(before)
    for name, value in before.items():
        if after[name] != value:
            yield Finding(
                kind="global-state",
                severity="warn" if name in SPEED else "fail",
                where="",
                evidence=f"{what} changes {name} of the whole process from {value} to "
                f"{after[name]}",
                explanation="everything else in the process then computes differently: other "
                "models, metrics, tests",
                fix="use a with-block (torch.no_grad(), torch.autocast) or pass dtype= and "
                "device=; leave settings of the process to the program that runs",
            )


def states(seed: int) -> dict[str, Any]:
    """Give the states of all generators."""
    found: dict[str, Any] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "Python's random": random.getstate(),
    }
    if "numpy" in sys.modules:
        found["numpy.random"] = sys.modules["numpy"].random.get_state()[1].tobytes()
    return found


def reseeded(module: nn.Module, run: Callable[[], Any], what: str) -> Iterator[Finding]:
    """Find a generator that stands at the same point whatever its seed was: it was seeded."""
    after = []
    for seed in (11, 12):
        seed_all(seed)
        run()
        after.append(states(seed))
    for name, state in after[0].items():
        if state == after[1][name]:
            yield Finding(
                kind="global-state",
                severity="fail",
                where=seeder(module, run),
                evidence=f"after {what}, the generator of {name} stands at the same point under "
                "two different seeds",
                explanation="the call seeds the global generator: every later draw of the process "
                "repeats (the same dropout masks, the same shuffle at every step)",
                fix="remove the call of manual_seed or seed; draw from a torch.Generator of its "
                "own where fixed numbers are needed",
            )


class SeedWatch:
    """A block that notes which modules seed torch's generator while they are made."""

    def __init__(self) -> None:
        self.makers: list[str] = []

    def __enter__(self) -> "SeedWatch":
        self.own = torch.manual_seed
        setattr(torch, "manual_seed", self.seed)  # noqa: B010
        return self

    def __exit__(self, *_: object) -> None:
        setattr(torch, "manual_seed", self.own)  # noqa: B010

    def seed(self, value: Any) -> Any:
        """Seed, and note the module whose code asks for it."""
        frame: Any = sys._getframe(1)
        for _ in range(6):
            owner = frame.f_locals.get("self") if frame is not None else None
            if isinstance(owner, nn.Module):
                self.makers.append(f"{type(owner).__name__}.{frame.f_code.co_name}")
                break
            frame = frame.f_back if frame is not None else None
        return self.own(value)


def seeds_itself(subject: Subject) -> Iterator[Finding]:
    """Find a module that seeds torch's generator while it is made."""
    seed_all(subject.seed)
    with SeedWatch() as watch:
        subject.spec.build()
    if watch.makers:
        yield Finding(
            kind="global-state",
            severity="fail",
            where="",
            evidence=f"{watch.makers[0]} calls torch.manual_seed while the model is built",
            explanation="making the model sets the seed of the whole process: whatever seed a run "
            "was given, all its later draws are the same",
            fix="leave seeding to the program that runs; draw from a torch.Generator of its own "
            "where fixed numbers are needed",
        )


def seeder(module: nn.Module, run: Callable[[], Any]) -> str:
    """Name the module in which torch's generator is seeded."""
    made: dict[int, list[tuple[str, bytes]]] = {}
    for seed in (11, 12):
        points: list[tuple[str, bytes]] = []

        def look(call: Any, points: list[tuple[str, bytes]] = points) -> None:
            points.append((call.where, torch.get_rng_state().numpy().tobytes()))

        seed_all(seed)
        spy(module, run, before=look)
        made[seed] = points
    before = ""
    for one, other in zip(made[11], made[12], strict=False):
        if one[1] == other[1]:  # seeded between the last call and this one
            return blame.common(before, one[0])
        before = one[0]
    return before


ROWS = (
    Check(
        name="global_state",
        run=check_global_state,
        about="settings and seeds of the process stay as they are",
    ),
)
