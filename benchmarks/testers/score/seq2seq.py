"""Translation with an encoder and a decoder: nn.Transformer's layers, sines, tied target words."""

import math

import torch
import torch.nn as nn

from zoo.testing.spec import Input

SRC_VOCAB, TGT_VOCAB = 40, 45
PAD, BOS, EOS = 0, 1, 2


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout, max_len=64):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        x = x + self.pe[:, : x.size(1)]
        return self.dropout(x)


class Seq2SeqTransformer(nn.Module):
    def __init__(self, d_model=24, nhead=3, depth=1, dropout=0.1):
        super().__init__()
        self.d_model = d_model
        self.src_emb = nn.Embedding(SRC_VOCAB, d_model, padding_idx=PAD)
        self.tgt_emb = nn.Embedding(TGT_VOCAB, d_model, padding_idx=PAD)
        self.pos = PositionalEncoding(d_model, dropout)
        kwargs = {
            "d_model": d_model,
            "nhead": nhead,
            "dim_feedforward": 2 * d_model,
            "dropout": dropout,
            "batch_first": True,
        }
        self.encoder = nn.ModuleList([nn.TransformerEncoderLayer(**kwargs) for _ in range(depth)])
        self.decoder = nn.ModuleList([nn.TransformerDecoderLayer(**kwargs) for _ in range(depth)])
        self.generator = nn.Linear(d_model, TGT_VOCAB, bias=False)
        for emb in (self.src_emb, self.tgt_emb):
            nn.init.normal_(emb.weight, std=d_model**-0.5)
        self.generator.weight = self.tgt_emb.weight

    def encode(self, src, src_pad):
        x = self.pos(self.src_emb(src) * math.sqrt(self.d_model))
        for layer in self.encoder:
            x = layer(x, src_key_padding_mask=src_pad)
        return x

    def decode(self, tgt, memory, src_pad, tgt_pad):
        t = tgt.size(1)
        causal = torch.ones(t, t, dtype=torch.bool, device=tgt.device).triu(1)
        x = self.pos(self.tgt_emb(tgt) * math.sqrt(self.d_model))
        for layer in self.decoder:
            x = layer(
                x,
                memory,
                tgt_mask=causal,
                tgt_key_padding_mask=tgt_pad,
                memory_key_padding_mask=src_pad,
            )
        return x

    def forward(self, src, tgt, src_pad, tgt_pad):
        memory = self.encode(src, src_pad)
        return self.generator(self.decode(tgt, memory, src_pad, tgt_pad))


def build():
    return Seq2SeqTransformer()


def batch(size):
    at = torch.arange(10)
    src_len = torch.randint(4, 10, (size, 1))
    tgt_len = torch.randint(3, 10, (size, 1))
    src = torch.randint(3, SRC_VOCAB, (size, 9)).masked_fill(at[:9] >= src_len, PAD)
    words = torch.randint(3, TGT_VOCAB, (size, 10))
    words[:, 0] = BOS
    words = words.masked_fill(at == tgt_len, EOS).masked_fill(at > tgt_len, PAD)
    tgt, gold = words[:, :-1], words[:, 1:]
    return {
        "src": src,
        "tgt": tgt.contiguous(),
        "src_pad": src == PAD,
        "tgt_pad": tgt == PAD,
        "gold": gold.contiguous(),
    }


def loss(output, batch):
    return nn.functional.cross_entropy(
        output.reshape(-1, TGT_VOCAB),
        batch["gold"].reshape(-1),
        ignore_index=PAD,
        label_smoothing=0.05,
    )


def words(kind, vocab, mask):
    return Input(
        kind=kind, vocab_size=vocab, max_length=64, pad_id=PAD, mask=mask, true_means="drop"
    )


FACTS = {
    "task": "next_token",
    "num_classes": TGT_VOCAB,
    "labels": "gold",
    "label_shift": 0,
    "ignore_index": PAD,
    "output_kind": "logits",
    "inputs": {
        "src": words("tokens", SRC_VOCAB, "src_pad"),
        "tgt": words("targets", TGT_VOCAB, "tgt_pad"),
        "src_pad": Input(kind="mask", true_means="drop"),
        "tgt_pad": Input(kind="mask", true_means="drop"),
    },
    "tokens": ["src", "tgt"],
    "padding_side": "right",
    "causal": "tgt",
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "tied": [("tgt_emb.weight", "generator.weight")],
}
