"""Everything that a run needs to go on: as flat tensors and JSON, without a pickle.

    model.<name>                    parameters and buffers, tied ones once
    optimizer.<parameter>.<key>     what the optimizer keeps
    ema.<name>                      the averaged weights
    generator.<name>                torch's generators, numpy's, python's random

    facts: format, step, the groups' numbers, the scaler's, every tensor's dtype and shape, the
    generators' odd parts, and the run's own facts (config, data version, loader position)

`TrainState` knows the objects and no file; `Store` knows files. `save_state` and `load_state` put
the same into one folder for a loop written by hand: config.json and model.safetensors, whole or not
at all. What must be the same on resuming and is not kept: the data and the objective.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.checkpoint import CheckpointError, read_folder, write_folder
from zoo.train.generators import generator_facts, generators, set_generators
from zoo.train.optimizer_state import (
    adopt,
    blank,
    check_groups,
    fill,
    group_facts,
    kept_by,
    optimizer_tensors,
    set_groups,
)

FORMAT = "zoo training state 2"
WRAPPED = ("_checkpoint_wrapped_module.", "_orig_mod.")  # what torch's wrappers add to names
SHOWN = 8  # names in one message


class TrainState:
    """What a run is made of; `step` is the next one, `about` the run's own facts.

    `scaler` has state_dict and load_state_dict (torch.amp.GradScaler), `ema` has state and load.
    Parameters may be FSDP's: nothing is gathered. A run on several processes has generators in
    each: those of the saving one are kept, so a run seeds them anew at each step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        scaler: Any = None,
        ema: Any = None,
        step: int = 0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler
        self.ema = ema
        self.step = step
        self.about = dict(facts or {})

    def tensors(self) -> dict[str, Tensor]:
        """Give all tensors by name: the run's own memory, not copies of it."""
        result = {f"model.{name}": t.detach() for name, t in weights_of(self.model).items()}
        result |= optimizer_tensors(self.optimizer, names_of(self.model))
        if self.ema is not None:
            result |= {f"ema.{name}": t.detach() for name, t in self.ema.state().items()}
        return result | {f"generator.{name}": t for name, t in generators().items()}

    def facts(self) -> dict[str, Any]:
        """Give what is no tensor, as plain JSON."""
        return {
            "format": FORMAT,
            "step": self.step,
            "facts": self.about,
            "groups": group_facts(self.optimizer, names_of(self.model)),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "random": generator_facts(),
            "tensors": {name: described(t) for name, t in self.tensors().items()},
        }

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise CheckpointError that says what does not fit, unless `facts` are such a run's."""
        if facts.get("format") != FORMAT:
            raise CheckpointError(f"this is not a training state; expected format {FORMAT!r}")
        names = names_of(self.model)
        theirs = {name: tuple(entry) for name, entry in facts["tensors"].items()}
        ours = {name: tuple(described(t)) for name, t in self.tensors().items()}
        check_names(ours, theirs, "model.", "another model")
        check_names(ours, theirs, "ema.", "a run with other averages (EMA)")
        check_groups(self.optimizer, names, facts["groups"], theirs)
        for name in filter(theirs.__contains__, ours):
            if ours[name] != theirs[name]:
                raise CheckpointError(
                    f"{name} is {shown(theirs[name])}; the {name.partition('.')[0]} has "
                    f"{shown(ours[name])}"
                )
        held, wanted = bool(facts["scaler"]), bool(self.scaler and self.scaler.state_dict())
        if held != wanted:
            with_, now = ("with", "has none") if held else ("without", "has one")
            raise CheckpointError(
                f"this was saved {with_} a loss scaler and the run {now}: take the same dtype"
            )

    def room(self, facts: Mapping[str, Any]) -> dict[str, Tensor]:
        """Give the tensors to read a state into: the run's own, once `facts` are checked.

        What the optimizer does not keep yet is made, as zeros. Raises as `check` does.
        """
        self.check(facts)
        blank(self.optimizer, names_of(self.model), facts["tensors"])
        return {name: t for name, t in self.tensors().items() if name in facts["tensors"]}

    def restore(
        self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor], *, take: bool = False
    ) -> None:
        """Put a saved state back, in place; the optimizer may be fresh or used.

        With `take` a fresh optimizer keeps the given tensors themselves, so that memory holds them
        once. Raises CheckpointError that says what does not fit, and then nothing has changed. A
        card's generator is set where the state holds one.
        """
        self.check(facts)
        check_given(facts["tensors"], tensors, generators())
        names = names_of(self.model)
        for name, own in weights_of(self.model).items():
            fill(own.detach(), tensors[f"model.{name}"])
        kept = {n: t for n, t in tensors.items() if kept_by(n)}
        adopt(self.optimizer, names, kept, take=take)
        set_groups(self.optimizer, facts["groups"])
        if self.ema is not None:
            averages = {n.removeprefix("ema."): t for n, t in tensors.items()}
            self.ema.load({name: averages[name] for name in self.ema.state()})
        if self.scaler is not None and facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])
        set_generators(
            {n.removeprefix("generator."): t for n, t in tensors.items() if n.startswith("gen")},
            facts["random"],
        )
        self.step, self.about = facts["step"], dict(facts["facts"])


def save_state(
    folder: str | Path,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    step: int,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write the state before step `step`; `notes` is anything JSON that the run wants back.

    The folder holds the old state or the new one, whatever happens meanwhile.
    """
    state = TrainState(model, optimizer, step=step, facts=notes)
    write_folder(folder, state.facts(), apart(state.tensors()))


def load_state(
    folder: str | Path, model: nn.Module, optimizer: Optimizer
) -> tuple[int, dict[str, Any]]:
    """Put a saved state into a model and an optimizer made as they were; give step and notes.

    The generators are set too. Raises CheckpointError when the folder is damaged or was
    written by another model or optimizer, and then nothing has changed.
    """
    opened = read_folder(folder)
    state = TrainState(model, optimizer)
    try:
        state.check(opened.config)
        state.restore(opened.config, {name: t.read() for name, t in opened.tensors.items()})
    except CheckpointError as error:
        where = "" if str(folder) in str(error) else f"{folder}: "
        raise CheckpointError(f"{where}{error}") from None
    return state.step, state.about


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Give parameters and buffers by name, tied ones once, as if nothing wrapped a module."""
    found = dict(model.named_parameters()) | dict(model.named_buffers())
    return {unwrapped(name): tensor for name, tensor in found.items()}


def names_of(model: nn.Module) -> dict[int, str]:
    """Give each parameter's name by its id."""
    return {id(p): unwrapped(name) for name, p in model.named_parameters()}


def unwrapped(name: str) -> str:
    for word in WRAPPED:
        name = name.replace(word, "")
    return name


def described(tensor: Tensor) -> list[Any]:
    """Give dtype and shape, whole even when each process holds a part."""
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]


def shown(entry: tuple[Any, ...]) -> str:
    return f"torch.{entry[0]} {tuple(entry[1])}"


def check_names(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str, whose: str
) -> None:
    differ = sorted(n for n in ours.keys() ^ theirs.keys() if n.startswith(prefix))
    if differ:
        which = ", ".join(
            f"{name} ({'not in the state' if name in ours else 'only in the state'})"
            for name in differ[:SHOWN]
        )
        raise CheckpointError(f"this was saved from {whose}: {which}")


def check_given(
    facts: Mapping[str, Any], tensors: Mapping[str, Tensor], random: Mapping[str, Any]
) -> None:
    """Raise CheckpointError unless the tensors are those that the facts announce."""
    needed = {n for n in facts if not n.startswith("generator.")}
    needed |= {f"generator.{n}" for n in random if f"generator.{n}" in facts}
    missing = sorted(needed - tensors.keys())
    if missing:
        raise CheckpointError(f"the state lacks {', '.join(missing[:SHOWN])}")
    for name in sorted(needed):
        if described(tensors[name]) != list(facts[name]):
            found, said = shown(tuple(described(tensors[name]))), shown(tuple(facts[name]))
            raise CheckpointError(f"{name} is {found}; the state's facts say {said}")


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy what shares memory with a tensor before it: a folder that others read holds no views."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return result
