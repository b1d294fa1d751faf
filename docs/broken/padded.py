"""An encoder of sentences that ranks well one by one and badly in batches of mixed lengths."""

import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec


class Encoder(nn.Module):
    def __init__(self, vocab=59, width=32, heads=4, depth=2, length=24):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width, padding_idx=0)
        self.positions = nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.tokens(input_ids) + self.positions(places)
        x = self.norm(self.layers(x, src_key_padding_mask=attention_mask == 0))
        real = attention_mask.unsqueeze(-1)
        return F.normalize((x * real).sum(1) / real.sum(1), dim=-1)


def batch(size):
    lengths = torch.randint(4, 13, (size, 1))
    mask = (torch.arange(12) >= 12 - lengths).long()  # padding stands on the left
    return {"input_ids": torch.randint(1, 59, (size, 12)) * mask, "attention_mask": mask}


spec = ModelSpec(
    build=Encoder,
    batch=batch,
    tokens="input_ids",
    vocab_size=59,
    max_length=24,
    pad_id=0,
    padding_mask="attention_mask",
    true_means="keep",
    padding_side="left",
    output_kind="unit",
)
