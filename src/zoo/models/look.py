"""Looking inside: hidden states between the blocks, and who looked at whom in them.

Anything with `blocks`, each with its attention under `attn`, and `encode` can be looked into: all
families, and each tower of CLIP. Hooks listen while `encode` runs, so a model's forward pass is
written once and computes nothing for the sake of being looked at.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

Layers = int | Iterable[int] | None


@dataclass(frozen=True)
class Intermediates:
    """Hidden states after some blocks, by the block's number from 0, and the last of all."""

    layers: dict[int, Tensor]  # (b, t, d) each
    last: Tensor  # (b, t, d): what `encode` gives, with the final norm where the model has one


class Inspectable:
    """A model, or a part of one, that can be looked into."""

    def intermediates(self, *args: Any, layers: Layers = None, **inputs: Any) -> Intermediates:
        """Run `encode` on the inputs; give the hidden states after the blocks asked for.

        `layers` are numbers from 0, negative ones count from the end; None is all of them. What a
        block gives is taken as it is, before any final norm, with class token and registers.
        Gradients flow through all of it.
        Hugging Face's `hidden_states[0]` is what the first block reads and not given here;
        `hidden_states[i + 1]` is `layers[i]`, but the last is `last` in GPT-2.
        Raises ValueError for a block that is not there.
        """
        found: dict[int, Tensor] = {}
        blocks = blocks_of(self)
        with ExitStack() as hooks:
            for number in layer_numbers(layers, len(blocks)):
                hook = blocks[number].register_forward_hook(keep_output(found, number))
                hooks.enter_context(hook)
            last = encode(self, args, inputs)
        return Intermediates(found, last)

    def attention_maps(
        self, *args: Any, layers: Layers = None, **inputs: Any
    ) -> dict[int, Float[Tensor, "b h t t"]]:
        """Run `encode` on the inputs; give the attention probabilities of the blocks asked for.

        They are recomputed from what each block's attention read, since attention itself never
        forms them: see `zoo.nn.Attention.weights`. `layers` is as for `intermediates`.
        Raises ValueError for a block that is not there, and for a cache.
        """
        return dict(self.each_attention_map(*args, layers=layers, **inputs))

    def each_attention_map(
        self, *args: Any, layers: Layers = None, **inputs: Any
    ) -> Iterator[tuple[int, Float[Tensor, "b h t t"]]]:
        """Give (block, map) as `attention_maps` does, each computed when it is asked for.

        So no two maps need be held at once: of 12 blocks with 12 heads on 1024 tokens, 50 MB in the
        place of 600.
        """
        if inputs.get("cache") is not None:
            raise ValueError("attention_maps reads whole texts: leave the cache out")
        found: dict[int, tuple[Tensor, Tensor | None]] = {}
        blocks = blocks_of(self)
        with ExitStack() as hooks:
            for number in layer_numbers(layers, len(blocks)):
                hook = keep_input(found, number)
                attn: Any = blocks[number].attn
                hooks.enter_context(attn.register_forward_pre_hook(hook, with_kwargs=True))
            encode(self, args, inputs)
        # after the pass, not in it: activation checkpointing would not find it again in backward
        return ((number, weights(blocks[number], *read)) for number, read in found.items())


def blocks_of(model: Any) -> nn.ModuleList:
    """Give the blocks; raise TypeError, naming the parts that have some, where there are none."""
    blocks = getattr(model, "blocks", None)
    if isinstance(blocks, nn.ModuleList):
        return blocks
    parts = [name for name, part in model.named_children() if hasattr(part, "blocks")]
    raise TypeError(
        f"{type(model).__name__} has no blocks of its own; "
        f"look into one of its parts: {', '.join(parts) or 'it has none'}"
    )


def encode(model: Any, args: tuple[Any, ...], inputs: dict[str, Any]) -> Tensor:
    hidden: Tensor = model.encode(*args, **inputs)
    return hidden


def weights(block: Any, x: Tensor, padding: Tensor | None) -> Tensor:
    found: Tensor = block.attn.weights(x, padding)
    return found


def layer_numbers(layers: Layers, depth: int) -> list[int]:
    """Give the numbers asked for from 0 upward, each once."""
    if layers is None:
        return list(range(depth))
    asked = [layers] if isinstance(layers, int) else list(layers)
    for layer in asked:
        if type(layer) is not int or not -depth <= layer < depth:
            raise ValueError(
                f"layer {layer!r}; the blocks have numbers 0 to {depth - 1}, "
                f"or {-depth} to -1 from the end"
            )
    return sorted({layer % depth for layer in asked})


def keep_output(found: dict[int, Tensor], number: int) -> Callable[..., None]:
    """Make a hook that stores what a block gives to the thread that asked."""
    mine = threading.get_ident()

    def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
        if threading.get_ident() == mine:
            found[number] = output

    return hook


def keep_input(found: dict[int, tuple[Tensor, Tensor | None]], number: int) -> Callable[..., None]:
    """Make a hook that stores what an attention reads in the thread that asked: x and padding."""
    mine = threading.get_ident()

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == mine:
            found[number] = (args[0], args[1] if len(args) > 1 else kwargs.get("padding"))

    return hook
