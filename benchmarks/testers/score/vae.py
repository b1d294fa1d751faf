"""A convolutional variational autoencoder for small grey pictures."""

import torch
from torch import nn
from torch.nn import functional as F


class Encoder(nn.Module):
    def __init__(self, latent_dim: int, channels: int = 12):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.mu = nn.Linear(2 * channels * 9, latent_dim)
        self.logvar = nn.Linear(2 * channels * 9, latent_dim)

    def forward(self, x):
        h = F.elu(self.conv1(x))
        h = F.elu(self.conv2(h))
        h = torch.flatten(h, start_dim=1)
        return self.mu(h), self.logvar(h).clamp(-20, 10)


class Decoder(nn.Module):
    def __init__(self, latent_dim: int, channels: int = 12):
        super().__init__()
        self.channels = channels
        self.fc = nn.Linear(latent_dim, 2 * channels * 9)
        self.up1 = nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
        self.out = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, z):
        h = F.elu(self.fc(z)).view(-1, 2 * self.channels, 3, 3)
        h = F.elu(self.up1(h))
        h = F.elu(self.up2(h))
        return torch.sigmoid(self.out(h))


class VAE(nn.Module):
    def __init__(self, latent_dim: int = 6):
        super().__init__()
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder(latent_dim)

    def reparameterize(self, mu, logvar):
        if not self.training:
            return mu
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def forward(self, x):
        mu, logvar = self.encoder(x)
        z = self.reparameterize(mu, logvar)
        return {"reconstruction": self.decoder(z), "mu": mu, "logvar": logvar}


def build():
    return VAE()


def batch(size):
    """White discs on black."""
    at = torch.arange(12.0)
    row, column = 3 + 6 * torch.rand(2, size, 1, 1, 1)
    radius = 1.5 + 2 * torch.rand(size, 1, 1, 1)
    inside = (at[:, None] - row).square() + (at - column).square() < radius.square()
    return {"x": inside.to(at.dtype)}


def loss(output, batch):
    x, mu, logvar = batch["x"], output["mu"], output["logvar"]
    recon = F.binary_cross_entropy(output["reconstruction"], x, reduction="none")
    recon = recon.flatten(1).sum(1)
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)
    return (recon + kl).mean()


FACTS = {
    "task": "reconstruction",
    "labels": "x",
    "output": "reconstruction",
    "output_kind": "probabilities",
    "output_range": (0.0, 1.0),
    "output_shape": lambda b: b["x"].shape,
    "inputs": {"x": "image"},
    "reduction": "mean",
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "deterministic": True,
}
