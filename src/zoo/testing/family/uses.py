"""Every op of a module that reads a parameter, in the order in which they ran.

Between two such ops a model computes without parameters: an attention, an activation, a sum. What
goes into one op and came out of the one before says what that was, whatever the code looks like.

While a module is watched it computes in float64 throughout, casts to a narrower type included, and
dropout that is still active is noted and left out: it would hide every other step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from zoo.testing.blame import user_line
from zoo.testing.trees import tensors

VIEWS = {"t", "transpose", "permute", "view", "reshape", "chunk", "split", "unbind", "expand"}
BARE = {"layer_norm", "rms_norm"}  # noted without parameters too
SUMS = {"add", "__add__", "__radd__"}
NARROW = (torch.float32, torch.float16, torch.bfloat16)
CASTS = {"float", "half", "bfloat16"}
DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"}
DRAWS = {"bernoulli", "bernoulli_", "rand_like", "randn_like", "rand", "randn", "multinomial"}


@dataclass(frozen=True)
class Use:
    """One op that reads parameters."""

    op: str
    parameters: tuple[str, ...]
    inputs: tuple[Tensor, ...]  # what it reads besides
    output: Tensor
    module: str
    line: str
    values: tuple[Tensor, ...] = ()  # the parameters as they were read: whole, or a part
    equation: str = ""  # of an einsum


@dataclass(frozen=True)
class Noise:
    """A random draw in eval mode."""

    what: str
    module: str
    line: str


def uses_of(module: nn.Module, run: Callable[[], Any]) -> tuple[list[Use], Any, list[Noise]]:
    """Run a forward pass without gradients; give the ops that read parameters, the output, and
    what was drawn at random."""
    watch = Reads(module)
    handles = [
        register_module_forward_pre_hook(lambda part, _: watch.enter(part)),
        register_module_forward_hook(lambda *_: watch.leave(), always_call=True),
    ]
    try:
        with torch.no_grad(), watch:
            output = run()
    finally:
        for handle in handles:
            handle.remove()
    return watch.uses, output, watch.noise


class Reads(TorchFunctionMode):
    """A block that notes every op that reads a parameter of a module, or what is made of one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.names: dict[int, tuple[str, ...]] = {
            p.untyped_storage().data_ptr(): (n,) for n, p in module.named_parameters() if p.numel()
        }
        self.paths = {id(m): name for name, m in module.named_modules()}
        self.uses: list[Use] = []
        self.noise: list[Noise] = []
        self.stack: list[str] = []
        self.made: list[Tensor] = []  # of parameters alone; kept, so that no storage is reused

    def enter(self, part: nn.Module) -> None:
        """Note that a module is entered."""
        self.stack.append(self.paths.get(id(part), ""))

    def leave(self) -> None:
        """Note that a module is left."""
        if self.stack:
            self.stack.pop()

    def names_of(self, x: Any) -> tuple[str, ...]:
        """Give the names of the parameters that a tensor is, is a view of, or is made of."""
        if not isinstance(x, Tensor) or x.device.type == "meta" or not x.numel():
            return ()
        return self.names.get(x.untyped_storage().data_ptr(), ())

    def here(self) -> str:
        """Give the path of the module that is running."""
        return self.stack[-1] if self.stack else ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an op; note it if it reads a parameter and gives something new."""
        name = getattr(func, "__name__", "")
        given = [x for x in every_tensor((args, kwargs or {})) if x.numel() or x.dim()]
        own = [x for x in given if self.names_of(x)]
        watched = (own or name in BARE) and name not in VIEWS and name != "__get__"
        others = tuple(x.clone() for x in given if not self.names_of(x)) if watched else ()
        found = self.run(func, name, args, dict(kwargs or {}))
        results = [found] if isinstance(found, Tensor) else list(tensors(found).values())
        if not watched or not results or self.names_of(results[0]):
            return found
        if own and (not others or (name in SUMS and not any(bool(x.any()) for x in others))):
            self.keep(own, results)  # of parameters alone: exp(scale), a table cut and turned
        elif own or name in BARE:
            self.note(name, own, others, results[0], args)
        return found

    def keep(self, own: list[Tensor], results: list[Tensor]) -> None:
        """Remember that tensors are made of parameters alone."""
        names = tuple(dict.fromkeys(n for x in own for n in self.names_of(x)))
        for x in results:
            if x.is_floating_point() and x.numel():
                self.names[x.untyped_storage().data_ptr()] = names
                self.made.append(x)

    def note(
        self, op: str, own: list[Tensor], others: tuple[Tensor, ...], output: Tensor, args: Any
    ) -> None:
        """Note an op."""
        named = {n: x for x in own for n in self.names_of(x)}
        equation = args[0] if op == "einsum" and isinstance(args[0], str) else ""
        values = tuple(x.detach().clone() for x in named.values())
        place = (self.here(), user_line())
        self.uses.append(Use(op, tuple(named), others, output.clone(), *place, values, equation))

    def run(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an op in float64, and without dropout."""
        if name in CASTS and args and isinstance(args[0], Tensor):
            return args[0].double()
        args = tuple(wide(x) for x in args)
        for key, value in kwargs.items():
            kwargs[key] = wide(value)
        if name in DROPOUTS and dropping(args, kwargs):
            self.noise.append(Noise("dropout is active in eval mode", self.here(), user_line()))
            return args[0] if args else kwargs["input"]
        if name == "scaled_dot_product_attention":
            args = self.quiet(args, kwargs, "dropout_p", 4)
        if name == "multi_head_attention_forward" and kwargs.get("training"):
            share = args[10] if len(args) > 10 else kwargs.get("dropout_p", 0.0)
            if share:
                said = "dropout of the attention is active in eval mode"
                self.noise.append(Noise(said, self.here(), user_line()))
            kwargs["training"] = False
        if name in DRAWS:
            said = "random numbers are drawn in eval mode"
            self.noise.append(Noise(said, self.here(), user_line()))
        return func(*args, **kwargs)

    def quiet(self, args: Any, kwargs: dict[str, Any], name: str, at: int) -> Any:
        """Set a share of dropout to zero, and note it if it was not."""
        share = args[at] if len(args) > at else kwargs.get(name, 0.0)
        if not share:
            return args
        said = "dropout of the attention is active in eval mode"
        self.noise.append(Noise(said, self.here(), user_line()))
        if len(args) > at:
            return (*args[:at], 0.0, *args[at + 1 :])
        kwargs[name] = 0.0
        return args


def wide(value: Any) -> Any:
    """Give float64 for a narrower type; leave anything else."""
    return torch.float64 if isinstance(value, torch.dtype) and value in NARROW else value


def dropping(args: Any, kwargs: dict[str, Any]) -> bool:
    """Say whether a call of dropout drops anything."""
    share = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    active = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
    return bool(active) and share > 0


def every_tensor(value: Any) -> Iterator[Tensor]:
    """Give the tensors among arguments, in order."""
    yield from tensors(value).values()
