"""What an answer rests on: attention rollout over the patches of a picture, the tokens of a text.

Read where the model reads its answer: the class token of a ViT and of CLIP's image tower (all
patches where those are pooled), the mask of a BERT that fills it in, the first token of one that
says a class. `zoo explain` draws the same shares of a file or a text of one's own.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.evaluate.rollout import rollout, share_of
from zoo.evaluate.subject import Subject
from zoo.report.page import Reading, Token

TINY = 1e-12


def patch_heat(subject: Subject, image: Any) -> Float[Tensor, "y x"]:
    """Give the share of each patch in the answer to a picture, scaled to 0 ... 1."""
    model = subject.model
    sees = model.image if model.spec.name == "clip" else model
    prefix = 1 if model.spec.name == "clip" else model.config.prefix
    pooled = model.spec.name == "vit" and model.config.pooling == "mean"
    pixels = subject.processor([image])
    patch = sees.config.patch
    rolled = rolled_out(sees, {"pixel_values": pixels})
    readers = torch.zeros(rolled.shape[:2], dtype=torch.bool)
    readers[:, prefix:] = pooled
    readers[:, 0] |= not pooled
    shares = share_of(rolled, readers)[0, prefix:]
    grid = shares.view(pixels.shape[2] // patch[0], pixels.shape[3] // patch[1])
    return (grid - grid.min()) / (grid.max() - grid.min()).clamp_min(TINY)


def token_heat(subject: Subject, text: str, note: str) -> Reading:
    """Give the share of each token in a BERT's answer; texts lose what is beyond the context."""
    tokenizer, context = subject.tokenizer, subject.model.config.context
    batch = tokenizer.batch([text], longest=context, offsets=True)
    places = batch.pop("offsets")[0].tolist()
    ids = batch["input_ids"][0].tolist()
    reader = ids.index(tokenizer.mask_id) if tokenizer.mask_id in ids else 0
    shares = rolled_out(subject.model, batch)[0, reader]
    words = torch.tensor([a < b for a, b in places])
    words[reader] = (
        False  # it and the marks around a text gather so much that words would look cold
    )
    names = tokenizer.tokens(ids)
    pieces = [text[a:b].strip() or name for (a, b), name in zip(places, names, strict=True)]
    heats = of_largest(shares, words)
    each = zip(pieces, heats.tolist(), shares.tolist(), strict=True)
    return Reading(tokens=tuple(Token(text=t, heat=h, share=s) for t, h, s in each), note=note)


def rolled_out(tower: Any, inputs: dict[str, Tensor]) -> Float[Tensor, "b t t"]:
    """Roll out the maps of all layers, one at a time."""
    like = next(tower.parameters())
    placed = {n: x.to(like.dtype if x.is_floating_point() else x.dtype) for n, x in inputs.items()}
    with torch.no_grad():
        return rollout(found for _, found in tower.each_attention_map(**placed))


def of_largest(shares: Float[Tensor, " t"], among: Bool[Tensor, " t"]) -> Float[Tensor, " t"]:
    """Scale to 0 for nothing and 1 for the largest `among` some, or of all; others end at 1."""
    top = shares[among].max() if bool(among.any()) else shares.max()
    return (shares / top.clamp_min(TINY)).clamp(max=1)
