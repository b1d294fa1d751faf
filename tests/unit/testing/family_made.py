"""What tests of a family's comparison are made of: tensors, layers, walks."""

import torch
from torch import nn

from zoo.testing.family.families import TANH
from zoo.testing.family.layers import Layer
from zoo.testing.family.walk import Style, Walk


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def layer(kind="map", x=None, y=None, weight="h.0.up.weight", **more):
    y = drawn(2, 3, 4) if y is None else y
    return Layer(kind, weight, "", x, y, weight.rpartition(".")[0], "net.py:3 y", **more)


def walk(**more):
    style = Style(norm_first=more.pop("norm_first", True), causal=True, activation=(TANH,))
    return Walk(more.pop("module", nn.Identity()), more.pop("weights", {}), 2, style, **more)
