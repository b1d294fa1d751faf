"""Rows to be looked at, made in memory: texts of known words, pictures of known waves."""

import numpy as np
import pandas as pd
from PIL import Image

from zoo.data.rows import Rows

SPLITS = {"t": "train", "v": "valid", "e": "test"}


def rows_of(kind, splits, labels=None, **columns):
    """Make rows named r0, r1, ...; their splits are letters: t train, v valid, e test."""
    frame = pd.DataFrame({name: pd.Series(list(of)) for name, of in columns.items()})
    frame.insert(0, "id", [f"r{i}" for i in range(len(frame))])
    frame.insert(1, "split", [SPLITS[letter] for letter in splits])
    return Rows(kind, frame, labels, "sha256:0")


def labelled(splits, texts, labels=None, **more):
    """Make labelled texts; their labels alternate unless they are given."""
    named = labels or [("ham", "spam")[i % 2] for i in range(len(texts))]
    return rows_of("labelled_text", splits, text=texts, label=named, **more)


def words(count, seed=0, of=5000):
    """Give a text of words drawn evenly from a vocabulary."""
    rng = np.random.default_rng(seed)
    return " ".join(f"w{k}" for k in rng.integers(of, size=count))


def scene(seed, side=96):
    """Draw coloured clouds, as a photograph has them."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def kept(folder, pictures):
    """Write pictures as PNG; give their paths."""
    paths = []
    for i, picture in enumerate(pictures):
        paths.append(str(folder / f"{i}.png"))
        picture.save(paths[-1])
    return paths


def found(report, check, level=None):
    """Give what a check found, of one level or of all."""
    return [f for f in report.findings if f.check == check and level in (None, f.level)]
