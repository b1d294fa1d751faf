"""One sound small decoder, and the same with one planted fault each.

A row of SABOTEURS: how it is made, and the kinds of which one must be told first.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Sound(nn.Module):
    """A causal transformer of one block, with a cache and positions from the mask."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(31, 8)
        self.positions = nn.Embedding(16, 8)
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)
        self.head = nn.Linear(8, 31)
        self.register_buffer("scale", torch.tensor(1.0))

    def where(self, mask, past):
        return (mask.cumsum(1) - 1 + past).clamp_min(0)

    def may_look(self, t, s):
        return torch.ones(t, s, dtype=torch.bool, device=self.scale.device).tril(s - t)

    def attend(self, x, seen, cache):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        if cache is not None:
            k, v = cache.append(k, v)
        look = self.may_look(q.shape[1], k.shape[1]) & seen[:, None, :]
        scores = (q @ k.mT) / 8**0.5
        weights = scores.masked_fill(~look, torch.finfo(scores.dtype).min).softmax(-1) * look
        return self.out(weights @ v)

    def encode(self, input_ids, attention_mask=None, *, cache=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        past = 0 if cache is None else cache.mask.sum(1, keepdim=True)
        x = self.tokens(input_ids) * self.scale + self.positions(self.where(mask, past))
        seen = mask.bool() if cache is None else cache.extend(mask)
        return x + self.attend(x, seen, cache)

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.encode(input_ids, attention_mask))

    def new_cache(self, rows, capacity):
        return Cache(rows, capacity)


class Cache:
    def __init__(self, rows, capacity):
        self.capacity = capacity
        self.mask = torch.zeros(rows, 0, dtype=torch.long)
        self.k = self.v = None

    def extend(self, mask):
        self.mask = torch.cat([self.mask, mask], 1)
        assert self.mask.shape[1] <= self.capacity
        return self.mask.bool()

    def append(self, k, v):
        self.k = k if self.k is None else torch.cat([self.k, k], 1)
        self.v = v if self.v is None else torch.cat([self.v, v], 1)
        return self.k, self.v


class LooksAheadByOne(Sound):
    def may_look(self, t, s):
        return torch.ones(t, s, dtype=torch.bool).tril(s - t + 1)


class LooksEverywhere(Sound):
    def may_look(self, t, s):
        return torch.ones(t, s, dtype=torch.bool)


class MeanOverTime(Sound):
    def forward(self, input_ids, attention_mask=None):
        return super().forward(input_ids, attention_mask) + 1e-3 * self.tokens(input_ids).mean()


class ReadsPadding(Sound):
    def attend(self, x, seen, cache):
        return super().attend(x, torch.ones_like(seen), cache)


class PositionsFromColumns(Sound):
    def where(self, mask, past):
        return torch.arange(mask.shape[1]).expand(mask.shape) + past


class MaskFromIds(Sound):
    def encode(self, input_ids, attention_mask=None, *, cache=None):
        return super().encode(input_ids, (input_ids != 0).long(), cache=cache)


class MaskOfFirstRow(Sound):
    def attend(self, x, seen, cache):
        return super().attend(x, seen[:1].expand_as(seen), cache)


class Flattened(Sound):
    def forward(self, input_ids, attention_mask=None):
        return super().forward(input_ids, attention_mask).flatten(1)


class MixesRows(Sound):
    def forward(self, input_ids, attention_mask=None):
        x = self.encode(input_ids, attention_mask)
        return self.head(x - 1e-6 * x.mean(0, keepdim=True))


class RowsThroughReshape(Sound):
    def forward(self, input_ids, attention_mask=None):
        y = super().forward(input_ids, attention_mask)
        return y.transpose(0, 1).reshape(y.shape)


class IdleWeight(Sound):
    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.ones(3))


class FrozenAndIdle(IdleWeight):
    def __init__(self):
        super().__init__()
        self.tokens.weight.requires_grad_(False)


class Detached(Sound):
    def attend(self, x, seen, cache):
        return super().attend(x, seen, cache).detach()


class DetachedOutput(Sound):
    def forward(self, input_ids, attention_mask=None):
        return super().forward(input_ids, attention_mask).detach()


class NaNGradient(Sound):
    def forward(self, input_ids, attention_mask=None):
        y = super().forward(input_ids, attention_mask)
        return y + (self.head.bias * 0).sqrt()


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2.001 * x * dy


class WrongBackward(Sound):
    def attend(self, x, seen, cache):
        return Square.apply(super().attend(x, seen, cache))


class FrozenAndWrong(WrongBackward):
    def __init__(self):
        super().__init__()
        self.tokens.weight.requires_grad_(False)


class WrongSmallBackward(Sound):
    """Of a branch that is a thousandth of the output."""

    def forward(self, input_ids, attention_mask=None):
        hidden = self.encode(input_ids, attention_mask)
        return self.head(self.norm(hidden).detach()) + 1e-3 * Square.apply(self.out(hidden)).sum()


class DropoutInEval(Sound):
    def forward(self, input_ids, attention_mask=None):
        y = super().forward(input_ids, attention_mask)
        return F.dropout(y, 0.1, training=True)


class KeepsCount(Sound):
    def forward(self, input_ids, attention_mask=None):
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(input_ids, attention_mask) * self.calls


class EditsInput(Sound):
    def forward(self, input_ids, attention_mask=None):
        y = super().forward(input_ids, attention_mask)
        input_ids[:, -1] = 0
        return y


class ForgetsAttribute(Sound):
    def __init__(self):
        super().__init__()
        self.offset = torch.zeros(31)

    def forward(self, input_ids, attention_mask=None):
        return super().forward(input_ids, attention_mask) + self.offset


class ForgetsBuffer(Sound):
    def __init__(self):
        super().__init__()
        self.register_buffer("offset", torch.zeros(31), persistent=False)

    def forward(self, input_ids, attention_mask=None):
        return super().forward(input_ids, attention_mask) + self.offset


class ForgetsParameter(Sound):
    def state_dict(self, *args, **kwargs):
        state = super().state_dict(*args, **kwargs)
        state.pop("out.bias")
        return state


class CacheForgetsMask(Sound):
    def new_cache(self, rows, capacity):
        cache = Cache(rows, capacity)
        cache.extend = lambda mask: torch.ones_like(Cache.extend(cache, mask))
        return cache


class CacheForgetsPositions(Sound):
    def where(self, mask, past):
        return super().where(mask, 0)


class CacheDropsFirst(Sound):
    def new_cache(self, rows, capacity):
        cache = Cache(rows, capacity)
        append = cache.append

        def wrong(k, v):
            keys, values = append(k, v)
            return torch.cat([keys[:, :1] * (keys.shape[1] < 3), keys[:, 1:]], 1), values

        cache.append = wrong
        return cache


class Frozen(Sound):
    def __init__(self):
        super().__init__()
        for parameter in self.parameters():
            parameter.requires_grad_(parameter is self.head.bias)


def step(module, piece, cache):
    """Read one more position of each row."""
    ids = piece["input_ids"]
    cache = module.new_cache(len(ids), 16) if cache is None else cache
    hidden = module.encode(ids, piece.get("attention_mask"), cache=cache)
    return module.head(hidden), cache


def batch(size):
    ids = torch.randint(1, 31, (size, 7))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def loss(output, given):
    return F.cross_entropy(output[:, :-1].flatten(0, 1), given["input_ids"][:, 1:].flatten())


FACTS = {
    "task": "next_token",
    "causal": "input_ids",
    "tokens": "input_ids",
    "vocab_size": 31,
    "padding_mask": "attention_mask",
    "padding_side": "both",
    "pad_id": 0,
    "couples_batch": False,
    "deterministic": True,
    "step": step,
}

# a module, and the kinds of bugs that it may rightly be said to have
SABOTEURS = [
    (LooksAheadByOne, {"causal-leak"}),
    (LooksEverywhere, {"causal-leak"}),
    (MeanOverTime, {"causal-leak", "batch-leak"}),
    (ReadsPadding, {"padding-leak", "mask"}),
    (PositionsFromColumns, {"padding-leak", "cache"}),
    (MaskFromIds, {"padding-leak", "mask", "ignored-input"}),
    (MaskOfFirstRow, {"batch-leak", "padding-leak", "mask"}),
    (MixesRows, {"batch-leak"}),
    (RowsThroughReshape, {"batch-leak", "causal-leak", "shape"}),
    (IdleWeight, {"unused-parameter"}),
    (FrozenAndIdle, {"unused-parameter", "frozen"}),
    (Detached, {"detached"}),
    (DetachedOutput, {"detached"}),
    (NaNGradient, {"non-finite"}),
    (WrongBackward, {"wrong-gradient", "double-backward"}),
    (FrozenAndWrong, {"wrong-gradient", "double-backward"}),
    (WrongSmallBackward, {"wrong-gradient", "detached", "batch-leak", "causal-leak"}),
    (DropoutInEval, {"eval-noise", "train-eval"}),
    (KeepsCount, {"state-carried"}),
    (EditsInput, {"input-mutated"}),
    (ForgetsParameter, {"lost-state"}),
    (CacheForgetsPositions, {"cache"}),
    (CacheDropsFirst, {"cache"}),
]
