"""Text from a decoder: greedy, sampled or by beams; batched or streamed."""

from zoo.generate.decode import generate, stream
from zoo.generate.options import Generation, Sampling

__all__ = ["Generation", "Sampling", "generate", "stream"]
