"""A convolutional variational autoencoder whose KL weight grows over the first training steps."""

import torch
import torch.nn.functional as F
from torch import nn

LATENT = 6
WARMUP = 20


class Encoder(nn.Module):
    def __init__(self, channels, latent):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.to_mu = nn.Linear(8 * channels, latent)
        self.to_logvar = nn.Linear(8 * channels, latent)

    def forward(self, image):
        h = self.body(image)
        return self.to_mu(h), self.to_logvar(h).clamp(-12.0, 12.0)


class Decoder(nn.Module):
    def __init__(self, channels, latent):
        super().__init__()
        self.lift = nn.Linear(latent, 8 * channels)
        self.body = nn.Sequential(
            nn.Unflatten(1, (2 * channels, 2, 2)),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
        )

    def forward(self, z):
        return torch.sigmoid(self.body(self.lift(z)))


class Net(nn.Module):
    def __init__(self, channels=8, latent=LATENT):
        super().__init__()
        self.encoder = Encoder(channels, latent)
        self.decoder = Decoder(channels, latent)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def sample(self, mu, logvar):
        if not self.training:
            return mu
        std = torch.exp(0.5 * logvar)
        return mu + std * torch.randn_like(std)

    def forward(self, image):
        if self.training:
            self.seen += 1
        mu, logvar = self.encoder(2 * image - 1)
        z = self.sample(mu, logvar)
        beta = ((1 + self.seen) / WARMUP).clamp(max=1.0).to(mu.dtype)
        return {"image": self.decoder(z), "mu": mu, "logvar": logvar, "beta": beta}


def build():
    return Net()


def batch(size):
    return {"image": torch.rand(size, 1, 8, 8)}


def loss(output, batch):
    mu, logvar = output["mu"], output["logvar"]
    rows = batch["image"].size(0)
    reconstruction = F.mse_loss(output["image"], batch["image"], reduction="sum") / rows
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()
    return reconstruction + output["beta"] * kl


FACTS = {
    "task": "reconstruction",
    "labels": "image",
    "inputs": {"image": "image"},
    "reduction": "mean",
    "output": "image",
    "output_kind": "probabilities",
    "output_range": (0.0, 1.0),
    "output_shape": lambda batch: batch["image"].shape,
    "couples_batch": False,
    "couples_batch_train": True,
    "train_noise": True,
    "train_eval_same": False,
    "deterministic": True,
    "stop_gradient": False,
    "straight_through": False,
    "overfit": False,  # the noise and the KL term keep it from learning a batch by heart
}
