"""pytest-torch over a ModelSpec: the checks of its suites, told what they can be told.

What asks whether a model can be deployed (export, ONNX, TorchScript, compile) is left out: the
corpus promises none of it, and a refusal would be no bug.
"""

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from benchmarks.testers.calls import floats, inputs_of, place_in, seeded
from benchmarks.testers.said import Said
from benchmarks.testers.sound import first
from torch import nn

from zoo.testing.spec import ModelSpec, Trainer

KINDS: dict[str, tuple[str, ...]] = {
    "forward": ("crash", "shape"),
    "eval_mode": ("train-eval",),
    "finite_outputs": ("non-finite",),
    "deterministic": ("eval-noise", "nondeterministic", "hidden-rng", "state-carried"),
    "batch_invariance": ("batch-leak", "train-eval"),
    "no_state_mutation": ("state-carried", "train-eval", "input-mutated"),
    "layout": ("shape", "crash"),
    "padding": ("padding-leak", "mask"),
    "mask": ("padding-leak", "mask"),
    "permutation_invariant": ("permutation",),
    "permutation_equivariant": ("permutation",),
    "checkpoint": ("lost-state", "broken-tie", "unregistered"),
    "gradients_finite": ("non-finite", "exploding"),
    "all_params_receive_grad": ("unused-parameter", "detached", "dead-units", "wrong-gradient"),
    "loss_decreases": ("not-learning", "loss-sign", "detached", "optimizer", "wrong-gradient"),
    "overfits": ("not-learning", "loss-targets", "loss-sign", "wrong-gradient", "init"),
    "gradcheck": ("wrong-gradient",),
    "frozen": ("frozen",),
    "output_spec": ("range", "loss-input"),
    "streaming": ("cache", "state-carried"),
    "optimizer_coverage": ("optimizer",),
    "resume": ("resume",),
    "accumulation": ("accumulation", "zero-grad", "clipping", "loss-scale"),
}
Check = tuple[str, Callable[[], Any]]


def behaviour(
    pt: Any, spec: ModelSpec, make: Callable[[], nn.Module], inputs: Any
) -> Iterator[Check]:
    """List the checks of inference: layouts, padding, masks, symmetries, ranges, checkpoints."""
    axis = spec.batch_axis or 0
    model = make().eval()
    yield "layout", lambda: pt.assert_layout_invariant(model, inputs)
    named = isinstance(inputs, Mapping)
    ids = spec.tokens if isinstance(spec.tokens, str) else "input_ids"
    mask = spec.padding_mask or "attention_mask"
    if named and ids in inputs and mask in inputs and axis == 0 and spec.true_means != "drop":
        keys = {"ids_key": ids, "mask_key": mask}
        pad = {"pad_value": spec.pad_id or 0}
        yield "padding", lambda: pt.assert_padding_invariant(model, inputs, **keys, **pad)
        vocab = {"vocab_size": spec.vocab_size} if spec.vocab_size else {}
        yield "mask", lambda: pt.assert_mask_invariant(model, inputs, **keys, **vocab)
    if spec.permutation_invariant:
        yield "permutation_invariant", lambda: pt.assert_permutation_invariant(model, inputs)
    if spec.permutation_equivariant:
        yield "permutation_equivariant", lambda: pt.assert_permutation_equivariant(model, inputs)
    yield "checkpoint", lambda: pt.assert_checkpoint_roundtrip(make, inputs, model=make())
    if spec.output_kind in ("probabilities", "log_probabilities") and spec.output is None:
        log = spec.output_kind == "log_probabilities"
        wanted = pt.Probabilities(log=log)
        yield "output_spec", lambda: pt.assert_output_spec(call(model, inputs), wanted)
    if spec.output_range is not None and spec.output is None:
        low, high = spec.output_range
        span = pt.TensorSpec(min=low, max=high)
        yield "output_spec", lambda: pt.assert_output_spec(call(model, inputs), span)
    if spec.step is not None and spec.sequence_axis in (None, 1):
        yield (
            "streaming",
            lambda: pt.assert_streaming_equivalent(
                model,
                lambda piece, state: step(spec, model, piece, state),
                inputs,
                chunk_sizes=(1,),
                init_state=lambda: None,
            ),
        )


def call(model: nn.Module, inputs: Any) -> Any:
    """Run forward on a tensor, on a tuple or by name, without a graph."""
    with torch.no_grad():
        if isinstance(inputs, Mapping):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def step(spec: ModelSpec, model: nn.Module, piece: Any, state: Any) -> Any:
    """Run the declared step on one piece."""
    with torch.no_grad():
        if isinstance(spec.step, str):
            return getattr(model, spec.step)(piece, state)
        return spec.step(model, piece, state)


def learning(
    pt: Any, spec: ModelSpec, make: Callable[[], nn.Module], inputs: Any, batch: Any
) -> Iterator[Check]:
    """List the checks of gradients and of learning one batch."""
    if spec.loss is None:
        return
    loss = lambda output: spec.loss(output, batch)  # noqa: E731
    ignore = [*spec.unused_ok, *(spec.frozen or ())]
    yield "gradients_finite", lambda: pt.assert_gradients_finite(make(), inputs, loss)
    yield (
        "all_params_receive_grad",
        lambda: pt.assert_all_params_receive_grad(make(), inputs, loss, ignore=ignore),
    )
    if spec.frozen:
        yield "frozen", lambda: pt.assert_frozen(make(), inputs, loss, list(spec.frozen))
    if spec.overfit:
        rate = {"lr": spec.lr} if spec.lr else {}
        steps = {"steps": spec.steps} if spec.steps else {}
        yield (
            "loss_decreases",
            lambda: pt.assert_loss_decreases(make(), inputs, loss, **{"lr": 1e-2} | rate),
        )
        yield (
            "overfits",
            lambda: pt.assert_overfits_one_batch(make(), inputs, loss, **rate, **steps),
        )


def training(
    pt: Any, spec: ModelSpec, trainer: Trainer, make: Callable[[], nn.Module]
) -> Iterator[Check]:
    """List the checks of a training loop."""
    torch.manual_seed(1)
    batches = [spec.batch(4) for _ in range(8)] if spec.batch else []

    def setup() -> Any:
        model = make()
        optimizer = trainer.optimizer(model)
        scheduler = trainer.scheduler(optimizer) if trainer.scheduler else None
        return pt.TrainingSetup(model=model, optimizers=optimizer, schedulers=scheduler)

    def parts(made: Any) -> tuple[Any, Any, Any]:
        schedulers = list((made.schedulers or {}).values())
        return made.model, next(iter(made.optimizers.values())), next(iter(schedulers), None)

    def one(made: Any, batch: Any) -> Any:
        return trainer.step(*parts(made), batch)

    def several(count: int) -> Any:
        pieces: list[Any] = []

        def add(made: Any, piece: Any) -> Any:
            pieces.append(piece)
            if len(pieces) < count:
                return None
            loss = trainer.accumulate(*parts(made), list(pieces))
            pieces.clear()
            return loss

        return one if count == 1 else add

    def save(made: Any, path: Path) -> None:
        torch.save([trainer.save(*parts(made)), torch.get_rng_state()], path)

    def load(made: Any, path: Path) -> None:
        state, draws = torch.load(path, weights_only=False)
        trainer.load(state, *parts(made))
        torch.set_rng_state(draws)

    model = make()
    found = trainer.optimizer(model)
    yield "optimizer_coverage", lambda: pt.assert_optimizer_coverage(model, found)
    if trainer.step and trainer.save and trainer.load:
        yield (
            "resume",
            lambda: pt.assert_resume_equivalent(setup, batches, one, save=save, load=load, steps=6),
        )
    if trainer.step and trainer.accumulate and not depends(spec, model, batches[0]):
        yield (
            "accumulation",
            lambda: pt.assert_accumulation_equivalent(
                setup, batches, several, accumulation_steps=2
            ),
        )


def depends(spec: ModelSpec, model: nn.Module, batch: Any) -> bool:
    """Say whether pieces rightly differ from the whole: batch statistics, or noise that the kit
    cannot switch off (it does so for torch's dropout layers)."""
    if spec.couples_batch_train:
        return True
    model = copy.deepcopy(model).train()
    for part in model.modules():
        part.training = "Dropout" not in type(part).__name__
    inputs = inputs_of(model, batch)
    answers = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        answers.append(first(call(copy.deepcopy(model), inputs)))
    return not torch.equal(*answers)


def tried(checks: Iterator[Check], model: nn.Module) -> Iterator[Said]:
    """Run checks: an AssertionError is a finding, any other error is a check that cannot run."""
    for name, check in checks:
        try:
            check()
        except Exception as error:
            severity = "fail" if isinstance(error, AssertionError) else "info"
            message = f"{type(error).__name__}: {error}"
            where = place_in(message, (), model)
            yield Said(
                severity=severity,
                kinds=KINDS.get(name, ()),
                where=where,
                check=name,
                evidence=message,
            )


def contract(pt: Any, spec: ModelSpec, model: nn.Module, inputs: Any) -> Iterator[Check]:
    """List the inference contract's checks, one by one."""
    every = ["eval_mode", "finite_outputs", "deterministic", "batch_invariance"]
    every.append("no_state_mutation")
    if spec.couples_batch or spec.batch_axis or spec.output_batch_axis:
        every.remove("batch_invariance")
    if spec.stateful:
        every = ["eval_mode", "finite_outputs"]
    if spec.deterministic is False:
        every.remove("deterministic")
    for name in every:
        yield (
            name,
            lambda name=name: pt.check_inference_contract(
                copy.deepcopy(model).eval(), inputs, checks=(name,)
            ),
        )


def pytest_torch(spec: ModelSpec) -> list[Said]:
    """Run the checks of pytest-torch's suites."""
    pt = importlib.import_module("pytest_torch")
    try:
        model, batch, inputs = seeded(spec)
        call(copy.deepcopy(model).eval(), inputs)  # its test_builds
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return [Said(severity="fail", kinds=KINDS["forward"], check="forward", evidence=message)]

    def make() -> nn.Module:
        return spec.build().train()

    def same() -> nn.Module:
        torch.manual_seed(0)
        return make()

    checks = [contract(pt, spec, model, inputs), behaviour(pt, spec, make, inputs)]
    checks.append(learning(pt, spec, same, inputs, batch))
    if floats(inputs) and not (spec.straight_through or spec.stop_gradient):
        small = seeded(spec, 2)[2]
        checks.append(iter([("gradcheck", lambda: pt.assert_gradcheck(same().eval(), small))]))
    if spec.trainer is not None:
        checks.append(training(pt, spec, spec.trainer, make))
    return [one for some in checks for one in tried(some, model)]
