"""An encoder after BERT: masked tokens and next sentence, post-norm, tied decoder, any padding."""

import torch
import torch.nn.functional as F
from torch import nn

PAD, CLS, MASK, FIRST = 0, 1, 2, 3
VOCAB, CONTEXT, TYPES = 53, 20, 2
IGNORE = -100


class LayerNorm(nn.Module):
    """TensorFlow's: epsilon inside the square root, variance of the population."""

    def __init__(self, width, eps=1e-12):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        var = (x - mean).pow(2).mean(-1, keepdim=True)
        return self.weight * (x - mean) * torch.rsqrt(var + self.eps) + self.bias


class Embeddings(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, width, padding_idx=PAD)
        self.positions = nn.Embedding(CONTEXT, width)
        self.types = nn.Embedding(TYPES, width)
        self.norm = LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids, keep, token_type_ids):
        places = (keep.long().cumsum(1) - 1).clamp_min(0)
        x = self.tokens(input_ids) + self.positions(places) + self.types(token_type_ids)
        return self.dropout(self.norm(x))


class SelfAttention(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.dropout_p = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def split(self, x):
        b, t, d = x.shape
        return x.view(b, t, self.heads, d // self.heads).transpose(1, 2)

    def forward(self, x, mask):
        y = F.scaled_dot_product_attention(
            self.split(self.query(x)),
            self.split(self.key(x)),
            self.split(self.value(x)),
            attn_mask=mask,
            dropout_p=self.dropout_p if self.training else 0.0,
        )
        return self.out(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout)
        self.norm1 = LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm2 = LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask):
        x = self.norm1(x + self.dropout(self.attention(x, mask)))
        h = self.down(F.gelu(self.up(x)))
        return self.norm2(x + self.dropout(h))


class MaskedTokensHead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = LayerNorm(width)
        self.decoder = nn.Linear(width, VOCAB)

    def forward(self, x):
        return self.decoder(self.norm(F.gelu(self.dense(x))))


class Net(nn.Module):
    def __init__(self, width=32, heads=4, depth=2, dropout=0.1):
        super().__init__()
        self.embeddings = Embeddings(width, dropout)
        self.layers = nn.ModuleList([Layer(width, heads, dropout) for _ in range(depth)])
        self.pooler = nn.Linear(width, width)
        self.next_sentence = nn.Linear(width, 2)
        self.head = MaskedTokensHead(width)
        self.apply(self.init_weights)
        self.head.decoder.weight = self.embeddings.tokens.weight

    @torch.no_grad()
    def init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.normal_(std=0.02)
            module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(std=0.02)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()

    def forward(self, input_ids, attention_mask, token_type_ids):
        keep = attention_mask.bool()
        x = self.embeddings(input_ids, keep, token_type_ids)
        mask = keep[:, None, None, :]  # (b, 1, 1, t): True may be attended to
        for layer in self.layers:
            x = layer(x, mask)
        weights = keep.to(x.dtype) / keep.sum(1, keepdim=True).clamp_min(1)
        mean = (x * weights[..., None]).sum(1)
        pooled = torch.tanh(self.pooler(mean))
        return {"logits": self.head(x), "next_sentence_logits": self.next_sentence(pooled)}


def build():
    return Net()


def batch(size, length=12):
    lengths = torch.randint(length // 2, length + 1, (size, 1))
    place = torch.arange(length).expand(size, length)
    keep = place < lengths
    ids = torch.randint(FIRST, VOCAB, (size, length))
    ids[:, 0] = CLS
    ids = ids.masked_fill(~keep, PAD)
    chosen = (torch.rand(size, length) < 0.2) & keep & (place > 0)
    chosen[:, 2] = True  # at least one a row
    return {
        "input_ids": ids.masked_fill(chosen, MASK),
        "attention_mask": keep.long(),
        "token_type_ids": (place >= lengths // 2).long() * keep,
        "labels": ids.masked_fill(~chosen, IGNORE),
        "next_sentence_label": torch.randint(0, 2, (size,)),
    }


def loss(output, batch):
    logits, labels = output["logits"], batch["labels"]
    tokens = F.cross_entropy(
        logits.reshape(-1, VOCAB), labels.reshape(-1), ignore_index=IGNORE, reduction="sum"
    )
    tokens = tokens / (labels != IGNORE).sum().clamp_min(1)
    return tokens + F.cross_entropy(output["next_sentence_logits"], batch["next_sentence_label"])


FACTS = {
    "task": "masked_tokens",
    "labels": "labels",
    "label_shift": 0,
    "ignore_index": IGNORE,
    "tokens": "input_ids",
    "vocab_size": VOCAB,
    "max_length": CONTEXT,
    "pad_id": PAD,
    "padding_mask": "attention_mask",
    "true_means": "keep",
    "padding_side": "both",
    "causal": False,
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "output": "logits",
    "output_kind": "logits",
    "tied": [("embeddings.tokens.weight", "head.decoder.weight")],
    "frozen": (),
    "train_noise": True,
    "deterministic": True,
    "inputs": {"token_type_ids": "index"},
    "must_raise": {
        "an id outside the vocabulary": lambda good: (
            good | {"input_ids": torch.full_like(good["input_ids"], VOCAB)}
        ),
    },
}
