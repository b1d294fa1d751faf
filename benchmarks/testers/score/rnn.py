"""Tags of a sentence (several may hold): a bidirectional LSTM over packed words, pooled twice."""

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

VOCAB, TAGS, PAD, UNK = 40, 4, 0, 1


class AttentionPool(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, dim)
        self.query = nn.Linear(dim, 1, bias=False)

    def forward(self, x, mask):
        scores = self.query(torch.tanh(self.proj(x))).squeeze(-1)
        scores = scores.masked_fill(mask == 0, float("-inf"))
        weights = torch.softmax(scores, dim=1)
        pooled = torch.bmm(weights.unsqueeze(1), x).squeeze(1)
        return pooled, weights


class Net(nn.Module):
    def __init__(self, emb_dim=12, hidden_dim=16, word_dropout=0.1, dropout=0.2):
        super().__init__()
        self.word_dropout = word_dropout
        self.embedding = nn.Embedding(VOCAB, emb_dim, padding_idx=PAD)
        self.lstm = nn.LSTM(emb_dim, hidden_dim, num_layers=2, bidirectional=True, batch_first=True)
        self.pool = AttentionPool(2 * hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4 * hidden_dim, TAGS)

    def encode(self, tokens, mask):
        x = self.dropout(self.embedding(tokens))
        # cuDNN used to want the longest sentence first
        lengths, order = mask.sum(1).sort(descending=True)
        packed = pack_padded_sequence(x[order], lengths.cpu(), batch_first=True)
        out, (hidden, _) = self.lstm(packed)
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=tokens.size(1))
        back = order.argsort()
        return out[back], torch.cat([hidden[-2], hidden[-1]], dim=-1)[back]

    def forward(self, tokens, mask):
        if self.training:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = tokens.masked_fill(dropped & (mask != 0), UNK)
        out, last = self.encode(tokens, mask)
        pooled, weights = self.pool(out, mask)
        features = self.dropout(torch.cat([pooled, last], dim=-1))
        return self.fc(features), weights


def build():
    return Net()


def batch(size, time=9):
    lengths = torch.randint(3, time + 1, (size, 1))
    lengths[0] = time
    mask = (torch.arange(time) < lengths).long()
    tokens = torch.randint(2, VOCAB, (size, time)) * mask
    return {"tokens": tokens, "mask": mask, "tags": torch.randint(2, (size, TAGS)).float()}


def loss(output, batch):
    logits, _ = output
    return nn.functional.binary_cross_entropy_with_logits(logits, batch["tags"].to(logits.dtype))


FACTS = {
    "task": "multilabel",
    "num_classes": TAGS,
    "labels": "tags",
    "output": "0",
    "output_kind": "logits",
    "tokens": "tokens",
    "vocab_size": VOCAB,
    "pad_id": PAD,
    "padding_mask": "mask",
    "true_means": "keep",
    "padding_side": "right",
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "reduction": "mean",
    "must_raise": {
        "a word that is not in the vocabulary": lambda b: {**b, "tokens": b["tokens"] + VOCAB}
    },
}
