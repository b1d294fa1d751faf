"""Arithmetic with a backward derived by hand, each op in a file of its own."""

from zoo.ops.attention import attention
from zoo.ops.contrastive import contrastive
from zoo.ops.cross_entropy import cross_entropy
from zoo.ops.drop_path import drop_path
from zoo.ops.dropout import dropout
from zoo.ops.embedding import embedding
from zoo.ops.gelu import gelu
from zoo.ops.gelu_linear import gelu_linear
from zoo.ops.layer_norm import layer_norm
from zoo.ops.layer_norm_linear import layer_norm_linear
from zoo.ops.linear import linear
from zoo.ops.linear_cross_entropy import linear_cross_entropy
from zoo.ops.normalize import normalize
from zoo.ops.pairwise_sigmoid import pairwise_sigmoid
from zoo.ops.patches import patches, unpatches
from zoo.ops.softmax import softmax

__all__ = [
    "attention",
    "contrastive",
    "cross_entropy",
    "drop_path",
    "dropout",
    "embedding",
    "gelu",
    "gelu_linear",
    "layer_norm",
    "layer_norm_linear",
    "linear",
    "linear_cross_entropy",
    "normalize",
    "pairwise_sigmoid",
    "patches",
    "softmax",
    "unpatches",
]
