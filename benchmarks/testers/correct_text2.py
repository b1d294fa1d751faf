"""Correct sequence models whose losses or inputs are unusual: paths, spans, choices, lookups."""

from typing import Any

import torch
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known
from torch import Tensor, nn
from torch.nn import functional as F

VOCAB = 23


class Speech(nn.Module):
    """Frames to characters: log-probabilities with time first, as ctc_loss wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 6)

    def forward(self, frames: Tensor) -> Tensor:
        return self.head(self.rnn(frames)[0]).log_softmax(-1).transpose(0, 1)


def spoken(size: int) -> dict[str, Tensor]:
    lengths = torch.randint(2, 5, (size,))
    return {
        "frames": torch.randn(size, 12, 8),
        "labels": torch.randint(1, 6, (size, 4)),
        "lengths": lengths,
    }


def ctc(output: Tensor, batch: Any) -> Tensor:
    frames = torch.full((output.shape[1],), output.shape[0])
    return F.ctc_loss(output, batch["labels"], frames, batch["lengths"], zero_infinity=True)


class Tagger(nn.Module):
    """A linear-chain CRF: the transitions are read by the loss alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(VOCAB, 12), nn.GRU(12, 12, batch_first=True)
        self.emit = nn.Linear(12, 4)
        self.transitions = nn.Parameter(0.1 * torch.randn(4, 4))

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.emit(self.rnn(self.embed(input_ids))[0]), self.transitions


def crf(output: Any, batch: Any) -> Tensor:
    emit, moves = output
    tags = batch["labels"]
    path = emit.gather(2, tags[..., None])[..., 0].sum(1)
    path = path + moves[tags[:, :-1], tags[:, 1:]].sum(1)
    every = emit[:, 0]
    for t in range(1, emit.shape[1]):
        every = (every[:, :, None] + moves).logsumexp(1) + emit[:, t]
    return (every.logsumexp(1) - path).mean()


class Span(nn.Module):
    """Start and end of an answer, as two outputs in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(VOCAB, 12), nn.LSTM(12, 12, batch_first=True)
        self.ends = nn.Linear(12, 2)

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        start, end = self.ends(self.rnn(self.embed(input_ids))[0]).unbind(-1)
        return {"start": start, "end": end}


def spans(output: Any, batch: Any) -> Tensor:
    return F.cross_entropy(output["start"], batch["first"]) + F.cross_entropy(
        output["end"], batch["last"]
    )


class Choice(nn.Module):
    """Multiple choice: (b, choices, t) ids, one score a choice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(VOCAB, 12), nn.Linear(12, 12)
        self.score = nn.Linear(12, 1)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.score(torch.tanh(self.body(self.embed(input_ids).mean(2))))[..., 0]


class Fields(nn.Module):
    """A factorisation machine: one table for all fields, with an offset each."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0, 7, 12]))
        self.table, self.weights = nn.Embedding(21, 8), nn.Embedding(21, 1)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, fields: Tensor) -> Tensor:
        places = fields + self.offsets
        v = self.table(places)
        pairs = (v.sum(1).square() - v.square().sum(1)).sum(-1) / 2
        return pairs + self.weights(places).sum((1, 2)) + self.bias


def fields(size: int) -> dict[str, Tensor]:
    given = torch.stack([torch.randint(n, (size,)) for n in (7, 5, 9)], 1)
    return {"fields": given, "labels": torch.randint(2, (size,)).float()}


class Ragged(nn.Module):
    """Words of all rows in one line, and where each row begins."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(VOCAB, 12, mode="mean"), nn.Linear(12, 4)

    def forward(self, words: Tensor, offsets: Tensor) -> Tensor:
        return self.head(self.bag(words, offsets))


def ragged(size: int) -> dict[str, Tensor]:
    lengths = torch.randint(1, 6, (size,))
    return {
        "words": torch.randint(VOCAB, (int(lengths.sum()),)),
        "offsets": lengths.cumsum(0) - lengths,
        "labels": torch.randint(4, (size,)),
    }


class Letters(nn.Module):
    """A convolution over letters and a maximum over time, where ties and padding occur."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 8, padding_idx=0)
        self.conv, self.head = nn.Conv1d(8, 16, 3, padding=1), nn.Linear(16, 4)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = F.relu(self.conv(self.embed(input_ids).mT))
        return self.head(x.masked_fill(input_ids[:, None] == 0, 0.0).amax(-1))


class Filler(nn.Module):
    """Masked tokens: the model hides a seventh of them by itself, in train mode alone."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
        self.embed, self.place = nn.Embedding(VOCAB + 1, 16), nn.Embedding(12, 16)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        if self.training:
            hidden = torch.rand(input_ids.shape, device=input_ids.device) < 0.15
            input_ids = input_ids.masked_fill(hidden, VOCAB)
        t = input_ids.shape[1]
        x = self.embed(input_ids) + self.place(torch.arange(t, device=input_ids.device))
        return self.head(self.encoder(x))


class Relative(nn.Module):
    """T5's buckets of relative distance, both ways, no absolute positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Embedding(VOCAB, 16), nn.Linear(16, 48, bias=False)
        self.far, self.head = nn.Embedding(9, 1), nn.Linear(16, VOCAB)

    def forward(self, input_ids: Tensor) -> Tensor:
        x, t = self.embed(input_ids), input_ids.shape[1]
        q, k, v = self.qkv(x).chunk(3, -1)
        place = torch.arange(t, device=x.device)
        bias = self.far((place - place[:, None]).clamp(-4, 4) + 4)[..., 0]
        return self.head(x + (q @ k.mT / 4 + bias).softmax(-1) @ v)


class Mixed(nn.Module):
    """FNet: the real part of a Fourier transform over time and width."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(VOCAB, 16), nn.LayerNorm(16)
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 4)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        x = self.norm(x + torch.fft.fft2(x).real)
        return self.head((x + self.down(F.gelu(self.up(x)))).mean(1))


def ids(*shape: int, low: int = 0) -> Any:
    return lambda size: {
        "input_ids": torch.randint(low, VOCAB, (size, *shape)),
        "labels": torch.randint(4, (size,)),
    }


def choices(size: int) -> dict[str, Tensor]:
    return {
        "input_ids": torch.randint(VOCAB, (size, 3, 6)),
        "labels": torch.randint(3, (size,)),
    }


def tags(size: int) -> dict[str, Tensor]:
    return {
        "input_ids": torch.randint(VOCAB, (size, 6)),
        "labels": torch.randint(4, (size, 6)),
    }


def same(size: int) -> dict[str, Tensor]:
    given = torch.randint(VOCAB, (size, 7))
    return {"input_ids": given, "labels": given.clone()}


def answers(size: int) -> dict[str, Tensor]:
    return {
        "input_ids": torch.randint(VOCAB, (size, 8)),
        "first": torch.randint(0, 4, (size,)),
        "last": torch.randint(4, 8, (size,)),
    }


def letters(size: int) -> dict[str, Tensor]:
    batch = ids(8, low=1)(size)
    batch["input_ids"][::2, 5:] = 0
    return batch


def bce(output: Tensor, batch: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, batch["labels"])


TOKENS = known(tokens="input_ids", vocab_size=VOCAB)
MODELS = [
    Model(
        "ctc",
        Speech,
        spoken,
        ctc,
        known(output_kind="log_probabilities", output_batch_axis=1, labels="labels"),
    ),
    Model("crf", Tagger, tags, crf, TOKENS | known(output="0", labels="labels")),
    Model("spans", Span, answers, spans, TOKENS | known(output="start")),
    Model("multiple-choice", Choice, choices, cross_entropy, TOKENS | known(sequence_axis=2)),
    Model("factorisation", Fields, fields, bce, known(inputs={"fields": "index"})),
    Model(
        "ragged-bag",
        Ragged,
        ragged,
        cross_entropy,
        known(inputs={"words": "other"}, labels="labels"),
    ),
    Model("letters", Letters, letters, cross_entropy, TOKENS | known(pad_id=0)),
    Model(
        "masked-tokens",
        Filler,
        same,
        cross_entropy,
        TOKENS | known(train_noise=True, max_length=12, causal=False, labels="labels"),
    ),
    Model("relative-bias", Relative, same, cross_entropy, TOKENS | known(causal=False)),
    Model("fourier", Mixed, ids(8), cross_entropy, TOKENS | known(causal=False)),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("text", MODELS)
