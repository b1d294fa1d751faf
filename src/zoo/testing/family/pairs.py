"""What CLIP does with two towers: what is pooled, projected, normalised and compared."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.testing.family.layers import Layer
from zoo.testing.family.parse import Tower
from zoo.testing.family.steps import Step, equal_step, near
from zoo.testing.family.walk import Walk, pooled_slips


def clip_steps(
    walk: Walk,
    towers: list[Tower],
    ends: Mapping[str, Tensor],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Tensor],
) -> Iterator[Step]:
    """Compare what is pooled of each tower, and the logits."""
    own = {label: tower for tower, label in zip(towers, labels(towers), strict=True)}
    maps = {k: [x for x in t.tail if x.kind == "map" and x.y.dim() == 2] for k, t in own.items()}
    every = [x for found in maps.values() for x in found]
    made: dict[str, Layer] = {}
    for label, end in ends.items():
        first = [x for x in every if rows_of(x.x, end) is not None]
        rest = [x for x in maps.get(label, []) if x not in made.values()]
        if first:
            made[label] = first[0]
        elif rest:
            made[label] = rest[-1]
    for label, end in ends.items():
        if label in made:
            yield from pooled_step(walk, label, made[label], end, inputs)
            continue
        said = "there is no map from the tower's width to the space that both share"
        fix = "features = pooled @ projection"
        place = own[label].blocks[-1]
        yield Step(f"{label}projection", False, "", place.down.line, said, fix)
    if {"image ", "text "} <= set(made):
        image, text = made["image "], made["text "]
        yield from logits_step(walk, image, text, outputs)


def labels(towers: list[Tower]) -> list[str]:
    """Say which tower reads pictures and which reads texts."""
    from zoo.testing.family.families import has_table

    return ["text " if has_table(tower) else "image " for tower in towers]


def rows_of(x: Tensor | None, stream: Tensor) -> Tensor | None:
    """Give the position of a stream (b, t, d) at which each row (b, d) stands, if all do."""
    if x is None or x.dim() != 2 or len(x) != len(stream) or x.shape[-1] != stream.shape[-1]:
        return None
    if stream.dim() == 2:
        return torch.zeros(len(x), dtype=torch.long) if near(x, stream) else None
    gaps = (stream - x[:, None]).abs().amax(-1)  # (b, t)
    best = gaps.min(1)
    return best.indices if bool((best.values <= 1e-8 * stream.abs().max()).all()) else None


def pooled_step(
    walk: Walk, label: str, layer: Layer, end: Tensor, inputs: Mapping[str, Any]
) -> Iterator[Step]:
    """Compare what a projection reads: the class token, or the end of the text."""
    name = f"{label}pooling"
    if layer.x is None or layer.x.dim() != 2 or end.dim() == 2:
        return
    places = rows_of(layer.x, end)
    if label == "image ":
        fix = "project the class token: norm(x[:, 0]) @ projection"
        slips = pooled_slips(end)
        slips["it reads the mean over positions"] = end.mean(1)
        yield equal_step(name, layer.x, end[:, 0], slips.items(), layer, fix)
        return
    fix = "read the end of the text: x[torch.arange(b), ids.argmax(-1)] @ projection"
    if places is None:
        slips = {"it reads the mean over positions": end.mean(1)} | pooled_slips(end)
        yield equal_step(name, layer.x, end[:, 0], slips.items(), layer, fix)
        return
    ids = next((x for x in inputs.values() if is_text(x, end)), None)
    if ids is None or ends_are(ids, places, walk):
        yield Step(name, True, str(layer), layer.line)
        return
    t = end.shape[1]
    said = {0: "it reads the first position", t - 1: "it reads the last position"}.get(
        int(places[0]) if len(set(places.tolist())) == 1 else -1,
        f"it reads positions {places.tolist()}, where no text ends",
    )
    yield Step(name, False, str(layer), layer.line, said, fix)


def is_text(x: Any, end: Tensor) -> bool:
    """Say whether an input holds the ids of a stream."""
    return isinstance(x, Tensor) and not x.is_floating_point() and x.shape == end.shape[:2]


def ends_are(ids: Tensor, places: Tensor, walk: Walk) -> bool:
    """Say whether texts end at places: the largest id, or the first of one and the same id."""
    if torch.equal(places, ids.argmax(-1)):
        return True
    read = ids.gather(1, places[:, None])
    first = (ids == read).int().argmax(-1)
    once = bool(((ids == read).sum(1) == 1).all())
    alike = bool((read == read[0]).all()) and once and torch.equal(first, places)
    config = getattr(walk.module, "config", None)
    config = getattr(config, "text_config", config)
    eos = getattr(config, "eos_token_id", None)
    if isinstance(eos, int):
        found = ids == eos
        return torch.equal(places, found.int().argmax(-1)) or (not bool(found.any()))
    moved = len(set(places.tolist())) > 1
    return alike and moved


def logits_step(
    walk: Walk, image: Layer, text: Layer, outputs: Mapping[str, Tensor]
) -> Iterator[Step]:
    """Compare the logits with exp(scale) times the cosines of the two projections."""
    one, other = image.y, text.y
    logits = [x for x in outputs.values() if x.shape == (len(one), len(other))]
    if not logits or one.shape[-1] != other.shape[-1]:
        return
    found, scale = logits[0], scale_of(walk)
    s = torch.zeros((), dtype=one.dtype) if scale is None else scale.flatten()[0]
    n, m = F.normalize(one, dim=-1), F.normalize(other, dim=-1)
    cosines = n @ m.mT
    fix = "logits = logit_scale.exp() * normalize(image) @ normalize(text).T"
    slips = {"the scale is not taken the exponential of": s * cosines}
    slips["the logits are divided by the exponential of the scale"] = cosines / s.exp()
    slips["the logits are divided by the scale"] = cosines / s
    slips["there is no scale"] = cosines
    slips["the scale is taken the exponential of twice"] = s.exp().exp() * cosines
    forms = features(one, other, n, m)
    for said, x in forms.items():
        for what, factor in factors(s).items():
            slips[f"{said}{what}"] = factor * x
    right = s.exp() * cosines
    pairs = [(said, y) for said, x in slips.items() for y in (x, x.mT)]
    turned = near(found, right.mT) and not near(found, right)
    step = equal_step("logits", found.mT if turned else found, right, pairs, text, fix)
    if not step.ok and step.gap:
        for said, x in ({"": cosines} | forms).items():
            ratio = found / x
            if near(ratio, ratio[:1, :1].expand_as(ratio)):
                told = f"cosines are multiplied by {float(ratio[0, 0]):.4g}, not by exp(scale)"
                told = (
                    f"{said}, and they are multiplied by {float(ratio[0, 0]):.4g}" if said else told
                )
                step = Step("logits", False, "", step.line, told, fix, step.gap)
                break
    if scale is not None and float(s.exp()) > 100 and near(found, 100 * cosines):
        step = Step("logits", True)
    yield Step(step.name, step.ok, "", step.line, step.found, step.fix, step.gap)


def features(one: Tensor, other: Tensor, n: Tensor, m: Tensor) -> dict[str, Tensor]:
    """Give products of features that are not both normalised as they should be."""

    def squared(x: Tensor) -> Tensor:
        return x / x.square().sum(-1, keepdim=True)

    def first(x: Tensor) -> Tensor:
        return F.normalize(x, p=1, dim=-1)

    return {
        "the features are not normalised": one @ other.mT,
        "the picture's features are not normalised": one @ m.mT,
        "the text's features are not normalised": n @ other.mT,
        "the features are normalised over the batch": F.normalize(one, dim=0)
        @ F.normalize(other, dim=0).mT,
        "the picture's features are normalised over the batch": F.normalize(one, dim=0) @ m.mT,
        "the text's features are normalised over the batch": n @ F.normalize(other, dim=0).mT,
        "the features are divided by the square of their length": squared(one) @ squared(other).mT,
        "the picture's features are divided by the square of their length": squared(one) @ m.mT,
        "the text's features are divided by the square of their length": n @ squared(other).mT,
        "the features are divided by the sum of absolute values": first(one) @ first(other).mT,
        "a text is compared with texts": m @ m.mT,
        "a picture is compared with pictures": n @ n.mT,
        "the features are taken the softmax of": one.softmax(-1) @ other.softmax(-1).mT,
        "the logits are minus distances": -torch.cdist(n, m),
    }


def factors(s: Tensor) -> dict[str, Tensor]:
    """Give what the scale may have been made of, with what to say of it."""
    one = torch.ones_like(s)
    return {"": s.exp(), ", and the scale is not exponentiated": s, ", and there is no scale": one}


def scale_of(walk: Walk) -> Tensor | None:
    """Give the logarithm of the logits' scale: a parameter of one number."""
    single = {n: w for n, w in walk.weights.items() if w.numel() == 1}
    named = [w for n, w in single.items() if "scale" in n or "temp" in n]
    return next(iter(named or list(single.values())), None)
