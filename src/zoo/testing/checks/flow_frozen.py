"""Whether what is frozen is what the author said."""

from collections.abc import Iterable
from dataclasses import fields

import torch
from torch import Tensor, nn

from zoo.testing.checks.flow_runs import Seen
from zoo.testing.checks.flow_unused import common
from zoo.testing.checks.registration_optimizer import held_by
from zoo.testing.checks.slopes import declared
from zoo.testing.checks.slopes_events import code_owner
from zoo.testing.finding import Finding, Severity
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject


def frozen(subject: Subject, module: nn.Module, seen: Seen) -> Iterable[Finding]:
    """Compare what is frozen with what the author said."""
    patterns = subject.spec.frozen or ()
    own = dict(module.named_parameters())
    for pattern in patterns:
        if not any(declared(name, [pattern]) for name in own):
            yield frozen_finding(
                "",
                "fail",
                f"frozen={pattern!r} fits none of the {len(own)} parameters",
                "the pattern was written for other names, so what it should name is trained",
                "write the pattern as in named_parameters()",
            )
    trained = [n for n, p in own.items() if declared(n, patterns) and p.requires_grad]
    trained = [n for n in trained if n in seen.alive and optimised(subject, module, own[n])]
    if trained:
        yield frozen_finding(
            common(trained),
            "fail",
            f"{', '.join(trained[:4])} ({len(trained)} in all) are declared frozen, but ask for a "
            "gradient and get one",
            "an optimizer that is given model.parameters() changes them",
            "set requires_grad_(False) on them when the model is built",
        )
    still = [n for n, p in own.items() if not p.requires_grad and p.is_floating_point()]
    left = [n for n in still if not declared(n, patterns)]
    yield from not_declared(subject, module, left, own, seen)


def optimised(subject: Subject, module: nn.Module, parameter: Tensor) -> bool:
    """Say whether the trainer's optimizer holds a parameter; without a trainer it would."""
    if subject.spec.trainer is None:
        return True
    try:
        return id(parameter) in held_by(subject.spec.trainer.optimizer(module))
    except Exception:
        return True


def not_declared(
    subject: Subject,
    module: nn.Module,
    still: list[str],
    own: dict[str, nn.Parameter],
    seen: Seen,
) -> Iterable[Finding]:
    """Report parameters that do not ask for a gradient although nobody said so."""
    spec = subject.spec
    still = [n for n in still if code_owner(owner_in_user_code(module, n)) != "library"]
    if not still:
        return
    default = next(f.default for f in fields(ModelSpec) if f.name == "frozen")
    said = bool(spec.frozen) or (default is None and spec.frozen is not None)
    tables = all(
        isinstance(module.get_submodule(n.rpartition(".")[0]), nn.Embedding) for n in still
    )
    random = tables and drawn_at_random(subject, own, still, seen)
    severity: Severity = "fail" if said or random else "warn" if tables else "info"
    yield frozen_finding(
        common(still),
        severity,
        f"{', '.join(still[:4])} ({len(still)} of {len(own)}) do not ask for a gradient"
        + (", and are not declared frozen" if said else "")
        + (
            "; another seed builds them with other numbers, so they hold random ones"
            if random
            else ""
        ),
        "they stay as they were built"
        + ("; nn.Embedding.from_pretrained freezes unless freeze=False is given" if tables else ""),
        "set requires_grad_(True), or declare them in frozen=[...]",
    )


def drawn_at_random(
    subject: Subject, own: dict[str, nn.Parameter], still: list[str], seen: Seen
) -> bool:
    """Say whether tables that are looked up hold what build() drew, while all else is trained.

    Vectors that were loaded are the same under every seed; a model whose other weights are frozen
    too is one that is adapted.
    """
    run = any(n.rpartition(".")[0] in seen.calls for n in still)
    if subject.large() or len(own) - len(still) < 2 or not run:
        return False
    try:
        others = [dict(subject.fresh(subject.seed + k).named_parameters()) for k in (1, 2)]
        again = dict(subject.fresh().named_parameters())
        return all(
            torch.equal(again[n], own[n])
            and all(float((o[n] == own[n]).double().mean()) < 0.1 for o in others)
            for n in still
        )
    except Exception:
        return False


def owner_in_user_code(module: nn.Module, name: str) -> nn.Module:
    """Give the innermost module around a parameter whose class is not torch's."""
    path = name.rpartition(".")[0]
    while path and code_owner(module.get_submodule(path)) == "torch":
        path = path.rpartition(".")[0]
    return module.get_submodule(path)


def frozen_finding(
    where: str, severity: Severity, evidence: str, explanation: str, fix: str
) -> Finding:
    """Make a finding of the kind `frozen`."""
    return Finding(
        kind="frozen",
        severity=severity,
        where=where,
        evidence=evidence,
        explanation=explanation,
        fix=fix,
    )
