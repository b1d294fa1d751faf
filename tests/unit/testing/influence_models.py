"""A small decoder and a small encoder with one switch a bug, for the checks of dependence."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.finding import Finding
from zoo.testing.spec import ModelSpec

VOCAB, CONTEXT, LENGTH, WIDTH = 19, 9, 7, 12


class Attention(nn.Module):
    """Masked attention of two heads, with bugs."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, allowed: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        b, t, _ = x.shape
        q, k, v = (y.view(b, t, 2, -1).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            if self.bug == "cache swapped":
                k = k.flip(2)
        scores = q @ k.transpose(-2, -1) / 3
        lowest = -8.0 if self.bug == "soft" else torch.finfo(x.dtype).min
        if self.bug == "after softmax":
            weights = scores.softmax(-1).masked_fill(~allowed, 0.0)
        else:
            weights = scores.masked_fill(~allowed, lowest).softmax(-1)
        y = weights @ v
        y = y if self.bug == "heads" else y.transpose(1, 2)
        return self.out(y.reshape(b, t, WIDTH)), (k, v)


class Reader(nn.Module):
    """Two layers of attention over tokens; causal or not."""

    def __init__(self, bug: str = "", *, causal: bool = True) -> None:
        super().__init__()
        self.bug, self.causal = bug, causal
        self.embed, self.positions = nn.Embedding(VOCAB, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList([Attention(bug) for _ in range(2)])
        self.head = nn.Linear(WIDTH, VOCAB)

    def run(self, ids: Tensor, keep: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Read some positions after those of the cache."""
        seen, t = keep.shape[1], ids.shape[1]
        allowed = keep[:, None, None, :].expand(-1, 1, t, -1)
        if self.bug == "inverted":
            allowed = ~allowed
        elif self.bug == "queries":
            allowed = keep[:, None, -t:, None].expand(-1, 1, -1, seen)
        elif self.bug == "unmasked":
            allowed = torch.ones_like(allowed)
        if self.causal:
            up = 1 if self.bug == "off by one" else 0
            past = torch.ones(seen, seen, dtype=torch.bool).tril(up)[seen - t :]
            allowed = allowed & (past if self.bug != "no causal mask" else True)
        places = (keep.long().cumsum(1) - 1).clamp_min(0)[:, -t:]
        if self.bug in ("places count padding", "cache place"):
            places = torch.arange(seen).expand(len(ids), -1)[:, -t:]
            places = places + (self.bug == "cache place" and cache is not None)
        if self.bug == "from one":
            places = places + 1
        if self.bug == "one place":
            places = places[:, :1]
        x = self.embed(ids) + self.positions(places)
        presents = []
        for i, layer in enumerate(self.layers):
            y, present = layer(x, allowed, None if cache is None else cache[i])
            x = x + y
            presents.append(present)
        return self.head(x), presents

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits, _ = self.run(input_ids, attention_mask.bool())
        if self.bug == "mean of all":
            logits = logits - logits.mean(1, keepdim=True)
        return logits


def step(model: Any, piece: Mapping[str, Tensor], state: Any) -> tuple[Tensor, Any]:
    """Decode one position."""
    mask, cache = (piece["attention_mask"][:, :0], None) if state is None else state
    mask = torch.cat([mask, piece["attention_mask"]], 1)
    logits, cache = model.run(piece["input_ids"], mask.bool(), cache)
    return logits, (mask, cache)


def batch(size: int) -> dict[str, Tensor]:
    """Draw tokens with padding on the right."""
    mask = (torch.arange(LENGTH) < torch.randint(4, LENGTH + 1, (size, 1))).long()
    ids = torch.randint(1, VOCAB, (size, LENGTH)) * mask
    return {"input_ids": ids, "attention_mask": mask}


def next_loss(output: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    """Train each position to emit the next token."""
    labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)[:, 1:]
    return F.cross_entropy(output[:, :-1].flatten(0, 1), labels.flatten())


FACTS: dict[str, Any] = {
    "tokens": "input_ids",
    "vocab_size": VOCAB,
    "pad_id": 0,
    "max_length": CONTEXT,
    "padding_mask": "attention_mask",
    "padding_side": "both",
    "position_sensitive": True,
}


def decoder(bug: str = "", **facts: Any) -> ModelSpec:
    """Describe the decoder with all that is known of it."""
    known = FACTS | {"causal": "input_ids", "step": step} | facts
    return ModelSpec(build=lambda: Reader(bug), batch=batch, loss=next_loss, **known)


def encoder(bug: str = "", **facts: Any) -> ModelSpec:
    """Describe the encoder with all that is known of it."""
    return ModelSpec(build=lambda: Reader(bug, causal=False), batch=batch, **FACTS | facts)


def findings(check: str, spec: ModelSpec, seed: int = 0) -> tuple[Finding, ...]:
    """Run one check; an error of the check's own is no answer."""
    report = check_model(spec, only=(check,), seed=seed)
    for outcome in report.outcomes:
        if outcome.status == "error":
            raise RuntimeError(outcome.reason)
    return report.findings


def told(check: str, spec: ModelSpec) -> list[tuple[str, str, str]]:
    """Give kind, severity and place of what one check finds."""
    return [(f.kind, f.severity, f.where) for f in findings(check, spec)]
