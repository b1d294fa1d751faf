"""Parameters with names: torch's layers led through zoo.ops, attention, cache, positions."""

from zoo.nn.attention import Attention
from zoo.nn.basic import MLP, Dropout, Embedding, LayerNorm, Linear
from zoo.nn.cache import KVCache, LayerCache

__all__ = [
    "MLP",
    "Attention",
    "Dropout",
    "Embedding",
    "KVCache",
    "LayerCache",
    "LayerNorm",
    "Linear",
]
