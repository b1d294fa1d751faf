"""Whether a module moves: to another device, and to another dtype, with all it needs."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing import blame
from zoo.testing.checks.running import raised_at, raised_in
from zoo.testing.checks.running_spy import Call, is_library, spy, told, unregistered
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import DefaultDtype
from zoo.testing.subject import Subject, cloned
from zoo.testing.trees import changed, tensors

# functions that take tensors of the host beside those of a device, or are there to move them
MIXES = (
    "__getitem__ __setitem__ to cpu cuda copy_ type type_as set_ clone detach is_cuda __repr__ "
    "pack_padded_sequence _pack_padded_sequence pad_packed_sequence ctc_loss index_put_ index_put "
    "repeat_interleave tensor_split numpy item tolist load_state_dict zeros_like ones_like "
    "rand_like randn_like full_like empty_like new_tensor new_zeros new_ones new_full new_empty "
    "expand_as view_as reshape_as is_floating_point size dim __len__ equal bincount"
).split()


def check_device(subject: Subject) -> Iterable[Finding]:
    """Stop a model that leaves tensors behind when it is moved to another device."""
    module = subject.fresh(train=False)
    hosts = {id(x): joined(w, p) for w, p, x in unregistered(module) if isinstance(x, Tensor)}
    try:
        module.to("meta")
        batch = changed(subject.arguments(subject.batch()), lambda x: x.to("meta"))
    except Exception as error:
        raise NotApplicable(f"the module does not move to meta: {type(error).__name__}") from error
    found: list[Finding] = []

    def look(call: Call) -> None:
        if not found and call.name not in MIXES:
            left = left_behind(call)
            if left is not None:
                found.append(stays(call, left, hosts))

    try:
        with torch.no_grad():
            spy(module, lambda: subject.call(module, batch), before=look)
    except Exception:
        pass  # what needs values stops here, on a device without any
    yield from found


def joined(where: str, path: str) -> str:
    """Join a module's path and an attribute's."""
    return f"{where}.{path}" if where else path


def left_behind(call: Call) -> Tensor | None:
    """Give a tensor of the host that meets tensors of the device, if there is one."""
    given = call.tensors()
    moved = any(x.device.type == "meta" for x in given)
    return next((x for x in given if moved and x.device.type == "cpu" and x.dim()), None)


def stays(call: Call, left: Tensor, hosts: dict[int, str]) -> Finding:
    """Make the finding of a tensor that stays on the host."""
    name = hosts.get(id(left), "")
    where = name.rpartition(".")[0] if name and "[" not in name else call.where
    what = f"the attribute {name}" if name else f"a tensor of shape {tuple(left.shape)}"
    return Finding(
        kind="device",
        severity="fail",
        where=where,
        line=blame.user_line(),
        evidence=f"with the module and the batch moved to another device, {call.name} in "
        f"{told(call.where)} meets {what} that is still on the CPU",
        explanation="on a GPU this raises 'Expected all tensors to be on the same device'"
        + ("; a plain attribute is not moved by .to() and not saved" if name else ""),
        fix="register it with self.register_buffer(name, tensor)"
        if name
        else "make it where the input is: torch.zeros(..., device=x.device), x.new_zeros(...)",
    )


def check_dtype(subject: Subject) -> Iterable[Finding]:
    """Stop a model that cannot be converted to another dtype, or that gives another one."""
    module = subject.fresh(train=False)
    kinds = {p.dtype for p in module.parameters()} | {
        x.dtype for x in tensors(subject.batch()).values() if x.is_floating_point()
    }
    if kinds != {torch.float32}:
        raise NotApplicable("the model is not of float32 alone")
    yield from widened(subject, module)
    for dtype in (torch.float64, torch.bfloat16):
        found = list(converted(subject, dtype))
        yield from found
        if found:
            return


def widened(subject: Subject, module: nn.Module) -> Iterator[Finding]:
    """Find an output of float64 from weights and inputs of float32."""
    with torch.no_grad():
        main = subject.main(subject.call(module, subject.batch()))
    if main.dtype is not torch.float64:
        return
    batch = subject.batch()
    made = blame.record(module, lambda: subject.call(module, batch))
    place = blame.first_bad(made, lambda x: x.dtype is torch.float64) or blame.Place("")
    yield Finding(
        kind="dtype",
        severity="fail",
        where=place.where,
        line=place.line,
        evidence=f"weights and inputs are float32 and the output is float64, from {place} on",
        explanation="a constant of float64 (from numpy, or dtype=float) promotes all that follows: "
        "twice the memory, many times the time, and errors in mixed precision",
        fix="make the constant in the input's dtype: torch.as_tensor(a, dtype=x.dtype)",
    )


MISMATCH = ("dtype", "scalar type", "Input type", "same type", "Float", "Double")


def converted(subject: Subject, dtype: torch.dtype) -> Iterator[Finding]:
    """Find a forward that raises over dtypes once module and batch are converted."""
    module = subject.fresh(train=False).to(dtype)
    batch = changed(cloned(subject.batch()), lambda x: x.to(dtype) if x.is_floating_point() else x)
    error = raises(subject, module, batch)
    if error is None or not any(word in str(error) for word in MISMATCH):
        return
    if any(word in str(error) for word in ("not implemented", "support", "mat_a to be")):
        return
    plain = [
        joined(w, p)
        for w, p, x in unregistered(module)
        if isinstance(x, Tensor) and x.dtype is torch.float32
    ]
    with DefaultDtype(dtype):
        elsewhere = raises(subject, module, batch) is None
    where = raised_in(error)
    certain = (bool(plain) or elsewhere or dtype is torch.float64) and not is_library(module)
    words = " ".join(str(error).split())[:200]
    cause = f"; {', '.join(plain[:4])} stays float32" if plain else ""
    cause = cause or ("; a tensor is made in the default dtype" if elsewhere else "")
    yield Finding(
        kind="dtype",
        severity="fail" if certain else "warn",
        where=plain[0].rpartition(".")[0] if plain and "[" not in plain[0] else where,
        line=raised_at(error),
        evidence=f"model.to({dtype}) with a batch of that dtype raises {type(error).__name__}: "
        f"{words}{cause}",
        explanation="the model cannot be run in low precision, nor in float64 to look for errors",
        fix="register constants as buffers, and make new tensors in the input's dtype: "
        "torch.arange(n, dtype=x.dtype, device=x.device), .to(x.dtype)",
    )


def raises(subject: Subject, module: nn.Module, batch: Any) -> Exception | None:
    """Run forward and give what it raises."""
    try:
        with torch.no_grad():
            subject.call(module, batch)
    except Exception as error:
        return error
    return None


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("device", check_device, "nothing stays behind when the module moves to a device"),
        ("dtype", check_dtype, "the module runs in the dtype it is converted to"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())
