"""Layers of a tower, read as a stem, blocks and what comes after them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from zoo.testing.family.layers import Layer
from zoo.testing.family.steps import near, norm_step

# a block, norm first and norm last; a letter is a layer: N norm, Q fused q k v, d map that keeps
# the width, s one that cuts it (a head of its own), A torch's own attention, U map up, D map down
HEADS = "(Q|(?:sss)+|ddd|A)"
BEFORE = re.compile(rf"(N?){HEADS}(d?)(N?)([UQds])([Dd])")
AFTER = re.compile(rf"{HEADS}(d?)(N?)([UQds])([Dd])(N?)")
ROLES = {
    "q": {"q", "query", "queries", "wq", "qw", "qproj", "toq", "qlin", "cq", "linq", "wqs"},
    "k": {"k", "key", "keys", "wk", "kw", "kproj", "tok", "klin", "ck", "link", "wks"},
    "v": {"v", "value", "values", "wv", "vw", "vproj", "tov", "vlin", "cv", "linv", "wvs"},
}


@dataclass
class Block:
    """The layers of one block; a norm that is not there is None."""

    projections: list[Layer]  # one fused, three, or torch's own attention
    out: Layer | None
    norm1: Layer | None
    norm2: Layer | None
    up: Layer
    down: Layer
    named: bool = True  # the three projections say which is which
    heads: int | None = None  # where each head has maps of its own

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
    norm_first: bool = True


def parse(
    layers: Sequence[Layer], *, norm_first: bool, starts: Callable[[Layer], bool] | None = None
) -> list[Tower]:
    """Read layers as towers, in the order in which they ran; empty when there are no blocks.

    `starts` says whether a map begins another tower: it reads pixels.
    """
    towers = []
    for part in segments(layers, starts):
        tower = tower_of(part, norm_first)
        if tower is not None:
            found = order_seen(tower)
            if found is not None and found != norm_first:
                tower = tower_of(part, found) or tower
                tower.norm_first = found
            towers.append(tower)
    return towers


def segments(
    layers: Sequence[Layer], starts: Callable[[Layer], bool] | None = None
) -> list[list[Layer]]:
    """Cut layers where a new stem begins: a table or a convolution after maps and norms."""
    parts: list[list[Layer]] = [[]]
    for layer in layers:
        stem = layer.kind in ("table", "conv") or (starts is not None and starts(layer))
        if stem and sum(x.kind in ("norm", "attention", "map") for x in parts[-1]) > 3:
            parts.append([])
        parts[-1].append(layer)
    return parts


def tower_of(layers: Sequence[Layer], norm_first: bool) -> Tower | None:
    """Read layers as one tower; None when there are no blocks."""
    width = width_of(layers)
    if width is None:
        return None
    kept = [x for at, x in enumerate(layers) if x.kind != "other" and not again(x, layers[:at])]
    letters = "".join(letter(x, width) for x in kept)
    pattern = BEFORE if norm_first else AFTER
    matches = [m for m in pattern.finditer(letters) if sound(m, kept, norm_first)]
    if not matches:
        return None
    return Tower(
        width,
        stem=list(kept[: matches[0].start()]),
        blocks=[block_of(match, kept, norm_first) for match in matches],
        tail=list(kept[matches[-1].end() :]),
        norm_first=norm_first,
    )


def again(layer: Layer, earlier: Sequence[Layer]) -> bool:
    """Say whether a norm was just run on the same stream: norm(x) + branch(norm(x))."""
    alike = [x for x in earlier[-8:] if layer.kind == "norm" and x.weight == layer.weight]
    return any(x.y.shape == layer.y.shape and torch.equal(x.y, layer.y) for x in alike)


def sound(match: re.Match[str], layers: Sequence[Layer], norm_first: bool) -> bool:
    """Say whether what looks like a block has projections that read one and the same stream."""
    group = 2 if norm_first else 1
    if match[group] == "A" or match[group] == "Q":
        return True
    read = [x.x for x in layers[match.start(group) : match.end(group)]]
    return all(x is not None and read[0] is not None and x.shape == read[0].shape for x in read)


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
    block = Block(projections, out, norm1, norm2, up, down)
    if len(projections) > 3:
        block.heads = len(projections) // 3
        block.projections = side_by_side(projections)
        block.named = roles(projections[:3]) is not None
    elif len(projections) == 3:
        order = roles(projections)
        block.named = order is not None
        block.projections = [projections[i] for i in order or (0, 1, 2)]
    return block


def roles(three: Sequence[Layer]) -> list[int] | None:
    """Say which of three maps makes queries, keys and values, by their names; None if unsaid."""
    found = [role(x) for x in three]
    if sorted(x or "" for x in found) != ["k", "q", "v"]:
        return None
    return [found.index(letter) for letter in "qkv"]


def role(layer: Layer) -> str | None:
    """Say what a map makes by its name."""
    parts = [p.replace("_", "") for p in layer.weight.lower().split(".")]
    last = [p for p in parts if p not in ("weight", "parametrizations", "original0", "original")]
    for part in reversed(last[-2:]):
        for name, words in ROLES.items():
            if part in words:
                return name
    return None


def side_by_side(projections: list[Layer]) -> list[Layer]:
    """Put maps that each head has of its own side by side."""
    order = roles(projections[:3]) or [0, 1, 2]
    made = []
    for at in order:
        mine = projections[at::3]
        made.append(replace(mine[0], y=torch.cat([x.y for x in mine], -1)))
    return made


def width_of(layers: Sequence[Layer]) -> int | None:
    """Give the width that most norms, or else most maps, have."""
    sizes = [x.y.shape[-1] for x in layers if x.kind == "norm"]
    sizes = sizes or [x.y.shape[-1] for x in layers if x.kind == "map" and x.y.dim()]
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
        if after < width:
            return "s" if width % after == 0 else "U"
        return {width: "d", 3 * width: "Q"}.get(after, "U")
    return "D" if after == width else "."


def order_seen(tower: Tower) -> bool | None:
    """Say whether the norms of a tower stand before or after its sums, from what they read."""
    votes = []
    for at, block in enumerate(tower.blocks):
        first = block.projections[0]
        middle = block.norm2 if tower.norm_first else block.norm1  # between attention and MLP
        if middle is None or first.x is None:
            continue
        if tower.norm_first and block.norm1 is None:  # it has one norm only
            continue
        added = block.out.y if block.out is not None else first.y
        before = stream_before(tower, at)
        if added.shape == first.x.shape and reads(middle, first.x + added):
            votes.append(False)
        elif before is not None and added.shape == before.shape and reads(middle, before + added):
            votes.append(True)
        elif before is None and (norm := norm_before(tower, at)) is not None:
            votes += [True] * explains(norm, added, middle)
    if not votes or len(set(votes)) > 1:
        return None
    return votes[0]


def norm_before(tower: Tower, at: int) -> Layer | None:
    """Give the norm that ran before a block's attention."""
    if tower.norm_first:
        return tower.blocks[at].norm1
    if at:
        return tower.blocks[at - 1].norm2
    return next((x for x in reversed(tower.stem) if x.kind == "norm"), None)


def stream_before(tower: Tower, at: int) -> Tensor | None:
    """Give what the norm before a block's attention read, if it is known."""
    norm = norm_before(tower, at)
    return norm.x if norm is not None else None


def reads(norm: Layer, stream: Tensor) -> bool:
    """Say whether a norm reads a stream."""
    if norm.x is not None:
        return near(norm.x, stream)
    return norm_step("", norm, stream, slips=False).ok


def explains(first: Layer, added: Tensor, norm: Layer) -> bool:
    """Say whether a norm reads what another read, and a branch added to it.

    Of hand-made norms only the outputs are seen: n = (z - mean(z)) / s and n' = the same of z + a.
    Then s' n' - s n = a - mean(a) for two numbers a row.
    """
    if not first.y.shape == norm.y.shape == added.shape or first.value is None:
        return False
    one, other = plain(first), plain(norm)
    a = (added - added.mean(-1, keepdim=True)).flatten(0, -2)
    columns = torch.stack([other.flatten(0, -2), -one.flatten(0, -2)], -1)
    factors = torch.linalg.lstsq(columns, a[..., None]).solution
    both = bool((factors > 1e-6 * factors.abs().max()).all())
    return both and near((columns @ factors)[..., 0], a)


def plain(norm: Layer) -> Tensor:
    """Give what a norm gave before its scale and shift."""
    y = norm.y if norm.shift is None else norm.y - norm.shift
    return y if norm.value is None else y / norm.value
