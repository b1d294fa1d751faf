"""The ends of long texts, kept back to judge by: one book has no other rows to spare."""

import pandas as pd

from zoo.data.kinds import TRAIN, VALID
from zoo.data.reader import from_frame
from zoo.data.rows import Rows

BREAKS = ("\n\n", "\n", " ")  # where a text is cut, the best first
NEAR = 0.01  # of the text's length: how far before its place a cut may be


def ends_kept_back(rows: Rows, share: float) -> Rows:
    """Give the texts that are learnt from without their last `share`, which go to valid.

    Texts in other splits stay as they are, and so does one that has no end to spare.
    """
    parts = []
    for name, text, split in zip(*(rows.frame[c] for c in ("id", "text", "split")), strict=True):
        cut = cut_before(text, round(len(text) * (1 - share))) if split == TRAIN else len(text)
        parts.append((name, text[:cut], split))
        if text[cut:].strip():
            parts.append((f"{name} (its end)", text[cut:], VALID))
    return from_frame(pd.DataFrame(parts, columns=["id", "text", "split"]), "text")


def cut_before(text: str, place: int) -> int:
    """Give the nearest good place to cut a text at or before `place`; its length if none is."""
    low = max(0, place - max(80, round(NEAR * len(text))))
    for mark in BREAKS:
        found = text.rfind(mark, low, place)
        if found > 0 and text[:found].strip():
            return found + len(mark)
    return len(text)
