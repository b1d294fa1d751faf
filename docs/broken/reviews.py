"""A classifier of reviews that gives the same review another score each time it is asked."""

import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec


class Reviews(nn.Module):
    def __init__(self, vocab=61, width=24, classes=3, drop=0.1):
        super().__init__()
        self.words = nn.Embedding(vocab, width)
        self.reader = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.hidden = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, classes)
        self.drop = drop

    def forward(self, input_ids, attention_mask):
        lengths = attention_mask.sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.words(input_ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, last = self.reader(packed)
        both = torch.cat([last[0], last[1]], dim=-1)
        x = F.dropout(F.relu(self.hidden(both)), self.drop)
        return self.head(x)


def batch(size):
    lengths = torch.randint(4, 11, (size, 1))
    mask = (torch.arange(10) < lengths).long()
    return {
        "input_ids": torch.randint(1, 61, (size, 10)) * mask,
        "attention_mask": mask,
        "labels": torch.randint(3, (size,)),
    }


spec = ModelSpec(
    build=Reviews,
    batch=batch,
    loss=lambda logits, batch: F.cross_entropy(logits, batch["labels"]),
    task="classification",
    num_classes=3,
    tokens="input_ids",
    vocab_size=61,
    pad_id=0,
    padding_mask="attention_mask",
    padding_side="right",
    train_noise=True,
)
