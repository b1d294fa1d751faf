"""Two towers in the manner of CLIP: patches and words, one space, logits of a whole batch."""

import math

import torch
import torch.nn.functional as F
from torch import nn

IMAGE, PATCH, CHANNELS = 8, 4, 3
VOCAB, CONTEXT, EOT = 47, 10, 46


class QuickGELU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)
        )
        self.ln_2 = nn.LayerNorm(width)
        self.causal = causal

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        mask = None
        if self.causal:
            # of nn.MultiheadAttention: True may not be attended to
            n = x.size(1)
            mask = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
        return self.attn(x, x, x, need_weights=False, attn_mask=mask)[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class VisionTower(nn.Module):
    def __init__(self, width: int, heads: int, depth: int, embed_dim: int):
        super().__init__()
        scale = width**-0.5
        self.conv1 = nn.Conv2d(CHANNELS, width, PATCH, stride=PATCH, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        grid = IMAGE // PATCH
        self.positional_embedding = nn.Parameter(scale * torch.randn(grid**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            [ResidualAttentionBlock(width, heads, causal=False) for _ in range(depth)]
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv1(image)  # (b, width, grid, grid)
        x = x.flatten(2).transpose(1, 2)  # (b, patches, width)
        cls = self.class_embedding.expand(x.size(0), 1, -1)
        x = torch.cat([cls, x], dim=1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


class TextTower(nn.Module):
    def __init__(self, width: int, heads: int, depth: int, embed_dim: int):
        super().__init__()
        self.token_embedding = nn.Embedding(VOCAB, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT, width))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(
            [ResidualAttentionBlock(width, heads, causal=True) for _ in range(depth)]
        )
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.token_embedding(text) + self.positional_embedding[: text.size(1)]
        for block in self.blocks:
            x = block(x)
        x = self.ln_final(x)
        # the features of the first end-of-text
        end = (text == EOT).int().argmax(dim=-1)
        return x[torch.arange(x.size(0), device=x.device), end] @ self.text_projection


class Net(nn.Module):
    def __init__(self, width=32, heads=4, depth=2, embed_dim=24):
        super().__init__()
        self.visual = VisionTower(width, heads, depth, embed_dim)
        self.textual = TextTower(width, heads, depth, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.visual(image), dim=-1)

    def encode_text(self, text: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.textual(text), dim=-1)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> dict[str, torch.Tensor]:
        if not (text == EOT).any(dim=-1).all():
            raise ValueError("a text has no end-of-text token")
        image_features = self.encode_image(image)
        text_features = self.encode_text(text)
        scale = self.logit_scale.exp().clamp(max=100.0)
        logits_per_image = scale * image_features @ text_features.t()
        return {
            "logits_per_image": logits_per_image,
            "logits_per_text": logits_per_image.t(),
            "image_features": image_features,
            "text_features": text_features,
        }


def build():
    return Net()


def batch(size):
    text = torch.randint(1, EOT, (size, CONTEXT))
    end = torch.randint(3, CONTEXT, (size, 1))
    place = torch.arange(CONTEXT)
    text = text.masked_fill(place == end, EOT).masked_fill(place > end, 0)
    return {"image": torch.randn(size, CHANNELS, IMAGE, IMAGE), "text": text}


def loss(output, batch):
    target = torch.arange(batch["text"].size(0), device=batch["text"].device)
    i2t = F.cross_entropy(output["logits_per_image"], target)
    t2i = F.cross_entropy(output["logits_per_text"], target)
    return (i2t + t2i) / 2


def without_end(good):
    return good | {"text": good["text"].masked_fill(good["text"] == EOT, 1)}


FACTS = {
    "task": "contrastive",
    "symmetric_loss": True,
    "inputs": {"image": "image"},
    "tokens": "text",
    "vocab_size": VOCAB,
    "max_length": CONTEXT,
    "pad_id": 0,
    "padding_side": "right",
    "output": "logits_per_image",
    "output_kind": "logits",
    "output_range": (-100.0, 100.0),
    "couples_batch": True,
    "couples_batch_train": True,
    "min_batch_train": 2,
    "position_sensitive": True,
    "train_noise": False,
    "train_eval_same": True,
    "deterministic": True,
    "frozen": (),
    "must_raise": {"a text without an end": without_end},
}
