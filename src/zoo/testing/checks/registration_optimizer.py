"""Whether the trainer's optimizer holds what is trained, and nothing else."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from zoo.testing.checks.slopes import declared
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject


def optimizer_findings(
    subject: Subject, module: nn.Module, reached: Collection[int]
) -> Iterable[Finding]:
    """Report parameters that the trainer's optimizer does not hold, and strangers in it."""
    if subject.spec.trainer is None:
        return
    try:
        made = subject.spec.trainer.optimizer(module)
    except Exception:
        return  # the check of the training loop says so
    held = held_by(made)
    if not held:
        return
    own = dict(module.named_parameters())
    excused = (*(subject.spec.frozen or ()), *subject.spec.unused_ok)
    missing = [
        name
        for name, p in own.items()
        if p.requires_grad
        and id(p) not in held
        and id(p) in reached
        and not declared(name, excused)
    ]
    known = {id(p) for p in own.values()} | set(reached)
    strangers = [x for key, x in held.items() if key not in known]
    if missing:
        yield Finding(
            kind="optimizer",
            severity="fail",
            where="",
            evidence=f"the optimizer does not hold {len(missing)} of {len(own)} parameters that "
            f"ask for a gradient and get one: {', '.join(missing[:4])}"
            + (" ..." if len(missing) > 4 else ""),
            explanation="they stay as they were initialised while the rest is trained",
            fix="build the optimizer from model.parameters(), or from groups that cover all of "
            "them; freeze (requires_grad=False) and declare what is not to be trained",
        )
    if strangers:
        yield Finding(
            kind="optimizer",
            severity="fail",
            where="",
            evidence=f"the optimizer holds {len(strangers)} tensors that are no parameters of the "
            "model that it was given",
            explanation="it steps another copy, or layers that were replaced after it was made",
            fix="build the optimizer last, from the parameters of the model that is trained",
        )


def held_by(made: Any) -> dict[int, Tensor]:
    """Give all tensors of an optimizer, or of several in a container, by id."""
    if isinstance(made, Mapping):
        made = list(made.values())
    several = made if isinstance(made, list | tuple) else [made]
    groups = [g for one in several for g in getattr(one, "param_groups", ())]
    return {id(x): x for g in groups for x in g["params"] if isinstance(x, Tensor)}
