"""A model under test: built, called and judged the way its author said.

A subject makes everything anew under a seed, so a check may do with a module what it likes.
"""

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.facts import LABEL_NAMES, Facts, find_facts
from zoo.testing.guard import Untouched, seed_all
from zoo.testing.spec import ModelSpec
from zoo.testing.stress import Bench, make_bench
from zoo.testing.trees import at, changed, tensors

LARGE = 5e6  # parameters: such a model is copied where a smaller one is built again


class SpecError(ValueError):
    """A description that cannot be followed: what was given, and what would be right."""


class Subject:
    """A spec, with what was found out about it."""

    def __init__(self, spec: ModelSpec, seed: int = 0) -> None:
        self.spec, self.seed = spec, seed
        seed_all(seed)
        module = built_by(spec.build)
        self.title = spec.name or type(module).__name__
        self.built = Built(module)
        self.form = "mapping"  # how the author's batches come
        self.renamed: dict[str, str] = {}  # the author's name of an input -> forward's
        self._facts: Facts | None = None
        self._benches: dict[tuple[bool, bool], Bench | None] = {}

    # making

    def fresh(self, seed: int | None = None, *, train: bool = True) -> nn.Module:
        """Build the module as its author does, under a seed; in train mode, or in eval mode."""
        seed_all(self.seed if seed is None else seed)
        module = built_by(self.spec.build)
        if hasattr(self, "built") and module is self.built.module:
            self.keep(module)
            module = built_by(self.spec.build)
        lazy = any(nn.parameter.is_lazy(p) for p in module.parameters())
        if lazy and hasattr(self, "built"):  # parts that learn their sizes from a first batch
            with torch.no_grad():
                self.call(module.eval(), self.batch())
        return module.train(train)

    def keep(self, module: nn.Module) -> None:
        """Build copies from now on: the author's build() gives one module, which is not ours."""

        def build() -> nn.Module:
            made = copy.deepcopy(module)
            made.zero_grad()
            return made

        self.spec = replace(self.spec, build=build)

    def batch(self, size: int = 3, seed: int | None = None) -> dict[str, Any]:
        """Make a batch of so many rows under a seed, by name."""
        if self.spec.batch is None:
            raise SpecError("the spec has no batch; give batch=lambda size: {...}")
        seed_all(1000 + (self.seed if seed is None else seed))
        given: Any = self.spec.batch(size)
        return {name: changed(x, own) for name, x in self.named(given).items()}

    def named(self, given: Any) -> dict[str, Any]:
        """Give a batch by name: a tensor or a tuple takes the names of forward's parameters."""
        if isinstance(given, Mapping):
            return self.with_forwards_names(dict(given))
        items = [given] if isinstance(given, Tensor) else given
        if not isinstance(items, Sequence) or isinstance(items, str | bytes):
            raise SpecError(
                f"batch(size) gives {type(given).__name__}; expected a dict of tensors by the "
                "names of forward's parameters"
            )
        self.form = "tensor" if isinstance(given, Tensor) else type(given).__name__
        if self.by_place():
            return {f"input{i}": item for i, item in enumerate(items)}
        takes = self.takes()
        needed = [name for name, must in takes.items() if must] or list(takes)[:1]
        names = needed[: len(items)]
        spare = [name for name in LABEL_NAMES if name not in takes]
        names += spare[: len(items) - len(names)]
        return dict(zip(names, items, strict=False))

    def with_forwards_names(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Rename entries that stand for what forward must have under another name, in order."""
        if not self.renamed and not self.built.open:
            missing = [n for n, must in self.takes().items() if must and n not in batch]
            labels = {self.spec.labels, *LABEL_NAMES}
            spare = [n for n in batch if n not in self.takes() and n not in labels]
            if len(spare) >= len(missing):
                self.renamed = dict(zip(spare, missing, strict=False))
        return {self.renamed.get(name, name): x for name, x in batch.items()}

    def takes(self) -> dict[str, bool]:
        """Give the names that forward takes by keyword, and whether it must have them."""
        return forward_names(self.built.forward)

    def arguments(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Give what of a batch forward gets; the rest is for the loss."""
        if self.built.open:
            labels = {self.spec.labels} if self.spec.labels and self.spec.loss else set()
            return {name: x for name, x in batch.items() if name not in labels}
        if self.by_place():
            return {name: x for name, x in batch.items() if name not in LABEL_NAMES}
        takes = self.takes()
        return {name: x for name, x in batch.items() if name in takes}

    # running

    def call(self, module: nn.Module, batch: Mapping[str, Any]) -> Any:
        """Run forward."""
        given = self.arguments(batch)
        return module(*given.values()) if self.by_place() else module(**given)

    def by_place(self) -> bool:
        """Say whether forward takes its inputs by place alone: forward(*inputs)."""
        return self.built.starred and not self.takes()

    def main(self, output: Any) -> Tensor:
        """Give the output that counts: where the author said, else the first floating tensor."""
        path = self.spec.output
        if callable(path):
            return path(output)
        if isinstance(path, str):
            found = at(output, path)
            if not isinstance(found, Tensor):
                raise SpecError(f"output {path!r} is {type(found).__name__}; expected a tensor")
            return found
        every = tensors(output)
        for name, x in every.items():  # a loss beside the logits is not what is looked at
            if is_real(x) and (x.dim() or len(every) == 1) and name != "loss":
                return x
        for x in every.values():
            return x
        raise SpecError(
            f"forward gives {type(output).__name__} without a tensor; say where the output is "
            "with output='name' or output=lambda output: ..."
        )

    def outputs(self, output: Any) -> dict[str, Tensor]:
        """Give every tensor of an output by path."""
        return tensors(output)

    def has_loss(self) -> bool:
        """Say whether there is a loss: the author's, or one that forward gives."""
        return self.spec.loss is not None or self.facts.gives_loss

    def loss(self, output: Any, batch: Mapping[str, Any]) -> Any:
        """Give the loss of an output: the author's, or the one that forward gave as `loss`."""
        if self.spec.loss is None:
            found = tensors(output).get("loss")
            if found is None:
                raise SpecError("the spec has no loss; give loss=lambda output, batch: ...")
            return found
        theirs = {name: key for key, name in self.renamed.items()}
        given: Any = {theirs.get(name, name): x for name, x in batch.items()}
        if self.form == "tensor":
            given = next(iter(given.values()))
        elif self.form != "mapping":
            given = tuple(given.values())
        return self.spec.loss(output, given)

    # what is known

    def large(self) -> bool:
        """Say whether the model is too large to be built for every question."""
        return self.built.count > LARGE

    def prepare(self) -> None:
        """Find out what the author did not say. Raises what the model raises."""
        if self._facts is None:
            self._facts = find_facts(self)

    @property
    def facts(self) -> Facts:
        """What is known of the model."""
        return self._facts_or_find()

    def _facts_or_find(self) -> Facts:
        self.prepare()
        assert self._facts is not None
        return self._facts

    def bench(self, *, train: bool = False, stress: bool = True) -> Bench:
        """Give the module in float64, with weights that hide nothing: a fresh copy each time."""
        key = (train, stress)
        first = self._benches.get(key)
        made = make_bench(self, train=train, stress=stress, like=first)
        self._benches.setdefault(key, made)
        return made

    def guarded(self, seed: int | None = None) -> Untouched:
        """Make a block that leaves generators and settings as they were."""
        return Untouched(self.seed if seed is None else seed)


class Built:
    """What is read off one built module: forward's signature, and its parameters by name."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module  # as it was built: never changed, never run
        self.forward = module.forward
        kinds = {p.kind for p in inspect.signature(module.forward).parameters.values()}
        self.open = inspect.Parameter.VAR_KEYWORD in kinds  # forward(..., **kwargs)
        self.starred = inspect.Parameter.VAR_POSITIONAL in kinds  # forward(*inputs)
        self.parameters = dict(module.named_parameters())
        lazy = nn.parameter.UninitializedParameter
        sizes = [p.numel() for p in self.parameters.values() if not isinstance(p, lazy)]
        self.count = sum(sizes)


def built_by(build: Any) -> nn.Module:
    """Call a function that builds a module. Raises SpecError for anything else that it gives."""
    module = build()
    if not isinstance(module, nn.Module):
        raise SpecError(f"build() gives {type(module).__name__}; expected a torch.nn.Module")
    return module


def forward_names(forward: Any) -> dict[str, bool]:
    """Give the parameters of a forward by name, and whether each must be given."""
    found = {}
    for name, parameter in inspect.signature(forward).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            found[name] = parameter.default is parameter.empty
    return found


def own(x: Tensor) -> Tensor:
    """Copy a tensor of the author's, which may be a view of data that is not ours."""
    return x.detach().clone().requires_grad_(x.requires_grad)


def is_real(x: Tensor) -> bool:
    """Say whether a tensor holds real or complex numbers, not ids."""
    return x.is_floating_point() or x.is_complex()


def cloned(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a batch's tensors."""
    return {name: x.clone() if isinstance(x, Tensor) else copy.copy(x) for name, x in batch.items()}
