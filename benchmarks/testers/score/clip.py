"""A small CLIP: a patch transformer and a causal text transformer meet in one space."""

from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CONTEXT, VOCAB = 10, 50
START, END = VOCAB - 2, VOCAB - 1  # the end has the highest id


class QuickGELUFunction(torch.autograd.Function):
    """Keeps one tensor for the way back instead of three."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(1.702 * x)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(1.702 * x)
        return grad_output * (s + 1.702 * x * s * (1 - s))


class QuickGELU(nn.Module):
    def forward(self, x):
        return QuickGELUFunction.apply(x)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.attn = nn.MultiheadAttention(d_model, n_head, batch_first=True)
        self.ln_1 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            OrderedDict(
                [
                    ("c_fc", nn.Linear(d_model, d_model * 4)),
                    ("gelu", QuickGELU()),
                    ("c_proj", nn.Linear(d_model * 4, d_model)),
                ]
            )
        )
        self.ln_2 = nn.LayerNorm(d_model)

    def attention(self, x, mask):
        return self.attn(x, x, x, need_weights=False, attn_mask=mask)[0]

    def forward(self, x, mask=None):
        x = x + self.attention(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class VisualTransformer(nn.Module):
    def __init__(self, resolution=16, patch=4, width=24, layers=2, heads=3, output_dim=16):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        scale = width**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(
            scale * torch.randn((resolution // patch) ** 2 + 1, width)
        )
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList([ResidualAttentionBlock(width, heads) for _ in range(layers)])
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, output_dim))

    def forward(self, x):
        x = self.conv1(x)
        x = x.reshape(x.shape[0], x.shape[1], -1)
        x = x.permute(0, 2, 1)
        cls = self.class_embedding.expand(x.shape[0], 1, -1)
        x = torch.cat([cls, x], dim=1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


class TextTransformer(nn.Module):
    def __init__(self, width=24, layers=2, heads=3, output_dim=16):
        super().__init__()
        self.token_embedding = nn.Embedding(VOCAB, width)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, width) * 0.05)
        nn.init.normal_(self.token_embedding.weight, std=0.1)
        self.blocks = nn.ModuleList([ResidualAttentionBlock(width, heads) for _ in range(layers)])
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, output_dim) * width**-0.5)
        mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, text):
        length = text.shape[1]
        x = self.token_embedding(text) + self.positional_embedding[:length]
        mask = self.attn_mask[:length, :length]
        for block in self.blocks:
            x = block(x, mask)
        x = self.ln_final(x)
        end = (text == END).int().argmax(dim=-1)
        x = x[torch.arange(x.shape[0], device=x.device), end]
        return x @ self.text_projection


class CLIP(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = VisualTransformer()
        self.textual = TextTransformer()
        self.logit_scale = nn.Parameter(torch.ones([]) * np.log(1 / 0.07))

    def encode_image(self, image):
        return F.normalize(self.visual(image), dim=-1)

    def encode_text(self, text):
        return F.normalize(self.textual(text), dim=-1)

    def forward(self, image, text):
        image_features = self.encode_image(image)
        text_features = self.encode_text(text)
        return image_features, text_features, self.logit_scale.exp()


def build():
    return CLIP()


def batch(size):
    text = torch.randint(3, START, (size, CONTEXT))
    text[:, 0] = START
    ends = torch.randint(4, CONTEXT, (size, 1))
    at = torch.arange(CONTEXT)
    text = text.masked_fill(at == ends, END).masked_fill(at > ends, 0)
    return {"image": torch.randn(size, 3, 16, 16), "text": text}


def loss(output, batch):
    image_features, text_features, logit_scale = output
    logits_per_image = logit_scale * image_features @ text_features.t()
    logits_per_text = logits_per_image.t()
    labels = torch.arange(len(logits_per_image), device=logits_per_image.device)
    image_loss = F.cross_entropy(logits_per_image, labels)
    text_loss = F.cross_entropy(logits_per_text, labels)
    return (image_loss + text_loss) / 2


FACTS = {
    "task": "contrastive",
    "symmetric_loss": True,
    "output": lambda output: torch.stack([output[0], output[1]], dim=1),
    "output_kind": "unit",
    "output_batch_axis": 0,
    "inputs": {"image": "image"},
    "tokens": "text",
    "vocab_size": VOCAB,
    "max_length": CONTEXT,
    "pad_id": 0,
    "padding_side": "right",
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": False,
    "custom_functions": (QuickGELUFunction,),
}
