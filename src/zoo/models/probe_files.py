"""What of a folder's files decides answers: facts that are compared when a probe is checked.

    config.json       each setting that the forward pass reads, and the names of the labels
    the weights       each tensor's dtype, shape and checksum
    the tokenizer     the vocabulary, its settings, and the ids of texts that touch all of it
    the preprocessor  its settings, and pixels of a picture drawn by a formula

A fault names the file and the setting. What is gone is no fault: it gives no wrong answer, and
whoever needs it is told.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo import config as configs
from zoo.checkpoint import CheckpointError, LazyTensor
from zoo.checkpoint.files import read_bytes
from zoo.checkpoint.safetensors import CODES, checksum

# settings that only training reads, and what weights that are there have replaced
SILENT = ("dropout", "attention_dropout", "head_dropout", "drop_path", "scale", "bias")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "encoder.json",
    "vocab.bpe",
    "bpe_simple_vocab_16e6.txt.gz",
    "vocab.txt",
)
PIXEL_FILES = ("processor_config.json", "preprocessor_config.json", "open_clip_config.json")
SAYS_HOW = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}
LARGEST_FILE = 256 * 2**20  # bytes
TEXTS = (
    "The quick brown fox jumps over 13 lazy dogs.",
    "Café 12 — naïve ÅNGSTRÖM, don't!",
    "HELLO hello HeLLo  two  spaces,\ta tab\n",
    "Ελληνικά Ж 漢字 🙂 👩‍🔬 x²",
    "3.14159 + 1,000,000 = ? @user #tag https://example.org/a_b",
    "antidisestablishmentarianism zzyzx",
    "[MASK] <|endoftext|> </s> [SEP]",
    " a",
)
PICTURE = (37, 53)  # pixels, height and width
KEPT = 24  # pixel values
SHOWN = 60  # characters of a value in a sentence


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 4] + " ..."


def config_facts(spec: Any, config: Any) -> dict[str, Any]:
    """Give what decides answers, under the names of config.json."""
    facts: dict[str, Any] = {}
    for ours, key in spec.config_keys.keys.items():
        value = getattr(config, ours)
        if ours in SILENT:
            continue
        if key.words is not None:
            value = next(theirs for theirs, mine in key.words.items() if mine == value)
        facts[key.theirs[0]] = list(value) if isinstance(value, tuple) else value
    facts["id2label"] = list(config.labels or configs.default_labels(config.classes))
    return facts


def config_faults(kept: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        f"config.json: {differs(name, kept[name], value)}"
        for name, value in found.items()
        if name in kept and not same(kept[name], value)
    ]


def same(kept: Any, found: Any) -> bool:
    """Compare values of JSON; true is not 1."""
    return bool(kept == found) and isinstance(kept, bool) == isinstance(found, bool)


def differs(name: str, kept: Any, found: Any) -> str:
    """Say how a setting differs; of a list only its first other entry."""
    if isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
        place = next(i for i, (a, b) in enumerate(zip(kept, found, strict=True)) if a != b)
        name, kept, found = f"{name}[{place}]", kept[place], found[place]
    elif isinstance(kept, list) and isinstance(found, list):
        return f"{name} has {len(found)} entries, the probe was made with {len(kept)}"
    return f"{name} is {shown(found)}, the probe was made with {shown(kept)}"


def mark(tensor: LazyTensor, total: int | None) -> str:
    shape = "x".join(map(str, tensor.shape)) or "1"
    return f"{CODES[tensor.dtype]} {shape} {total or 0:08x}"


def tensor_marks(tensors: Mapping[str, LazyTensor]) -> dict[str, str]:
    """Mark each tensor of a folder; those that carry no checksum are read."""
    return {
        name: mark(lazy, checksum(lazy.read()) if lazy.checksum is None else lazy.checksum)
        for name, lazy in tensors.items()
    }


def read_marked(lazy: LazyTensor, marks: dict[str, str] | None) -> Tensor:
    """Read a tensor; put its mark down where one is wanted."""
    tensor = lazy.read()
    if marks is not None:
        total = checksum(tensor) if lazy.checksum is None else lazy.checksum
        marks[lazy.name] = mark(lazy, total)
    return tensor


def tensor_faults(
    kept: Mapping[str, str], found: Mapping[str, str], files: Mapping[str, str]
) -> list[str]:
    """Compare the marks of tensors that were read; another name for the same numbers is none."""
    known = set(kept.values())
    wrong = [
        name
        for name, mark_ in found.items()
        if kept.get(name) != mark_ and (name in kept or mark_ not in known)
    ]
    if not wrong:
        return []
    first = wrong[0]
    said = "is not the tensor it was"
    if first not in kept:
        said = "was not there"
    elif kept[first].split(" ")[:2] != found[first].split(" ")[:2]:
        said = f"is {' '.join(found[first].split(' ')[:2])}, it was " + " ".join(
            kept[first].split(" ")[:2]
        )
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return [f"{files[first]}: {first} {said}{more}"]


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Hash the files that are there."""
    return {
        name: hashlib.sha256(read_bytes(folder, name, LARGEST_FILE)).hexdigest()
        for name in names
        if os.path.lexists(folder / name)
    }


def tokenizer_facts(
    folder: Path, texts: Iterable[str] = TEXTS, *, vocabulary: bool = True
) -> dict[str, Any] | None:
    """Describe a folder's tokenizer; None where there is none, or no library to read it.

    Raises TokenizerError for one that is damaged.
    """
    files = hashes(folder, TOKENIZER_FILES)
    if not files.keys() - SAYS_HOW:
        return None
    try:
        from zoo.tokenizers import Tokenizer  # the library behind it is an extra
        from zoo.tokenizers.files import guarded

        made = Tokenizer.from_folder(folder)
    except ImportError:
        return None
    settings = {"model_max_length": made.longest, "token_type_ids": made.typed}
    ids = ("bos_id", "eos_id", "unk_id", "sep_id", "pad_id", "cls_id", "mask_id")
    facts: dict[str, Any] = {
        "files": files,
        "settings": settings | {name: getattr(made, name) for name in ids},
        "size": made.vocab_size,
        "texts": guarded(folder, lambda: [[text, made.encode(text)] for text in texts]),
    }
    if vocabulary:
        rows = sorted(made.backend.get_vocab(True).items(), key=lambda row: (row[1], row[0]))
        lines = "\n".join([*(f"{number} {token!r}" for token, number in rows), *merges(made)])
        facts["vocabulary"] = hashlib.sha256(lines.encode("utf-8", "replace")).hexdigest()
    return facts


def merges(tokenizer: Any) -> list[str]:
    """Give the merges of a byte pair encoding in their order, however its file writes them."""
    held = json.loads(tokenizer.backend.to_str())["model"].get("merges") or ()
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in held]


def tokenizer_faults(folder: Path, kept: Mapping[str, Any]) -> list[str]:
    """Compare a folder's tokenizer with what was kept of it, and name the file that changed.

    Whether the vocabulary is the same need only be asked of files that changed.
    """
    try:
        files = hashes(folder, TOKENIZER_FILES)
        where = changed(kept["files"], files)
        texts = [text for text, _ in kept["texts"]]
        found = tokenizer_facts(folder, texts, vocabulary=bool(where))
    except (ValueError, CheckpointError) as error:
        return [str(error)]
    if found is None:
        return []
    where = where or "the tokenizer's files are as they were, and its library gives other ids"
    for (text, ids), (_, given) in zip(kept["texts"], found["texts"], strict=True):
        if given != ids:
            return [f"{where}: {shown(text)} gives {brief(given, ids)}, gave {brief(ids, given)}"]
    if found["size"] != kept["size"]:
        return [f"{where}: it has {found['size']} tokens, the probe was made with {kept['size']}"]
    if found.get("vocabulary", kept["vocabulary"]) != kept["vocabulary"]:
        return [
            f"{where}: under some ids stand other tokens, or they merge otherwise, than when the "
            "probe was made"
        ]
    for name, value in found["settings"].items():
        if name in kept["settings"] and not same(kept["settings"][name], value):
            return [f"{where}: {differs(name, kept['settings'][name], value)}"]
    return []


def brief(ids: list[int], other: list[int]) -> str:
    """Show ids from the first on that differs."""
    pairs = enumerate(zip(ids, other, strict=False))
    start = next((i for i, (a, b) in pairs if a != b), min(len(ids), len(other)))
    first = max(0, start - 1)
    part = ", ".join(map(str, ids[first : first + 4]))
    before = "..., " if first else ""
    return f"[{before}{part}{', ...' if len(ids) > first + 4 else ''}]"


def changed(kept: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Name the files of which the bytes are others, or that are new or gone."""
    return ", ".join(sorted(n for n in {**kept, **found} if kept.get(n) != found.get(n)))


def picture() -> Any:
    """Draw a picture that no turn, mirror or exchange of channels leaves as it is (h, w, 3)."""
    import numpy as np

    down, across = np.mgrid[: PICTURE[0], : PICTURE[1]]
    red = 255 * down / PICTURE[0]
    green = 127.5 * (1 + np.sin(0.9 * across + 0.05 * down * down))
    blue = 255 * ((3 * down + 2 * across) % 17 < 5)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def pixel_facts(folder: Path) -> dict[str, Any] | None:
    """Describe a folder's settings for pictures; None where there are none, or no Pillow.

    Raises ImageError for settings that cannot be read.
    """
    if not hashes(folder, PIXEL_FILES):
        return None
    try:
        from zoo.images import ImageProcessor  # needs the extra
        from zoo.images.published import USED_BY
    except ImportError:
        return None
    made = ImageProcessor.from_folder(folder)
    fields = asdict(made)
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if fields.get(USED_BY.get(name, ""), True)
    }
    pixels = made(picture())
    flat = pixels.reshape(-1).double()
    step = (5**0.5 - 1) / 2
    places = [int(flat.numel() * ((k + 1) * step % 1)) for k in range(KEPT)]
    return {
        "settings": settings,
        "shape": list(pixels.shape),
        "values": [float(f"{float(flat[place]):.8e}") for place in places],
    }


def pixel_faults(folder: Path, kept: Mapping[str, Any]) -> list[str]:
    """Compare a folder's settings for pictures with what was kept of them."""
    try:
        found = pixel_facts(folder)
    except (ValueError, CheckpointError) as error:
        return [str(error)]
    if found is None:
        return []
    where = next(name for name in PIXEL_FILES if os.path.lexists(folder / name))
    faults = [
        f"{where}: {differs(name, kept['settings'].get(name), found['settings'].get(name))}"
        for name in sorted({**kept["settings"], **found["settings"]})
        if not same(kept["settings"].get(name), found["settings"].get(name))
    ]
    if faults:
        return faults
    level = 1.01 * level_of(found["settings"])
    near = len(kept["values"]) == len(found["values"]) and all(
        abs(a - b) <= level for a, b in zip(kept["values"], found["values"], strict=True)
    )
    if kept["shape"] != found["shape"] or not near:
        return [f"{where}: its settings are as they were, and the library gives other pixels"]
    return []


def level_of(settings: Mapping[str, Any]) -> float:
    """Give how far apart two neighbours of a pixel's 256 levels come out at most.

    A resize is computed in whole numbers, which other builds of Pillow may round the other way.
    """
    step = float(settings.get("rescale_factor", 1.0))
    return abs(step) / min(map(abs, settings.get("image_std", [1.0])))
