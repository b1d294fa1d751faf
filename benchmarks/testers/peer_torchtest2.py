"""torchtest2 over a ModelSpec: every check it has, told all that its interface can be told."""

import importlib
from collections.abc import Iterable
from typing import Any

from benchmarks.testers.calls import place_in, seeded
from benchmarks.testers.said import Said
from torch import nn

from zoo.testing.spec import ModelSpec

KINDS: dict[str, tuple[str, ...]] = {
    "forward": ("crash", "shape", "device", "dtype"),
    "output_shape": ("shape",),
    "output_finite": ("non-finite",),
    "output_range": ("range", "loss-input"),
    "output_varies": ("collapsed", "ignored-input", "vanishing"),
    "eval_determinism": ("eval-noise", "nondeterministic", "hidden-rng", "state-carried"),
    "loss": ("loss-shape", "loss-constant", "detached", "non-finite", "crash"),
    "initial_loss": ("loss-scale", "loss-input", "init"),
    "optimizer_coverage": ("optimizer",),
    "gradient_flow": ("unused-parameter", "detached", "dead-units", "vanishing", "wrong-gradient"),
    "gradient_magnitude": ("exploding", "non-finite", "init"),
    "params_change": ("unused-parameter", "detached", "optimizer", "dead-units"),
    "frozen_params": ("frozen",),
    "input_dependency": ("ignored-input", "mask", "detached"),
    "batch_independence": ("batch-leak", "train-eval"),
    "overfit_batch": ("not-learning", "loss-sign", "loss-targets", "wrong-gradient", "init"),
    "gradcheck": ("wrong-gradient",),
}


def options(spec: ModelSpec, model: nn.Module) -> dict[str, Any]:
    """Translate the facts that torchtest2 has a parameter for."""
    given: dict[str, Any] = {
        "gradcheck": True,
        "frozen": [p.rstrip("*.") for p in spec.frozen or ()],
    }
    if spec.output_range is not None:
        given["output_range"] = spec.output_range
    if spec.output_kind == "probabilities":
        given["output_range"] = (0.0, 1.0)
    if spec.trainer is not None:
        given["optimizer"] = spec.trainer.optimizer(model)
    if spec.batch_axis is not None:
        given["batch_dim"] = spec.batch_axis
    if spec.output_batch_axis is not None:
        given["output_batch_dim"] = spec.output_batch_axis
    skip = ["batch_independence"] * bool(spec.couples_batch)
    skip += ["overfit_batch"] * (not spec.overfit)
    skip += ["gradcheck"] * bool(spec.straight_through or spec.stop_gradient)
    return given | {"skip": skip}


def names(details: Any) -> Iterable[str]:
    """List the parameters that a result names."""
    for key in ("no_grad", "zero_grad", "non_finite", "changed", "missing", "unchanged"):
        found = details.get(key) or ()
        yield from (str(name) for name in found)


def torchtest2(spec: ModelSpec) -> list[Said]:
    """Run `torchtest2.check_model`; what only warns stays a warning."""
    peer = importlib.import_module("torchtest2")
    model, batch, inputs = seeded(spec)
    loss: dict[str, Any] = {}
    if spec.loss is not None:
        loss = {"targets": batch, "loss_fn": lambda output, whole: spec.loss(output, whole)}
    report = peer.check_model(model, inputs, **loss, **options(spec, model))
    severity = {"FAIL": "fail", "WARN": "warn"}
    return [
        Said(
            severity=severity[result.status.value],
            kinds=KINDS.get(result.name, ()),
            where=place_in(result.message, names(result.details), model),
            check=result.name,
            evidence=result.message,
        )
        for result in report.results
        if result.status.value in severity
    ]
