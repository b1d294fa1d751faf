"""What each family does before its first block and after its last."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.testing.family.layers import Layer
from zoo.testing.family.parse import Tower
from zoo.testing.family.steps import ACTIVATIONS, Step, equal_step, near, norm_step
from zoo.testing.family.walk import (
    Style,
    Walk,
    known,
    output_step,
    read_stream,
    tokens_first,
    walk_blocks,
)

TANH, ERF, QUICK = "GELU (tanh)", "GELU (erf)", "GELU (quick)"
STYLES = {
    "gpt2": Style(norm_first=True, causal=True, activation=(TANH, ERF)),
    "bert": Style(norm_first=False, causal=False, activation=(ERF, TANH)),
    "vit": Style(norm_first=True, causal=False, activation=(ERF, TANH)),
    "clip": Style(norm_first=True, causal=False, activation=(QUICK, ERF, TANH)),
    "clip text": Style(norm_first=True, causal=True, activation=(QUICK, ERF, TANH)),
}
Inputs = Mapping[str, Any]


def text_stem(walk: Walk, tower: Tower, name: str) -> tuple[list[Step], Tensor | None]:
    """Compare token and position tables, and the norm after them; give the first stream."""
    tables = [x for x in tower.stem if x.kind == "table"]
    if not tables:
        return [
            Step(f"{name}tokens", False, "", "", "no token table is read", "embed the ids")
        ], None
    steps: list[Step] = []
    stream = walk.batch_first(tables[0].y)
    for table in tables[1:]:
        stream = stream + walk.batch_first(table.y)
    places = [t for t in tables[1:] if t.x is not None and is_places(t, tables[0])]
    vectors = [x for x in tower.stem if x.kind == "vector" and walk.weights[x.weight].dim() > 1]
    if places:
        steps.append(position_ids(places[0], f"{name}positions"))
    elif vectors:
        added = walk.weights[vectors[0].weight]
        rows = added.reshape(-1, added.shape[-1])[: stream.shape[1]]
        right = stream + rows
        slips = [("positions are not added", stream), ("positions are doubled", right + rows)]
        found = walk.batch_first(vectors[0].y)
        fix = "add row p of the table to the token at position p"
        steps.append(equal_step(f"{name}positions", found, right, slips, vectors[0], fix))
        stream = right
    elif len(tables) < 2:
        fix = "add a position embedding to the token embedding"
        said = "no table of positions is read, so the order of tokens hardly matters"
        steps.append(Step(f"{name}positions", False, tables[0].module, tables[0].line, said, fix))
    norms = [x for x in tower.stem if x.kind == "norm"]
    if norms:
        seen = known(walk, norms[0])
        read = stream if seen is None else seen
        steps.append(embedding_sum(f"{name}embedding", read, stream, tables, norms[0]))
        steps.append(norm_step(f"{name}norm of the embedding", norms[0], read, walk.weights))
        stream = walk.batch_first(norms[0].y)
    else:
        seen = first_read(walk, tower)
        if seen is not None:
            place = tables[-1]
            steps.append(embedding_sum(f"{name}embedding", seen, stream, tables, place))
    return steps, stream


def is_places(table: Layer, tokens: Layer) -> bool:
    """Say whether a table is read at positions, not at segments."""
    assert table.x is not None
    ids = table.x.long()
    return (
        bool(ids.numel())
        and (ids.max() > 1 or not same_ids(table, tokens))
        and "type" not in (table.weight)
        and "segment" not in table.weight
    )


def same_ids(one: Layer, other: Layer) -> bool:
    """Say whether two tables are read at the same ids."""
    if one.x is None or other.x is None:
        return False
    return one.x.shape == other.x.shape and torch.equal(one.x, other.x)


def position_ids(table: Layer, name: str) -> Step:
    """Compare the rows of a position table that are read with 0, 1, 2, ..."""
    assert table.x is not None
    ids = table.x.reshape(-1, table.x.shape[-1])[0]
    right = torch.arange(len(ids), device=ids.device)
    if torch.equal(ids, right):
        return Step(name, True, str(table), table.line)
    said = f"rows {ids.tolist()[:4]}... of the table are read"
    fix = (
        "read rows 0, 1, 2, ...: positions = torch.arange(t), from the mask where there is padding"
    )
    return Step(name, False, str(table), table.line, said, fix)


def embedding_sum(
    name: str, seen: Tensor, right: Tensor, tables: list[Layer], place: Layer
) -> Step:
    """Compare the first stream with the sum of what the tables gave."""
    width = right.shape[-1]
    slips = [(f"{t.weight} is not added", right - t.y) for t in tables]
    slips += [("the sum is multiplied by sqrt(width)", right * width**0.5)]
    first = tables[0].y
    slips += [("the tokens are multiplied by sqrt(width)", right + first * (width**0.5 - 1))]
    return equal_step(name, seen, right, slips, place, "add tokens and positions, nothing else")


def first_read(walk: Walk, tower: Tower) -> Tensor | None:
    """Give what the first block reads, if it is known."""
    block = tower.blocks[0]
    first = block.norm1 if walk.style.norm_first and block.norm1 else block.projections[0]
    return known(walk, first)


def image_stem(
    walk: Walk, tower: Tower, name: str, pixels: Tensor
) -> tuple[list[Step], Tensor | None]:
    """Compare the patches, the class token and the positions; give the first stream."""
    steps: list[Step] = []
    patches = next((x for x in tower.stem if x.kind in ("conv", "map")), None)
    if patches is None:
        return [Step(f"{name}patches", False, "", "", "no patch is embedded", "add one")], None
    if patches.kind == "map" and patches.x is not None:
        steps.append(patch_rows(f"{name}patches", patches, pixels))
    rows = tokens_first(patches.y)
    vectors = [x for x in tower.stem if x.kind == "vector" and walk.weights[x.weight].numel() > 1]
    width = rows.shape[-1]
    stream, columns = rows, []
    for layer in vectors:
        w = walk.weights[layer.weight].reshape(-1, width)
        y = walk.batch_first(layer.y)
        if len(w) == 1 and y.shape[-2] == stream.shape[1] + 1:
            stream = torch.cat([w.expand(len(rows), 1, width), stream], 1)
            fix = "put the class token before the patches, patches row by row: flatten(2).mT"
            turned = list(patch_slips(rows, patches, w))
            steps.append(equal_step(f"{name}tokens", y, stream, turned, layer, fix))
            stream = y
        elif len(w) >= stream.shape[1] and y.shape == stream.shape:
            columns.append(layer)
            right = stream + w[: stream.shape[1]]
            slips = [
                ("positions are not added", stream),
                ("positions are doubled", right + w[: stream.shape[1]]),
            ]
            fix = "add row p of the table to token p"
            steps.append(equal_step(f"{name}positions", y, right, slips, layer, fix))
            stream = y
    norm = next((x for x in tower.stem if x.kind == "norm"), None)
    if norm is not None:
        steps.append(norm_step(f"{name}norm of the embedding", norm, stream, walk.weights))
        stream = walk.batch_first(norm.y)
    if not columns:
        said = "no table of positions is added, so patches may stand anywhere"
        fix = "add a position embedding to the patches"
        steps.append(Step(f"{name}positions", False, patches.module, patches.line, said, fix))
    return steps, stream


def patch_slips(rows: Tensor, patches: Layer, token: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Give what known slips make of the patches behind the class token."""
    head = token.expand(len(rows), 1, rows.shape[-1])
    if patches.y.dim() == 4:
        wide = patches.y
        columns = wide.transpose(2, 3).flatten(2).transpose(1, 2)
        yield "patches are read column by column", torch.cat([head, columns], 1)
        mixed = wide.reshape(len(wide), -1, wide.shape[1])
        yield "channels and positions are mixed by a reshape", torch.cat([head, mixed], 1)
    yield "the class token stands last", torch.cat([rows, head], 1)


def patch_rows(name: str, patches: Layer, pixels: Tensor) -> Step:
    """Compare the rows that a patch map reads with the patches of the picture, row by row."""
    assert patches.x is not None
    found = patches.x
    count, size = found.shape[-2], found.shape[-1]
    channels, high, wide = pixels.shape[1:]
    for p in range(1, high + 1):
        for q in range(1, wide + 1):
            if high % p or wide % q or p * q * channels != size or high // p * (wide // q) != count:
                continue
            right = cut_patches(pixels, (p, q))
            if sorted_near(found, right):
                return Step(name, True, str(patches), patches.line)
            turned = cut_patches(pixels.transpose(2, 3), (q, p))
            if sorted_near(found, turned):
                said = "patches are read column by column"
                fix = "order them row by row: permute so that the row of patches comes first"
                return Step(name, False, str(patches), patches.line, said, fix)
    said = "a row holds pixels of more than one patch: a reshape cuts across the picture"
    fix = "reshape to (b, c, y, p, x, q), permute to (b, y, x, ...), then flatten"
    return Step(name, False, str(patches), patches.line, said, fix)


def cut_patches(pixels: Tensor, patch: tuple[int, int]) -> Tensor:
    """Cut (b, c, y, x) into patches row by row, each a row of its pixels."""
    return F.unfold(pixels, patch, stride=patch).transpose(1, 2)


def sorted_near(one: Tensor, other: Tensor) -> bool:
    """Say whether rows hold the same numbers, in whatever order within a row."""
    return one.shape == other.shape and near(one.sort(-1).values, other.sort(-1).values)


def tail(walk: Walk, tower: Tower, name: str) -> Iterator[Step]:
    """Compare the norm after the last block, and what the map after it reads."""
    stream = walk.stream
    if stream is None:
        return
    norms = [x for x in tower.tail if x.kind == "norm"]
    maps = [x for x in tower.tail if x.kind == "map"]
    if walk.style.norm_first:
        if not norms:
            place = maps[0] if maps else tower.blocks[-1].down
            fix = "normalise the stream once more after the last block"
            yield Step(f"{name}final norm", False, "", place.line, "it is never run", fix)
            return
        if not name.endswith("text ") and (norms[0].x is None or norms[0].x.dim() == stream.dim()):
            yield from read_stream(walk, norms[0])
            stream = stream if walk.stream is None else walk.stream
        seen = known(walk, norms[0])
        read = stream if seen is None else seen
        if seen is not None and seen.dim() < stream.dim():
            right = stream if seen.dim() == stream.dim() else stream[:, 0]
            slips = [("it reads a mean over positions", stream.mean(1))]
            fix = "read the stream after the last block"
            if seen.shape == right.shape and not name.endswith("text "):
                yield equal_step(f"{name}stream", seen, right, slips, norms[0], fix)
        yield norm_step(f"{name}final norm", norms[0], read, walk.weights)
        stream = walk.batch_first(norms[0].y)
    if maps and maps[0].x is not None and name == "":
        yield output_step("head", maps[0], stream)


def head_step(tower: Tower, walk: Walk) -> Iterator[Step]:
    """Compare the map and norm before a masked language model's decoder."""
    for one, norm in zip(tower.tail, tower.tail[1:], strict=False):
        if one.kind != "map" or norm.kind != "norm" or one.y.shape != norm.y.shape:
            continue
        for said, act in ACTIVATIONS.items():
            if norm_step("", norm, act(one.y), walk.weights).ok:
                fine = said in walk.style.activation
                where = one.module.rpartition(".")[0]
                fix = f"use {walk.style.activation[0]} between the map and the norm"
                told = "" if fine else f"{said} stands there"
                yield Step("activation of the head", fine, where, norm.line, told, fix)
                break


def clip_logits(
    walk: Walk, towers: list[Tower], logits: Tensor, scale: Tensor | None
) -> Iterator[Step]:
    """Compare the logits with exp(scale) times the cosines of the two projections."""
    ends = [next((x for x in reversed(t.tail) if x.kind == "map"), None) for t in towers]
    if None in ends or len(ends) != 2 or logits.dim() != 2:
        return
    one, other = (x.y for x in ends if x is not None)
    if one.dim() != 2 or other.dim() != 2:
        return
    place = ends[-1]
    assert place is not None
    s = torch.ones((), dtype=one.dtype) if scale is None else scale.flatten()[0]
    n, m = F.normalize(one, dim=-1), F.normalize(other, dim=-1)
    fix = "logits = logit_scale.exp() * normalize(image) @ normalize(text).T"
    slips = {
        "the features are not normalised": s.exp() * one @ other.mT,
        "the picture's features are not normalised": s.exp() * one @ m.mT,
        "the text's features are not normalised": s.exp() * n @ other.mT,
        "the scale is not taken the exponential of": s * n @ m.mT,
        "there is no scale": n @ m.mT,
        "the logits are divided by the scale": n @ m.mT / s.exp(),
        "the features are normalised over the batch": s.exp()
        * F.normalize(one, dim=0)
        @ F.normalize(other, dim=0).mT,
    }
    right = s.exp() * n @ m.mT
    pairs = [(said, y) for said, x in slips.items() for y in (x, x.mT)]
    if near(logits, right.mT):
        logits = logits.mT
    step = equal_step("logits", logits, right, pairs, place, fix)
    yield Step(step.name, step.ok, "", step.line, step.found, step.fix, step.gap)


def walk_family(
    family: str, walk: Walk, towers: list[Tower], inputs: Inputs, output: Tensor
) -> Iterator[Step]:
    """Compare a module's towers with a family's, step by step."""
    pixels = next((x for x in inputs.values() if isinstance(x, Tensor) and x.dim() == 4), None)
    for tower in towers:
        image = family == "vit" or (family == "clip" and not has_table(tower))
        label = "" if family != "clip" else "image " if image else "text "
        walk.style = STYLES["clip text" if label == "text " else family]
        if image and pixels is not None:
            steps, stream = image_stem(walk, tower, label, pixels)
        else:
            steps, stream = text_stem(walk, tower, label)
        yield from steps
        if stream is None:
            continue
        yield from walk_blocks(walk, tower, stream, label)
        yield from tail(walk, tower, label)
        if family == "bert":
            yield from head_step(tower, walk)
    if family == "clip":
        scale = next((w for n, w in walk.weights.items() if "scale" in n or "temp" in n), None)
        yield from clip_logits(walk, towers, output, scale)


def has_table(tower: Tower) -> bool:
    """Say whether a tower begins with ids."""
    return any(x.kind == "table" for x in tower.stem)
