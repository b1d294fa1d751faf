"""What must change no number: how memory is laid out, how many threads work, who compiles."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.testing.blame import Place, first_wrong, record
from zoo.testing.checks.neutrality import same_twice
from zoo.testing.checks.running import raised_at
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject

PARALLEL = 32_768  # torch shares work among threads from so many numbers on
SMALL = 500_000  # parameters of a model that is compiled for a check: tracing takes seconds
MODULES = 24


def check_memory_layout(subject: Subject) -> Iterable[Finding]:
    """Give inputs with other strides, and images with channels last: the numbers must stay."""
    bench = subject.bench()
    batch = bench.batch()
    same_twice(bench, batch)
    plain = bench.main(batch)
    layouts = {"inputs that are not contiguous": scattered(batch)}
    images = {n: x for n, x in batch.items() if isinstance(x, Tensor) and x.dim() == 4}
    if any(x.is_floating_point() for x in images.values()):
        layouts["inputs in channels_last"] = {**batch, **{n: last(x) for n, x in images.items()}}
    for words, given in layouts.items():
        try:
            got = bench.main(given)
        except Exception as error:
            said = (str(error).splitlines() or [""])[0][:300]
            yield Finding(
                kind="shape",
                severity="info",  # view() of an input is common, and says itself what is wrong
                where="",
                line=raised_at(error),
                evidence=f"with {words} forward raised {type(error).__name__}: {said}",
                explanation="a slice, a transposed tensor or a loader's channels_last batch holds "
                "the same numbers and must do",
                fix="use reshape() where view() is used, or call contiguous() first",
            )
            continue
        if bench.differ(got, plain):
            place = blamed(bench, batch, given)
            yield Finding(
                kind="shape",
                severity="fail",
                where=place.where,
                line=place.line,
                evidence=f"{words} with the same numbers give another output: it differs by "
                f"{bench.apart(got, plain):.3g} of the largest (float64)",
                explanation="memory is read in the order in which it lies, and not by index: a "
                "transposed or sliced input is mistaken for another",
                fix="use reshape(), or contiguous() before as_strided, storage and data_ptr tricks",
            )


def scattered(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a batch so that no tensor of two axes or more lies in one piece."""
    return {n: apart_in_memory(x) if isinstance(x, Tensor) else x for n, x in batch.items()}


def apart_in_memory(x: Tensor) -> Tensor:
    """Give the same numbers, laid out with the first axis last; a row of numbers gets gaps."""
    if not x.dim() or x.layout != torch.strided or not x.numel():
        return x
    if x.dim() == 1:
        return torch.stack([x, x], -1)[..., 0]
    axes = tuple(reversed(range(x.dim())))
    return x.permute(axes).contiguous().permute(axes)


def last(x: Tensor) -> Tensor:
    """Give an image with its channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def blamed(bench: Bench, batch: Mapping[str, Any], other: Mapping[str, Any]) -> Place:
    """Find the first step at which two runs part."""
    one = record(bench.module, lambda: bench.run(other))
    two = record(bench.module, lambda: bench.run(batch))
    return first_wrong(one, two, bench.differ) or Place("")


def check_threads(subject: Subject) -> Iterable[Finding]:
    """Compare one thread with two."""
    bench = subject.bench(stress=False)
    batch = bench.batch()
    sizes = [x.numel() for x in batch.values() if isinstance(x, Tensor)]
    sizes += [p.numel() for p in bench.module.parameters()]
    if max(sizes, default=0) < PARALLEL:
        raise NotApplicable("the model is too small to be shared among threads")
    same_twice(bench, batch)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(bench.main(batch))
    finally:
        torch.set_num_threads(before)
    if bench.differ(found[0], found[1]):
        yield Finding(
            kind="threads",
            severity="fail",
            where="",
            evidence="one thread and two give outputs that differ by "
            f"{bench.apart(found[0], found[1]):.3g} of the largest, far more than the rounding of "
            "another order of sums",
            explanation="an op reads memory that another thread has not written yet, or never was",
            fix="look for torch.empty without a fill, in-place ops on overlapping views, and "
            "kernels of your own",
        )


def check_compile(subject: Subject) -> Iterable[Finding]:
    """Compare the model with itself as torch.compile traces it; what it refuses is only told."""
    if "torch._dynamo" not in sys.modules:
        raise NotApplicable("torch._dynamo is not loaded (seconds); import it to compare with it")
    bench = subject.bench()
    count = sum(1 for _ in bench.module.modules())
    if subject.built.count > SMALL or count > MODULES:
        raise NotApplicable(f"{count} modules take seconds to trace")
    batch = bench.batch()
    same_twice(bench, batch)
    plain = bench.main(batch)
    fresh = subject.bench()
    try:
        got = compiled(fresh, batch)
    except Exception as error:
        yield Finding(
            kind="compile",
            severity="info",
            where="",
            line=raised_at(error),
            evidence=f"torch.compile raised {type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0][:300]}",
            explanation="the model cannot be compiled as it is",
            fix="see torch._dynamo.explain(model)(**batch)",
        )
        return
    if bench.differ(got, plain):
        yield Finding(
            kind="compile",
            severity="fail" if not subject.spec.stateful else "warn",
            where="",
            evidence="traced by torch.compile (backend 'eager') the model gives another output: "
            f"it differs by {bench.apart(got, plain):.3g} of the largest (float64)",
            explanation="the trace keeps what was true at the first call: a Python number, a "
            "cache, a global that forward changes",
            fix="keep what changes in tensors and buffers, and nothing in globals",
        )


def compiled(bench: Bench, batch: Mapping[str, Any]) -> Tensor:
    """Run the model as traced by dynamo."""
    import torch._dynamo as dynamo

    dynamo.reset()
    traced = torch.compile(bench.module, backend="eager", dynamic=False)
    try:
        seed_all(0)
        with torch.no_grad(), DefaultDtype(bench.dtype):
            return bench.subject.main(bench.subject.call(traced, batch)).clone()
    finally:
        dynamo.reset()


ROWS = (
    Check(
        name="memory_layout",
        run=check_memory_layout,
        about="how inputs lie in memory changes no number",
    ),
    Check(
        name="threads",
        run=check_threads,
        tier="full",
        about="the number of threads changes no more than rounding",
    ),
    Check(
        name="compile",
        run=check_compile,
        tier="full",
        about="torch.compile changes no number",
    ),
)
