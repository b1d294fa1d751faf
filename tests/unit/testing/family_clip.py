"""A CLIP in a few lines, whose text the tests of the family oracle edit."""

import torch
from torch import nn
from torch.nn import functional as F

END = 22


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width, heads, mask=None):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)
        )
        self.ln_2 = nn.LayerNorm(width)
        self.register_buffer("mask", mask)

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.mask)[0]
        return x + self.mlp(self.ln_2(x))


class Vision(nn.Module):
    def __init__(self, width=12, heads=3, depth=2, shared=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 4, stride=4, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(7, width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, shared))

    def forward(self, image):
        x = self.conv1(image)
        x = x.flatten(2).transpose(1, 2)
        head = self.class_embedding + x.new_zeros(len(x), 1, x.shape[-1])
        x = torch.cat([head, x], dim=1)
        x = x + self.positional_embedding
        x = self.blocks(self.ln_pre(x))
        x = self.ln_post(x[:, 0])
        return x @ self.proj


class Text(nn.Module):
    def __init__(self, vocab=23, context=8, width=12, heads=3, depth=2, shared=10):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab, width)
        self.positional_embedding = nn.Parameter(torch.randn(context, width))
        mask = torch.full((context, context), -torch.inf).triu(1)
        self.blocks = nn.Sequential(*[Block(width, heads, mask) for _ in range(depth)])
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, shared))

    def forward(self, text):
        x = self.token_embedding(text)
        x = x + self.positional_embedding
        x = self.blocks(x)
        x = self.ln_final(x)
        x = x[torch.arange(len(x)), text.argmax(dim=-1)]
        return x @ self.text_projection


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Vision()
        self.textual = Text()
        self.logit_scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, image, text):
        one = self.visual(image)
        other = self.textual(text)
        one = one / one.norm(dim=-1, keepdim=True)
        other = F.normalize(other, dim=-1)
        scale = self.logit_scale.exp()
        return scale * one @ other.t()


def build():
    return Net()


def batch(size):
    text = torch.randint(1, END, (size, 8))
    end = torch.arange(size)[:, None] % 4 + 3
    place = torch.arange(8)
    text = text.masked_fill(place == end, END).masked_fill(place > end, 0)
    return {"image": torch.randn(size, 3, 8, 12), "text": text}
