"""What every model of the house can do: be read from a folder, written to one, be counted.

A family's spec says which published names are which of its own; everything here reads those
tables and knows no family.
"""

import fnmatch
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from zoo import config as configs
from zoo import keymap
from zoo.checkpoint import CheckpointError, Folder, read_folder, write_folder
from zoo.checkpoint.packaged import find
from zoo.models import probe as probes
from zoo.models import probe_check, probe_file
from zoo.models.look import Inspectable
from zoo.models.probe_files import read_marked
from zoo.models.spec import Family
from zoo.nn.packed import PackReport, pack_layers, unpack_layers, unpacked

M = TypeVar("M", bound="Model")


@dataclass(frozen=True)
class LoadReport:
    """What a load read, left unread and made fresh; names are the file's, `fresh` are ours."""

    folder: str
    read: int
    dtypes: tuple[str, ...]
    unread: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()  # unexpected, with strict=False


@dataclass
class Faults:
    """Everything that is wrong with a checkpoint, to be said at once."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    ties: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        parts = [
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("wrong shape", self.shapes),
            ("tied in the config but different in the file", self.ties),
        ]
        return "; ".join(f"{what}: {listed(names)}" for what, names in parts if names)


def listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Model(Inspectable, nn.Module):
    """A model with a frozen config and one head."""

    spec: ClassVar[Family]

    config: Any = None
    head_name: str | None = None
    report: LoadReport | None = None
    packing: PackReport | None = None  # of optimize_for_inference
    recompute: bool = False  # activation checkpointing: run blocks again in the backward pass

    @classmethod
    def from_pretrained(
        cls: type[M],
        folder_or_name: str | Path,
        *,
        head: str | None = "auto",
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        strict: bool = True,
        fresh: Sequence[str] = (),
        classes: int | None = None,
        probe: bool = True,
        offline: bool | None = None,
    ) -> M:
        """Read a Hugging Face folder (config.json and safetensors), ready for inference.

        `head="auto"` takes the head that the config's `architectures` names; `None` is the bare
        body. `fresh` lists patterns of our names (`head.*`) that may be missing from the file and
        are initialised; `classes` sets the size of a fresh classification head.
        Raises CheckpointError listing every missing, unexpected, wrong-shaped or wrongly tied
        tensor, and whatever the config asks for that this family does not do. `strict=False`
        lets unexpected tensors and unknown config keys pass; `report` says which.
        A folder that no longer answers as its probe.json says is refused, naming what changed;
        `probe=False` reads it all the same. See `zoo.models.write_probe`.
        """
        return cls.from_folder(
            read_folder(find(folder_or_name, offline=offline)),
            head=head,
            dtype=dtype,
            device=device,
            strict=strict,
            fresh=fresh,
            classes=classes,
            probe=probe,
        )

    @classmethod
    def from_folder(
        cls: type[M],
        folder: Folder,
        *,
        head: str | None = "auto",
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        strict: bool = True,
        fresh: Sequence[str] = (),
        classes: int | None = None,
        probe: bool = True,
    ) -> M:
        """Build the model that an opened folder describes; see `from_pretrained`."""
        if not dtype.is_floating_point:
            raise ValueError(f"dtype {dtype} is not a floating point type")
        published = cls.published(dict(folder.config))
        if classes is not None:
            published = {k: v for k, v in published.items() if k not in ("id2label", "label2id")}
            published["num_labels"] = classes
        try:
            config: Any = configs.from_theirs(
                cls.spec.config_keys, cls.spec.config, published, strict=strict
            )
        except configs.ConfigError as error:
            raise CheckpointError(f"{folder.path}: config.json: {error}") from None
        kept = probe_file.read(folder.path) if probe else None
        if kept is not None:
            probe_check.check_files(folder, kept, cls, head=head, classes=classes)
        if head == "auto":
            head = cls.head_of(folder.config)
        keys = cls.spec.keys(config)
        plan = keymap.plan(keys, head, folder.tensors)
        faults = Faults(unexpected=list(plan.unexpected) if strict else [])
        refuse_depth(folder, plan, cls.depths(config, head))
        with torch.device("meta"):
            model = cls(config, head=head)
        wanted = {name: tuple(p.shape) for name, p in model.named_parameters()}
        made = set(wanted) - set(plan.sources)
        new = sorted(name for name in made if any(fnmatch.fnmatch(name, p) for p in fresh))
        faults.missing = sorted(theirs_of(keys, head, made - set(new)))
        for name, (rule, theirs) in plan.sources.items():
            if name not in wanted:
                faults.unexpected.extend(theirs if strict else ())
                continue
            shape = keymap.combined_shape(rule, [folder.tensors[n].shape for n in theirs])
            if shape != wanted[name]:
                have = " and ".join(str(tuple(folder.tensors[n].shape)) for n in theirs)
                faults.shapes.append(
                    f"{' + '.join(theirs)} {have} where {name} needs {wanted[name]}"
                )
        check_kinds(folder, plan)
        if faults.sentence():
            raise CheckpointError(
                f"{folder.path} does not fit {cls.__name__} with head {head!r}: {faults.sentence()}"
                + ("; fresh=[...] of our names starts them anew" if faults.missing else "")
            )
        marks: dict[str, str] | None = None if kept is None else {}
        state = {
            name: place(
                keymap.combine(rule, [read_marked(folder.tensors[n], marks) for n in theirs]), dtype
            )
            for name, (rule, theirs) in plan.sources.items()
            if name in wanted
        }
        check_ties(folder, plan, state, faults, dtype)
        if new:
            whole = cls(config, head=head).to(dtype)
            state.update({n: p.detach() for n, p in whole.named_parameters() if n in new})
        model.load_state_dict(state, assign=True, strict=False)
        model.tie()
        if kept is not None and marks is not None:
            probe_check.check_model(folder, kept, model.eval(), marks, tuple(new))
        wrong = probes.complaint(model, folder.metadata, model.stacks()) if probe else None
        if wrong is not None:
            raise CheckpointError(f"{folder.path}: {wrong}")
        model.report = LoadReport(
            folder=str(folder.path),
            read=sum(len(theirs) for _, theirs in plan.sources.values()),
            dtypes=tuple(
                sorted({str(t.dtype).removeprefix("torch.") for t in folder.tensors.values()})
            ),
            unread=tuple(plan.unread),
            fresh=tuple(new),
            ignored=() if strict else tuple(plan.unexpected),
        )
        return model.to(device).eval().requires_grad_(True)

    @classmethod
    def head_of(cls, published: dict[str, Any]) -> str | None:
        """Find the head that a config's `architectures` names; the bare body when it names none."""
        names = published.get("architectures") or []
        known = cls.spec.config_keys.architectures
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CheckpointError(f"config.json: architectures is {names!r}, not a list of names")
        for name in names:
            if name in known:
                return known[name]
        if names:
            raise CheckpointError(
                f"config.json: architectures {names} is none of {sorted(known)}; "
                "name the head yourself with head=..."
            )
        return None

    def save_pretrained(self, folder: str | Path, *, max_shard_bytes: int = 5_000_000_000) -> None:
        """Write a folder that `from_pretrained`, and Hugging Face's, read back to the same bits.

        Its probe.json is of config and weights; when tokenizer and settings for pictures lie beside
        them, `zoo.models.write_probe` makes one of all.
        """
        probe_file.forget(Path(folder))
        with unpacked(self):
            write_folder(
                Path(folder),
                self.published_config(),
                self.published_state(),
                metadata={probes.PROBE: json.dumps(probes.take(self, self.stacks()))},
                max_shard_bytes=max_shard_bytes,
            )
            probe_file.write(Path(folder), self, assets=False)

    def optimize_for_inference(self: M, weights: str = "float32") -> M:
        """Pack the weights once for products on the CPU; return the model itself.

        Every linear layer and language head multiplies by a packed copy of its weight: `float32` in
        a layout for several rows, `float16` with float32 sums, `int8` a step for each output
        channel; the errors are derived in zoo.ops.packed and measured in docs/inference.md. The
        copies take 1, 1/2 or 1/4 of the weights' memory beside them (`packing.size`, bytes).

        Parameters stay what they are: gradients, saving and `state_dict` see them, and one that
        changes is packed again at the next call (but for changes through `.data` or numpy that
        leave its place and its version: then call this again). The copies are used where no
        gradient is wanted: under `torch.no_grad()` or `torch.inference_mode()`, or after
        `requires_grad_(False)`; for float32 on a CPU, outside of autocast and of a compiler.
        Layers with LoRA, and numbers that a form cannot hold, keep the weight: see `packing.kept`.
        Raises ValueError for another name of a form, NotImplementedError where torch lacks it.
        """
        self.packing = pack_layers(self, weights)
        return self

    def restore_weights(self: M) -> M:
        """Undo `optimize_for_inference`: multiply by the weights themselves; return the model."""
        unpack_layers(self)
        self.packing = None
        return self

    def published_config(self) -> dict[str, Any]:
        """Give config.json as others know it."""
        table = self.spec.config_keys
        architecture = next(n for n, h in table.architectures.items() if h == self.head_name)
        theirs = configs.to_theirs(table, self.config, architecture)
        dtype = next(self.parameters()).dtype
        return theirs | {"dtype": str(dtype).removeprefix("torch.")}

    def published_state(self) -> dict[str, Tensor]:
        """Give the weights under their published names, tied ones once."""
        state = {name: p.detach() for name, p in self.named_parameters()}
        keys = self.spec.keys(self.config)
        prefix = self.head_name not in keys.bare
        theirs = keymap.to_theirs(keys, self.head_name, state, prefix=prefix)
        return {name: tensor.contiguous().cpu() for name, tensor in theirs.items()}

    @classmethod
    def published(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Bring a config of an unusual form into the usual one; most families have one form."""
        return config

    @classmethod
    def depths(cls, config: Any, head: str | None) -> dict[str, int]:
        """Say how many blocks a model with this head has, by the names before their numbers."""
        return {"blocks.": config.depth}

    def stacks(self) -> list[str]:
        """Name the stacks of blocks that this model has."""
        return [where.rstrip(".") for where in self.depths(self.config, self.head_name)]

    def after_step(self) -> None:
        """Bring parameters back into their range after an optimizer's step; most need nothing."""

    def tie(self) -> None:
        """Make the parameters that share storage share it (again); most models have none."""

    def parameter_count(self) -> int:
        """Count the parameters, tied ones once."""
        return sum(p.numel() for p in self.parameters())


def place(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return nn.Parameter(tensor.to(dtype).contiguous())


def theirs_of(table: keymap.KeyTable, head: str | None, names: set[str]) -> list[str]:
    """Name missing parameters as the file should have named them."""
    result = []
    for name in names:
        for rule in table.rules(head):
            number = None if isinstance(rule, keymap.Ignore) else keymap.match(rule.ours, name)
            if number is not None and isinstance(rule, keymap.Carried):
                parts = rule.theirs if isinstance(rule, keymap.Stack) else (rule.theirs,)
                theirs = " + ".join(part.replace("{}", number) for part in parts)
                result.append(f"{theirs} (our {name})")
    return result


def refuse_depth(folder: Folder, plan: keymap.Plan, depths: dict[str, int]) -> None:
    """Compare the blocks in the file with the config, before any is built."""
    for where, depth in depths.items():
        names = (n.removeprefix(where) for n in plan.sources if n.startswith(where))
        held = max((int(name.split(".")[0]) for name in names), default=-1) + 1
        if held != depth:
            raise CheckpointError(
                f"{folder.path}: config.json says {depth} blocks, the weights hold {held}"
            )


def check_kinds(folder: Folder, plan: keymap.Plan) -> None:
    """Refuse whole-number tensors where weights should be."""
    for _, theirs in plan.sources.values():
        for name in theirs:
            dtype = folder.tensors[name].dtype
            if not dtype.is_floating_point:
                raise CheckpointError(
                    f"{folder.path}: {name} is {dtype}; expected a floating point type "
                    "(quantised checkpoints are not supported)"
                )


def check_ties(
    folder: Folder, plan: keymap.Plan, state: dict[str, Tensor], faults: Faults, dtype: torch.dtype
) -> None:
    """Raise when a second name of a tied tensor holds other numbers than the first."""
    for theirs, ours in plan.tied.items():
        if ours not in state:
            continue
        second = folder.tensors[theirs]
        same = tuple(second.shape) == tuple(state[ours].shape) and torch.equal(
            second.read().to(dtype), state[ours].detach()
        )
        if not same:
            faults.ties.append(f"{theirs} is not {ours}")
    if faults.ties:
        raise CheckpointError(
            f"{folder.path}: {faults.sentence()}; "
            'if they are meant to differ, config.json needs "tie_word_embeddings": false'
        )
