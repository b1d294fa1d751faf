"""Whether a module moves to another device with all it needs, and keeps to its dtype."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing import blame
from zoo.testing.checks.running_spy import Call, spy, told, unregistered
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

# functions that take tensors of the host beside those of a device, or are there to move them
MIXES = (
    "__getitem__ __setitem__ to cpu cuda copy_ type type_as set_ clone detach is_cuda __repr__ "
    "pack_padded_sequence _pack_padded_sequence pad_packed_sequence ctc_loss index_put_ index_put "
    "repeat_interleave tensor_split numpy item tolist load_state_dict zeros_like ones_like "
    "rand_like randn_like full_like empty_like new_tensor new_zeros new_ones new_full new_empty "
    "expand_as view_as reshape_as is_floating_point size dim __len__ equal bincount"
).split()


def check_device(subject: Subject) -> Iterable[Finding]:
    """Stop a model that would leave tensors behind when it is moved to another device.

    No other device is needed: what module and batch hold would move, and so would all that is
    computed from it or made with device=; what is made without, and plain attributes, would not.
    """
    for train in (False, True):
        module = subject.fresh(train=train)
        batch = subject.batch(max(3, subject.spec.min_batch_train or 1))
        sides = Sides(module, batch)
        try:
            with torch.no_grad():
                run_through(subject, module, batch, sides)
        except Exception as error:
            raise NotApplicable("the model does not run in this mode: see sizes") from error
        if sides.found is not None:
            yield sides.found
            return


def run_through(subject: Subject, module: nn.Module, batch: Any, sides: "Sides") -> None:
    """Run forward once, with every call shown to `sides`."""
    spy(module, lambda: subject.call(module, batch), before=sides.look)


class Sides:
    """Which tensors would lie on a device, and the first call in which both sides meet."""

    def __init__(self, module: nn.Module, batch: Any) -> None:
        plain = [(joined(w, p), x) for w, p, x in unregistered(module) if isinstance(x, Tensor)]
        own = {id(x) for x in (*module.parameters(), *module.buffers())}
        self.names = {id(x): name for name, x in plain if id(x) not in own}
        self.host = set(self.names)
        self.moved = own | {id(x) for x in tensors(batch).values()}
        self.last: Call | None = None
        self.found: Finding | None = None

    def look(self, call: Call) -> None:
        """Sort what the last call gave, and judge what this one is given."""
        if self.last is not None:
            self.sort(self.last)
        self.last = call
        if self.found is not None or call.name == "__setitem__":
            return
        given = call.tensors()
        if call.name == "__getitem__":  # an index may come from the host, what it cuts may not
            wrong = id(given[0]) in self.host and any(id(x) in self.moved for x in given[1:])
            left = given[0] if wrong else None
        else:
            moved = any(id(x) in self.moved and x.dim() for x in given)
            stay = [x for x in given if id(x) in self.host and x.dim()]
            left = stay[0] if moved and stay and call.name not in MIXES else None
        if left is not None:
            self.found = stays(call, left, self.names)

    def sort(self, call: Call) -> None:
        """Say on which side the result of a call would lie."""
        given = call.tensors()
        device = call.kwargs.get("device")
        if call.name in ("cpu", "from_numpy") or (device == "cpu" and isinstance(device, str)):
            side = self.host
        elif device is not None or call.name in ("cuda", "type_as") or goes(call) or says(call):
            side = self.moved
        elif given:
            side = self.host if all(id(x) in self.host for x in given) else self.moved
        else:
            side = self.host if call.name in FACTORIES else self.moved
        for x in tensors(call.result).values():
            # on one device .to(device) gives the same tensor, elsewhere another: this one is moved
            same = any(x is y for y in given)
            if not same or (side is self.moved and goes_there(call)):
                (self.host if side is self.moved else self.moved).discard(id(x))
                side.add(id(x))
            elif side is self.host and call.name in ("cpu", "to"):
                self.moved.discard(id(x))  # now on both sides


FACTORIES = (
    "zeros ones empty full arange linspace logspace eye tensor as_tensor rand randn randint "
    "randperm tril_indices triu_indices normal hann_window hamming_window from_numpy"
).split()


def goes(call: Call) -> bool:
    """Say whether a call is `to` with a device, or with a tensor that has one."""
    return call.name == "to" and any(is_place(x) for x in call.args[1:])


def says(call: Call) -> bool:
    """Say whether a call is told a device by place, as an operator of one's own may be."""
    return any(isinstance(x, torch.device) for x in call.args)


def goes_there(call: Call) -> bool:
    """Say whether a call moves a tensor, in any of the ways."""
    said = call.name == "to" and call.kwargs.get("device") is not None
    return said or goes(call) or call.name in ("type_as", "cuda")


def is_place(value: Any) -> bool:
    """Say whether an argument of `to` names a device, by itself or by a tensor."""
    return isinstance(value, torch.device | Tensor | str)


def joined(where: str, path: str) -> str:
    """Join a module's path and an attribute's."""
    return f"{where}.{path}" if where else path


def stays(call: Call, left: Tensor, hosts: dict[int, str]) -> Finding:
    """Make the finding of a tensor that stays on the host."""
    name = hosts.get(id(left), "")
    where = name.rpartition(".")[0] if name and "[" not in name else call.where
    if not name and type(call.module).__module__.startswith("torch.nn"):
        where = where.rpartition(".")[0]  # who called the layer made the tensor
    what = f"the attribute {name}" if name else f"a tensor of shape {tuple(left.shape)}"
    return Finding(
        kind="device",
        severity="fail",
        where=where,
        line=blame.user_line(),
        evidence=f"with the module and the batch on another device, {call.name} in "
        f"{told(call.where)} meets {what} that stays on the CPU",
        explanation="on a GPU this raises 'Expected all tensors to be on the same device'"
        + ("; a plain attribute is not moved by .to() and not saved" if name else ""),
        fix="register it with self.register_buffer(name, tensor)"
        if name
        else "make it where the input is: torch.zeros(..., device=x.device), x.new_zeros(...)",
    )


def check_promotion(subject: Subject) -> Iterable[Finding]:
    """Stop a model that gives float64 for weights and inputs of float32."""
    module = subject.fresh(train=False)
    kinds = {p.dtype for p in module.parameters()} | {
        x.dtype for x in tensors(subject.batch()).values() if x.is_floating_point()
    }
    if kinds != {torch.float32}:
        raise NotApplicable("the model is not of float32 alone")
    yield from widened(subject, module)


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


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("device", check_device, "nothing stays behind when the module moves to a device"),
        ("promotion", check_promotion, "float32 stays float32"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())
