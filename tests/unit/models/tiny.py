"""The tiny preset of each family in float64, with batches and labels for each of its heads."""

import dataclasses

import torch

from zoo.models import MODELS
from zoo.objectives import IGNORE

HEADS = [(name, head) for name, spec in sorted(MODELS.items()) for head in spec.heads]
LEARNED = [
    (name, head)
    for name, head in HEADS
    if head
    in (
        "lm",
        "masked_lm",
        "next_sentence",
        "sequence",
        "token",
        "multiple_choice",
        "span",
        "image",
        "masked_image",
        "match",
    )
]
RATES = ("dropout", "attention_dropout", "head_dropout", "drop_path")
MAIN = {"bert": "masked_lm", "clip": "match", "gpt2": "lm", "vit": "image"}  # what it was made for

# what each head gives for a batch of four; 3 classes
SHAPES = {
    ("bert", "masked_lm"): (4, 11, 97),
    ("bert", "token"): (4, 11, 3),
    ("bert", "span"): (4, 11, 2),
    ("bert", "sequence"): (4, 3),
    ("bert", "next_sentence"): (4, 2),
    ("bert", "multiple_choice"): (2, 2),
    ("bert", None): (4, 11, 20),
    ("clip", "match"): (4, 4),
    ("clip", "image"): (4, 3),
    ("clip", "image_features"): (4, 14),
    ("clip", "text_features"): (4, 14),
    ("clip", "image_hidden"): (4, 9, 20),
    ("clip", "text_hidden"): (4, 9, 18),
    ("gpt2", "lm"): (4, 11, 97),
    ("gpt2", "sequence"): (4, 3),
    ("gpt2", "token"): (4, 11, 3),
    ("gpt2", None): (4, 11, 20),
    ("vit", "image"): (4, 3),
    ("vit", "masked_image"): (4, 3, 12, 10),
    ("vit", None): (4, 9, 20),
}


def tiny(family, head, **changes):
    """Build the tiny preset with weights large enough to matter, and without dropout."""
    spec = MODELS[family]
    torch.manual_seed(0)
    config = spec.presets[f"{family}-tiny"]
    quiet = {f.name: 0.0 for f in dataclasses.fields(config) if f.name in RATES}
    model = spec.build(
        dataclasses.replace(config, **quiet | {"classes": 3, "labels": None} | changes), head
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.double()


def example(family, head, model, seed=0):
    """Make a batch of four that the head reads."""
    batch = MODELS[family].example(model.config, seed, batch=4)
    batch = {n: x.double() if x.is_floating_point() else x for n, x in batch.items()}
    if head == "multiple_choice":
        return {name: ids.view(2, 2, -1) for name, ids in batch.items()}
    if family == "clip" and head != "match":
        name = "input_ids" if head.startswith("text") else "pixel_values"
        return {name: batch[name]}
    if head == "masked_image":
        batch["bool_masked_pos"] = torch.arange(4 * 8).view(4, 8) % 3 == 0
    return batch


def labelled(family, head, model):
    """Make a batch with the labels that the head's objective reads."""
    batch = example(family, head, model)
    if head in ("match", "masked_image"):
        return batch
    ids = batch.get("input_ids")
    labels = {
        "lm": lambda: ids,
        "masked_lm": lambda: torch.where(torch.arange(ids.shape[-1]) % 3 == 0, ids, IGNORE),
        "token": lambda: ids % 3,
        "span": lambda: torch.tensor([[1, 3], [0, 2], [5, 5], [4, 6]]),
        "sequence": lambda: torch.tensor([0, 1, 2, 0]),
        "image": lambda: torch.tensor([0, 1, 2, 0]),
        "next_sentence": lambda: torch.tensor([0, 1, 1, 0]),
        "multiple_choice": lambda: torch.tensor([1, 0]),
    }
    return batch | {"labels": labels[head]()}
