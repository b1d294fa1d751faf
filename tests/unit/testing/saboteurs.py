"""One sound small decoder, and the same with one planted fault each.

A row of SABOTEURS: the check that must stop it, how it is made, the sentence the check must say.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Sound(nn.Module):
    """A causal transformer of one block, with a cache and positions from the mask."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
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
        return torch.ones(t, s, dtype=torch.bool).tril(s - t)

    def attend(self, x, seen, cache):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        if cache is not None:
            k, v = cache.append(k, v)
        look = self.may_look(q.shape[1], k.shape[1]) & seen[:, None, :]
        scores = (q @ k.mT) / 8**0.5
        weights = scores.masked_fill(~look, -1e30).softmax(-1) * look
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


class EditsInputAndBack(Sound):
    def forward(self, input_ids, attention_mask=None):
        input_ids += 1
        input_ids -= 1
        return super().forward(input_ids, attention_mask)


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


class CannotLearn(Sound):
    def encode(self, input_ids, attention_mask=None, *, cache=None):
        return super().encode(torch.zeros_like(input_ids), attention_mask, cache=cache)


def next_token(module, inputs):
    logits = module(**inputs)[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), inputs["input_ids"][:, 1:].flatten())


# check -> what it is told about the sound module
OPTIONS = {
    "batch_independence": {},
    "cached_decoding": {"of": "input_ids"},
    "causality": {"of": "input_ids"},
    "determinism": {},
    "gradient_flow": {},
    "inputs_untouched": {},
    "overfit": {"loss": next_token},
    "padding_invariance": {"of": "input_ids", "mask": "attention_mask"},
    "parameter_gradients": {},
    "save_load": {},
}

SABOTEURS = [
    ("causality", LooksAheadByOne, r"output before 1 moved by .* a token looks ahead"),
    ("causality", LooksEverywhere, r"output before 1 moved"),
    ("causality", MeanOverTime, r"output before 1 moved"),
    ("causality", Flattened, r"\(2, 217\) has no position for each of input_ids \(2, 7\)"),
    ("padding_invariance", ReadsPadding, r"padding on the left .* attention reads padding"),
    ("padding_invariance", PositionsFromColumns, r"padding on the left with id 0"),
    ("padding_invariance", MeanOverTime, r"padding on the right"),
    ("padding_invariance", MaskFromIds, r"padding on the left with id 30"),
    ("padding_invariance", MaskOfFirstRow, r"padding on both sides with id 0"),
    ("padding_invariance", Flattened, r"turned an output of \(2, 217\) into \(2, 310\)"),
    ("batch_independence", MixesRows, r"row 0 moved by .* when it was alone: rows mix"),
    ("batch_independence", RowsThroughReshape, r"row 0 moved"),
    ("gradient_flow", IdleWeight, r"^idle gets no gradient: it is unused"),
    ("gradient_flow", FrozenAndIdle, r"^idle gets no gradient"),
    ("gradient_flow", Detached, r"^norm.weight gets no gradient"),
    ("gradient_flow", DetachedOutput, r"^the output has no gradient"),
    ("gradient_flow", NaNGradient, r"^head.bias gets a gradient with NaN"),
    ("parameter_gradients", WrongBackward, r"the gradient of .* the backward between them is"),
    ("parameter_gradients", FrozenAndWrong, r"^the gradient of positions.weight"),
    ("parameter_gradients", WrongSmallBackward, r"^the gradient of tokens.weight"),
    ("parameter_gradients", Detached, r"the gradient of tokens.weight"),
    ("determinism", DropoutInEval, r"two passes in eval mode differ by"),
    ("determinism", KeepsCount, r"keeps state between calls"),
    ("inputs_untouched", EditsInput, r"^input_ids was changed in place"),
    ("inputs_untouched", EditsInputAndBack, r"^input_ids was changed in place"),
    ("save_load", ForgetsAttribute, r"the state dict forgets offset"),
    ("save_load", ForgetsBuffer, r"the state dict forgets offset; register it as a persistent"),
    ("save_load", ForgetsParameter, r'refuses the state dict: .*\n.* "out.bias"'),
    ("cached_decoding", CacheForgetsPositions, r"tokens read as \[1, 6\] through a cache"),
    ("cached_decoding", CacheForgetsMask, r"through a cache after padding moved by"),
    ("cached_decoding", CacheDropsFirst, r"through a cache moved by"),
    ("overfit", CannotLearn, r"100 steps on one batch took the loss from"),
    ("overfit", Frozen, r"the labels may not be what the model is trained to give"),
]


def inputs():
    """Two rows of seven different ids, from a generator of their own."""
    generator = torch.Generator().manual_seed(4)
    return {"input_ids": torch.randint(1, 31, (2, 7), generator=generator)}
