"""Tiny folders with all that belongs to them and a probe, and ways to change what lies in them."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from unit.models.tiny import MAIN, tiny
from zoo.images import ImageProcessor
from zoo.models import write_probe
from zoo.tokenizers import Tokenizer

KINDS = {"bert": "wordpiece", "clip": "clip", "gpt2": "bpe"}
VOCAB = 700
LABELS = {"classes": 3, "labels": ("ham", "spam", "eggs")}
WORDS = [
    f"{a}{b} Café {a} {b}{a}{a} {i}"
    for i, (a, b) in enumerate(zip("abcdefg", "tuvwxyz", strict=True))
]


MADE = {}


def folder_of(place, factory, family, dtype=torch.float32, head="main"):
    """Copy a family's folder to a new place; `factory` is pytest's, for the one that is copied."""
    head = MAIN[family] if head == "main" else head
    key = (family, head, dtype)
    if key not in MADE:
        MADE[key] = make(factory.mktemp(f"{family}-probed"), *key)
    return Path(shutil.copytree(MADE[key], place / "folder"))


def make(place, family, head, dtype):
    changes = dict(LABELS)
    if family in KINDS:
        tokenizer = Tokenizer.train(WORDS * 3, KINDS[family], vocab=VOCAB, longest=9)
        tokenizer.save(place)
        changes["vocab"] = tokenizer.vocab_size
    if family == "clip":
        changes["end"] = tokenizer.eos_id
    model = tiny(family, head, **changes).to(dtype)
    model.save_pretrained(place)
    if family in ("clip", "vit"):
        size = model.config.image
        (ImageProcessor.clip if family == "clip" else ImageProcessor.vit)(size).save(place)
    write_probe(place)
    return place


def edit(name, **values):
    """Make a change of a JSON file: `a__b=value` sets b in its table a."""

    def change(folder):
        file = folder / name
        found = json.loads(file.read_text(encoding="utf-8"))
        for path, value in values.items():
            *tables, last = path.split("__")
            part = found
            for table in tables:
                part = part[int(table) if table.isdigit() else table]
            part[int(last) if last.isdigit() else last] = value(part) if callable(value) else value
        file.write_text(json.dumps(found), encoding="utf-8")

    return change


def weights(change):
    """Make a change of the weights, which are then saved as another library would save them."""

    def apply(folder):
        file = folder / "model.safetensors"
        state = load_file(file)
        change(state)
        save_file({n: t.contiguous() for n, t in state.items()}, file, metadata={"format": "pt"})

    return apply
