"""A decoder in the manner of GPT-2: learned positions, tied head, key/value cache, any padding."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from zoo.testing.spec import Trainer

IGNORE = -100
PAD = 0


class Config(NamedTuple):
    vocab: int = 61
    context: int = 24
    width: int = 32
    heads: int = 4
    depth: int = 2
    dropout: float = 0.1


class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.c_attn = nn.Linear(config.width, 3 * config.width)
        self.c_proj = nn.Linear(config.width, config.width)
        tril = torch.tril(torch.ones(config.context, config.context, dtype=torch.bool))
        self.register_buffer("tril", tril, persistent=False)

    def forward(self, x, keep, past=None):
        b, t, c = x.shape
        q, k, v = self.c_attn(x).split(c, dim=2)
        k = k.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        q = q.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        v = v.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        if past is not None:
            k = torch.cat([past[0], k], dim=2)
            v = torch.cat([past[1], v], dim=2)
        s = k.size(2)
        scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))
        allowed = self.tril[s - t : s, :s] & keep[:, None, None, :]
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        att = F.softmax(scores, dim=-1)
        att = F.dropout(att, self.dropout, self.training)
        y = att @ v  # (b, h, t, c / h)
        y = y.transpose(1, 2).reshape(b, t, c)
        return self.c_proj(y), (k, v)


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_fc = nn.Linear(config.width, 4 * config.width)
        self.c_proj = nn.Linear(4 * config.width, config.width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.width)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x, keep, past=None):
        a, present = self.attn(self.ln_1(x), keep, past)
        x = x + self.drop(a)
        x = x + self.drop(self.mlp(self.ln_2(x)))
        return x, present


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab, config.width)
        self.wpe = nn.Embedding(config.context, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList([Block(config) for _ in range(config.depth)])
        self.ln_f = nn.LayerNorm(config.width)
        self.lm_head = nn.Linear(config.width, config.vocab, bias=False)
        self.lm_head.weight = self.wte.weight
        self.apply(self._init_weights)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * config.depth))

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def run(self, input_ids, attention_mask, cache):
        """Go through the blocks; `attention_mask` also covers what lies in the cache."""
        keep = attention_mask.bool()
        positions = (keep.long().cumsum(1) - 1).clamp_min(0)
        positions = positions[:, -input_ids.size(1) :]
        x = self.drop(self.wte(input_ids) + self.wpe(positions))
        presents = []
        for i, block in enumerate(self.h):
            x, present = block(x, keep, None if cache is None else cache[i])
            presents.append(present)
        return self.lm_head(self.ln_f(x)), presents

    def forward(self, input_ids, attention_mask=None):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        logits, _ = self.run(input_ids, attention_mask, None)
        return logits


def step(model, piece, state):
    """Decode one position with the cache: state is (mask so far, keys and values)."""
    mask, cache = (piece["attention_mask"][:, :0], None) if state is None else state
    mask = torch.cat([mask, piece["attention_mask"]], dim=1)
    logits, cache = model.run(piece["input_ids"], mask, cache)
    return logits, (mask, cache)


CONFIG = Config()


def build():
    return Net(CONFIG)


def batch(size, length=10):
    ids = torch.randint(1, CONFIG.vocab, (size, length))
    lengths = torch.randint(length // 2, length + 1, (size,))
    mask = (torch.arange(length) < lengths[:, None]).long()
    ids = ids.masked_fill(mask == 0, PAD)
    labels = ids.masked_fill(mask == 0, IGNORE)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def shifted(batch):
    """Give the target of each position but the last; a padded position has none."""
    return batch["labels"][:, 1:].masked_fill(batch["attention_mask"][:, :-1] == 0, IGNORE)


def loss(output, batch):
    logits, targets = output[:, :-1], shifted(batch)
    total = F.cross_entropy(
        logits.reshape(-1, logits.size(-1)),
        targets.reshape(-1),
        ignore_index=IGNORE,
        reduction="sum",
    )
    return total / (targets != IGNORE).sum().clamp_min(1)


LR, WARMUP, TOTAL, CLIP = 1e-3, 3, 40, 1.0


def factor(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    done = min(1.0, (step - WARMUP) / (TOTAL - WARMUP))
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


class Training:
    """The training loop's parts."""

    @staticmethod
    def optimizer(model):
        return torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1)

    @staticmethod
    def scheduler(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    @staticmethod
    def update(model, optimizer, scheduler):
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)

    @staticmethod
    def step(model, optimizer, scheduler, batch):
        model.train()
        value = loss(model(batch["input_ids"], batch["attention_mask"]), batch)
        value.backward()
        Training.update(model, optimizer, scheduler)
        return value.item()

    @staticmethod
    def accumulate(model, optimizer, scheduler, pieces):
        model.train()
        tokens = [(shifted(piece) != IGNORE).sum() for piece in pieces]
        for piece, count in zip(pieces, tokens, strict=True):
            value = loss(model(piece["input_ids"], piece["attention_mask"]), piece)
            (value * count / sum(tokens)).backward()
        Training.update(model, optimizer, scheduler)

    @staticmethod
    def evaluate(model, batches):
        was_training = model.training
        model.eval()
        total = tokens = 0.0
        with torch.no_grad():
            for one in batches:
                count = (shifted(one) != IGNORE).sum().item()
                value = loss(model(one["input_ids"], one["attention_mask"]), one)
                total += value.item() * count
                tokens += count
        model.train(was_training)
        return total / max(tokens, 1)

    @staticmethod
    def save(model, optimizer, scheduler):
        parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        return {name: part.state_dict() for name, part in parts.items()}

    @staticmethod
    def load(state, model, optimizer, scheduler):
        parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        for name, part in parts.items():
            part.load_state_dict(state[name])


TRAINER = Trainer(
    optimizer=Training.optimizer,
    scheduler=Training.scheduler,
    step=Training.step,
    accumulate=Training.accumulate,
    evaluate=Training.evaluate,
    save=Training.save,
    load=Training.load,
    clip=CLIP,
    schedule=lambda step: LR * factor(step),
)
FACTS = {
    "task": "next_token",
    "labels": "labels",
    "label_shift": 1,
    "ignore_index": IGNORE,
    "reduction": "mean",
    "tokens": "input_ids",
    "vocab_size": CONFIG.vocab,
    "max_length": CONFIG.context,
    "pad_id": PAD,
    "padding_mask": "attention_mask",
    "true_means": "keep",
    "padding_side": "both",
    "causal": "input_ids",
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "output_kind": "logits",
    "tied": [("wte.weight", "lm_head.weight")],
    "train_noise": True,
    "deterministic": True,
    "step": step,
    "must_raise": {
        "a sequence longer than the context": lambda good: {
            "input_ids": good["input_ids"][:, :1].expand(-1, CONFIG.context + 1),
            "attention_mask": good["attention_mask"][:, :1].expand(-1, CONFIG.context + 1),
        }
    },
}
