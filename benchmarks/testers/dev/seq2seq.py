"""Translation: an encoder reads, a decoder writes with teacher forcing. Sinusoidal positions that
do not count padding, target embedding and output shared; id 0 pads either side of a source."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from zoo.testing.spec import Input

PAD, BOS = 0, 1
SOURCE_VOCAB, TARGET_VOCAB, LONGEST = 31, 37, 16


class Positions(nn.Module):
    def __init__(self, d_model, longest, dropout):
        super().__init__()
        place = torch.arange(longest).unsqueeze(1)
        rate = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(longest, d_model)
        pe[:, 0::2] = torch.sin(place * rate)
        pe[:, 1::2] = torch.cos(place * rate)
        self.register_buffer("pe", pe.unsqueeze(1), persistent=False)  # (longest, 1, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, real):
        place = (real.long().cumsum(1) - 1).clamp_min(0)
        x = x + self.pe[place].squeeze(2)
        return self.dropout(x)


class FeedForward(nn.Sequential):
    def __init__(self, d_model, dropout):
        super().__init__(
            nn.Linear(d_model, 2 * d_model),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * d_model, d_model),
        )


class EncoderLayer(nn.Module):
    def __init__(self, d_model, heads, dropout):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d_model, heads, dropout=dropout, batch_first=True)
        self.ff = FeedForward(d_model, dropout)
        self.norms = nn.ModuleList([nn.LayerNorm(d_model) for _ in range(2)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, pad):
        a, _ = self.self_attn(x, x, x, key_padding_mask=pad, need_weights=False)
        x = self.norms[0](x + self.dropout(a))
        return self.norms[1](x + self.dropout(self.ff(x)))


class DecoderLayer(nn.Module):
    def __init__(self, d_model, heads, dropout):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d_model, heads, dropout=dropout, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(d_model, heads, dropout=dropout, batch_first=True)
        self.ff = FeedForward(d_model, dropout)
        self.norms = nn.ModuleList([nn.LayerNorm(d_model) for _ in range(3)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, y, memory, hidden, pad):
        a, _ = self.self_attn(y, y, y, attn_mask=hidden, need_weights=False)
        y = self.norms[0](y + self.dropout(a))
        a, _ = self.cross_attn(y, memory, memory, key_padding_mask=pad, need_weights=False)
        y = self.norms[1](y + self.dropout(a))
        return self.norms[2](y + self.dropout(self.ff(y)))


class Net(nn.Module):
    def __init__(self, d_model=32, heads=4, layers=2, dropout=0.1):
        super().__init__()
        self.scale = math.sqrt(d_model)
        self.source_embed = nn.Embedding(SOURCE_VOCAB, d_model, padding_idx=PAD)
        self.target_embed = nn.Embedding(TARGET_VOCAB, d_model, padding_idx=PAD)
        self.positions = Positions(d_model, LONGEST, dropout)
        self.encoder = nn.ModuleList([EncoderLayer(d_model, heads, dropout) for _ in range(layers)])
        self.decoder = nn.ModuleList([DecoderLayer(d_model, heads, dropout) for _ in range(layers)])
        self.generator = nn.Linear(d_model, TARGET_VOCAB)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)
        for embedding in (self.source_embed, self.target_embed):
            nn.init.normal_(embedding.weight, std=d_model**-0.5)
            nn.init.zeros_(embedding.weight[PAD].data)
        self.generator.weight = self.target_embed.weight

    def encode(self, source, real):
        x = self.positions(self.source_embed(source) * self.scale, real)
        for layer in self.encoder:
            x = layer(x, ~real)
        return x

    def decode(self, target, memory, source_real):
        n = target.size(1)
        hidden = torch.ones(n, n, dtype=torch.bool, device=target.device).triu(1)
        y = self.positions(self.target_embed(target) * self.scale, torch.ones_like(target).bool())
        for layer in self.decoder:
            y = layer(y, memory, hidden, ~source_real)
        return self.generator(y)

    def forward(self, source, source_mask, target):
        real = source_mask.bool()  # 1: a real token
        memory = self.encode(source, real)
        return self.decode(target, memory, real)


def build():
    return Net()


def sentences(size, longest, vocab):
    """Draw token ids padded on the right."""
    length = torch.randint(longest // 2, longest + 1, (size, 1))
    return torch.randint(2, vocab, (size, longest)).masked_fill(
        torch.arange(longest) >= length, PAD
    )


def batch(size):
    source = sentences(size, 9, SOURCE_VOCAB)
    written = sentences(size, 8, TARGET_VOCAB)
    begin = torch.full((size, 1), BOS)
    full = torch.cat([begin, written], dim=1)
    return {
        "source": source,
        "source_mask": (source != PAD).long(),
        "target": full[:, :-1],
        "labels": full[:, 1:],
    }


def loss(output, batch):
    labels = batch["labels"]
    total = F.cross_entropy(
        output.flatten(0, 1), labels.flatten(), ignore_index=PAD, reduction="sum"
    )
    return total / (labels != PAD).sum().clamp_min(1)


FACTS = {
    "task": "next_token",
    "labels": "labels",
    "label_shift": 0,
    "ignore_index": PAD,
    "reduction": "mean",
    "inputs": {
        "source": Input(
            kind="tokens",
            vocab_size=SOURCE_VOCAB,
            max_length=LONGEST,
            pad_id=PAD,
            mask="source_mask",
            sequence_axis=1,
        ),
        "source_mask": Input(kind="mask", true_means="keep", sequence_axis=1),
        "target": Input(
            kind="targets",
            vocab_size=TARGET_VOCAB,
            max_length=LONGEST,
            sequence_axis=1,
        ),
    },
    "padding_mask": "source_mask",
    "padding_side": "both",
    "causal": "target",
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "output_kind": "logits",
    "tied": [("target_embed.weight", "generator.weight")],
    "frozen": (),
    "train_noise": True,
    "deterministic": True,
}
