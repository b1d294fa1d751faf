"""Layers of a tower, read as a stem, blocks and what comes after them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from zoo.testing.family.layers import Layer

# a block, norm first and norm last; a letter is a layer: N norm, Q fused q k v, d map that keeps
# the width, A torch's own attention, U map up, D map down
BEFORE = re.compile(r"(N*)(Q|ddd|A)(d?)(N*)(U)(D)")
AFTER = re.compile(r"(Q|ddd|A)(d?)(N*)(U)(D)(N*)")


@dataclass
class Block:
    """The layers of one block; a norm that is not there is None."""

    projections: list[Layer]  # one fused, three, or torch's own attention
    out: Layer | None
    norm1: Layer | None
    norm2: Layer | None
    up: Layer
    down: Layer

    def path(self) -> str:
        """Give the dotted path of the module that holds all layers of the block."""
        layers = [*self.projections, self.out, self.up, self.down]
        parts = [x.module.split(".") for x in layers if x is not None]
        shared = 0
        while all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
            shared += 1
        return ".".join(parts[0][:shared])


@dataclass
class Tower:
    """One transformer: what makes its first stream, its blocks, and the rest."""

    width: int
    stem: list[Layer]
    blocks: list[Block] = field(default_factory=list)
    tail: list[Layer] = field(default_factory=list)


def parse(layers: Sequence[Layer], *, norm_first: bool) -> list[Tower]:
    """Read layers as towers, in the order in which they ran; empty when there are no blocks."""
    towers = [tower_of(part, norm_first) for part in segments(layers)]
    return [tower for tower in towers if tower is not None]


def segments(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Cut layers where a new stem begins: a table or a convolution after maps and norms."""
    parts: list[list[Layer]] = [[]]
    for layer in layers:
        stem = layer.kind in ("table", "conv")
        if stem and any(x.kind in ("norm", "attention") for x in parts[-1]):
            parts.append([])
        parts[-1].append(layer)
    return parts


def tower_of(layers: Sequence[Layer], norm_first: bool) -> Tower | None:
    """Read layers as one tower; None when there are no blocks."""
    width = width_of(layers)
    if width is None:
        return None
    letters = "".join(letter(x, width) for x in layers)
    matches = list((BEFORE if norm_first else AFTER).finditer(letters))
    if not matches:
        return None
    return Tower(
        width,
        stem=list(layers[: matches[0].start()]),
        blocks=[block_of(match, layers, norm_first) for match in matches],
        tail=list(layers[matches[-1].end() :]),
    )


def block_of(match: re.Match[str], layers: Sequence[Layer], norm_first: bool) -> Block:
    """Make a block of what its pattern matched."""
    groups = [list(layers[match.start(i) : match.end(i)]) for i in range(1, 7)]
    one = [group[-1] if group else None for group in groups]
    if norm_first:
        norm1, _, out, norm2, up, down = one
        projections = groups[1]
    else:
        _, out, norm1, up, down, norm2 = one
        projections = groups[0]
    assert up is not None and down is not None
    return Block(projections, out, norm1, norm2, up, down)


def width_of(layers: Sequence[Layer]) -> int | None:
    """Give the width that most norms, or else most maps, have."""
    sizes = [x.y.shape[-1] for x in layers if x.kind == "norm"]
    sizes = sizes or [x.y.shape[-1] for x in layers if x.kind == "map"]
    return max(set(sizes), key=sizes.count) if sizes else None


def letter(layer: Layer, width: int) -> str:
    """Give the letter of a layer in a tower of a width."""
    if layer.kind == "norm":
        return "N"
    if layer.kind == "attention":
        return "A"
    if layer.kind != "map" or layer.x is None or layer.y.dim() < 3:
        return "."
    before, after = layer.x.shape[-1], layer.y.shape[-1]
    if before == width:
        return {width: "d", 3 * width: "Q"}.get(after, "U")
    return "D" if after == width else "."
