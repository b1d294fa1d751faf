"""A run's checkpoints: each is there whole or not at all, and is checked when it is read.

    step-00000100/          a save of the same step again is step-00000100-2, and the first goes
        state.json          facts
        *.safetensors       tensors
        manifest.json       format, step, score, every file's size and SHA-256; written last
    best.json               the step with the lowest score, for people
    .saving-* .old-*        being written or removed; no reader looks at them, `clean` removes them

A save writes beside, waits for the disk file by file, then renames the folder and waits for the
disk again. What is old gets a hidden name before its first file goes. So the names that readers see
are of whole checkpoints at every moment, and a process may be killed at any.

Several processes: all call `save` and `read`. The first makes the folder, hashes, writes the JSON
and renames; in between all call the `write` or `read` hook, which puts *.safetensors into the
folder, or fills tensors from them. After each part they agree (`world.agree`, as World's), so that
either all go on or all raise.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.hashed import write_bytes
from zoo.checkpoint.write import config_text, synchronise
from zoo.train.manifest import (
    Manifest,
    check_tensors,
    hash_folder,
    is_same,
    read_facts,
    read_manifest,
    read_tensors,
    remove_folder,
    write_papers,
    write_tensors,
)
from zoo.train.together import Alone, Damaged, Processes, all_do, first_does

Facts = dict[str, Any]
Tensors = dict[str, Tensor]

NAME = re.compile(r"step-(\d{8,})(?:-(\d+))?", re.ASCII)
BEST = "best.json"
SAVING, OLD = ".saving-", ".old-"  # no reader looks at these


class Store:
    """A folder of checkpoints, of which the newest `keep` and the best one stay.

    One trainer writes (see Lock), any number may read.
    """

    def __init__(
        self, folder: str | Path, *, keep: int = 3, world: Processes | None = None
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least the newest checkpoint must stay")
        self.folder = Path(folder)
        self.keep = keep
        self.world = world or Alone()

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        *,
        score: float | None = None,
        write: Callable[[Path, Mapping[str, Tensor]], None] | None = None,
    ) -> Path:
        """Save a step, then let old ones go; give its folder. A lower score is better.

        A step that is there is replaced, and later ones go: they come from another past. Raises
        CheckpointError that names the file and the cause; the checkpoints before are as they were.
        """
        beside = self.folder / f"{SAVING}{step:08}"
        papers = {"step": step, "score": score, "facts": config_text(facts)}
        failing = f"step {step} is not saved"
        try:
            first_does(self.world, lambda: self.begin(beside), failing)
            if write is not None:
                all_do(self.world, lambda: write(beside, tensors), failing)
            fill = hash_folder if write is not None else partial(write_tensors, tensors=tensors)
            papers["sharded"] = write is not None
            first_does(self.world, lambda: self.commit(beside, fill(beside), papers), failing)
        except BaseException:
            if self.world.rank == 0:
                shutil.rmtree(beside, ignore_errors=True)
            raise
        failing = f"step {step} is saved, but not all is in order"
        first_does(self.world, lambda: self.rotate(step), failing)
        return self.path(step)

    def begin(self, beside: Path) -> None:
        """Make the folder that a save fills; one that holds it is on the disk first."""
        for folder in reversed([p for p in (self.folder, *self.folder.parents) if not p.exists()]):
            folder.mkdir()
            synchronise(folder.parent)
        self.remove_leftovers()
        beside.mkdir()

    def commit(self, beside: Path, sums: Mapping[str, str], papers: Facts) -> None:
        """Give a filled folder its manifest and its name."""
        write_papers(beside, sums=sums, **papers)
        synchronise(beside)
        taken = self.generations().get(papers["step"], {})
        name = f"step-{papers['step']:08}" + (f"-{max(taken) + 1}" if taken else "")
        beside.rename(self.folder / name)
        synchronise(self.folder)

    def rotate(self, step: int) -> None:
        """Let go what a save of this step makes old; note which checkpoint is the best."""
        held = self.generations()
        past = sorted(s for s in held if s <= step)
        best, unread = scores_of({s: newest(held[s]) for s in past})
        # what cannot be read now may be the best: a fault of the disk is no reason to remove it
        stay = {newest(held[s]) for s in {*past[-self.keep :], *unread}}
        if best is not None:
            stay.add(newest(held[best[1]]))
        self.note(best)
        self.remove([p for paths in held.values() for p in paths.values() if p not in stay])

    def note(self, best: tuple[float, int] | None) -> None:
        """Write best.json when it has changed."""
        place = self.folder / BEST
        if best is None:
            place.unlink(missing_ok=True)
            return
        text = json.dumps({"step": best[1], "score": best[0]}).encode() + b"\n"
        if not is_same(self.folder, BEST, text):
            write_bytes(self.folder / f"{SAVING}{BEST}", text)
            (self.folder / f"{SAVING}{BEST}").replace(place)
            synchronise(self.folder)

    def remove(self, old: list[Path]) -> None:
        """Take the names away first, on the disk too, and only then the files."""
        for path in old:
            path.rename(self.folder / f"{OLD}{path.name}")
        if old:
            synchronise(self.folder)
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        for name in self.names():
            path = self.folder / name
            if not name.startswith((OLD, SAVING)):
                continue
            if path.is_dir() and not path.is_symlink():
                remove_folder(path)
            else:
                path.unlink()

    def clean(self) -> None:
        """Remove what dead writers left; call it while holding the run's lock."""
        first_does(self.world, self.tidy, "checkpoints are not cleaned up")

    def tidy(self) -> None:
        self.remove_leftovers()
        held = self.generations()
        last = {s: newest(paths) for s, paths in held.items()}
        self.note(scores_of(last)[0])
        every = [p for paths in held.values() for p in paths.values()]
        self.remove([p for p in every if p not in last.values()])

    def generations(self) -> dict[int, dict[int, Path]]:
        """Give step -> how often it was saved -> folder."""
        result: dict[int, dict[int, Path]] = {}
        for name in self.names():
            match = NAME.fullmatch(name)
            if match:
                result.setdefault(int(match[1]), {})[int(match[2] or 1)] = self.folder / name
        return result

    def names(self) -> list[str]:
        """List the folder; a fault of the disk must not look like a run that has saved nothing."""
        try:
            return sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"cannot list {self.folder}: {error.strerror}") from None

    def steps(self) -> list[int]:
        """Give the steps that are there, oldest first."""
        return sorted(self.generations())

    def best(self) -> int | None:
        """Give the step with the lowest score, the earliest of equals."""
        best, _ = scores_of({s: newest(paths) for s, paths in self.generations().items()})
        return None if best is None else best[1]

    def path(self, step: int) -> Path:
        """Give a step's folder; raise CheckpointError when there is none."""
        held = self.generations()
        if step not in held:
            there = ", ".join(map(str, sorted(held))) or "none"
            raise CheckpointError(f"{self.folder} holds no step {step}; there are: {there}")
        return newest(held[step])

    def facts(self, step: int | None = None) -> Facts:
        """Read a step's facts, the newest's by default, and no tensor."""
        return self.opened(self.chosen(step))[2]

    def read(
        self,
        step: int | None = None,
        *,
        fallback: bool = False,
        into: Callable[[Facts], Mapping[str, Tensor]] | None = None,
        read: Callable[[Path, Mapping[str, Tensor]], None] | None = None,
    ) -> tuple[Facts, Tensors]:
        """Read a step, the newest by default: `state.restore(*store.read(...))`.

        Every file must have the size and SHA-256 that the manifest says. Raises CheckpointError
        that says which has not, and which older checkpoint is whole; `fallback` takes that one.
        Sharded tensors, or shards on disk, are read by `read` into what `into(facts)` gives
        (`TrainState.room`); all others into fresh memory.
        """
        step = self.chosen(step)
        try:
            return self.read_step(step, into, read)
        except Damaged as error:
            fault = error
        for older in reversed([s for s in self.steps() if s < step]):
            try:
                if fallback:
                    return self.read_step(older, into, read)
                first_does(self.world, partial(self.check, older), "", Damaged)
            except Damaged:
                continue
            raise CheckpointError(
                f"{fault}. The newest whole checkpoint before it is of step {older}: "
                "it is taken when asked for (fallback=True)"
            )
        raise CheckpointError(f"{fault}. No older checkpoint is whole")

    def chosen(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.folder} holds no checkpoint")
        if step is not None:
            self.path(step)  # must be there
        return steps[-1] if step is None else step

    def opened(self, step: int) -> tuple[Path, Manifest, Facts]:
        folder = self.path(step)
        manifest = read_manifest(folder, step)
        return folder, manifest, read_facts(folder, manifest)

    def check(self, step: int) -> None:
        """Raise CheckpointError unless a step is whole."""
        folder, manifest, _ = self.opened(step)
        check_tensors(folder, manifest)

    def read_step(
        self,
        step: int,
        into: Callable[[Facts], Mapping[str, Tensor]] | None,
        read: Callable[[Path, Mapping[str, Tensor]], None] | None,
    ) -> tuple[Facts, Tensors]:
        failing = f"cannot read step {step}"
        folder, manifest, facts = all_do(self.world, lambda: self.opened(step), failing, Damaged)
        if not manifest.sharded and self.world.mode != "fsdp":
            load = partial(read_tensors, folder, manifest)
            return facts, all_do(self.world, load, failing, Damaged)
        if read is None or into is None:
            raise CheckpointError(
                f"{folder} is sharded, or the run is: give read=read_shards, into"
            )
        room = dict(into(facts))
        first_does(self.world, partial(check_tensors, folder, manifest), failing, Damaged)
        all_do(self.world, lambda: read(folder, room), failing)
        return facts, room


def newest(paths: Mapping[int, Path]) -> Path:
    return paths[max(paths)]


def scores_of(paths: Mapping[int, Path]) -> tuple[tuple[float, int] | None, set[int]]:
    """Give the lowest score with its step, and the steps whose manifest cannot be read."""
    scores = []
    unread = set()
    for step, path in paths.items():
        try:
            score = read_manifest(path, step).score
        except CheckpointError:
            unread.add(step)
            continue
        if score is not None:
            scores.append((score, step))
    return min(scores, default=None), unread
