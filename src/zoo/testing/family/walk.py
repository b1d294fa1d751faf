"""Walk through a tower and compare every step with what its family computes there."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from zoo.testing.family.heads import Seen, compare_attention, compare_torchs, shared_path
from zoo.testing.family.layers import Layer, is_bias
from zoo.testing.family.parse import Block, Tower
from zoo.testing.family.steps import (
    Step,
    activation_step,
    equal_step,
    near,
    norm_step,
    sum_step,
)


@dataclass(frozen=True)
class Style:
    """What sets a family's tower apart."""

    norm_first: bool
    causal: bool
    activation: tuple[str, ...]  # the published one first, then others that are as good
    rare: tuple[str, ...] = ()  # published too, but seldom meant
    stem_norm: bool = False  # the embedding is normalised


@dataclass
class Walk:
    """What a walk needs to know of the module that it walks through."""

    module: nn.Module
    weights: dict[str, Tensor]
    rows: int  # of the batch
    style: Style
    keeps: list[Tensor] = field(default_factory=list)  # (b, t): keys that may be the real ones
    stream: Tensor | None = None  # what the next layer should read
    last: tuple[str, str, Tensor, Tensor, Tensor | None] | None = None
    # the sum that made it, until a reader shows it: name, where, stream before, branch, norm's
    trials: int = 2  # how many slips of an attention at once are tried
    unread: frozenset[str] = frozenset()  # parameters that no op reads
    classed: bool = True  # a class token stands before the patches

    def batch_first(self, x: Tensor) -> Tensor:
        """Turn (t, b, d) into (b, t, d)."""
        turned = x.dim() == 3 and x.shape[0] != self.rows == x.shape[1]
        return x.transpose(0, 1) if turned else x


def walk_blocks(walk: Walk, tower: Tower, stream: Tensor, label: str) -> Iterator[Step]:
    """Compare block by block; the stream goes on as the module has it, so a slip shows once."""
    walk.stream, walk.last = stream, None
    yield from order_of_norms(walk, tower, label)
    yield from order_of_blocks(walk, tower, label)
    for number, block in enumerate(tower.blocks):
        yield from (before if tower.norm_first else after)(walk, block, f"{label}block {number}")


def order_of_norms(walk: Walk, tower: Tower, label: str) -> Iterator[Step]:
    """Tell of norms that stand before where they should stand after, or the other way round."""
    if tower.norm_first == walk.style.norm_first:
        return
    place = tower.blocks[0]
    found = "every block computes x + branch(norm(x)): its norms come first"
    fix = "write x = norm(x + branch(x)), norms last"
    if not tower.norm_first:
        found = "every block adds to what its norm gave, norm(x + branch(x)): its norms come last"
        fix = "write x = x + branch(norm(x)), norms first, and one more norm after the last block"
    yield Step(f"{label}order of norms", False, place.path(), place.up.line, found, fix)


def order_of_blocks(walk: Walk, tower: Tower, label: str) -> Iterator[Step]:
    """Tell of blocks that run twice, in another order than they are held, or never."""
    name, seen = f"{label}order of blocks", list[tuple[str, int | None]]()
    for block in tower.blocks:
        path, weight = block.path(), block.up.weight
        holder, number = numbered(path)
        for at, (other, _) in enumerate(seen):
            if other == weight:
                said = f"block {len(seen)} of the run reads the weights of block {at} again"
                fix = "run each block of the list once, and build each one anew"
                yield Step(name, False, path, block.up.line, said, fix)
                return
        last = seen[-1][1] if seen else None
        if number is not None and last is not None and number < last:
            said = f"block {number} is run after block {last}"
            fix = "run them in the order in which they are held: for block in self.blocks"
            yield Step(name, False, holder, block.up.line, said, fix)
            return
        seen.append((weight, number))
    holder, number = numbered(tower.blocks[0].path())
    held = walk.module.get_submodule(holder) if number is not None else None
    if isinstance(held, nn.ModuleList | nn.Sequential):
        kind = type(held[number or 0])
        ran = {at for _, at in seen}
        left = [at for at, part in enumerate(held) if type(part) is kind and at not in ran]
        if left and len(ran) == len(seen):
            said = f"block {', '.join(map(str, left))} of {len(held)} is held but never run"
            fix = "run every block: for block in self.blocks"
            yield Step(name, False, f"{holder}.{left[0]}", "", said, fix)


def numbered(path: str) -> tuple[str, int | None]:
    """Give the list that holds a block and its number in it."""
    parts = path.split(".")
    for at in range(len(parts) - 1, -1, -1):
        if parts[at].isdigit():
            return ".".join(parts[:at]), int(parts[at])
    return "", None


def read_stream(walk: Walk, layer: Layer) -> Iterator[Step]:
    """Compare what a layer reads with the sum before it; go on with what it reads."""
    assert walk.stream is not None
    seen = known(walk, layer)
    if walk.last is not None:
        name, where, base, added, normed = walk.last
        if seen is None:  # a hand-made norm: which sum does it read?
            yield from unseen_sum(walk, layer)
        elif seen.shape == base.shape:
            yield sum_step(name, seen, base, added, where, layer.line, normed)
    if seen is not None and seen.shape == walk.stream.shape:
        walk.stream = seen
    walk.last = None


def unseen_sum(walk: Walk, norm: Layer) -> Iterator[Step]:
    """Find which sum a norm reads whose input is not seen, from what it gives."""
    assert walk.last is not None
    name, where, base, added, normed = walk.last
    sums = {
        "": base + added,
        "the residual is left out": added,
        "the branch is not added": base,
        "the branch is added twice": base + 2 * added,
        "the branch is subtracted": base - added,
        "the stream is added twice": 2 * base + added,
    }
    if normed is not None:
        sums["the branch is added to what its norm gave, not to what it read"] = normed + added
    for said, read in sums.items():
        if norm_step("", turned(walk, norm), read, slips=False).ok:
            walk.stream = read
            yield Step(name, not said, where, norm.line, said, "write x = x + branch(x)")
            return


def add_branch(walk: Walk, block: Block, name: str, branch: Tensor, normed: Tensor | None) -> None:
    """Note that a branch is added to the stream; who reads it next shows whether it was."""
    assert walk.stream is not None
    if branch.shape == walk.stream.shape:
        walk.last = (name, block.path(), walk.stream, branch, normed)
        walk.stream = walk.stream + branch


def before(walk: Walk, block: Block, name: str) -> Iterator[Step]:
    """Compare a block whose norms come first."""
    for norm, readers, part in (
        (block.norm1, block.projections, "attention"),
        (block.norm2, [block.up], "MLP"),
    ):
        if norm is None and block.norm1 is not None and part == "MLP":
            seen = known(walk, block.up)
            if seen is not None and near(seen, walk.batch_first(block.norm1.y)):
                yield from beside(walk, block, name)
                continue
        yield from read_stream(walk, norm or readers[0])
        assert walk.stream is not None
        if norm is None:
            yield missing(f"norm before the {part} of {name}", readers, block)
        else:
            label = f"norm before the {part} of {name}"
            yield normed(walk, label, norm, walk.stream)
            yield from reading(walk, readers, norm, f"input of the {part} of {name}")
        step, branch = branch_of(walk, block, part, name)
        yield step
        gave = None if norm is None else walk.batch_first(norm.y)
        add_branch(walk, block, f"sum after the {part} of {name}", branch, gave)


def beside(walk: Walk, block: Block, name: str) -> Iterator[Step]:
    """Tell of an MLP beside the attention: both read what one norm gave."""
    step = missing(f"norm before the MLP of {name}", [block.up], block)
    said = "it is never run: the MLP reads what the norm before the attention gave"
    yield replace(step, found=said)
    step, branch = branch_of(walk, block, "MLP", name)
    yield step
    last = walk.last
    add_branch(walk, block, f"sum after the MLP of {name}", branch, None)
    if last is not None and walk.last is not None:
        told, where, *_ = walk.last
        walk.last = (told, where, last[2], last[3] + branch, None)


def reading(walk: Walk, readers: list[Layer], norm: Layer, name: str) -> Iterator[Step]:
    """Tell of a branch that does not read what its norm gave."""
    right = walk.batch_first(norm.y)
    for reader in readers:
        seen = known(walk, reader)
        if seen is None or seen.shape != right.shape or near(seen, right):
            continue
        said = "it does not read what the norm before it gave"
        if walk.stream is not None and near(seen, walk.stream):
            said = "it reads the stream, not what the norm before it gave"
        yield Step(name, False, str(reader), reader.line, said, "write branch(norm(x))")
        return


def branch_of(walk: Walk, block: Block, part: str, name: str) -> tuple[Step, Tensor]:
    """Compare an attention or an MLP; give what it adds to the stream."""
    if part == "attention":
        return attention_of(walk, block, name)
    where = shared_path([block.up, block.down])
    style = walk.style
    right = style.activation + style.rare
    step = activation_step(f"MLP of {name}", block.up, block.down, right, where, style.rare)
    return step, walk.batch_first(block.down.y)


def after(walk: Walk, block: Block, name: str) -> Iterator[Step]:
    """Compare a block whose norms come last."""
    read = known(walk, block.projections[0])
    if read is not None and walk.stream is not None and read.shape == walk.stream.shape:
        walk.stream = read
    entered: Layer | None = None
    for norm, part in ((block.norm1, "attention"), (block.norm2, "MLP")):
        if entered is not None:
            yield from reading(walk, [block.up], entered, f"input of the MLP of {name}")
        step, branch = branch_of(walk, block, part, name)
        yield step
        add_branch(walk, block, f"sum after the {part} of {name}", branch, None)
        if norm is None:
            yield missing(f"norm after the {part} of {name}", [block.up], block)
            continue
        yield from read_stream(walk, norm)
        assert walk.stream is not None
        label = f"norm after the {part} of {name}"
        yield normed(walk, label, norm, walk.stream)
        walk.stream, walk.last, entered = walk.batch_first(norm.y), None, norm


def known(walk: Walk, layer: Layer) -> Tensor | None:
    """Give what a layer read, rows first, if it is known."""
    return None if layer.x is None else walk.batch_first(layer.x)


def turned(walk: Walk, layer: Layer) -> Layer:
    """Give a layer with its output rows first."""
    return replace(layer, y=walk.batch_first(layer.y))


def normed(walk: Walk, name: str, norm: Layer, stream: Tensor) -> Step:
    """Compare a norm with layer norm of the stream; its shift must be read if it has one."""
    step = norm_step(name, turned(walk, norm), stream)
    holder = norm.weight.rpartition(".")[0]
    if not step.ok or norm.shift is not None or not norm.weight:
        return step
    if not any(is_bias(n) and n.rpartition(".")[0] == holder for n in walk.unread):
        return step
    fix = "normalise, times the weight, plus the bias"
    return Step(name, False, step.where, step.line, "the shift is left out", fix)


def missing(name: str, readers: list[Layer], block: Block) -> Step:
    """Tell of a norm that is not there."""
    fix = "normalise what the branch reads (norm first), or the sum (norm last), as the family does"
    return Step(name, False, block.path(), readers[0].line, "it is never run", fix)


def attention_of(walk: Walk, block: Block, name: str) -> tuple[Step, Tensor]:
    """Compare an attention; give the step and what it adds to the stream."""
    first = block.projections[0]
    seen = Seen(walk.module, walk.style.causal, walk.keeps, walk.trials)
    if first.kind == "attention":
        return compare_torchs(seen, first, walk.rows, name), walk.batch_first(first.y)
    if block.out is None or block.out.x is None:
        said = "there is no output projection"
        fix = "send what the heads give, side by side, through one more linear map"
        step = Step(f"attention of {name}", False, shared_path([first]), first.line, said, fix)
        return step, walk.batch_first(first.y)
    made = [walk.batch_first(p.y) for p in block.projections]
    step = compare_attention(seen, block, made, walk.batch_first(block.out.x), name)
    walk.trials = seen.trials
    return step, walk.batch_first(block.out.y)


def output_step(name: str, layer: Layer, stream: Tensor) -> Step:
    """Compare what the last map reads with the stream: whole, its first position, or its mean."""
    assert layer.x is not None
    whole = layer.x.dim() == stream.dim()
    rest = stream[:, 1:] if stream.shape[1] > 1 else stream
    rights = [stream] if whole else [stream[:, 0], stream.mean(1), rest.mean(1)]
    right = next((x for x in rights if near(layer.x, x)), rights[0])
    slips = {} if whole else pooled_slips(stream)
    fix = "read the final norm's output"
    for said, made in slips.items():
        if near(layer.x, made):
            return Step(name, False, str(layer), layer.line, said, fix)
    return equal_step(name, layer.x, right, (), layer, fix)


def pooled_slips(stream: Tensor) -> dict[str, Tensor]:
    """Give what a wrong pooling of a stream gives."""
    found = {
        "it reads the last position": stream[:, -1],
        "it reads the sum over positions": stream.sum(1),
        "it reads the mean over features, not positions": stream.mean(-1),
    }
    for at in range(1, min(stream.shape[1] - 1, 16)):
        found[f"it reads position {at}, not the first one"] = stream[:, at]
    return found


def tokens_first(x: Tensor) -> Tensor:
    """Turn a convolution's (b, d, y, x) into rows of patches (b, p, d)."""
    return x.flatten(2).transpose(1, 2) if x.dim() == 4 else x
