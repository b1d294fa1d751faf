"""Small rows and configs of each family for a run's parts, and a world of one process."""

import json

import numpy as np
from PIL import Image

from zoo.train.config import RunConfig
from zoo.train.settings import from_table

WHO = ("the cat", "a dog", "my uncle", "the rain")
DOES = ("sleeps", "sings", "runs home")
TEXTS = [f"{who} {does} on sunday" for who in WHO for does in DOES]
SIZES = {"width": 8, "depth": 1, "heads": 2}
TOWERS = {
    f"{tower}_{name}": size
    for tower in ("image", "text")
    for name, size in {"width": 8, "depth": 1, "heads": 2, "hidden": 12}.items()
}
CONFIGS = {
    "gpt2": SIZES | {"context": 8},
    "bert": SIZES | {"context": 16, "hidden": 12},
    "vit": SIZES | {"image": 8, "patch": 4, "hidden": 12},
    "clip": TOWERS | {"image": 8, "patch": 4, "context": 12, "embed": 6},
}
# kind of rows -> lines of a JSON file
LINES = {
    "text": [{"text": text} for text in TEXTS],
    "labelled_text": [{"text": text, "label": text.split()[1]} for text in TEXTS],
    "tagged_text": [
        {"tokens": text.split(), "tags": ["long" if len(w) > 3 else "short" for w in text.split()]}
        for text in TEXTS
    ],
    "answers": [
        {
            "question": "who",
            "context": text,
            "answer": text.split()[1],
            "start": text.index(" ") + 1,
        }
        for text in TEXTS
    ],
}


def write_rows(place, kind):
    """Write twelve rows, nine of them to learn from."""
    place.mkdir(parents=True, exist_ok=True)
    lines = [
        line | {"split": "valid" if i % 4 == 3 else "train"} for i, line in enumerate(LINES[kind])
    ]
    path = place / f"{kind}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_pictures(place, channels=3):
    """Write twelve pictures of noise, in folders of splits and of three classes."""
    for i in range(12):
        folder = place / ("valid" if i % 4 == 3 else "train") / f"class{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(folder / f"{i}.png")
    return place


def write_pairs(place):
    place.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, text in enumerate(TEXTS):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
        split = "valid" if i % 4 == 3 else "train"
        lines.append({"image": f"{i}.png", "caption": text, "split": split})
    path = place / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def config_of(family, files, **sections):
    """Give the config of a run of a few steps."""
    table = {
        "name": f"{family} lesson",
        "data": {"files": [str(files)], "vocab": 540 if family == "clip" else 300, "check": False},
        "model": {"family": family, "config": dict(CONFIGS[family])},
        "optimizer": {"rate": 1e-2, "warmup": 2},
        "train": {"steps": 4, "batch": 4, "seed": 5},
        "keep": {"every": 3, "keep": 2, "log": 1, "evaluate": 2},
    }
    for name, values in sections.items():
        table[name] = table.get(name, {}) | values if isinstance(values, dict) else values
    return from_table(RunConfig, table)
