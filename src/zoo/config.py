"""A model's numbers: our frozen dataclass <-> a published config.json.

A table says which of their keys is which of ours, which of theirs must have one value because
the model supports no other, and which mean nothing here. A key that no table knows is harmless as
long as it is switched off or a text; a number or a `true` might change the model, so it is refused.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

C = TypeVar("C")

LARGEST = 2**31 - 1  # of any one number in a config
LARGEST_MODEL = 10**11  # parameters: 400 GB in float32

# what transformers writes into every config.json, and what means nothing to a forward pass
HARMLESS = frozenset(
    "_name_or_path architectures model_type torch_dtype dtype transformers_version use_cache "
    "gradient_checkpointing initializer_range initializer_factor id2label label2id num_labels "
    "problem_type task_specific_params return_dict output_attentions output_hidden_states "
    "output_past torchscript use_bfloat16 tokenizer_class finetuning_task "
    "bos_token_id eos_token_id sep_token_id cls_token_id mask_token_id decoder_start_token_id "
    "forced_bos_token_id forced_eos_token_id max_length min_length do_sample early_stopping "
    "num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p "
    "repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size "
    "bad_words_ids num_return_sequences chunk_size_feed_forward output_scores "
    "return_dict_in_generate exponential_decay_length_penalty suppress_tokens "
    "begin_suppress_tokens remove_invalid_values prefix "
    "_attn_implementation attn_implementation _attn_implementation_autoset".split()
)

# transformers' words for the forms of gelu; the first of two that mean one form is written
GELUS = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "quick_gelu": "quick"}


class ConfigError(ValueError):
    """A config that cannot be a model of ours."""


@dataclass(frozen=True)
class Key:
    """One of our fields: its published names, and how their words become ours.

    All of `theirs` are written; `also` are other names that some files use. A `pair` is two sizes,
    (height, width), which files write as one number when they are equal.
    """

    theirs: tuple[str, ...]
    words: Mapping[str, str] | None = None
    also: tuple[str, ...] = ()
    pair: bool = False


@dataclass(frozen=True)
class ConfigTable:
    """The published config of a family.

    `fixed` are keys that must have one value when they are there, `harmless` those that mean
    nothing here; `architectures` tells which head a published class name stands for. `sections` are
    tables inside the config, whose keys are named "section.key"; `aliases` are other model types.
    """

    model_type: str
    keys: Mapping[str, Key]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    harmless: frozenset[str] = frozenset()
    architectures: Mapping[str, str | None] = field(default_factory=dict)
    sections: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def from_theirs(
    table: ConfigTable, config: type[C], theirs: Mapping[str, Any], *, strict: bool = True
) -> C:
    """Read a published config; raise ConfigError for what is wrong or not supported."""
    kind = theirs.get("model_type", table.model_type)
    if kind != table.model_type and kind not in table.aliases:
        raise ConfigError(f"model_type is {kind!r}, not {table.model_type!r}")
    theirs = flat(table, theirs)
    for name, value in table.fixed.items():
        if name in theirs and theirs[name] != value:
            raise ConfigError(f"{name} = {theirs[name]!r} is not supported; only {value!r} is")
    if strict:
        refuse_unknown(table, theirs)
    values: dict[str, Any] = {}
    for ours, key in table.keys.items():
        given = {name: theirs[name] for name in key.theirs + key.also if name in theirs}
        if not given:
            continue
        (first, value), *others = given.items()
        for other, second in others:
            if second != value or type(second) is not type(value):
                raise ConfigError(
                    f"{first} = {value!r} and {other} = {second!r} differ; one number serves both"
                )
        values[ours] = pair_of(first, value) if key.pair else word(first, value, key.words)
    values.update(read_labels(theirs))
    values = typed(config, values)
    try:
        return config(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from None


def typed(config: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check each value against its field's type; a whole number serves as a float."""
    hints = {f.name: f.type for f in dataclasses.fields(config)}
    result = dict(values)
    for name, value in values.items():
        hint: Any = hints[name]
        members = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        kinds = {get_origin(kind) or kind for kind in members}
        if type(value) is int and int not in kinds and float in kinds and abs(value) < LARGEST:
            result[name] = float(value)
        elif type(value) not in kinds:
            wanted = " or ".join(sorted(getattr(k, "__name__", str(k)) for k in kinds))
            raise ConfigError(f"{name} is {str(value)[:40]!r}; expected {wanted}")
    return result


def word(name: str, value: Any, words: Mapping[str, str] | None) -> Any:
    if words is None:
        return value
    if not isinstance(value, str) or value not in words:
        raise ConfigError(f"{name} = {value!r} is not supported; known: {sorted(words)}")
    return words[value]


def pair_of(name: str, value: Any) -> tuple[int, int]:
    """Read one size for both sides, or two."""
    sizes = value if isinstance(value, list | tuple) else (value, value)
    if len(sizes) != 2 or not all(type(size) is int for size in sizes):
        raise ConfigError(f"{name} is {str(value)[:40]!r}; expected a size or [height, width]")
    return sizes[0], sizes[1]


def flat(table: ConfigTable, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Name the keys of sections "section.key"; old files repeat a section as `section_dict`."""
    result = {k: v for k, v in theirs.items() if k.removesuffix("_dict") not in table.sections}
    for section in table.sections:
        for name in (section, f"{section}_dict"):
            inner = theirs.get(name)
            if inner is None:
                continue
            if not isinstance(inner, Mapping):
                raise ConfigError(f"{name} is {str(inner)[:40]!r}; expected a table")
            result.update({f"{section}.{key}": value for key, value in inner.items()})
    return result


def nested(table: ConfigTable, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flat`."""
    result: dict[str, Any] = {}
    for name, value in theirs.items():
        section, dot, key = name.partition(".")
        if dot and section in table.sections:
            result.setdefault(section, {})[key] = value
        else:
            result[name] = value
    return result


def refuse_unknown(table: ConfigTable, theirs: Mapping[str, Any]) -> None:
    known = {name for key in table.keys.values() for name in key.theirs + key.also}
    known |= HARMLESS | table.harmless | set(table.fixed)
    strange = {
        name: value
        for name, value in theirs.items()
        if name not in known
        and not (name.split(".")[0] in table.sections and name.split(".", 1)[1] in known)
        and value
        and not isinstance(value, str)
    }
    if strange:
        raise ConfigError(
            f"no knowledge of {strange}; it may change the model. "
            "If it does not, load with strict=False"
        )


def read_labels(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Give `classes`, and `labels` where they have names of their own."""
    names = theirs.get("id2label")
    count = theirs.get("num_labels")
    if names is None:
        return {} if count is None else {"classes": count}
    if not isinstance(names, dict) or not all(isinstance(v, str) for v in names.values()):
        raise ConfigError(f"id2label is {names!r}, not a table of number to name")
    try:
        ordered = [names[str(i)] for i in range(len(names))]
    except KeyError as missing:
        raise ConfigError(f"id2label has no entry {missing}; it has {sorted(names)}") from None
    if count is not None and count != len(ordered):
        raise ConfigError(f"num_labels = {count!r} but id2label names {len(ordered)}")
    if ordered == default_labels(len(ordered)):
        return {"classes": len(ordered)}
    return {"classes": len(ordered), "labels": tuple(ordered)}


def default_labels(count: int) -> list[str]:
    return [f"LABEL_{i}" for i in range(count)]


def to_theirs(table: ConfigTable, config: Any, architecture: str) -> dict[str, Any]:
    """Write a published config."""
    result: dict[str, Any] = {"architectures": [architecture], "model_type": table.model_type}
    for ours, key in table.keys.items():
        value = getattr(config, ours)
        if key.pair:
            value = value[0] if value[0] == value[1] else list(value)
        if key.words is not None:
            value = next(theirs for theirs, mine in key.words.items() if mine == value)
        result.update(dict.fromkeys(key.theirs, value))
    names = list(config.labels) if config.labels else default_labels(config.classes)
    result["id2label"] = {str(i): name for i, name in enumerate(names)}
    result["label2id"] = {name: i for i, name in enumerate(names)}
    result.update(table.fixed)
    return nested(table, result)


def check_numbers(config: Any, *, whole: tuple[str, ...], rates: tuple[str, ...]) -> None:
    """Raise ValueError unless `whole` are counts from 1 and `rates` probabilities below 1."""
    for name in whole:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} is {value!r}; expected a whole number")
        if not 1 <= value <= LARGEST:
            raise ValueError(f"{name} is {value}; expected 1 to {LARGEST}")
    for name in rates:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is {value!r}; expected a number")
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value}; expected at least 0 and below 1")


def check_shared(config: Any) -> None:
    """Check what every transformer here has, and what only those that read tokens have."""
    check_heads("width", config.width, "heads", config.heads)
    check_eps_and_labels(config)
    pad = config.pad
    if pad is not None and (isinstance(pad, bool) or not isinstance(pad, int)):
        raise ValueError(f"pad is {pad!r}; expected an id or None")
    check_switches(config, "tied")


def check_heads(what: str, width: int, how: str, heads: int) -> None:
    """Refuse a width that the heads cannot share."""
    if width % heads:
        raise ValueError(f"{what} {width} is not a multiple of {how} {heads}")


def check_eps_and_labels(config: Any) -> None:
    """Check that eps is positive, and that there is a label a class."""
    eps = config.eps
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < math.inf:
        raise ValueError(f"eps is {eps!r}; expected a positive number")
    if config.labels is not None and len(config.labels) != config.classes:
        raise ValueError(f"{len(config.labels)} labels for {config.classes} classes")


def check_switches(config: Any, *names: str) -> None:
    """Refuse what is neither true nor false."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; expected true or false")


def check_grid(config: Any) -> None:
    """Check that the sizes of image and patch are pairs, and that patches tile the image."""
    for name in ("image", "patch"):
        pair = getattr(config, name)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"{name} is {pair!r}; expected (height, width) in pixels")
        for size in pair:
            if type(size) is not int or not 1 <= size <= LARGEST:
                raise ValueError(f"{name} is {pair!r}; expected two sizes from 1 to {LARGEST}")
    if any(side % size for side, size in zip(config.image, config.patch, strict=True)):
        raise ValueError(f"image {config.image} is not a multiple of patch {config.patch}")


def check_size(parameters: int) -> None:
    """Raise ValueError for a model that no machine holds, before anything is allocated."""
    if parameters > LARGEST_MODEL:
        raise ValueError(
            f"a model of {parameters:.3g} parameters, {4 * parameters / 1e12:.3g} TB in float32; "
            f"the largest accepted is {LARGEST_MODEL:.0e}"
        )


def as_dict(config: Any) -> dict[str, Any]:
    """Give the fields of a config by name."""
    return dataclasses.asdict(config)
