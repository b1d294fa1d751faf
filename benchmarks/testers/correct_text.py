"""Correct sequence models: causal in many ways, with caches, masks, lengths and states."""

import math
from typing import Any

import torch
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known
from torch import Tensor, nn
from torch.nn import functional as F

VOCAB, LONG = 29, 16


class Causal(nn.Module):
    """A decoder block with positions of one kind, and a cache of keys and values."""

    def __init__(self, positions: str, window: int = LONG) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.place = nn.Embedding(LONG, 16) if positions == "learned" else None
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(3))
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.head = nn.Linear(16, VOCAB, bias=False)
        self.positions, self.window = positions, window
        rates = 1 / 100 ** (torch.arange(0, 8, 2) / 8)
        self.register_buffer("angles", torch.arange(LONG)[:, None] * rates, persistent=False)

    def turn(self, x: Tensor, start: int) -> Tensor:
        angles = self.angles[start : start + x.shape[2]].to(x.dtype)
        left, right = x.chunk(2, -1)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)

    def bias(self, t: int, s: int, like: Tensor) -> Tensor:
        far = torch.arange(s - t, s, device=like.device)[:, None] - torch.arange(
            s, device=like.device
        )
        seen = (far >= 0) & (far < self.window)
        slopes = torch.tensor([0.5, 0.25], device=like.device, dtype=like.dtype)[:, None, None]
        bias = -slopes * far if self.positions == "alibi" else like.new_zeros(2, t, s)
        return bias.masked_fill(~seen, -torch.inf)

    def run(self, ids: Tensor, past: Any) -> tuple[Tensor, Any]:
        b, t = ids.shape
        start = 0 if past is None else past[0].shape[2]
        x = self.embed(ids)
        if self.place is not None:
            x = x + self.place(torch.arange(start, start + t, device=ids.device))
        q, k, v = self.qkv(self.norms[0](x)).view(b, t, 3, 2, 8).permute(2, 0, 3, 1, 4)
        if self.positions == "rotary":
            q, k = self.turn(q, start), self.turn(k, start)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        scores = q @ k.mT / math.sqrt(8) + self.bias(t, k.shape[2], q)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, 16))
        x = x + self.down(F.gelu(self.up(self.norms[1](x))))
        return self.head(self.norms[2](x)), (k, v)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.run(input_ids, None)[0]

    def step(self, piece: Any, state: Any) -> tuple[Tensor, Any]:
        return self.run(piece["input_ids"], state)


class Linear(nn.Module):
    """Causal linear attention: running sums in place of a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(VOCAB, 16), nn.Embedding(LONG, 16)
        self.qkv, self.head = nn.Linear(16, 48), nn.Linear(16, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        t = input_ids.shape[1]
        x = self.embed(input_ids) + self.place(torch.arange(t, device=input_ids.device))
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        sums = torch.einsum("btd,bte->btde", k, v).cumsum(1)
        norm = (q * k.cumsum(1)).sum(-1, keepdim=True)
        return self.head(x + torch.einsum("btd,btde->bte", q, sums) / norm)


class Waves(nn.Module):
    """WaveNet: dilated causal convolutions with gates."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 12)
        self.convs = nn.ModuleList(nn.Conv1d(12, 24, 2, dilation=d) for d in (1, 2, 4))
        self.head = nn.Linear(12, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids).mT
        for conv in self.convs:
            a, b = conv(F.pad(x, (conv.dilation[0], 0))).chunk(2, 1)
            x = x + a.tanh() * b.sigmoid()
        return self.head(x.mT)


class Recurrent(nn.Module):
    """A GRU language model, all at once or step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(VOCAB, 12), nn.GRU(12, 16, batch_first=True)
        self.head = nn.Linear(16, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(input_ids))[0])

    def step(self, piece: Any, state: Any) -> tuple[Tensor, Tensor]:
        out, state = self.rnn(self.embed(piece["input_ids"]), state)
        return self.head(out), state


class Scan(nn.Module):
    """A diagonal state space: decay in (0, 1), one position after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 12)
        self.decay, self.gate = nn.Parameter(torch.linspace(-2, 3, 12)), nn.Linear(12, 12)
        self.head = nn.Linear(12, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        state, states = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            state = self.decay.sigmoid() * state + (1 - self.decay.sigmoid()) * x[:, t]
            states.append(state)
        return self.head(x + F.silu(self.gate(x)) * torch.stack(states, 1))


class Streaming(nn.Module):
    """An LSTM that goes on where the last call stopped, until it is reset."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(6, 12, batch_first=True), nn.Linear(12, 3)
        self.state: Any = None

    def reset(self) -> None:
        self.state = None

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.rnn(x, self.state)
        self.state = tuple(s.detach() for s in state)
        return self.head(out)


class Packed(nn.Module):
    """A tagger both ways over sequences of many lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 12, padding_idx=0)
        self.rnn = nn.LSTM(12, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        lengths = attention_mask.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(input_ids), lengths, batch_first=True, enforce_sorted=False
        )
        out, _ = nn.utils.rnn.pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=input_ids.shape[1]
        )
        return self.head(out)


class Pooled(nn.Module):
    """An encoder whose answer is the mean over the positions that count, or the first position."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True, norm_first=True)
        self.embed, self.place = nn.Embedding(VOCAB, 16), nn.Embedding(LONG, 16)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.pool = nn.Linear(16, 4), pool

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        t = input_ids.shape[1]
        x = self.embed(input_ids) + self.place(torch.arange(t, device=input_ids.device))
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        if self.pool == "first":
            return self.head(x[:, 0])
        keep = attention_mask[..., None].to(x.dtype)
        if self.pool == "max":
            return self.head(x.masked_fill(keep == 0, -torch.inf).amax(1))
        return self.head((x * keep).sum(1) / keep.sum(1).clamp(min=1))


class LeftPadded(nn.Module):
    """Positions are counted from the mask, so padding may stand on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(VOCAB, 16), nn.Embedding(LONG, 16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.head = nn.Linear(16, VOCAB)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        t = input_ids.shape[1]
        x = self.embed(input_ids) + self.place((attention_mask.cumsum(1) - 1).clamp(min=0))
        q, k, v = self.qkv(x).chunk(3, -1)
        seen = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        seen = seen & attention_mask[:, None].bool()
        seen = seen | torch.eye(t, dtype=torch.bool, device=x.device)  # no empty row
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=seen))
        return self.head(x)


class Translate(nn.Module):
    """An encoder and a decoder that is taught with its own past."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(VOCAB, 16), nn.Embedding(LONG, 16)
        self.body = nn.Transformer(16, 2, 1, 1, 32, 0.0, batch_first=True)
        self.head = nn.Linear(16, VOCAB)

    def see(self, ids: Tensor) -> Tensor:
        return self.embed(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(
            target.shape[1], target.device, self.head.weight.dtype
        )
        return self.head(self.body(self.see(source), self.see(target), tgt_mask=mask))


def tokens(size: int) -> dict[str, Tensor]:
    ids = torch.randint(VOCAB, (size, 9))
    return {"input_ids": ids[:, :-1], "labels": ids[:, 1:]}


def padded(size: int) -> dict[str, Tensor]:
    mask = torch.ones(size, 9, dtype=torch.long)
    mask[1::2, 6:] = 0
    ids = torch.randint(1, VOCAB, (size, 9)) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(4, (size,))}


def tagged(size: int) -> dict[str, Tensor]:
    batch = padded(size)
    tags = torch.randint(4, batch["input_ids"].shape)
    return batch | {"labels": tags.masked_fill(batch["attention_mask"] == 0, -100)}


def left(size: int) -> dict[str, Tensor]:
    batch = padded(size)
    ids, mask = batch["input_ids"].flip(1), batch["attention_mask"].flip(1)
    labels = torch.full_like(ids, -100)
    labels[:, :-1] = ids[:, 1:].masked_fill(mask[:, :-1] == 0, -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def translated(size: int) -> dict[str, Tensor]:
    words = torch.randint(VOCAB, (size, 8))
    source = torch.randint(VOCAB, (size, 6))
    return {"source": source, "target": words[:, :-1], "labels": words[:, 1:]}


def signal(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 7, 6)
    return {"x": x, "target": x.cumsum(1)[..., :3].tanh()}


def mse(output: Tensor, batch: Any) -> Tensor:
    return F.mse_loss(output, batch["target"])


NEXT = known(
    task="next_token", tokens="input_ids", vocab_size=VOCAB, labels="labels", label_shift=0,
    causal="input_ids", output_kind="logits",
)  # fmt: skip
MASKED = known(
    tokens="input_ids", vocab_size=VOCAB, pad_id=0, padding_mask="attention_mask",
    true_means="keep", num_classes=4, labels="labels", output_kind="logits",
)  # fmt: skip
SHORT = known(max_length=LONG)
CACHED = SHORT | known(step="step")
POOLED = MASKED | SHORT | known(task="classification", train_noise=True, causal=False)


def pooled(kind: str) -> Model:
    """Describe a classifier of padded text."""
    return Model(f"pooled-{kind}", lambda: Pooled(kind), padded, cross_entropy, POOLED)


MODELS = [
    Model("gpt-learned", lambda: Causal("learned"), tokens, cross_entropy, NEXT | CACHED),
    Model("gpt-rotary", lambda: Causal("rotary"), tokens, cross_entropy, NEXT | CACHED),
    Model("gpt-alibi", lambda: Causal("alibi"), tokens, cross_entropy, NEXT | CACHED),
    Model("gpt-no-positions", lambda: Causal("none"), tokens, cross_entropy, NEXT | CACHED),
    Model(
        "gpt-window",
        lambda: Causal("rotary", 3),
        tokens,
        cross_entropy,
        NEXT | CACHED | known(receptive_field=2),
    ),
    Model("linear-attention", Linear, tokens, cross_entropy, NEXT | SHORT),
    Model("wave-net", Waves, tokens, cross_entropy, NEXT | known(receptive_field=7)),
    Model("gru-steps", Recurrent, tokens, cross_entropy, NEXT | known(step="step")),
    Model("state-space", Scan, tokens, cross_entropy, NEXT),
    Model(
        "lstm-streaming",
        Streaming,
        signal,
        mse,
        known(stateful=True, reset="reset", causal="x", task="regression", stop_gradient=True),
        bare=False,
    ),
    Model(
        "tagger-packed",
        Packed,
        tagged,
        cross_entropy,
        MASKED | known(task="token_classification", ignore_index=-100, padding_side="right"),
    ),
    pooled("mean"),
    pooled("first"),
    pooled("max"),
    Model(
        "gpt-left-padded",
        LeftPadded,
        left,
        cross_entropy,
        MASKED | NEXT | SHORT | known(num_classes=VOCAB, ignore_index=-100, padding_side="both"),
    ),
    Model(
        "translation",
        Translate,
        translated,
        cross_entropy,
        SHORT
        | known(
            task="next_token",
            tokens=["source", "target"],
            inputs={"source": "tokens", "target": "targets"},
            vocab_size=VOCAB,
            causal="target",
            labels="labels",
            label_shift=0,
            output_kind="logits",
        ),
    ),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("text", MODELS)
