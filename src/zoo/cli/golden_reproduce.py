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
from zoo.cli.common import say, stoppable
from zoo.evaluate.accept_checkpoint import MODEL, WEIGHTS, machine
from zoo.evaluate.golden import GoldenSet, Report, compare, find_sets, verify

BITS = ("machine", "cpu", "torch")  # what the bits of a training depend on


def reproduced(golden: GoldenSet, root: Path, out: Path) -> tuple[dict[str, Any], int]:
    """Train by the recipe of the manifest and compare; give what to say, and the exit code.

    A run that was stopped goes on when it is called again.
    """
    verify(golden)
    config = config_of(golden.manifest)
    changed = changed_recipe(config)
    if changed:
        return answer(golden, changed, None)
    other = elsewhere(golden.manifest["machine"])
    if other:
        say(f"{golden.name} was made on {other}: the bits need not be the same")
    outcome, asked = trained(config, out, golden.manifest)
    data = data_of(out)
    if data != golden.manifest["data"]:
        what = f"the data are {data}, the checkpoint learnt from {golden.manifest['data']}"
        return answer(golden, what, out)
    if outcome.stopped:
        what = f"stopped after {outcome.step} of {config.train.steps} steps"
        return answer(golden, f"{what}; the same command goes on", out, 128 + asked)
    says, good = judged(golden, root, out / MODEL, other)
    return answer(golden, says, out, int(not good))


def answer(
    golden: GoldenSet, says: str, out: Path | None, code: int = 1
) -> tuple[dict[str, Any], int]:
    run = None if out is None else str(out)
    return {"set": golden.name, "ok": code == 0, "says": says, "run": run}, code


def judged(golden: GoldenSet, root: Path, model: Path, other: str) -> tuple[str, bool]:
    """Compare the new weights with the old, or where they need not be equal what they answer."""
    new, old = model / WEIGHTS, golden.folder / WEIGHTS
    if new.read_bytes() == old.read_bytes():
        return f"the same bits: its recipe gives {WEIGHTS} again", True
    told = first_difference(old, new)
    if not other:
        return f"not the same bits: {told}", False
    head = f"not the same bits, as may be, for it was made on {other} ({told})"
    reports = put_to_gates(golden.name, root, model)
    if not reports:
        return f"{head}; and no set of rows asks it: nothing tells if it is as good", False
    faults = [fault for report in reports for fault in report.faults]
    gates = ", ".join(report.name for report in reports)
    return f"{head}; {'; '.join(faults) or f'it passes the gate of {gates}'}", not faults


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


def trained(config: Any, out: Path, stated: Mapping[str, Any]) -> tuple[Any, int]:
    """Train, or go on; give the outcome, and the signal that stopped it or 0.

    Other data stop it too, after the first step. Raises UsageError for what it cannot do.
    """
    from zoo.train import LockedError, TrainingError, WorldError, train

    other: list[bool] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(int(stated["machine"].get("threads", threads)))
    try:
        with stoppable() as asked:
            say(f"training {stated['name']} again in {out}: {config.train.steps} steps")

            def stop() -> bool:
                if not other:
                    other.append(data_of(out) != stated["data"])
                return bool(asked) or other[0]

            outcome = train(config, out, stop=stop)
    except (LockedError, TrainingError, WorldError) as error:
        raise UsageError(str(error)) from error
    finally:
        torch.set_num_threads(threads)
    return outcome, asked[0] if asked else 0


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
