"""Compare one attention of a module with its family's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from torch import Tensor, nn

from zoo.testing.family.attention import (
    AXES,
    SMALL,
    Way,
    attend,
    differences,
    head_counts,
    ways,
)
from zoo.testing.family.layers import Layer
from zoo.testing.family.parse import Block
from zoo.testing.family.steps import Step, gap, near

NAMES = ("num_heads", "n_head", "n_heads", "heads", "num_attention_heads", "nhead", "head_count")
UNKNOWN = "it is no attention that is known here"


class Foreign(Exception):
    """A module is of another family altogether; the step says which."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.found)
        self.step = step


@dataclass
class Seen:
    """What is known where an attention is compared."""

    module: nn.Module
    causal: bool
    keeps: Sequence[Tensor] = ()  # (b, t): which keys may be real, by the inputs
    trials: int = 2  # how many slips at once are tried: fewer once one was not explained

    @property
    def mask(self) -> str:
        """The mask that the family has."""
        return "causal" if self.causal else "none"


def shared_path(layers: Sequence[Layer]) -> str:
    """Give the dotted path of the innermost module that holds all layers."""
    paths = [(x.module or x.weight.rpartition(".")[0]).split(".") for x in layers]
    if len({tuple(p) for p in paths}) == 1 and len(layers) == 1:
        return ".".join(paths[0][:-1])
    count = 0
    while all(len(p) > count and p[count] == paths[0][count] for p in paths):
        count += 1
    return ".".join(paths[0][:count])


def compare_attention(
    seen: Seen, block: Block, made: Sequence[Tensor], result: Tensor, name: str
) -> Step:
    """Find the way in which heads, scale, mask and softmax are put together."""
    assert block.out is not None
    fused = len(made) == 1
    q, k, v = made[0].chunk(3, -1) if fused else made
    three = len(block.projections) == 3
    where = shared_path(block.projections if three else [*block.projections, block.out])
    line, step = block.out.line, f"attention of {name}"
    if result.dim() == 4:
        result = result.flatten(2)
    if not q.shape == k.shape == v.shape == result.shape or q.dim() != 3:
        said = f"queries are {tuple(q.shape)}, keys {tuple(k.shape)}, the result " + str(
            tuple(result.shape)
        )
        if k.shape[-1] < q.shape[-1]:
            said += ": fewer heads of keys than of queries (grouped queries)"
        return Step(step, False, where, line, said, "queries, keys and values of the same width")
    heads = head_counts(q.shape[-1], block.heads or heads_of(seen.module, where))
    right = Way(heads[0], seen.mask)
    pairs = q.numel() <= SMALL and seen.trials > 1
    tried = ways(heads, right, pairs=pairs, fused=fused)
    for way in tried if seen.trials else islice(tried, len(heads)):
        if agrees(attend(q, k, v, way), result):
            made_by = told(step, way, right, where, line, named=fused or block.named)
            return shared_maps(made_by, block.projections)
    for keep in seen.keeps:
        for head in heads:
            for mask in (seen.mask, "none", "causal"):
                way = replace(right, heads=head, mask=mask)
                if keep.shape == q.shape[:2] and near_on(attend(q, k, v, way, keep), result, keep):
                    return told(step, way, right, where, line, named=fused or block.named)
    seen.trials = 0
    fix = "softmax(q k^T / sqrt(head size) + mask) v for each head, the heads side by side"
    return Step(step, False, where, line, UNKNOWN, fix, gap(attend(q, k, v, right), result))


def agrees(made: Tensor, result: Tensor) -> bool:
    """Say whether a result is what a formula gives, where that gives numbers at all.

    A row that may look nowhere has no weights; what a module puts there depends on how it masks.
    """
    real = made.isfinite().all(-1)
    if bool(real.all()):
        return near(made, result)
    return bool(real.any()) and near(made[real], result[real])


def shared_maps(step: Step, three: Sequence[Layer]) -> Step:
    """Add that two of queries, keys and values are made by one map."""
    if not step.ok or len(three) != 3:
        return step
    pairs = [(three[i], three[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    twice = [x.weight for x, y in pairs if x.weight == y.weight and near(x.y, y.y)]
    if not twice:
        return step
    said = f"{twice[0]} makes more than one of queries, keys and values"
    return replace(step, ok=False, found=said, fix="give each a map of its own")


def near_on(one: Tensor, other: Tensor, keep: Tensor) -> bool:
    """Say whether two tensors are equal at positions that are kept."""
    return near(one[keep], other[keep])


def told(step: str, way: Way, right: Way, where: str, line: str, *, named: bool) -> Step:
    """Say how a way that was found differs from the right one. Raises Foreign for rotary ones."""
    if not named and sorted(way.order) == list("kqv"):  # maps without names: any is the query
        way = replace(way, order="qkv")
    found = differences(way, right)
    text = "; ".join(t.partition(": ")[0] for t in found)
    fix = "; ".join(t.partition(": ")[2] for t in found)
    made = Step(step, not found, where, line, text, fix)
    if way.rotated:
        raise Foreign(replace(made, name="positions"))
    return made


def compare_torchs(seen: Seen, layer: Layer, rows: int, name: str) -> Step:
    """Compare torch's own multi-head attention: its inputs, its mask and its axes."""
    part = seen.module.get_submodule(layer.module) if layer.module else seen.module
    step, where, line = f"attention of {name}", layer.module, layer.line
    if not isinstance(part, nn.MultiheadAttention) or len(layer.given) < 3:
        fix = "call torch.nn.MultiheadAttention, or write out q, k and v"
        return Step(step, False, where, line, "its maps are not those of a module", fix)
    raw = layer.raw if layer.raw is not None else layer.y
    read, out = list(layer.given[:3]), raw
    across = read[0].dim() == 3 and read[0].shape[0] == rows != read[0].shape[1]
    if not across and read[0].dim() == 3:
        read, out = [x.transpose(0, 1) for x in read], raw.transpose(0, 1)
    if not read[0].shape == read[1].shape == read[2].shape:
        said = "queries and keys are not of the same positions"
        return Step(step, False, where, line, said, "attention(x, x, x)")
    q, k, v = projected(part, read)
    right = Way(part.num_heads, seen.mask)
    if across:  # sequences read as rows: torch's default is (t, b, d)
        said = f"it attends over {AXES[3]}, not over positions"
        return Step(step, False, where, line, said, "nn.MultiheadAttention(..., batch_first=True)")
    for keep in (None, *seen.keeps):
        for way in ways([part.num_heads], right, pairs=False, fused=False):
            if keep is not None and keep.shape != q.shape[:2]:
                continue
            made = part.out_proj(attend(q, k, v, way, keep))
            if agrees(made, out) or (keep is not None and near_on(made, out, keep)):
                return inputs_told(told(step, way, right, where, line, named=True), read)
    said = "its mask is none that is known here"
    fix = "of torch's attn_mask True means: may NOT look; torch.ones(t, t, dtype=bool).triu(1)"
    return Step(step, False, where, line, said, fix)


def inputs_told(step: Step, read: list[Tensor]) -> Step:
    """Add that queries, keys and values are made of different streams."""
    if not step.ok or (near(read[0], read[1]) and near(read[0], read[2])):
        return step
    said = "queries, keys and values do not read the same stream"
    return replace(step, ok=False, found=said, fix="x = norm(x); attention(x, x, x)")


def projected(part: nn.MultiheadAttention, read: list[Tensor]) -> list[Tensor]:
    """Give queries, keys and values of torch's own attention."""
    if part.in_proj_weight is not None:
        weights = list(part.in_proj_weight.chunk(3))
    else:
        weights = [part.q_proj_weight, part.k_proj_weight, part.v_proj_weight]
    biases = (0.0, 0.0, 0.0) if part.in_proj_bias is None else part.in_proj_bias.chunk(3)
    return [x @ w.mT + b for x, w, b in zip(read, weights, biases, strict=True)]


def heads_of(module: nn.Module, where: str) -> int | None:
    """Give the number of heads that a module, or the one around it, says it has."""
    path = where
    while True:
        part = module.get_submodule(path) if path else module
        for name in NAMES:
            found = getattr(part, name, None)
            if isinstance(found, int) and not isinstance(found, bool) and found > 0:
                return found
        if not path:
            return None
        path = path.rpartition(".")[0]
