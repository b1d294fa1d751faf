"""Parameters with names: torch's layers led through zoo.ops, attention, cache, positions."""

from zoo.nn.attention import Attention
from zoo.nn.basic import Dropout, DropPath, Embedding, LayerNorm, LayerScale, Linear
from zoo.nn.cache import KVCache, LayerCache
from zoo.nn.mlp import MLP
from zoo.nn.patch import Patches

__all__ = [
    "MLP",
    "Attention",
    "DropPath",
    "Dropout",
    "Embedding",
    "KVCache",
    "LayerCache",
    "LayerNorm",
    "LayerScale",
    "Linear",
    "Patches",
]
