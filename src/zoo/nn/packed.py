"""A model's layers multiplying by packed weights: see zoo.ops.packed for the forms.

A layer that can do so has an attribute `packed`, None while it uses its weight itself. A layer with
LoRA on top multiplies by its weight itself: merge what was learnt first.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from zoo.nn.lora import LoRALinear
from zoo.ops.packed import Packed, ways


@dataclass(frozen=True)
class PackReport:
    """What packing did: names of the layers, and the bytes that it takes beside the weights."""

    weights: str
    packed: tuple[str, ...]
    kept: tuple[str, ...]  # multiply by the weight itself: LoRA, or numbers the form cannot hold
    size: int  # bytes


def packable(model: nn.Module) -> dict[str, Any]:
    """Name the layers that can multiply by packed weights."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if hasattr(type(layer), "packed") and not isinstance(layer, LoRALinear)
    }


def pack_layers(model: nn.Module, weights: str) -> PackReport:
    """Pack every layer that can be. Raises ValueError for a form that does not exist."""
    names: list[str] = []
    kept = [name for name, layer in model.named_modules() if isinstance(layer, LoRALinear)]
    size = 0
    Packed(weights)  # a wrong form changes nothing
    if not ways(weights):
        raise NotImplementedError(
            f"this build of torch has no {weights} products for this CPU: use another form, or none"
        )
    for name, layer in packable(model).items():
        layer.packed = Packed(weights)
        product = layer.packed.of(layer.weight)
        (kept if product is None else names).append(name)
        size += 0 if product is None else product.size
    return PackReport(weights, tuple(names), tuple(kept), size)


def unpack_layers(model: nn.Module) -> None:
    """Let every layer multiply by its weight itself again."""
    for layer in packable(model).values():
        layer.packed = None


class unpacked:
    """Multiply by the weights themselves inside of this block."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = list(packable(model).values())

    def __enter__(self) -> None:
        self.held = [layer.packed for layer in self.layers]
        for layer in self.layers:
            layer.packed = None

    def __exit__(self, *_: object) -> None:
        for layer, packed in zip(self.layers, self.held, strict=True):
            layer.packed = packed
