"""A GPT in the manner of nanoGPT, with left padding and a cache of keys and values."""

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F

from zoo.testing.spec import Trainer


@dataclass
class GPTConfig:
    block_size: int = 16
    vocab_size: int = 50
    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 32
    dropout: float = 0.1


@dataclass
class GPTOutput:
    logits: torch.Tensor
    past: list


class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.dropout)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x, keep, past=None):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        if past is not None:
            k = torch.cat([past[0], k], dim=2)
            v = torch.cat([past[1], v], dim=2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(~keep, float("-inf"))
        att = F.softmax(att, dim=-1)
        att = self.attn_dropout(att)
        y = att @ v
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.c_proj(y)), (k, v)


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.gelu = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        x = self.c_fc(x)
        x = self.gelu(x)
        x = self.c_proj(x)
        return self.dropout(x)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = MLP(config)

    def forward(self, x, keep, past=None):
        a, present = self.attn(self.ln_1(x), keep, past)
        x = x + a
        x = x + self.mlp(self.ln_2(x))
        return x, present


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(self._init_weights)
        self.wte.weight = self.lm_head.weight

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, input_ids, attention_mask, past=None):
        """The mask covers the past too; 1 counts, 0 is padding, on either side."""
        t, s = input_ids.size(1), attention_mask.size(1)
        real = attention_mask.bool()
        causal = torch.ones(t, s, dtype=torch.bool, device=input_ids.device).tril(s - t)
        own = torch.eye(s, dtype=torch.bool, device=input_ids.device)[-t:]
        keep = ((causal & real[:, None, :]) | own)[:, None]  # padding sees itself: no row is empty
        position = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -t:]
        x = self.drop(self.wte(input_ids) + self.wpe(position))
        presents = []
        for i, block in enumerate(self.h):
            x, present = block(x, keep, None if past is None else past[i])
            presents.append(present)
        return GPTOutput(self.lm_head(self.ln_f(x)), presents)


def decode_step(model, piece, state):
    past, seen = state if state is not None else (None, None)
    mask = piece["attention_mask"]
    mask = mask if seen is None else torch.cat([seen, mask], dim=1)
    output = model(piece["input_ids"], mask, past)
    return output, (output.past, mask)


def build():
    return GPT(GPTConfig())


def batch(size):
    ids = torch.randint(1, 50, (size, 12))
    mask = torch.ones(size, 12, dtype=torch.long)
    for row in range(1, size):
        mask[row, : int(torch.randint(0, 5, ()))] = 0
    ids = ids * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def loss(output, batch):
    logits = output.logits[:, :-1].contiguous()
    labels = batch["labels"][:, 1:].contiguous()
    return F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1), ignore_index=-100)


def get_lr(step, peak=3e-3, warmup=3, total=20):
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    ratio = min(1.0, (step - warmup) / (total - warmup))
    return 0.1 * peak + 0.45 * peak * (1 + math.cos(math.pi * ratio))


def configure_optimizer(model):
    params = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95))


def micro_steps(model, optimizer, scheduler, pieces):
    """One update over micro-batches; every token weighs the same."""
    model.train()
    optimizer.zero_grad(set_to_none=True)
    tokens = sum(int((piece["labels"][:, 1:] != -100).sum()) for piece in pieces)
    for piece in pieces:
        output = model(piece["input_ids"], piece["attention_mask"])
        share = int((piece["labels"][:, 1:] != -100).sum()) / tokens
        (loss(output, piece) * share).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    scheduler.step()


def train_step(model, optimizer, scheduler, data):
    model.train()
    value = loss(model(data["input_ids"], data["attention_mask"]), data)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    scheduler.step()
    return value.item()


@torch.no_grad()
def estimate_loss(model, batches):
    mode = model.training
    model.eval()
    values = [loss(model(d["input_ids"], d["attention_mask"]), d).item() for d in batches]
    model.train(mode)
    return sum(values) / len(values)


def load_checkpoint(checkpoint, model, optimizer, scheduler):
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])


TRAINER = Trainer(
    optimizer=configure_optimizer,
    scheduler=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, get_lr),
    step=train_step,
    accumulate=micro_steps,
    evaluate=estimate_loss,
    save=lambda model, optimizer, scheduler: {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    },
    load=load_checkpoint,
    clip=0.1,
    schedule=get_lr,
)

FACTS = {
    "task": "next_token",
    "output": "logits",
    "output_kind": "logits",
    "tokens": "input_ids",
    "vocab_size": 50,
    "num_classes": 50,
    "max_length": 16,
    "pad_id": 0,
    "padding_mask": "attention_mask",
    "true_means": "keep",
    "padding_side": "both",
    "labels": "labels",
    "label_shift": 1,
    "ignore_index": -100,
    "causal": "input_ids",
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "tied": [("wte.weight", "lm_head.weight")],
    "step": decode_step,
}
