"""Text from a decoder: greedy, sampled or by beams; batched or streamed; by drafts or without."""

from zoo.generate.continuous import Continuous, Taken
from zoo.generate.decode import generate, stream
from zoo.generate.drafts import DraftModel, NGram
from zoo.generate.options import Generation, Sampling

__all__ = [
    "Continuous",
    "DraftModel",
    "Generation",
    "NGram",
    "Sampling",
    "Taken",
    "generate",
    "stream",
]
