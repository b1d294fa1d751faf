"""The items: one row, one piece of work. Add a row, and every table, plot and test has it."""

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.costs import importing, loading, picturing, tokenising
from benchmarks.speed.embedding import embedding
from benchmarks.speed.families import Sizes
from benchmarks.speed.generating import generation
from benchmarks.speed.job import Job
from benchmarks.speed.models import forward, training

GROUPS = ("training", "forward", "generation", "costs", "scaling")
WEIGHTS = ("zoo", "zoo-packed", "zoo-float16", "zoo-int8")


@dataclass(frozen=True)
class Item:
    """A piece of work: its group, what is done in words, and how it is made.

    `modes` are the ways of zoo that are measured unless others are asked for. Items of one `curve`
    are points of a plot over `x`.
    """

    name: str
    group: str
    does: str
    make: Callable[..., Job]
    sizes: Sizes
    modes: tuple[str, ...] = ("zoo",)
    curve: str | None = None
    x: float = 0.0

    def job(self, *, tiny: bool = False, alone: bool = False) -> Job:
        """Get the work ready; nothing is built before a side is asked for."""
        return self.make(self.sizes.small() if tiny else self.sizes, alone=alone)


def trains(family: str, name: str, does: str, **sizes: Any) -> Item:
    return Item(name, "training", does, training, Sizes(family=family, **sizes))


def passes(family: str, name: str, does: str, **sizes: Any) -> Item:
    return Item(
        name, "forward", does, forward, Sizes(family=family, **sizes), ("zoo", "zoo-packed")
    )


def writes(rows: int) -> Item:
    return Item(
        f"gpt2-generate-{rows}",
        "generation",
        f"GPT-2 124M writes 128 greedy tokens after prompts of 32, {rows} at once",
        generation,
        Sizes(family="gpt2", rows=rows, tokens=32, new=128),
        WEIGHTS,
    )


def cost(name: str, does: str, make: Callable[..., Job], **sizes: Any) -> Item:
    return Item(name, "costs", does, make, Sizes(family="gpt2", **sizes))


STEP = "a training step (forward, backward, fused AdamW) of GPT-2 124M, one row of"

TABLE = (
    trains("gpt2", "gpt2-train-512", f"{STEP} 512 tokens", tokens=512),
    trains("gpt2", "gpt2-train-1024", f"{STEP} 1024 tokens", tokens=1024),
    trains("gpt2", "gpt2-train-512-dropout", f"{STEP} 512, dropout 0.1", tokens=512, dropout=0.1),
    trains(
        "gpt2", "gpt2-train-1024-dropout", f"{STEP} 1024, dropout 0.1", tokens=1024, dropout=0.1
    ),
    trains(
        "gpt2", "gpt2-train-512-bfloat16", f"{STEP} 512, bfloat16", tokens=512, compute="bfloat16"
    ),
    trains(
        "gpt2",
        "gpt2-train-1024-bfloat16",
        f"{STEP} 1024, bfloat16",
        tokens=1024,
        compute="bfloat16",
    ),
    trains(
        "bert",
        "bert-train-8x128",
        "a training step of BERT-base on 8 rows of 128 tokens, 15 % of them masked words",
        rows=8,
        tokens=128,
    ),
    trains(
        "bert",
        "bert-train-8x128-dropout",
        "the same with BERT's dropout of 0.1",
        rows=8,
        tokens=128,
        dropout=0.1,
    ),
    trains("vit", "vit-train-8", "a training step of ViT-B/16 on 8 images of 224", rows=8),
    trains(
        "clip",
        "clip-train-8",
        "a training step of CLIP-B/32 on 8 pairs of an image and 77 tokens",
        rows=8,
        tokens=77,
    ),
    passes("gpt2", "gpt2-forward-512", "logits of 512 tokens by GPT-2 124M", tokens=512),
    passes(
        "bert",
        "bert-forward-8x128",
        "masked-word logits of 8 rows of 128 tokens by BERT-base",
        rows=8,
        tokens=128,
    ),
    passes(
        "bert",
        "bert-forward-ragged",
        "masked-word logits of 16 rows of 8 to 512 tokens by BERT-base; padding is not counted",
        rows=16,
        tokens=512,
        shortest=8,
    ),
    Item(
        "bert-embed-ragged",
        "forward",
        "vectors of 16 texts of 8 to 512 tokens by BERT-base, from strings",
        embedding,
        Sizes(family="bert", rows=16, tokens=512, shortest=8),
        ("zoo", "zoo-packed"),
    ),
    passes("vit", "vit-forward-8", "classes of 8 images of 224 by ViT-B/16", rows=8),
    passes("clip", "clip-forward-8", "cosines of 8 images and 8 texts", rows=8, tokens=77),
    writes(1),
    writes(8),
    cost(
        "import",
        "`import zoo.models` or `from transformers import GPT2LMHeadModel`, torch being there",
        importing,
    ),
    cost("load", "read a GPT-2 124M from its folder", loading, tokens=32),
    cost("first-token", "read it, and write one token after 32", loading, tokens=32, new=1),
    cost("tokenise", "turn the lines of this project's documents into ids", tokenising),
    cost("pictures", "make pixels for a ViT of 32 JPEGs of 640 x 480", picturing, rows=32),
    *(
        Item(
            f"gpt2-train-t{tokens}",
            "scaling",
            f"{STEP} {tokens} tokens",
            training,
            Sizes(family="gpt2", tokens=tokens),
            curve="a training step of GPT-2 124M over tokens in a row",
            x=tokens,
        )
        for tokens in (128, 256, 512, 1024, 2048, 4096)
    ),
    *(
        Item(
            f"gpt2-train-b{rows}",
            "scaling",
            f"a training step of GPT-2 124M on {rows} rows of 128 tokens",
            training,
            Sizes(family="gpt2", rows=rows, tokens=128),
            curve="a training step of GPT-2 124M over rows of 128 tokens",
            x=rows,
        )
        for rows in (1, 4, 16, 64)
    ),
    *(
        Item(
            f"gpt2-generate-b{rows}",
            "scaling",
            f"GPT-2 124M writes 32 greedy tokens after 32, {rows} rows at once",
            generation,
            Sizes(family="gpt2", rows=rows, tokens=32, new=32),
            curve="32 tokens by GPT-2 124M over rows at once",
            x=rows,
        )
        for rows in (1, 4, 16, 64)
    ),
    *(
        Item(
            f"vit-forward-{side}px",
            "scaling",
            f"classes of 4 images of {side} by ViT-B/16",
            forward,
            Sizes(family="vit", rows=4, image=side),
            curve="classes of 4 images by ViT-B/16 over pixels a side",
            x=side,
        )
        for side in (96, 160, 224, 384, 512)
    ),
    *(
        Item(
            f"gpt2-train-{count}-threads",
            "scaling",
            f"{STEP} 512 tokens, {count} threads",
            training,
            Sizes(family="gpt2", tokens=512, threads=count),
            curve="a training step of GPT-2 124M over threads",
            x=count,
        )
        for count in (1, 2)
    ),
)

ITEMS = {item.name: item for item in TABLE}


def chosen(patterns: Iterable[str]) -> list[Item]:
    """Give the items that some pattern names, by item or by group.

    Raises ValueError for a pattern that names none.
    """
    patterns = [*patterns]
    for pattern in patterns:
        if not any(named(item, pattern) for item in TABLE):
            raise ValueError(
                f"no item and no group is called {pattern!r}; `zoo bench list` shows them"
            )
    return [item for item in TABLE if any(named(item, pattern) for pattern in patterns)]


def named(item: Item, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (item.name, item.group))
