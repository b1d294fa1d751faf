"""A VQ-VAE for short signals: the nearest of a few learnt vectors stands for each piece."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class VectorQuantizer(nn.Module):
    def __init__(self, num_codes=16, dim=8, commitment=0.25):
        super().__init__()
        self.commitment = commitment
        self.codebook = nn.Embedding(num_codes, dim)
        nn.init.uniform_(self.codebook.weight, -1.0, 1.0)

    def forward(self, z):
        b, c, t = z.shape
        flat = z.permute(0, 2, 1).reshape(-1, c)
        distance = (
            flat.pow(2).sum(1, keepdim=True)
            - 2 * flat @ self.codebook.weight.t()
            + self.codebook.weight.pow(2).sum(1)
        )
        codes = distance.argmin(dim=1)
        quantized = self.codebook(codes).view(b, t, c).permute(0, 2, 1)
        codebook_loss = (quantized - z.detach()).pow(2).mean(dim=(1, 2))
        commitment_loss = (quantized.detach() - z).pow(2).mean(dim=(1, 2))
        quantized = z + (quantized - z).detach()
        return quantized, codebook_loss + self.commitment * commitment_loss, codes.view(b, t)


class ResBlock(nn.Module):
    def __init__(self, dim, dilation):
        super().__init__()
        self.norm = nn.GroupNorm(2, dim)
        self.conv = nn.Conv1d(dim, dim, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(dim, dim, 1)

    def forward(self, x):
        return x + self.mix(F.gelu(self.conv(F.gelu(self.norm(x)))))


class Net(nn.Module):
    def __init__(self, width=16, dim=8):
        super().__init__()
        self.register_buffer("gain", torch.tensor(0.5))
        self.encoder = nn.Sequential(
            nn.Conv1d(1, width, 4, stride=4), ResBlock(width, 1), nn.Conv1d(width, dim, 1)
        )
        self.vq = VectorQuantizer(dim=dim)
        self.decoder = nn.Sequential(
            nn.Conv1d(dim, width, 1),
            ResBlock(width, 1),
            ResBlock(width, 2),
            nn.ConvTranspose1d(width, 1, 4, stride=4),
            nn.Tanh(),
        )

    def forward(self, signal):
        length = signal.size(1)
        padded = F.pad(signal, (0, -length % 4))
        z = self.encoder(padded[:, None] * self.gain)
        quantized, vq_loss, codes = self.vq(z)
        recon = self.decoder(quantized).squeeze(1)[:, :length]
        return recon, vq_loss, codes


def build():
    return Net()


def batch(size, length=32):
    time = torch.linspace(0, 6.28, length)
    pitch = 0.5 + 2 * torch.rand(size, 1)
    return {"signal": 0.8 * torch.sin(pitch * time + 6.28 * torch.rand(size, 1))}


def loss(output, batch):
    recon, vq_loss, _ = output
    return F.mse_loss(recon, batch["signal"]) + vq_loss.mean()


FACTS = {
    "task": "reconstruction",
    "labels": "signal",
    "output": "0",
    "output_kind": "real",
    "output_range": (-1.0, 1.0),
    "inputs": {"signal": "float"},
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": False,
    "train_eval_same": True,
    "stop_gradient": ["vq"],
    "straight_through": ["vq"],
}
