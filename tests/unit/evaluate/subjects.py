"""Tiny models in float64 with their tokenizers and processors, and rows to ask them."""

from pathlib import Path

import torch

from unit.models.tiny import tiny
from zoo.evaluate.judges import judge
from zoo.evaluate.outcome import Row
from zoo.evaluate.subject import Subject
from zoo.images import ImageProcessor
from zoo.tokenizers import Tokenizer

TEXTS = [
    "the cat sat under the house",
    "a dog ran in the garden and a cat sat in the house under the sun",
    "rain in the garden, rain under the house",
    "the sun and the rain",
]
CONTEXT = 24
LABELS = ("ham", "spam", "other")
EYE = (12, 10)
NOWHERE = Path("of-no-folder")
TOKENIZERS = {
    kind: Tokenizer.train(TEXTS * 3, kind, vocab=vocab)
    for kind, vocab in {"bpe": 295, "wordpiece": 75, "clip": 540}.items()
}


def subject(family, head, kind=None, **changes):
    """Make a subject; `kind` is its tokenizer's."""
    tokenizer = processor = None
    if kind is not None:
        tokenizer = TOKENIZERS[kind]
        changes = {"vocab": tokenizer.vocab_size, "context": CONTEXT} | changes
    if family == "clip":
        changes |= {"image": EYE, "patch": (3, 5), "end": tokenizer.eos_id}
    if family in ("clip", "vit"):
        make = ImageProcessor.clip if family == "clip" else ImageProcessor.vit
        processor = make(size=EYE)
    model = tiny(family, head, **changes).eval()
    return Subject(folder=NOWHERE, model=model, tokenizer=tokenizer, processor=processor)


def speaker(**changes):
    return subject("gpt2", "lm", "bpe", **changes)


def filler(**changes):
    return subject("bert", "masked_lm", "wordpiece", **changes)


def sorter(family="bert"):
    return subject(family, "sequence", {"bert": "wordpiece", "gpt2": "bpe"}[family], labels=LABELS)


def embedder():
    return subject("bert", None, "wordpiece")


def seer(**changes):
    return subject("vit", "image", **{"labels": LABELS} | changes)


def matcher():
    return subject("clip", "match", "clip")


def row(name, task, *, test="mft", of=None, expect=None, by=0.0, under=None, flags=(), **fields):
    return Row(
        id=name,
        task=task,
        fields=fields,
        test=test,
        of=of,
        expect=expect,
        by=by,
        under=under,
        flags=flags,
    )


def noise(seed, height=12, width=10):
    """Draw a picture of noise, a uint8 array."""
    generator = torch.Generator().manual_seed(seed)
    shape = (height, width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).numpy()


SIGNS = "0123456789#$%&*+=<>@^"  # none is in the texts that the tokenizers know: a token each


def signs(count):
    return "".join(SIGNS[7 * i * i % 20 if i % 3 else i % 21] for i in range(count))


def only(rows, subject, folder="."):
    (outcome,) = judge(rows, subject, folder)
    return outcome
