"""A denoising diffusion model of short signals: sinusoidal time, scale and shift, attention over
the positions, classes that are left out at times for classifier-free guidance."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS, CLASSES, CHANNELS, LENGTH = 20, 5, 2, 12


class TimeEmbedding(nn.Module):
    def __init__(self, dim: int, out: int):
        super().__init__()
        half = dim // 2
        self.register_buffer("freqs", torch.exp(-math.log(10_000) * torch.arange(half) / half))
        self.mlp = nn.Sequential(nn.Linear(dim, out), nn.SiLU(), nn.Linear(out, out))

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.freqs
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))


class ResBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, emb: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, c_in)
        self.conv1 = nn.Conv1d(c_in, c_out, 3, padding=1)
        self.emb = nn.Linear(emb, 2 * c_out)
        self.norm2 = nn.GroupNorm(4, c_out)
        self.conv2 = nn.Conv1d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # a block begins as its skip
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(F.silu(emb))[:, :, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        h = self.conv2(F.silu(h))
        return self.skip(x) + h


class PositionAttention(nn.Module):
    def __init__(self, channels: int, heads: int = 2):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(4, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, n = x.shape
        qkv = self.qkv(self.norm(x)).view(b, 3, self.heads, c // self.heads, n)
        q, k, v = qkv[:, 0], qkv[:, 1], qkv[:, 2]
        scores = torch.einsum("bhdi,bhdj->bhij", q, k) / math.sqrt(q.size(2))
        y = torch.einsum("bhij,bhdj->bhdi", scores.softmax(dim=-1), v)
        return x + self.out(y.reshape(b, c, n))


class Denoiser(nn.Module):
    def __init__(self, width: int = 16, emb: int = 32):
        super().__init__()
        self.time = TimeEmbedding(16, emb)
        self.label = nn.Embedding(CLASSES + 1, emb)  # the last is "no class"
        self.enter = nn.Conv1d(CHANNELS, width, 3, padding=1)
        self.block1 = ResBlock(width, 2 * width, emb)
        self.attend = PositionAttention(2 * width)
        self.block2 = ResBlock(2 * width, width, emb)
        self.leave = nn.Sequential(
            nn.GroupNorm(4, width), nn.SiLU(), nn.Conv1d(width, CHANNELS, 3, padding=1)
        )

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        emb = self.time(t) + self.label(label)
        h = self.enter(x)
        h = self.attend(self.block1(h, emb))
        return self.leave(self.block2(h, emb))


class Net(nn.Module):
    """Noises a signal to step t and predicts the noise."""

    def __init__(self, drop_label: float = 0.15):
        super().__init__()
        self.denoiser = Denoiser()
        self.drop_label = drop_label
        betas = torch.linspace(1e-3, 0.2, STEPS)
        self.register_buffer("alphas_cumprod", torch.cumprod(1 - betas, dim=0))

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        a = self.alphas_cumprod[t].view(-1, 1, 1)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise

    def forward(self, x0: Tensor, t: Tensor, noise: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            drop = torch.rand(label.shape, device=label.device) < self.drop_label
            label = torch.where(drop, CLASSES, label)
        predicted = self.denoiser(self.q_sample(x0, t, noise), t, label)
        a = self.alphas_cumprod[t]
        return predicted, (a / (1 - a)).clamp(max=5.0)  # min-SNR weights, (b,)


def build():
    return Net()


def batch(size):
    return {
        "x0": torch.randn(size, CHANNELS, LENGTH).cumsum(-1).tanh(),
        "t": torch.randint(0, STEPS, (size,)),
        "noise": torch.randn(size, CHANNELS, LENGTH),
        "label": torch.randint(0, CLASSES, (size,)),
    }


def loss(output, batch):
    predicted, weight = output
    error = (predicted - batch["noise"]).square().mean(dim=(1, 2))
    return (weight * error).mean()


FACTS = {
    "task": "denoising",
    "labels": "noise",
    "inputs": {"x0": "float", "t": "index", "noise": "float", "label": "index"},
    "output": "0",
    "output_kind": "real",
    "output_shape": lambda batch: batch["x0"].shape,
    "reduction": "mean",
    "couples_batch": False,
    "couples_batch_train": False,
    "position_sensitive": True,
    "train_noise": True,
    "deterministic": True,
    "stop_gradient": False,
}
