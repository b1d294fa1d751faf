"""Arithmetic with a backward derived by hand, each op in a file of its own."""

from zoo.ops.attention import attention
from zoo.ops.cross_entropy import cross_entropy
from zoo.ops.dropout import dropout
from zoo.ops.embedding import embedding
from zoo.ops.gelu import gelu
from zoo.ops.layer_norm import layer_norm
from zoo.ops.linear import linear
from zoo.ops.linear_cross_entropy import linear_cross_entropy
from zoo.ops.softmax import softmax

__all__ = [
    "attention",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "softmax",
]
