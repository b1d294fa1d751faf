"""What each family does before its first block: tokens, patches, class token, positions."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.testing.family.layers import DIFFERENCES, JOINS, PRODUCTS, SUMS, Layer
from zoo.testing.family.parse import Tower
from zoo.testing.family.patches import patch_slips, patches_step
from zoo.testing.family.steps import Step, equal_step, near, norm_step
from zoo.testing.family.walk import Walk, known, normed, tokens_first, turned

Inputs = Mapping[str, Any]
Made = tuple[list[Step], Tensor | None]


def text_stem(walk: Walk, tower: Tower, name: str, inputs: Inputs) -> Made:
    """Compare token and position tables, and the norm after them; give the first stream."""
    tables = in_roles([x for x in tower.stem if x.kind == "table"], inputs)
    if not tables:
        return [], first_read(walk, tower)
    steps: list[Step] = []
    tokens = tables["tokens"]
    parts = {x.weight: walk.batch_first(x.y) for x in tables.values()}
    stream = sum_of(list(parts.values()))
    place = tables.get("positions")
    vectors = [x for x in tower.stem if is_table(walk, x)]
    if place is not None:
        steps.append(position_ids(place, f"{name}positions", walk.keeps))
    elif vectors:
        rows, step = added_rows(walk, vectors[0], stream, f"{name}positions")
        steps.append(step)
        parts[vectors[0].weight] = rows.expand_as(stream)
        stream = stream + rows if step.ok else walk.batch_first(vectors[0].y)
    norms = [x for x in tower.stem if x.kind == "norm"]
    reader = norms[0] if norms else first_reader(tower)
    placed = place is not None or bool(vectors)
    steps += embedding(walk, reader, stream, parts, place or tokens, name, placed=placed)
    stream = walk.stream if walk.stream is not None else stream
    if norms:
        steps.append(normed(walk, f"{name}norm of the embedding", norms[0], stream))
        stream = walk.batch_first(norms[0].y)
        if len(norms) > 1:
            said = "the embedding is normalised more than once"
            at = norms[1]
            steps.append(Step(f"{name}embedding", False, str(at), at.line, said, "once is enough"))
    elif walk.style.stem_norm:
        steps.append(no_norm(name, tokens))
    return steps, stream


def no_norm(name: str, place: Layer) -> Step:
    """Tell of an embedding that is not normalised."""
    fix = "normalise the sum of the embeddings before the first block, as the family does"
    said = "it is never run"
    return Step(f"{name}norm of the embedding", False, str(place), place.line, said, fix)


def in_roles(tables: list[Layer], inputs: Inputs) -> dict[str, Layer]:
    """Tell tables apart: tokens, positions, and those of segments by their names."""
    if not tables:
        return {}
    given = [x for n, x in inputs.items() if is_ids(n, x)]
    first = next((t for t in tables if any(same(t.x, x) for x in given)), tables[0])
    found = {"tokens": first}
    for table in tables:
        if table is first:
            continue
        if "positions" not in found and is_places(table):
            found["positions"] = table
        else:
            found[table.weight + str(len(found))] = table
    return found


def is_ids(name: str, x: Any) -> bool:
    """Say whether an input is likely to hold tokens."""
    low = name.lower()
    other = any(part in low for part in ("pos", "type", "segment", "mask"))
    return isinstance(x, Tensor) and not x.is_floating_point() and x.dim() > 0 and not other


def same(x: Tensor | None, other: Tensor) -> bool:
    """Say whether two tensors of ids are the same."""
    return x is not None and x.shape == other.shape and torch.equal(x.long(), other.long())


def is_places(table: Layer) -> bool:
    """Say whether a table is read at positions, not at segments."""
    name = table.weight.lower()
    if "type" in name or "segment" in name or table.x is None or not table.x.numel():
        return False
    return "pos" in name or "wpe" in name or bool(table.x.long().max() > 1)


def is_table(walk: Walk, layer: Layer) -> bool:
    """Say whether rows of a table are added (or multiplied) outright."""
    if layer.kind != "vector" or layer.op not in SUMS | DIFFERENCES | PRODUCTS:
        return False
    return layer.value is not None and walk.weights[layer.weight].squeeze().dim() > 1


def sum_of(parts: list[Tensor]) -> Tensor:
    """Add tensors that broadcast."""
    made = parts[0]
    for part in parts[1:]:
        made = made + part
    return made


def added_rows(walk: Walk, layer: Layer, stream: Tensor, name: str) -> tuple[Tensor, Step]:
    """Compare a sum with a table's rows 0, 1, 2, ...; give the rows that are right."""
    width, t = stream.shape[-1], stream.shape[1]
    assert layer.value is not None
    read = layer.value.reshape(-1, width)
    table = walk.weights[layer.weight].reshape(-1, width)
    start = inside(read, table)
    rows = table[:t] if start is not None or len(table) == t else read[:t]
    found, fix = walk.batch_first(layer.y), "add row p of the table to what stands at position p"
    if rows.shape != stream.shape[1:]:
        said = f"{len(read)} rows are added to {t} positions"
        return stream.new_zeros(t, width), Step(name, False, str(layer), layer.line, said, fix)
    slips = [
        ("positions are not added", stream),
        ("positions are doubled", stream + 2 * rows),
        ("positions are subtracted", stream - rows),
        ("positions are multiplied with what stands there", stream * rows),
        ("the stream is multiplied by sqrt(width)", stream * width**0.5 + rows),
        ("the stream is divided by sqrt(width)", stream / width**0.5 + rows),
        ("positions are multiplied by sqrt(width)", stream + rows * width**0.5),
        ("only the first row of the batch gets positions", first_only(stream, rows)),
        ("positions stand in reverse order", stream + rows.flip(0)),
        ("every position gets row 0", stream + rows[:1]),
        ("positions are one row late", stream + rows.roll(1, 0)),
    ]
    if start and len(read) == t:
        slips.append((f"rows {start}, {start + 1}, ... are added", stream + read))
    if len(read) == t:
        columns = torch.stack([stream.flatten(), rows.expand_as(stream).flatten()], 1)
        a, b = torch.linalg.lstsq(columns, found.flatten()[:, None]).solution.flatten().tolist()
        slips.append((f"it is {a:.4g} x + {b:.4g} positions", a * stream + b * rows))
    return rows, equal_step(name, found, stream + rows, slips, layer, fix)


def inside(read: Tensor, table: Tensor) -> int | None:
    """Give the row of a table at which rows that were read begin; None if they are not in it."""
    for at in range(len(table) - len(read) + 1):
        if torch.equal(table[at], read[0]) and torch.equal(table[at : at + len(read)], read):
            return at
    return None


def first_only(stream: Tensor, rows: Tensor) -> Tensor:
    """Add positions to the first row of a batch alone."""
    made = stream.clone()
    made[0] += rows
    return made


def position_ids(table: Layer, name: str, keeps: list[Tensor]) -> Step:
    """Compare the rows of a position table that are read with 0, 1, 2, ..."""
    assert table.x is not None
    ids = table.x.long()
    ids = ids.reshape(-1, ids.shape[-1]) if ids.dim() else ids.reshape(1, 1)
    right = torch.arange(ids.shape[-1], device=ids.device).expand_as(ids)
    if torch.equal(ids, right):
        return Step(name, True, str(table), table.line)
    for keep in keeps:
        if keep.shape == ids.shape and torch.equal(ids[keep], (keep.cumsum(1) - 1)[keep]):
            return Step(name, True, str(table), table.line)
    bad = next(at for at in range(len(ids)) if not torch.equal(ids[at], right[at]))
    said = f"rows {ids[bad].tolist()[:4]}... of the table are read"
    said += f" for row {bad} of the batch" if bad else ""
    fix = "read rows 0, 1, 2, ...: positions = torch.arange(t), from the mask if there is padding"
    return Step(name, False, str(table), table.line, said, fix)


def embedding(
    walk: Walk,
    reader: Layer,
    right: Tensor,
    parts: dict[str, Tensor],
    place: Layer,
    name: str,
    *,
    placed: bool,
) -> Iterator[Step]:
    """Compare the first stream with the sum of what the tables gave; leave it in the walk."""
    seen, walk.stream = known(walk, reader), right
    width = right.shape[-1]
    fix = "add tokens and positions, nothing else"
    slips = {f"{n} is not added": right - x for n, x in parts.items()}
    slips |= {f"{n} is added twice": right + x for n, x in parts.items()}
    slips |= {
        f"{n} is multiplied by sqrt(width)": right + x * (width**0.5 - 1) for n, x in parts.items()
    }
    slips["the sum is multiplied by sqrt(width)"] = right * width**0.5
    slips["the sum is halved"] = right / 2
    if seen is None:  # a hand-made norm: which sum does it read?
        for said, made in ({"": right} | slips).items():
            if reader.kind == "norm" and norm_step("", turned(walk, reader), made, slips=False).ok:
                walk.stream = made
                yield Step(f"{name}embedding", not said, str(place), place.line, said, fix)
                return
        return
    label = f"{name}embedding"
    if seen.shape != right.shape:
        said = f"the first block reads {tuple(seen.shape)}, tables give {tuple(right.shape)}"
        yield Step(label, False, str(place), place.line, said, fix)
        return
    walk.stream = seen
    rest = seen - right
    if not placed:
        if near(seen, right):
            said = "no positions are added, so the order of tokens hardly matters"
            add = "add a position embedding to the token embedding"
            yield Step(f"{name}positions", False, str(place), place.line, said, add)
            return
        alike = len(seen) > 1 and near_zero(rest - rest[:1], seen) and not flat(rest, seen)
        if alike:  # positions that are no parameter: sinusoids
            yield Step(f"{name}positions", True, str(place), place.line)
            return
    step = equal_step(label, seen, right, slips.items(), place, fix)
    if not step.ok and step.gap:
        step = fitted_parts(step, seen, parts)
    yield step


def near_zero(x: Tensor, scale: Tensor) -> bool:
    """Say whether numbers are nothing beside others."""
    return bool(x.abs().max() <= 1e-9 * scale.abs().max())


def flat(rest: Tensor, scale: Tensor) -> bool:
    """Say whether something is the same at every position."""
    return rest.shape[1] < 2 or near_zero(rest - rest[:, :1], scale)


def fitted_parts(step: Step, seen: Tensor, parts: dict[str, Tensor]) -> Step:
    """Say with which factors the tables are added, if any explain what is seen."""
    columns = torch.stack([x.expand_as(seen).flatten() for x in parts.values()], 1)
    factors = torch.linalg.lstsq(columns, seen.flatten()[:, None]).solution
    if not near((columns @ factors).flatten(), seen.flatten()):
        return step
    told = [f"{f:.4g} {n}" for n, f in zip(parts, factors.flatten().tolist(), strict=True)]
    said = "the embedding is " + " + ".join(told)
    return Step(step.name, False, step.where, step.line, said, step.fix, step.gap)


def first_reader(tower: Tower) -> Layer:
    """Give the first layer of the first block."""
    block = tower.blocks[0]
    return block.norm1 if tower.norm_first and block.norm1 else block.projections[0]


def first_read(walk: Walk, tower: Tower) -> Tensor | None:
    """Give what the first block reads, if it is known."""
    reader = first_reader(tower)
    seen = known(walk, reader)
    return reader.y.new_zeros(walk.batch_first(reader.y).shape) if seen is None else seen


def image_stem(walk: Walk, tower: Tower, name: str, pixels: Tensor) -> Made:
    """Compare the patches, the class token and the positions; give the first stream."""
    steps: list[Step] = []
    patches = next((x for x in tower.stem if x.kind in ("conv", "map")), None)
    if patches is None:
        return [Step(f"{name}patches", False, "", "", "no patch is embedded", "add one")], None
    steps.append(patches_step(f"{name}patches", patches, pixels))
    stream, placed = tokens_first(patches.y), False
    walk.classed = False
    for layer in tower.stem:
        if layer.kind == "table":
            steps.append(position_ids(layer, f"{name}positions", []))
            stream, placed = stream + layer.y, True
        elif is_table(walk, layer) and layer.y.shape == stream.shape:
            placed = True
            step = added_rows(walk, layer, stream, f"{name}positions")[1]
            step = otherwise(step, walk, layer, patches)
            if "rows 1, 2" in step.found and beside_class(layer, tower):
                step = Step(step.name, True, step.where, step.line)
            steps.append(step)
            stream = walk.batch_first(layer.y)
        elif layer.kind == "vector" and layer.op in JOINS and layer.y.dim() == 3:
            step = class_step(walk, layer, stream, patches, f"{name}tokens")
            steps.append(step)
            stream, walk.classed = walk.batch_first(layer.y), True
    norm = next((x for x in tower.stem if x.kind == "norm"), None)
    reader = norm or first_reader(tower)
    seen = known(walk, reader)
    if seen is not None and seen.shape == stream.shape and not near(seen, stream):
        rest = seen - stream
        if not placed and near_zero(rest - rest[:1], seen) and not flat(rest, seen):
            placed = True  # positions that are no parameter: sinusoids
        else:
            slips = [("positions are not added", x) for x in without(walk, tower, stream)]
            if walk.classed is False:
                slips += patch_slips(patches)
            fix = "add positions to the patches, nothing else"
            steps.append(equal_step(f"{name}embedding", seen, stream, slips, reader, fix))
        stream = seen
    if norm is not None:
        steps.append(normed(walk, f"{name}norm of the embedding", norm, stream))
        stream = walk.batch_first(norm.y)
    elif walk.style.stem_norm:
        steps.append(no_norm(name, patches))
    if not placed:
        said = "no positions are added, so patches may stand anywhere"
        fix = "add a position embedding to the patches"
        steps.append(Step(f"{name}positions", False, str(patches), patches.line, said, fix))
    return steps, stream


def beside_class(layer: Layer, tower: Tower) -> bool:
    """Say whether the class token gets the row of a table that patches leave out."""
    return any(layer.weight in x.names for x in tower.stem if x.op in JOINS)


def without(walk: Walk, tower: Tower, stream: Tensor) -> Iterator[Tensor]:
    """Give the first stream without the rows of each table."""
    for layer in tower.stem:
        if layer.kind == "table":
            yield stream - layer.y


def otherwise(step: Step, walk: Walk, layer: Layer, patches: Layer) -> Step:
    """Say which order of patches explains a sum with positions that is not understood."""
    if step.ok or not step.gap or layer.value is None:
        return step
    found = walk.batch_first(layer.y)
    rows = layer.value.reshape(-1, found.shape[-1])
    for said, made in patch_slips(patches):
        if made.shape[1:] == rows.shape and near(found, made + rows):
            fix = "flatten patches row by row: x.flatten(2).transpose(1, 2)"
            return Step("patches", False, str(patches), patches.line, said, fix)
    return step


def class_step(walk: Walk, layer: Layer, stream: Tensor, patches: Layer, name: str) -> Step:
    """Compare a row of tokens with the class token (and registers), then the patches."""
    y = walk.batch_first(layer.y)
    extra = y.shape[1] - stream.shape[1]
    fix = "put the class token before the patches, patches row by row: flatten(2).transpose(1, 2)"
    if extra < 1:
        said = f"{y.shape[1]} tokens are made of {stream.shape[1]} patches"
        return Step(name, False, str(layer), layer.line, said, fix)
    head, rest = y[:, :extra], y[:, extra:]
    slips = {"the class token stands last": near(y[:, :-extra], stream)}
    slips |= {said: near(rest, made) for said, made in patch_slips(patches)}
    slips["the class token is another one in each row"] = not near(head, head[:1].expand_as(head))
    slips["the patches stand in reverse order"] = near(rest, stream.flip(1))
    if near(rest, stream):
        slips = {k: v for k, v in slips.items() if "another" in k}
    for said, found in slips.items():
        if found:
            return Step(name, False, str(layer), layer.line, said, fix)
    right = torch.cat([head, stream], 1)
    return equal_step(name, y, right, (), layer, fix)
