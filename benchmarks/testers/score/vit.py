"""A vision transformer in the manner of timm: fused qkv, SDPA, layer scale, any picture size."""

from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F

from zoo.testing.spec import Input


class PatchEmbed(nn.Module):
    def __init__(self, patch_size=4, in_chans=3, embed_dim=32):
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x):
        x = self.proj(x)
        grid = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)  # BCHW -> BNC
        return x, grid


class Attention(nn.Module):
    def __init__(self, dim, num_heads=4, attn_drop=0.0, proj_drop=0.0):
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.attn_drop = attn_drop
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.attn_drop if self.training else 0.0
        )
        x = x.transpose(1, 2).reshape(B, N, C)
        return self.proj_drop(self.proj(x))


class LayerScale(nn.Module):
    def __init__(self, dim, init_values=0.1):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init_values))

    def forward(self, x):
        return x * self.gamma


class Mlp(nn.Module):
    def __init__(self, dim, hidden, drop=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.drop = nn.Dropout(drop)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(self.drop(self.act(self.fc1(x))))


class Block(nn.Module):
    def __init__(self, dim, num_heads, drop=0.1):
        super().__init__()
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.norm1 = norm_layer(dim)
        self.attn = Attention(dim, num_heads, attn_drop=drop, proj_drop=drop)
        self.ls1 = LayerScale(dim)
        self.norm2 = norm_layer(dim)
        self.mlp = Mlp(dim, 2 * dim, drop)
        self.ls2 = LayerScale(dim)

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    def __init__(self, img_size=16, patch_size=4, num_classes=5, dim=32, depth=2, heads=4):
        super().__init__()
        self.grid = img_size // patch_size
        self.register_buffer("mean", torch.tensor([0.48, 0.46, 0.41]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.27, 0.26, 0.28]).view(1, 3, 1, 1))
        self.patch_embed = PatchEmbed(patch_size, 3, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)
        self.apply(self._init_weights)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def _init_weights(self, m):
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=0.05)
            nn.init.zeros_(m.bias)

    def _pos_embed(self, x, grid):
        pos_embed = self.pos_embed
        h, w = grid
        if (h, w) != (self.grid, self.grid):
            cls, patches = pos_embed[:, :1], pos_embed[:, 1:]
            patches = patches.reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
            patches = F.interpolate(patches, size=(h, w), mode="bicubic", antialias=True)
            pos_embed = torch.cat([cls, patches.flatten(2).transpose(1, 2)], dim=1)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return x + pos_embed

    def forward_features(self, x):
        x = (x - self.mean) / self.std
        x, grid = self.patch_embed(x)
        x = self._pos_embed(x, grid)
        x = self.blocks(x)
        return self.norm(x)

    def forward(self, pixel_values):
        x = self.forward_features(pixel_values)
        return self.head(x[:, 0])


def build():
    return VisionTransformer()


def batch(size):
    return {
        "pixel_values": torch.rand(size, 3, 16, 16),
        "labels": torch.randint(0, 5, (size,)),
    }


def loss(output, batch):
    return F.cross_entropy(output, batch["labels"], label_smoothing=0.1)


FACTS = {
    "task": "classification",
    "num_classes": 5,
    "labels": "labels",
    "reduction": "mean",
    "inputs": {"pixel_values": Input(kind="image", low=0.0, high=1.0)},
    "output_kind": "logits",
    "output_shape": lambda b: (len(b["pixel_values"]), 5),
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
}
