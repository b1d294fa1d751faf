"""What a run is: a recipe in TOML, read into frozen dataclasses, with `a.b=value` to change it.

Every option of `zoo train` is a field here. A key that no field has is an error with the nearest
name; so is a value of another type.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from zoo.config import ConfigError
from zoo.train.schedule import SHAPES
from zoo.train.settings import flat, from_table, nearest, parsed, put

DTYPES = ("float32", "bfloat16", "float16")
MODES = ("ddp", "fsdp")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where rows come from and how they become batches."""

    source: str | None = None  # a name of zoo.data.sources; None: `files`
    files: tuple[str, ...] = ()  # files or folders; `--data` on the command line
    folder: str | None = None  # where the package lies that a source reads
    columns: dict[str, Any] = field(default_factory=dict)  # our column = "theirs"
    labels: tuple[str, ...] | None = None  # classes in their order; None: those of the rows
    valid: float = 0.1  # share kept back to judge by, where the files name no splits
    group: str | None = None  # a column whose values (an author, a patient) stay in one split
    lines: bool = False  # whether each line of a .txt is a text
    together: bool = False  # whether copies that two splits share are all learnt from
    tokenizer: str | None = None  # a folder; None: that of model.base, or one is trained
    vocab: int = 8192  # of a tokenizer that is trained
    length: int | None = None  # tokens of a row; None: as many as the model takes
    masked: float = 0.15  # of tokens, or of patches for masked_image (SimMIM's is 0.6)
    turn: float = 0.0  # degrees that a picture is turned at most
    scale: float = 0.0  # share of its side that it is enlarged or shrunk at most
    shift: float = 0.0  # share of its side that it is moved at most
    flip: bool = False  # whether half of them are mirrored
    colour: float = 0.0  # share by which its colours are changed at most
    mixup: float = 0.0  # alpha of the Beta distribution; 0: none
    cutmix: float = 0.0
    check: bool = True  # look for leakage and the like first, and refuse what it calls an error


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model starts, from nothing or from a checkpoint."""

    family: str | None = None  # gpt2, bert, vit or clip; with `base` it is the checkpoint's
    head: str | None = None
    preset: str | None = None  # whose sizes `config` changes
    base: str | None = None  # a checkpoint folder to go on from
    config: dict[str, Any] = field(default_factory=dict)  # fields of the family's config
    near: bool = False  # whether a fresh BERT's first heads begin by looking at a word's neighbours
    recompute: bool = False  # activation checkpointing


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters; rank 0: none, everything is trained."""

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = ("*.attn.qkv",)
    dropout: float = 0.0
    trained: tuple[str, ...] | None = None  # patterns of what is trained too; None: a classifier


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW."""

    rate: float = 3e-4  # the largest learning rate
    decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0  # of the norm of all gradients
    layer_decay: float = 1.0  # each layer learns so much slower than the one above it
    frozen: tuple[str, ...] = ()  # patterns of parameters that keep their values
    shape: str = "cosine"  # of the schedule after the warm-up
    warmup: int = 0  # steps
    floor: float = 0.0  # share of `rate` at the end


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how."""

    steps: int = 1000
    batch: int = 32  # rows of a step, over all processes and micro batches
    micros: int = 1  # micro batches in a step of one process
    dtype: str = "float32"  # or bfloat16, float16: computed in it, kept in float32
    smoothing: float = 0.0  # of labels
    ema: float = 0.0  # decay of the averaged weights that are judged and kept; 0: none
    compile: bool = False
    seed: int = 0
    device: str = "cpu"
    mode: str = "ddp"  # under torchrun; or fsdp
    shard: int | None = None  # FSDP2: over how many neighbours a parameter is split; None: all
    deterministic: bool = True  # refuse algorithms that may round differently on each run


@dataclass(frozen=True, kw_only=True)
class KeepConfig:
    """What is written on the way; steps."""

    every: int = 200  # a checkpoint
    keep: int = 3  # newest checkpoints, beside the best
    log: int = 10  # a line in log.jsonl
    evaluate: int = 200  # the loss of the rows kept back
    rows: int = 1000  # of them at most, on the way; all at the end
    tensorboard: bool = False


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What the recipe is known to reach: a metric of the rows kept back, on this data."""

    metric: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    data: str | None = None  # version


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run; what may be changed between two starts of the same run is in LIVE."""

    name: str = "run"
    says: str = ""  # what it does and reaches, in a sentence
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    reaches: Reached = field(default_factory=Reached)

    def __post_init__(self) -> None:
        check_ranges(self)


# what does not change a bit of the weights, and may differ when a run goes on
LIVE = (
    "keep",
    "reaches",
    "says",
    "name",
    "train.mode",
    "train.shard",
    "data.files",
    "data.folder",
    "data.check",
)


def check_ranges(config: RunConfig) -> None:
    """Raise ConfigError for a number out of its range, naming it as `--set` does."""
    c = config
    counts = {
        "train.steps": c.train.steps,
        "train.batch": c.train.batch,
        "train.micros": c.train.micros,
        "keep.every": c.keep.every,
        "keep.keep": c.keep.keep,
        "keep.log": c.keep.log,
        "keep.evaluate": c.keep.evaluate,
        "keep.rows": c.keep.rows,
    }
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; expected 1 or more")
    positive = {"optimizer.rate": c.optimizer.rate, "optimizer.clip": c.optimizer.clip}
    positive |= {"optimizer.layer_decay": c.optimizer.layer_decay, "optimizer.eps": c.optimizer.eps}
    for name, value in positive.items():
        if not value > 0:
            raise ConfigError(f"{name} is {value}; expected more than 0")
    shares = {
        "data.valid": c.data.valid,
        "data.masked": c.data.masked,
        "train.ema": c.train.ema,
        "train.smoothing": c.train.smoothing,
        "optimizer.beta1": c.optimizer.beta1,
        "optimizer.beta2": c.optimizer.beta2,
    }
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise ConfigError(f"{name} is {value}; expected at least 0 and below 1")
    words = {
        "optimizer.shape": (c.optimizer.shape, tuple(SHAPES)),
        "train.dtype": (c.train.dtype, DTYPES),
        "train.mode": (c.train.mode, MODES),
    }
    for name, (word, known) in words.items():
        if word not in known:
            raise ConfigError(f"{name} is {word!r}; expected one of {', '.join(known)}")
    if c.optimizer.warmup > c.train.steps or c.optimizer.warmup < 0:
        raise ConfigError(
            f"optimizer.warmup is {c.optimizer.warmup}; expected 0 to train.steps, {c.train.steps}"
        )
    if c.train.seed < 0 or c.lora.rank < 0:
        raise ConfigError(f"train.seed {c.train.seed}, lora.rank {c.lora.rank}; expected 0 or more")


def recipes() -> dict[str, Path]:
    """Give the recipes that come with zoo, by name."""
    folder = Path(str(resources.files("zoo") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(name_or_path: str, changes: Iterable[str] = ()) -> RunConfig:
    """Read a recipe by its name or file, with changes such as "optimizer.rate=1e-3".

    Raises ConfigError for an unknown recipe, key or value, with the nearest name.
    """
    known = recipes()
    path = known.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise ConfigError(
            f"no recipe {name_or_path!r}{nearest(name_or_path, known)}; there are "
            f"{', '.join(known) or 'none'}, or give a TOML file"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    for change in changes:
        put(table, *parsed(change))
    try:
        return from_table(RunConfig, table)
    except ConfigError as error:
        raise ConfigError(f"{name_or_path}: {error}") from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Give the keys outside of LIVE whose values differ, with both values."""
    a, b = flat(old), flat(new)
    return {
        key: (a.get(key), b.get(key))
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
        and not any(key == live or key.startswith(live + ".") for live in LIVE)
    }
