"""Training steps and forward passes of the four families, in zoo, Hugging Face and plain torch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.speed import nanogpt, onnx
from benchmarks.speed.families import Pair, Sizes, lengths_of
from benchmarks.speed.job import Absent, Answer, Job, Side
from torch import Tensor

RATE = 1e-4


def autocast(compute: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=compute == "bfloat16")


def extra(sizes: Sizes, *, training: bool) -> dict[str, Any]:
    """Say what Hugging Face's model must be told to do the same work and no more."""
    more: dict[str, Any] = {"use_cache": False} if sizes.family == "gpt2" else {}
    return more | ({"return_loss": True} if sizes.family == "clip" and training else {})


def step(model: Any, loss_of: Callable[[], Tensor], sizes: Sizes) -> Side:
    """Make a training step as one writes it by hand, with torch's fused AdamW."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)

    def call() -> None:
        with autocast(sizes.compute):
            loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def answer() -> Answer:
        """Loss and length of the gradient, without dropout."""
        model.eval()
        with autocast(sizes.compute):
            loss = loss_of()
        loss.backward()
        found = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(found)
        optimizer.zero_grad(set_to_none=True)
        model.train()
        return {"loss": loss.detach(), "gradient": norm}

    return Side(call, answer, (model,), arithmetic=sizes.compute)


def pass_(model: Any, read: Callable[[], Tensor], sizes: Sizes, arithmetic: str) -> Side:
    """Make a forward pass without gradients."""
    model.eval()

    def call() -> Tensor:
        with torch.no_grad(), autocast(sizes.compute):
            return read()

    return Side(call, lambda: {"output": call()}, (model,), arithmetic=arithmetic, warm=True)


def optimized(model: Any, weights: str) -> Any:
    """Pack zoo's weights for inference; raise Absent where this zoo cannot."""
    if not hasattr(model, "optimize_for_inference"):
        raise Absent("this build of zoo has no optimize_for_inference")
    model = model.eval()
    return model.optimize_for_inference(weights=weights)


MODES: dict[str, Callable[[Any], Any]] = {
    "zoo": lambda model: model,
    "zoo-compiled": torch.compile,
    "zoo-packed": partial(optimized, weights="float32"),
    "zoo-float16": partial(optimized, weights="float16"),
    "zoo-int8": partial(optimized, weights="int8"),
}
STORED = {"zoo-float16": "float16", "zoo-int8": "int8"}  # what the others store is float32


def first_of(output: Any) -> Tensor:
    """Give the tensor that a model's answer is about."""
    for name in ("logits", "logits_per_image"):
        if hasattr(output, name):
            return getattr(output, name)
    return output


def training(sizes: Sizes, *, alone: bool = False) -> Job:
    pair = Pair(sizes, alone=alone)

    def ours(mode: str) -> Side:
        model = pair.ours if alone else pair.another()
        batch = dict(pair.batch)
        if pair.labels is not None:
            batch["labels"] = pair.labels
        loss: Callable[[], Tensor] = lambda: pair.kind.objective(model, batch)  # noqa: E731
        made = step(model, torch.compile(loss) if mode == "zoo-compiled" else loss, sizes)
        made.opaque = mode == "zoo-compiled"
        return made

    def theirs(attention: str) -> Side:
        model = pair.theirs(attention)
        more = extra(sizes, training=True)
        if pair.labels is not None:
            more["labels"] = pair.labels
        return step(model, lambda: model(**pair.batch, **more).loss, sizes)

    sides: dict[str, Callable[[], Side]] = {
        "zoo": lambda: ours("zoo"),
        "zoo-compiled": lambda: ours("zoo-compiled"),
        "hf": lambda: theirs("sdpa"),
        "hf-eager": lambda: theirs("eager"),
    }
    if sizes.family == "gpt2":
        sides["nanogpt"] = lambda: plain(pair)
    return Job(sides, pair.work(training=True), *units(sizes), pair.bound)


def plain(pair: Pair) -> Side:
    model = nanogpt.build(pair)
    return step(model, lambda: model.loss(pair.batch["input_ids"]), pair.sizes)


def forward(sizes: Sizes, *, alone: bool = False) -> Job:
    pair = Pair(sizes, alone=alone)
    real = pair.batch.get("attention_mask")

    def kept(output: Any) -> Tensor:
        """Leave out what is said of padding."""
        found = first_of(output)
        return found if real is None else found * real[..., None]

    def ours(mode: str) -> Side:
        model = MODES[mode](pair.ours if alone else pair.another().eval())
        computes = STORED.get(mode, sizes.compute)
        made = pass_(model, lambda: kept(model(**pair.batch)), sizes, computes)
        made.opaque = mode == "zoo-compiled"
        return made

    def theirs(attention: str) -> Side:
        model = pair.theirs(attention)
        more = extra(sizes, training=False)
        return pass_(model, lambda: kept(model(**pair.batch, **more)), sizes, sizes.compute)

    sides: dict[str, Callable[[], Side]] = {mode: partial(ours, mode) for mode in MODES}
    sides |= {"hf": lambda: theirs("sdpa"), "hf-eager": lambda: theirs("eager")}
    if real is None:
        sides["onnxruntime"] = lambda: onnx.side(pair)
    return Job(sides, pair.work(training=False), *units(sizes), pair.bound)


def units(sizes: Sizes) -> tuple[float, str]:
    """Say how many of what a call works through."""
    if sizes.family in ("vit", "clip"):
        return float(sizes.rows), "images" if sizes.family == "vit" else "pairs"
    return float(sum(lengths_of(sizes))), "tokens"
