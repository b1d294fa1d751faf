"""What must change no number: how gradients are kept, and how activations are.

All runs are in float64, in eval mode, at stress weights, so that equal means equal to 1e-9.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.testing.blame import Place, first_wrong, record
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

BIG = 5_000_000  # parameters beyond which a copy takes a second, and one more must be worth it
BLOCKS = 8  # the most that are wrapped one by one, to name the one


def same_twice(bench: Bench, batch: Mapping[str, Any]) -> None:
    """Raise NotApplicable for a model whose numbers change by themselves."""
    one, other = bench.main(batch), bench.main(batch)
    if bench.differ(one, other):
        raise NotApplicable("the model gives other numbers for the same input and seed")


def check_grad_modes(subject: Subject) -> Iterable[Finding]:
    """Compare forward with gradients, without, in inference mode, and with respect to inputs."""
    bench = subject.bench()
    batch = bench.batch()
    same_twice(bench, batch)
    plain = bench.main(batch)
    ways: dict[str, Callable[[], Tensor]] = {
        "with gradients on": lambda: subject.main(bench.run(batch)).detach(),
        "with inputs that require gradients": lambda: subject.main(
            bench.run(wanting(batch))
        ).detach(),
        "under torch.inference_mode()": lambda: in_inference(bench, batch),
    }
    for words, way in ways.items():
        try:
            got = way()
        except Exception as error:
            if words != "with gradients on":
                yield refuses(words, error)
            continue  # what backward cannot do is told by others
        if bench.differ(got, plain):
            yield depends(bench, batch, words, bench.apart(got, plain))
            return
    if subject.built.count <= BIG:
        yield from kept_from_inference(subject)


def wanting(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a batch with floating inputs that require gradients."""
    return {
        n: x.detach().clone().requires_grad_(True)
        if isinstance(x, Tensor) and x.is_floating_point()
        else x
        for n, x in batch.items()
    }


def in_inference(bench: Bench, batch: Mapping[str, Any]) -> Tensor:
    """Run in inference mode; give a tensor of the ordinary kind."""
    with torch.inference_mode():
        found = bench.subject.main(bench.run(batch))
    return found.clone()


def without(bench: Bench, batch: Mapping[str, Any]) -> Any:
    """Run without gradients, though they are on outside."""
    with torch.no_grad():
        return bench.run(batch)


def refuses(words: str, error: Exception) -> Finding:
    """Make the finding of a model that does not run in one of the modes."""
    from zoo.testing.checks.running import raised_at

    said = (str(error).splitlines() or [""])[0][:300]
    return Finding(
        kind="crash",
        severity="info",  # a model that differentiates in its forward cannot
        where="",
        line=raised_at(error),
        evidence=f"{words} forward raised {type(error).__name__}: {said}; "
        "without gradients it runs",
        explanation="evaluation and serving use these modes; in-place writes and views of inputs "
        "are what usually stops them",
        fix="do not write into tensors that came from outside or from a view; clone them first",
    )


def depends(bench: Bench, batch: Mapping[str, Any], words: str, gap: float) -> Finding:
    """Make the finding of a model that computes otherwise in another grad mode."""
    place = Place("")
    if words == "with gradients on":
        quiet = record(bench.module, lambda: without(bench, batch), gradients=True)
        loud = record(bench.module, lambda: bench.run(batch), gradients=True)
        place = first_wrong(loud, quiet, bench.differ) or place
    return Finding(
        kind="train-eval",
        severity="fail",
        where=place.where,
        line=place.line,
        evidence=f"in eval mode the same batch gives other numbers {words} than without gradients: "
        f"they differ by {gap:.3g} of the largest output (float64, where rounding is 1e-16)",
        explanation="whether gradients are kept must not change a value: a loss that is measured "
        "under no_grad() is not the one that is trained",
        fix="ask self.training, not torch.is_grad_enabled() or requires_grad, for what differs "
        "between training and evaluation",
    )


def kept_from_inference(subject: Subject) -> Iterable[Finding]:
    """Run in inference mode first, and train after it: caches made there cannot be trained with."""
    bench = subject.bench()
    batch = bench.batch()
    control = subject.bench()
    try:
        total(control, control.batch()).backward()
    except Exception:
        return  # it cannot be trained in eval mode at all
    try:
        in_inference(bench, batch)
    except Exception:
        return
    try:
        total(bench, batch).backward()
    except RuntimeError as error:
        if "nference" in str(error):
            yield Finding(
                kind="state-carried",
                severity="warn",
                where="",
                evidence="after one forward pass in inference mode, training raises "
                f"{(str(error).splitlines() or [''])[0][:200]}",
                explanation="a tensor made in inference mode was kept in the model (a cache of "
                "masks or rotations), and autograd cannot use it",
                fix="make such tensors in the constructor, or under torch.inference_mode(False)",
            )


def total(bench: Bench, batch: Mapping[str, Any]) -> Tensor:
    """Give one number that depends on every number of the output that counts."""
    x = bench.subject.main(bench.run(batch))
    x = torch.view_as_real(x) if x.is_complex() else x
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    return (x * weights).sum()


# activation checkpointing


def check_checkpointing(subject: Subject) -> Iterable[Finding]:
    """Compare gradients with those of blocks that compute their activations a second time."""
    if subject.built.count > 10 * BIG:
        raise NotApplicable(f"{subject.built.count} parameters take long to compute twice")
    bench = subject.bench()
    names = blocks_of(bench.module)
    if not names:
        raise NotApplicable("the model has no list of blocks")
    if subject.spec.stateful:
        raise NotApplicable("the model remembers between calls")
    batch = bench.batch()
    same_twice(bench, batch)
    try:
        plain, twin = gradients(subject, bench, ()), gradients(subject, subject.bench(), ())
    except Exception as error:
        raise NotApplicable(f"eval mode has no backward pass: {error}"[:200]) from error
    if worst(bench, plain, twin) > bench.bound:
        raise NotApplicable("two backward passes differ by themselves")
    if hands_on_state(bench, names):
        raise NotApplicable("blocks hand on more than tensors: a cache would be filled twice")
    wrong = parted(subject, bench, plain, names)
    if wrong is None:
        return
    first = names[:BLOCKS] if subject.built.count <= BIG else ()
    single = [n for n in first if parted(subject, bench, plain, (n,)) is not None]
    gap, raised = wrong
    where = single[0] if single else ""
    yield Finding(
        kind="checkpointing",
        severity="info" if raised else "fail",
        where=where,
        evidence=(
            f"with torch.utils.checkpoint around {where or f'{len(names)} blocks'} the backward "
            "pass "
            + (
                f"raised {raised}"
                if raised
                else f"gives other gradients: they differ by {gap:.3g} of the largest (float64)"
            )
        ),
        explanation="a block that is computed a second time must compute the same: it does not "
        "when it writes into its input, keeps something from the first time, or draws from a "
        "generator that is not torch's",
        fix="write into no input, draw from torch alone, and keep no state between calls",
    )


def blocks_of(module: nn.Module) -> tuple[str, ...]:
    """List the members of lists of blocks that have parameters, the outermost alone."""
    found: list[str] = []
    lists = {
        n: m for n, m in module.named_modules() if isinstance(m, nn.ModuleList | nn.Sequential)
    }
    for name, part in lists.items():
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        for key, child in part.named_children():
            if any(True for _ in child.parameters()):
                found.append(f"{name}.{key}".lstrip("."))
    return tuple(found)


def hands_on_state(bench: Bench, names: tuple[str, ...]) -> bool:
    """Say whether a block is given an object, a list or a dict, which it may write into."""
    found: list[Any] = []

    def look(_block: nn.Module, args: Any, kwargs: Any) -> None:
        found.extend([*args, *kwargs.values()])

    blocks = [bench.module.get_submodule(name) for name in names]
    handles = [b.register_forward_pre_hook(look, with_kwargs=True) for b in blocks]
    try:
        bench(bench.batch())
    finally:
        for handle in handles:
            handle.remove()
    return not all(is_plain(x) for x in found)


def is_plain(value: Any) -> bool:
    """Say whether a value is a tensor, a constant, or a tuple of them."""
    if isinstance(value, tuple):
        return all(is_plain(x) for x in value)
    plain = Tensor | int | float | str | torch.dtype | torch.device | torch.Size
    return value is None or isinstance(value, plain)


def gradients(subject: Subject, bench: Bench, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Give output and gradients, with some blocks checkpointed."""
    for name in names:
        wrapped(bench.module.get_submodule(name))
    batch = bench.batch()
    bench(batch)  # what is made at the first call is made now
    seed_all(0)
    with DefaultDtype(bench.dtype):
        output = subject.call(bench.module, batch)
        x = subject.main(output)
        x = torch.view_as_real(x) if x.is_complex() else x
        generator = torch.Generator().manual_seed(3)
        weights = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
        (x * weights).sum().backward()
    found = {n: y.detach() for n, y in tensors(output).items()}
    for name, p in bench.module.named_parameters():
        if p.grad is not None and p.grad.layout == torch.strided:
            found[f"gradient of {name}"] = p.grad
    return found


def wrapped(block: nn.Module) -> None:
    """Have a block's forward run under checkpoint."""
    forward = block.forward

    def again(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    block.forward = again


def worst(bench: Bench, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Give the largest difference of gradients, relative to the largest gradient of all."""
    size = max(
        (float(x.abs().max()) for n, x in one.items() if n.startswith("g") and x.numel()),
        default=1.0,
    )
    gap = 0.0
    for name, x in one.items():
        if name not in other:
            return float("inf")
        if name.startswith("gradient of") and x.numel():
            gap = max(gap, float((x - other[name]).abs().max()) / (size or 1.0))
    return gap


def parted(
    subject: Subject, bench: Bench, plain: Mapping[str, Tensor], names: tuple[str, ...]
) -> tuple[float, str] | None:
    """Give how far gradients part with some blocks checkpointed, or what was raised."""
    try:
        got = gradients(subject, subject.bench(), names)
    except Exception as error:
        return float("inf"), f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    gap = worst(bench, plain, got)
    return (gap, "") if gap > bench.bound else None


ROWS = (
    Check(
        name="grad_modes",
        run=check_grad_modes,
        about="forward gives the same numbers with gradients, without, and in inference mode",
    ),
    Check(
        name="checkpointing",
        run=check_checkpointing,
        tier="full",
        about="activation checkpointing around blocks changes no gradient",
    ),
)
