"""Walk through a tower and compare every step with what its family computes there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.testing.family.attention import Way, attend, differences, head_counts, ways
from zoo.testing.family.layers import Layer
from zoo.testing.family.parse import Block, Tower
from zoo.testing.family.steps import (
    Step,
    activation_step,
    equal_step,
    gap,
    near,
    norm_step,
    sum_step,
)

HEADS = ("num_heads", "n_head", "n_heads", "heads", "num_attention_heads", "nhead")


@dataclass(frozen=True)
class Style:
    """What sets a family's tower apart."""

    norm_first: bool
    causal: bool
    activation: tuple[str, ...]  # the published one first, then others that are as good


@dataclass
class Walk:
    """What a walk needs to know of the module that it walks through."""

    module: nn.Module
    weights: dict[str, Tensor]
    rows: int  # of the batch
    style: Style
    stream: Tensor | None = None  # what the next layer should read
    last: tuple[str, str, Tensor, Tensor, Tensor | None] | None = None
    # the sum that made it, until a reader shows it: name, where, stream before, branch, norm's

    def batch_first(self, x: Tensor) -> Tensor:
        """Turn (t, b, d) into (b, t, d)."""
        turned = x.dim() == 3 and x.shape[0] != self.rows == x.shape[1]
        return x.transpose(0, 1) if turned else x


def walk_blocks(walk: Walk, tower: Tower, stream: Tensor, label: str) -> Iterator[Step]:
    """Compare block by block; the stream goes on as the module has it, so a slip shows once."""
    walk.stream, walk.last = stream, None
    for number, block in enumerate(tower.blocks):
        name = f"{label}block {number}"
        yield from (before if walk.style.norm_first else after)(walk, block, name)


def read_stream(walk: Walk, layer: Layer) -> Iterator[Step]:
    """Compare what a layer reads with the sum before it; go on with what it reads."""
    assert walk.stream is not None
    seen = known(walk, layer)
    if walk.last is not None:
        name, where, base, added, normed = walk.last
        if seen is not None and seen.shape == base.shape:
            yield sum_step(name, seen, base, added, where, layer.line, normed)
    if seen is not None and seen.shape == walk.stream.shape:
        walk.stream = seen
    walk.last = None


def add_branch(walk: Walk, block: Block, name: str, branch: Tensor, normed: Tensor | None) -> None:
    """Note that a branch is added to the stream; who reads it next shows whether it was."""
    assert walk.stream is not None
    if branch.shape == walk.stream.shape:
        walk.last = (name, block.path(), walk.stream, branch, normed)
        walk.stream = walk.stream + branch


def before(walk: Walk, block: Block, name: str) -> Iterator[Step]:
    """Compare a block whose norms come first."""
    for norm, reader, part in (
        (block.norm1, block.projections[0], "attention"),
        (block.norm2, block.up, "MLP"),
    ):
        yield from read_stream(walk, norm or reader)
        assert walk.stream is not None
        if norm is None:
            yield missing(f"norm before the {part} of {name}", reader)
        else:
            label = f"norm before the {part} of {name}"
            yield norm_step(label, turned(walk, norm), walk.stream, walk.weights)
        step, branch = branch_of(walk, block, part, name)
        yield step
        normed = None if norm is None else walk.batch_first(norm.y)
        add_branch(walk, block, f"sum after the {part} of {name}", branch, normed)


def branch_of(walk: Walk, block: Block, part: str, name: str) -> tuple[Step, Tensor]:
    """Compare an attention or an MLP; give what it adds to the stream."""
    if part == "attention":
        return attention_of(walk, block, name)
    step = activation_step(f"MLP of {name}", block.up, block.down, walk.style.activation)
    return step, walk.batch_first(block.down.y)


def after(walk: Walk, block: Block, name: str) -> Iterator[Step]:
    """Compare a block whose norms come last."""
    read = known(walk, block.projections[0])
    walk.stream = walk.stream if read is None else read
    for norm, part in ((block.norm1, "attention"), (block.norm2, "MLP")):
        step, branch = branch_of(walk, block, part, name)
        yield step
        add_branch(walk, block, f"sum after the {part} of {name}", branch, None)
        if norm is None:
            yield missing(f"norm after the {part} of {name}", block.up)
            continue
        if norm.x is None and walk.last is not None:  # a hand-made norm: which sum does it read?
            yield from unseen_sum(walk, norm)
        else:
            yield from read_stream(walk, norm)
        assert walk.stream is not None
        label = f"norm after the {part} of {name}"
        yield norm_step(label, turned(walk, norm), walk.stream, walk.weights)
        walk.stream, walk.last = walk.batch_first(norm.y), None


def unseen_sum(walk: Walk, norm: Layer) -> Iterator[Step]:
    """Find which sum a norm reads whose input is not seen, from what it gives."""
    assert walk.last is not None
    name, where, base, added, _ = walk.last
    sums = {"": base + added, "the residual is left out": added, "the branch is not added": base}
    for said, read in sums.items():
        if norm_step("", turned(walk, norm), read, walk.weights).ok:
            walk.stream = read
            fix = "write x = norm(x + branch(x))"
            yield Step(name, not said, where, norm.line, said, fix)
            return


def known(walk: Walk, layer: Layer) -> Tensor | None:
    """Give what a layer read, rows first, if it is known."""
    return None if layer.x is None else walk.batch_first(layer.x)


def turned(walk: Walk, layer: Layer) -> Layer:
    """Give a layer with its output rows first."""
    return replace(layer, y=walk.batch_first(layer.y))


def missing(name: str, place: Layer) -> Step:
    """Tell of a norm that is not there."""
    fix = "normalise what the branch reads (norm first), or the sum (norm last), as the family does"
    return Step(name, False, place.module.rpartition(".")[0], place.line, "it is never run", fix)


def attention_of(walk: Walk, block: Block, name: str) -> tuple[Step, Tensor]:
    """Compare an attention; give the step and what it adds to the stream."""
    first = block.projections[0]
    if first.kind == "attention":
        return torchs_attention(walk, first, name), walk.batch_first(first.y)
    if block.out is None:
        said = "there is no output projection"
        fix = "send what the heads give, side by side, through one more linear map"
        step = Step(f"attention of {name}", False, str(first), first.line, said, fix)
        return step, first.y
    return compare_attention(walk, block.projections, block.out, name), walk.batch_first(
        block.out.y
    )


def compare_attention(walk: Walk, projections: list[Layer], out: Layer, name: str) -> Step:
    """Find the way in which heads, scale, mask and softmax are put together."""
    made = [walk.batch_first(p.y) for p in projections]
    q, k, v = made[0].chunk(3, -1) if len(made) == 1 else made
    assert out.x is not None
    result = walk.batch_first(out.x)
    where, width = out.module.rpartition(".")[0], q.shape[-1]
    heads = head_counts(width, heads_of(walk.module, where))
    mask = "causal" if walk.style.causal else "none"
    for way in ways(width, heads, mask):
        if result.shape == q.shape and near(attend(q, k, v, way), result):
            told = differences(way, Way(way.heads, mask))
            told = [t for t in told if len(projections) == 1 or not t.startswith("the fused")]
            text = "; ".join(t.partition(":")[0] for t in told)
            fix = "; ".join(t.partition(": ")[2] for t in told)
            return Step(f"attention of {name}", not told, where, out.line, text, fix)
    right = attend(q, k, v, Way(heads[0], mask))
    said = "it is no attention that is known here"
    fix = "softmax(q k^T / sqrt(head size) + mask) v for each head, the heads side by side"
    return Step(f"attention of {name}", False, where, out.line, said, fix, gap(right, result))


def torchs_attention(walk: Walk, layer: Layer, name: str) -> Step:
    """Compare torch's own multi-head attention: only its mask can be wrong."""
    part = walk.module.get_submodule(layer.module) if layer.module else walk.module
    assert isinstance(part, nn.MultiheadAttention) and layer.x is not None
    x, y = walk.batch_first(layer.x), walk.batch_first(layer.y)
    weights = part.in_proj_weight
    projected = F.linear(x, weights, part.in_proj_bias)
    right = "causal" if walk.style.causal else "none"
    for way in ways(x.shape[-1], [part.num_heads], right):
        q, k, v = projected.chunk(3, -1)
        if near(part.out_proj(attend(q, k, v, way)), y):
            told = differences(way, Way(way.heads, right))
            text = "; ".join(t.partition(":")[0] for t in told)
            fix = "; ".join(t.partition(": ")[2] for t in told)
            return Step(f"attention of {name}", not told, layer.module, layer.line, text, fix)
    said = "its mask is none that is known here"
    fix = "of torch's attn_mask True means: may NOT look; torch.ones(t, t, dtype=bool).triu(1)"
    return Step(f"attention of {name}", False, layer.module, layer.line, said, fix)


def heads_of(module: nn.Module, where: str) -> int | None:
    """Give the number of heads that a module, or the one around it, says it has."""
    path = where
    while True:
        part = module.get_submodule(path) if path else module
        for name in HEADS:
            found = getattr(part, name, None)
            if isinstance(found, int) and found > 0:
                return found
        if not path:
            return None
        path = path.rpartition(".")[0]


def output_step(name: str, layer: Layer, stream: Tensor) -> Step:
    """Compare what the last map reads with the stream: whole, its first position, or its mean."""
    assert layer.x is not None
    whole = layer.x.dim() == stream.dim()
    rights = [stream] if whole else [stream[:, 0], stream.mean(1), stream.amax(1)]
    right = next((x for x in rights if near(layer.x, x)), rights[0])
    slips = [] if whole else [("it reads the last position", stream[:, -1])]
    return equal_step(name, layer.x, right, slips, layer, "read the final norm's output")


def tokens_first(x: Tensor) -> Tensor:
    """Turn a convolution's (b, d, y, x) into rows of patches (b, p, d)."""
    return x.flatten(2).transpose(1, 2) if x.dim() == 4 else x
