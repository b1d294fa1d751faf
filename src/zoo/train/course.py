"""A course: the model, the samples and what belongs to them, made from a run's config.

    rows         read and checked from files or from a source that a package carries
    tokenizer    of `data.tokenizer`, of the base checkpoint, or trained on the rows to learn from
    processor    of the base checkpoint, or the family's usual one for the model's image size
    model        a base checkpoint with the head that is asked for, or fresh weights
    samples      what the head's objective learns from; see zoo.data

All processes of a run make the same course; what is written (tokenizer, packed tokens) is written
by the first, and the others wait for it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.checkpoint import read_folder
from zoo.checkpoint.packaged import find
from zoo.config import ConfigError, typed
from zoo.data import DataError, Rows, read
from zoo.data.ends import ends_kept_back
from zoo.data.order import seed_of
from zoo.data.together import together
from zoo.images import ImageProcessor
from zoo.models import MODELS, family_of, preset
from zoo.models.near import look_near_
from zoo.models.spec import Family
from zoo.tokenizers import Tokenizer
from zoo.train.config import RunConfig
from zoo.train.lora import add_lora
from zoo.train.samples import make_samples
from zoo.train.settings import nearest
from zoo.train.world import World

# head -> the kind of rows that it learns from
KINDS = {
    "lm": "text",
    "masked_lm": "text",
    "next_sentence": "text",
    "sequence": "labelled_text",
    "token": "tagged_text",
    "span": "answers",
    "image": "labelled_images",
    "masked_image": "images",
    "match": "pairs",
}
MAIN = {"bert": "masked_lm", "clip": "match", "gpt2": "lm", "vit": "image"}
READS = {"bert": "wordpiece", "clip": "clip", "gpt2": "bpe"}  # kinds of tokenizer
CLASSIFIES = ("sequence", "next_sentence", "token", "span", "image")
GREY = (0.5,)


@dataclass
class Course:
    """What a run learns with; `valid` is None when no rows are kept back."""

    head: str
    spec: Family
    model: Any
    rows: Rows
    train: Any
    valid: Any
    tokenizer: Tokenizer | None = None
    processor: ImageProcessor | None = None

    def fresh_model(self, config: RunConfig) -> Any:
        """Build the model once more, with its adapters, for weights from elsewhere."""
        with torch.random.fork_rng():
            model = self.spec.build(self.model.config, head=self.head)
            if config.lora.rank:
                add_adapters(config, model)
        return model

    def save_assets(self, folder: Path) -> None:
        """Write what must lie beside the weights to use them."""
        if self.tokenizer is not None:
            self.tokenizer.save(folder)
        if self.processor is not None:
            self.processor.save(folder)


def read_rows(config: RunConfig, head: str, world: World) -> Rows:
    """Read the rows that the config names; raise DataError or ConfigError for what is not there."""
    data = config.data
    kind = KINDS[head]
    if data.source is None and not data.files:
        raise ConfigError(f"no data: name files or folders ({kind}) with --data, or a data.source")
    files: tuple[Any, ...] = data.files
    if not files:
        from zoo.data.sources import materialise  # each source needs its own package

        assert data.source is not None
        where = {} if data.folder is None else {"folder": Path(data.folder)}
        if world.rank == 0:
            materialise(data.source, **where)
        world.barrier()
        files = (materialise(data.source, **where),)
    rows = read(
        files,
        kind,
        labels=data.labels,
        columns=data.columns or None,
        valid=data.valid,
        group=data.group,
        lines=data.lines,
    )
    if data.together:
        rows = together(rows)
    if kind == "text" and data.valid and not len(rows.part("valid")):
        rows = ends_kept_back(rows, data.valid)  # one book, say
    return rows


def prepare(config: RunConfig, folder: Path, world: World) -> Course:
    """Make everything that a run needs before its first step."""
    base = None if config.model.base is None else find(config.model.base)
    spec = spec_of(config, base)
    head = config.model.head or MAIN[spec.name]
    if head not in KINDS or head not in spec.heads:
        fit = [h for h in spec.heads if h in KINDS]
        raise ConfigError(f"model.head is {head!r}; {spec.name} is trained with one of {fit}")
    rows = read_rows(config, head, world)
    learnt = rows.part("train")
    if len(learnt) == 0:
        raise DataError("no row is to learn from: none is in the split train")
    tokenizer = None
    if spec.name in READS:
        tokenizer = make_tokenizer(config, spec, base, learnt, folder, world)
    torch.manual_seed(seed_of(config.train.seed, 0))
    model = make_model(config, spec, head, base, rows, tokenizer)
    processor = None if spec.name not in ("vit", "clip") else make_processor(model, base)
    course = Course(head, spec, model, rows, None, None, tokenizer, processor)
    course.train = make_samples(config, course, learnt, "train", folder, world)
    kept_back = rows.part("valid")
    if len(kept_back):
        course.valid = make_samples(config, course, kept_back, "valid", folder, world)
    return course


def spec_of(config: RunConfig, base: Path | None) -> Family:
    """Find the family: the base's, the preset's, or the one that is named."""
    named = config.model.family
    if named is not None and named not in MODELS:
        raise ConfigError(
            f"model.family is {named!r}{nearest(named, MODELS)}; expected one of {list(MODELS)}"
        )
    found = named
    if base is not None:
        found = family_of(read_folder(base)).name
    elif config.model.preset is not None:
        found = preset(config.model.preset)[0].name
    if found is None:
        raise ConfigError("no model: give model.family, model.preset or model.base")
    if named is not None and named != found:
        raise ConfigError(
            f"model.family is {named!r}, and {config.model.base or config.model.preset} a {found}"
        )
    return MODELS[found]


def make_tokenizer(
    config: RunConfig,
    spec: Family,
    base: Path | None,
    learnt: Rows,
    folder: Path,
    world: World,
) -> Tokenizer:
    """Read the tokenizer, or train one on the rows to learn from and keep it in the run."""
    if config.data.tokenizer is not None:
        return Tokenizer.from_folder(find(config.data.tokenizer))
    if base is not None:
        return Tokenizer.from_folder(base)
    place = folder / "tokenizer"
    if world.rank == 0 and not (place / "tokenizer_config.json").is_file():
        texts = texts_of(learnt)
        Tokenizer.train(texts, READS[spec.name], vocab=config.data.vocab).save(place)
    world.barrier()
    return Tokenizer.from_folder(place)


def texts_of(rows: Rows) -> list[str]:
    """Give every text of the rows, whatever column it is in."""
    columns = ("text", "pair", "caption", "question", "context")
    texts = [str(t) for name in columns if name in rows.frame for t in rows.frame[name].dropna()]
    if "tokens" in rows.frame:
        texts += [" ".join(words) for words in rows.frame["tokens"]]
    return texts


def make_model(
    config: RunConfig,
    spec: Family,
    head: str,
    base: Path | None,
    rows: Rows,
    tokenizer: Tokenizer | None,
) -> Any:
    """Build the model, fresh or from its base, with the classes and the vocabulary of the data."""
    labels = rows.labels if head in ("sequence", "token", "image") else None
    classes = None if labels is None else len(labels)
    if base is not None:
        if config.model.config:
            raise ConfigError(
                f"model.config {dict(config.model.config)} cannot change a base checkpoint's sizes"
            )
        model = spec.build.from_pretrained(base, head=head, fresh=["head.*"], classes=classes)
        if labels is not None:
            model.config = dataclasses.replace(model.config, labels=tuple(labels))
        return model.train()
    found: dict[str, Any] = {}
    if tokenizer is not None:
        found["vocab"] = tokenizer.vocab_size
        known = {f.name for f in dataclasses.fields(spec.config)}
        found |= {"pad": tokenizer.pad_id} if "pad" in known else {}
        found |= {"end": tokenizer.eos_id} if "end" in known else {}
    if labels is not None:
        found |= {"classes": classes, "labels": tuple(labels)}
    chosen = chosen_fields(spec, config.model.config)
    try:
        if config.model.preset is None:  # what the config derives (hidden, of width) is derived
            numbers = spec.config(**found | chosen)
        else:
            numbers = dataclasses.replace(preset(config.model.preset)[1], **found | chosen)
        model = spec.build(numbers, head=head).train()
        if config.model.near:
            look_near_(model)
        return model
    except ValueError as error:
        raise ConfigError(f"model.config: {error}") from None


def chosen_fields(spec: Family, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of a model's config that a recipe sets; one size serves both sides."""
    known = {f.name: f.type for f in dataclasses.fields(spec.config)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"no key model.config.{name} in a {spec.name}{nearest(name, known)}")
        if name in ("image", "patch") and isinstance(value, int):
            value = (value, value)
        values[name] = tuple(value) if isinstance(value, list) else value
    try:
        return typed(spec.config, values)
    except ConfigError as error:
        raise ConfigError(f"model.config.{error}") from None


def make_processor(model: Any, base: Path | None) -> ImageProcessor:
    """Read the base's processor, or take the family's usual one for the model's image size."""
    if base is not None and (base / "preprocessor_config.json").is_file():
        return ImageProcessor.from_folder(base)
    height, width = model.config.image
    if model.config.channels == 1:
        size = {"height": height, "width": width}
        return ImageProcessor(size=size, image_mean=GREY, image_std=GREY)
    usual = ImageProcessor.clip if model.spec.name == "clip" else ImageProcessor.vit
    return usual((height, width))


def add_adapters(config: RunConfig, model: Any) -> None:
    """Put the low-rank adapters that the config asks for into a model."""
    c = config.lora
    beside = c.trained
    if beside is None:  # a classifier begins anew; a language head is the base's own
        beside = ("head.*",) if model.head_name in CLASSIFIES else ()
    add_lora(model, rank=c.rank, alpha=c.alpha, targets=c.targets, rate=c.dropout, trained=beside)
