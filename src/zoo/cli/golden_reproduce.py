"""Make a golden checkpoint again by its recipe: the same bits on the same kind of machine.

On another one rounding differs, and training carries it far: there the new model is put to the
gates of the sets that ask the old one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zoo.checkpoint.safetensors import read_header
from zoo.cli import UsageError
from zoo.cli.common import say
from zoo.evaluate.accept_checkpoint import WEIGHTS, machine
from zoo.evaluate.golden import GoldenSet, Report, compare, find_sets, verify

BITS = ("machine", "cpu", "torch")  # what the bits of a training depend on


def reproduced(golden: GoldenSet, root: Path, out: str | Path) -> dict[str, Any]:
    """Train by the recipe of the manifest and compare weights, or else what they answer."""
    verify(golden)
    stated = golden.manifest
    config = config_of(stated)
    changed = changed_recipe(config)
    if changed:
        return answer(golden, False, changed)
    begun = torch.get_num_threads()
    torch.set_num_threads(int(stated["machine"]["threads"]))
    try:
        folder = trained(config, Path(out))
    finally:
        torch.set_num_threads(begun)
    data = data_of(folder)
    if data != stated["data"]:
        what = f"the data are {data}, the checkpoint learnt from {stated['data']}"
        return answer(golden, False, what, out=out)
    new, old = folder / "model" / WEIGHTS, golden.folder / WEIGHTS
    if new.read_bytes() == old.read_bytes():
        return answer(golden, True, f"the recipe gives the same {WEIGHTS}, bit for bit", out=out)
    told = first_difference(old, new)
    other = elsewhere(stated["machine"])
    if not other:
        return answer(golden, False, f"the recipe gives another {WEIGHTS}: {told}", out=out)
    reports = put_to_gates(golden.name, root, folder / "model")
    faults = [fault for report in reports for fault in report.faults]
    head = f"made on {other}, so the bits need not be the same ({told})"
    if not reports:
        return answer(golden, False, f"{head}, and no set asks it: nothing tells", out=out)
    gates = ", ".join(report.name for report in reports)
    tail = "; ".join(faults) if faults else f"it passes the gates of {gates}"
    return answer(golden, not faults, f"{head}; {tail}", out=out)


def answer(golden: GoldenSet, ok: bool, says: str, *, out: Any = None) -> dict[str, Any]:
    return {"set": golden.name, "ok": ok, "says": says, "run": None if out is None else str(out)}


def changed_recipe(config: Any) -> str | None:
    """Say how the recipe of today differs from the one that made a checkpoint.

    None where it does not, and for a recipe that is none of zoo's own: its settings are kept.
    """
    from zoo.train.config import differences, read_recipe, recipes
    from zoo.train.settings import as_table

    if config.name not in recipes():
        return None
    changed = differences(as_table(config), as_table(read_recipe(config.name)))
    told = ", ".join(f"{key} was {old!r} and is {new!r}" for key, (old, new) in changed.items())
    return f"the recipe {config.name} is no more what made it: {told}" if told else None


def config_of(stated: Mapping[str, Any]) -> Any:
    """Give the settings that made a checkpoint; keys that are newer have defaults."""
    from zoo.train.config import RunConfig
    from zoo.train.settings import from_table

    return from_table(RunConfig, stated["config"])


def trained(config: Any, out: Path) -> Path:
    """Train to the end; raise UsageError for what stops it."""
    from zoo.train import LockedError, TrainingError, WorldError, train

    try:
        outcome = train(config, out)
    except (LockedError, TrainingError, WorldError) as error:
        raise UsageError(str(error)) from error
    say(f"{outcome.folder}: {outcome.step} steps")
    return outcome.folder


def data_of(run: Path) -> str | None:
    from zoo.train.record import read_record

    record = read_record(run)
    return None if record is None or record["data"] is None else record["data"]["version"]


def elsewhere(stated: Mapping[str, Any]) -> str:
    """Say in which way this machine is not the one that made a checkpoint; "" when it is alike."""
    here = machine()
    return ", ".join(
        f"{name} {stated.get(name)!r} and here is {here[name]!r}"
        for name in BITS
        if stated.get(name) != here[name]
    )


def first_difference(old: Path, new: Path) -> str:
    """Name the first tensor that differs, in the order of the file, and by how much."""
    from safetensors.torch import load_file

    before, after = load_file(old), load_file(new)
    described, _ = read_header(old.parent, old.name)
    order = [entry.name for entry in sorted(described.values(), key=lambda entry: entry.start)]
    odd = sorted(before.keys() ^ after.keys())
    if odd:
        return f"{odd[0]} is in one of them"
    differ = [name for name in order if not same(before[name], after[name])]
    if not differ:
        return "all tensors are equal, what the file says beside them is not"
    first = differ[0]
    a, b = before[first], after[first]
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{first} is {tuple(b.shape)}, {b.dtype}, not {tuple(a.shape)}, {a.dtype}"
    off = float((a.double() - b.double()).abs().max())
    return f"{first} differs first, by at most {off:.3g}; {len(differ)} of {len(order)} do"


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (a.shape, a.dtype) == (b.shape, b.dtype) and torch.equal(a, b)


def put_to_gates(name: str, root: Path, model: Path) -> list[Report]:
    """Ask a model the rows of every set that asks the checkpoint `name`."""
    asked = [held for held in find_sets(root) if held.manifest.get("subject") == name]
    return [compare(held, model) for held in asked]
