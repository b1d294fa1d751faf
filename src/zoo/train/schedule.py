"""Learning rate as a function of how far a run has come.

    rate(step) = peak (step + 1) / warmup                             while step < warmup
               = peak (floor + (1 - floor) shape(done))               after it

`done` goes from 0 at the end of the warm-up to 1 at the last step, `shape` from 1 to 0.
"""

import math
from collections.abc import Callable


def constant(done: float) -> float:
    return 1.0


def linear(done: float) -> float:
    return 1.0 - done


def cosine(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


SHAPES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,  # GPT-2's line (Radford et al. 2018, section 4.1)
    "linear": linear,  # BERT (Devlin et al. 2018, appendix A.2)
}


def learning_rate(
    step: int,
    *,
    peak: float,
    warmup: int,
    total: int,
    shape: str = "cosine",
    floor: float = 0.0,
) -> float:
    """Give the rate of a step, counted from 0; past `total` it stays where it ended.

    Raises ValueError for an unknown shape and for a warm-up longer than the run.
    """
    if shape not in SHAPES:
        raise ValueError(f"schedule {shape!r}; expected one of {tuple(SHAPES)}")
    if warmup > total:
        raise ValueError(f"a warm-up of {warmup} is longer than the run, {total}")
    if step < warmup:
        return peak * (step + 1) / warmup
    # the last step is total - 1; a run that is all warm-up has nothing left to fall
    done = (step - warmup) / max(1, total - 1 - warmup)
    return peak * (floor + (1.0 - floor) * SHAPES[shape](min(1.0, done)))
