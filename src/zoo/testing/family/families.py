"""What each family does after its last block, and the walk through all of it."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from zoo.testing.family.layers import Layer
from zoo.testing.family.pairs import clip_steps
from zoo.testing.family.parse import Tower
from zoo.testing.family.stems import Inputs, image_stem, text_stem
from zoo.testing.family.steps import ACTIVATIONS, Step, equal_step, near, norm_step
from zoo.testing.family.walk import (
    Style,
    Walk,
    known,
    normed,
    output_step,
    pooled_slips,
    read_stream,
    turned,
    walk_blocks,
)

TANH, ERF, QUICK = "GELU (tanh)", "GELU (erf)", "GELU (quick)"
STYLES = {
    "gpt2": Style(norm_first=True, causal=True, activation=(TANH, ERF)),
    "bert": Style(norm_first=False, causal=False, activation=(ERF, TANH), stem_norm=True),
    "vit": Style(norm_first=True, causal=False, activation=(ERF, TANH)),
    "clip": Style(norm_first=True, causal=False, activation=(QUICK,), rare=(ERF,), stem_norm=True),
    "clip text": Style(norm_first=True, causal=True, activation=(QUICK,), rare=(ERF,)),
}


def tail(walk: Walk, tower: Tower, name: str) -> Iterator[Step]:
    """Compare the norm after the last block, and what the map after it reads."""
    stream = walk.stream
    if stream is None:
        return
    norms = [x for x in tower.tail if x.kind == "norm"]
    maps = [x for x in tower.tail if x.kind == "map"]
    raw = stream
    if tower.norm_first and (tower.stem or tower.tail):
        place = maps[0] if maps else tower.blocks[-1].down
        if not norms or (maps and not norms_first(tower)):
            fix = "normalise the stream once more after the last block"
            yield Step(f"{name}final norm", False, "", place.line, "it is never run", fix)
            norms = []
        else:
            yield from final_norm(walk, norms, stream, name)
            raw = stream if walk.stream is None else walk.stream
            stream = walk.batch_first(norms[0].y)
    walk.stream, walk.last = stream, None
    if maps and maps[0].x is not None and name == "" and stream.dim() == 3:
        step = output_step("head", maps[0], stream)
        pooled = maps[0].x.dim() < stream.dim()
        unnormed = raw[:, 0] if pooled else raw
        if not step.ok and maps[0].x.shape == unnormed.shape and near(maps[0].x, unnormed):
            said = "it reads the stream before the final norm"
            step = Step("head", False, step.where, step.line, said, step.fix)
        elif step.ok and pooled and not walk.classed and near(maps[0].x, stream[:, 0]):
            said = "it reads the first patch, for there is no class token"
            fix = "put a class token before the patches, or read the mean over them"
            step = Step("head", False, step.where, step.line, said, fix)
        yield step


def norms_first(tower: Tower) -> bool:
    """Say whether a norm that keeps the width runs before the first map after the blocks."""
    kinds = [x.kind for x in tower.tail if x.kind in ("norm", "map")]
    return bool(kinds) and kinds[0] == "norm"


def final_norm(walk: Walk, norms: list[Layer], stream: Tensor, name: str) -> Iterator[Step]:
    """Compare the norm after the last block: of the whole stream, or of what is pooled."""
    norm = norms[0]
    if norm.y.dim() == stream.dim():
        yield from read_stream(walk, norm)
        assert walk.stream is not None
        yield normed(walk, f"{name}final norm", norm, walk.stream)
        if len(norms) > 1 and norms[1].x is not None and near(norms[1].x, norm.y):
            said, fix = "it is run twice", "normalise once after the last block"
            yield Step(f"{name}final norm", False, str(norm), norms[1].line, said, fix)
        return
    seen, places = known(walk, norm), stream
    if seen is None:
        return
    if name == "text ":
        yield norm_step(f"{name}final norm", norm, seen)
        return
    last = walk.last
    rest = places[:, 1:] if places.shape[1] > 1 else places
    rights = [places[:, 0]] if name else [places[:, 0], places.mean(1), rest.mean(1)]
    right = next((x for x in rights if near(seen, x)), rights[0])
    slips = list(pooled_slips(places).items())
    slips += [("it reads the mean over positions", places.mean(1))]
    if last is not None:
        slips += [("the last branch is not added", last[2][:, 0])]
        slips += [("the last residual is left out", last[3][:, 0])]
    fix = "read the stream after the last block at the class token"
    yield equal_step(f"{name}pooling", seen, right, slips, norm, fix)
    yield norm_step(f"{name}final norm", norm, seen)


def head_steps(walk: Walk, tower: Tower) -> Iterator[Step]:
    """Compare the head of a masked language model: map, activation, norm, decoder."""
    whole = [x for x in tower.tail if x.kind in ("map", "norm") and x.y.dim() == 3]
    for at, one in enumerate(whole[:-1]):
        after = whole[at + 1]
        if one.kind != "map" or one.y.shape[-1] != tower.width:
            continue
        if after.kind == "norm":
            yield from transform(walk, one, after)
            decoder = whole[at + 2] if at + 2 < len(whole) else None
            if decoder is not None and decoder.x is not None:
                slips = (
                    [("it reads what the head's norm read", after.x)] if after.x is not None else []
                )
                said = "it reads the stream, not what the head made of it"
                pairs = [*slips, (said, walk.stream)] if walk.stream is not None else slips
                fix = "decoder(norm(gelu(dense(x))))"
                yield equal_step("decoder", decoder.x, after.y, pairs, decoder, fix)
        elif after.x is not None and after.x.shape == one.y.shape:
            for said, act in ACTIVATIONS.items():
                if near(after.x, act(one.y)):
                    place = str(one).rpartition(".")[0]
                    found = f"it is never run: {said}, then the decoder"
                    fix = "decoder(norm(gelu(dense(x))))"
                    yield Step("norm of the head", False, place, after.line, found, fix)
                    break
        return


def transform(walk: Walk, one: Layer, norm: Layer) -> Iterator[Step]:
    """Compare the activation and the norm between the head's map and its decoder."""
    where, right = str(one).rpartition(".")[0], walk.style.activation
    slip: Step | None = None
    for said, act in ACTIVATIONS.items():
        fine = said in right  # with other activations the norm must be a right one
        made = walk.batch_first(act(one.y))
        step = norm_step("norm of the head", turned(walk, norm), made, slips=fine)
        if step.ok or (slip is None and not step.gap):
            fix = f"use {right[0]} between the map and the norm"
            told = "" if fine else f"{said} stands there"
            if step.ok:
                yield Step("activation of the head", fine, where, norm.line, told, fix)
                yield step
                return
            slip = step if fine else slip
    yield slip or Step(
        "activation of the head",
        False,
        where,
        norm.line,
        "what stands between its map and its norm is not known here",
        f"use {right[0]} between the map and the norm",
    )


def pooler_steps(tower: Tower) -> Iterator[Step]:
    """Compare the activation between the pooler's map and the classifier."""
    pooled = [x for x in tower.tail if x.kind == "map" and x.y.dim() == 2 and x.x is not None]
    for one, other in pairwise(pooled):
        if one.y.shape != (x.shape if (x := other.x) is not None else None):
            continue
        for said, act in ACTIVATIONS.items():
            assert other.x is not None
            if near(other.x, act(one.y)):
                told = "" if said == "tanh" else f"{said} stands there"
                fix = "pooled = tanh(dense(x[:, 0]))"
                name = "activation of the pooler"
                yield Step(name, not told, str(one).rpartition(".")[0], other.line, told, fix)
                return


def walk_family(
    family: str, walk: Walk, towers: list[Tower], inputs: Inputs, outputs: dict[str, Tensor]
) -> Iterator[Step]:
    """Compare a module's towers with a family's, step by step."""
    pixels = pictures(inputs)
    ends: dict[str, Tensor] = {}
    for tower in towers:
        image = family == "vit" or (family == "clip" and not has_table(tower))
        label = "" if family != "clip" else "image " if image else "text "
        walk.style = STYLES["clip text" if label == "text " else family]
        walk.stream, walk.classed = None, True
        if image and pixels is not None:
            steps, stream = image_stem(walk, tower, label, pixels)
        else:
            steps, stream = text_stem(walk, tower, label, inputs)
        yield from steps
        if stream is None:
            continue
        yield from walk_blocks(walk, tower, stream, label)
        yield from tail(walk, tower, label)
        if walk.stream is not None:
            ends[label] = walk.stream
        if family == "bert":
            yield from head_steps(walk, tower)
            yield from pooler_steps(tower)
    if family == "clip":
        yield from clip_steps(walk, towers, ends, inputs, outputs)


def pictures(inputs: Inputs) -> Tensor | None:
    """Give the input that holds pictures (b, c, y, x)."""
    found = (x for x in inputs.values() if isinstance(x, Tensor) and x.dim() == 4)
    return next((x for x in found if x.is_floating_point()), None)


def has_table(tower: Tower) -> bool:
    """Say whether a tower begins with ids."""
    kinds = [x.kind for x in tower.stem]
    return "table" in kinds and "conv" not in kinds
