"""Every correct model on which a kit must stay silent, and how many there are.

python -m benchmarks.testers.correct            counts by group
"""

from collections import Counter

from benchmarks.testers import (
    correct_gradients,
    correct_hf,
    correct_losses,
    correct_modes,
    correct_nn,
    correct_pairs,
    correct_sets,
    correct_shapes,
    correct_starts,
    correct_text,
    correct_text2,
    correct_vision,
)
from benchmarks.testers.corpus import HALVES, Case, sound
from benchmarks.testers.sound import Sound

GROUPS = (
    correct_nn,
    correct_losses,
    correct_modes,
    correct_starts,
    correct_text,
    correct_text2,
    correct_vision,
    correct_sets,
    correct_gradients,
    correct_pairs,
    correct_shapes,
    correct_hf,
)


def unedited(case: Case) -> list[Sound]:
    """Describe an architecture of the corpus without a bug, with its facts and without."""
    return [
        Sound(f"corpus/{case.half}-{case.arch}/declared", lambda: case.spec(True)),
        Sound(f"corpus/{case.half}-{case.arch}/bare", lambda: case.spec(False)),
    ]


def rows() -> list[Sound]:
    """List them all; nothing is built."""
    found = [row for group in GROUPS for row in group.rows()]
    return found + [row for half in HALVES for case in sound(half) for row in unedited(case)]


if __name__ == "__main__":
    counts = Counter(row.id.split("/")[0] for row in rows())
    for group, count in counts.items():
        print(f"{count:5} {group}")
    print(f"{counts.total():5} in all")
