"""Denoising diffusion of small pictures: the net is shown a noisy one and tells the noise."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from zoo.testing.spec import Input

STEPS = 50


def timestep_embedding(t, dim, max_period=1000):
    half = dim // 2
    index = torch.arange(half, device=t.device, dtype=torch.get_default_dtype())
    freqs = torch.exp(-math.log(max_period) * index / half)
    args = t[:, None] * freqs[None]
    return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)


def cosine_alphas(steps, s=0.008):
    x = torch.linspace(0, steps, steps + 1)
    alphas = torch.cos((x / steps + s) / (1 + s) * math.pi * 0.5) ** 2
    alphas = alphas / alphas[0]
    betas = torch.clip(1 - alphas[1:] / alphas[:-1], 0.0001, 0.999)
    return torch.cumprod(1 - betas, dim=0)


class ResBlock(nn.Module):
    def __init__(self, cin, cout, emb):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.emb = nn.Linear(emb, 2 * cout)
        self.norm2 = nn.GroupNorm(4, cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(F.silu(emb))[..., None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


class SelfAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(4, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, 3, c, h * w).unbind(1)
        attn = torch.einsum("bci,bcj->bij", q, k) * c**-0.5
        attn = attn.softmax(dim=2)
        out = torch.einsum("bij,bcj->bci", attn, v).reshape(b, c, h, w)
        return x + self.proj(out)


class EpsModel(nn.Module):
    def __init__(self, ch=12, emb=24):
        super().__init__()
        self.ch = ch
        self.time = nn.Sequential(nn.Linear(ch, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.inp = nn.Conv2d(1, ch, 3, padding=1)
        self.block1 = ResBlock(ch, ch, emb)
        self.block2 = ResBlock(ch, 2 * ch, emb)
        self.attn = SelfAttention(2 * ch)
        self.block3 = ResBlock(3 * ch, ch, emb)
        self.norm = nn.GroupNorm(4, ch)
        self.out = nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x, t):
        emb = timestep_embedding(t, self.ch).to(x.dtype)
        emb = self.time(emb)
        h1 = self.block1(self.inp(x), emb)
        h = self.block2(F.avg_pool2d(h1, 2), emb)
        h = self.attn(h)
        h = F.interpolate(h, size=h1.shape[-2:], mode="nearest")
        h = self.block3(torch.cat([h, h1], dim=1), emb)
        return self.out(F.silu(self.norm(h)))


class Diffusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = EpsModel()
        self.register_buffer("alphas_cumprod", cosine_alphas(STEPS))

    def q_sample(self, x0, t, noise):
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise

    def forward(self, x0, t, noise):
        xt = self.q_sample(x0, t, noise)
        return self.model(xt, t)


def build():
    return Diffusion()


def batch(size):
    return {
        "x0": torch.rand(size, 1, 8, 8) * 2 - 1,
        "t": torch.randint(0, STEPS, (size,)),
        "noise": torch.randn(size, 1, 8, 8),
    }


def loss(output, batch):
    return F.mse_loss(output, batch["noise"])


FACTS = {
    "task": "denoising",
    "labels": "noise",
    "inputs": {"x0": "image", "t": Input(kind="index", low=0, high=STEPS - 1), "noise": "image"},
    "output_kind": "real",
    "output_shape": lambda b: b["x0"].shape,
    "reduction": "mean",
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": False,
    "train_eval_same": True,
    "deterministic": True,
    "must_raise": {"a step after the last": lambda b: {**b, "t": b["t"] + STEPS}},
}
