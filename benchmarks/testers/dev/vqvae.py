"""A vector-quantised autoencoder: a straight-through code book, residual stacks, squared errors."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Residual(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self._block = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, hidden, kernel_size=3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, kernel_size=1, bias=False),
        )

    def forward(self, x):
        return x + self._block(x)


class ResidualStack(nn.Module):
    def __init__(self, channels, hidden, layers):
        super().__init__()
        self._layers = nn.ModuleList([Residual(channels, hidden) for _ in range(layers)])

    def forward(self, x):
        for layer in self._layers:
            x = layer(x)
        return F.relu(x)


class Encoder(nn.Module):
    def __init__(self, channels, dim, layers):
        super().__init__()
        self._down = nn.Conv2d(3, channels, kernel_size=4, stride=2, padding=1)
        self._stack = ResidualStack(channels, channels // 2, layers)
        self._out = nn.Conv2d(channels, dim, kernel_size=1)

    def forward(self, x):
        return self._out(self._stack(self._down(x)))


class Decoder(nn.Module):
    def __init__(self, channels, dim, layers):
        super().__init__()
        self._in = nn.Conv2d(dim, channels, kernel_size=3, padding=1)
        self._stack = ResidualStack(channels, channels // 2, layers)
        self._up = nn.ConvTranspose2d(channels, 3, kernel_size=4, stride=2, padding=1)

    def forward(self, z):
        return torch.tanh(self._up(self._stack(self._in(z))))


class VectorQuantizer(nn.Module):
    def __init__(self, num_embeddings, embedding_dim, commitment_cost):
        super().__init__()
        self._num_embeddings = num_embeddings
        self._commitment_cost = commitment_cost
        self._embedding = nn.Embedding(num_embeddings, embedding_dim)
        nn.init.normal_(self._embedding.weight, std=0.5)

    def forward(self, inputs):
        b, d, h, w = inputs.shape
        flat = inputs.permute(0, 2, 3, 1).reshape(-1, d)
        book = self._embedding.weight
        distances = flat.square().sum(1, keepdim=True) - 2 * flat @ book.t() + book.square().sum(1)
        encodings = F.one_hot(distances.argmin(dim=1), self._num_embeddings).to(flat.dtype)
        quantized = (encodings @ book).view(b, h, w, d).permute(0, 3, 1, 2)

        book_loss = F.mse_loss(quantized, inputs.detach())
        commitment = F.mse_loss(inputs, quantized.detach())
        loss = book_loss + self._commitment_cost * commitment

        quantized = inputs + (quantized - inputs).detach()  # straight through
        share = encodings.mean(0)
        perplexity = torch.exp(-(share * (share + 1e-10).log()).sum())
        return quantized, loss, perplexity


class Net(nn.Module):
    def __init__(self, channels=12, codes=16, dim=6, layers=2, commitment_cost=0.25):
        super().__init__()
        self.encoder = Encoder(channels, dim, layers)
        self.quantizer = VectorQuantizer(codes, dim, commitment_cost)
        self.decoder = Decoder(channels, dim, layers)

    def forward(self, x):
        quantized, vq_loss, perplexity = self.quantizer(self.encoder(x))
        return self.decoder(quantized), vq_loss, perplexity


def build():
    return Net()


def batch(size):
    return {"x": 2 * torch.rand(size, 3, 8, 8) - 1}


DATA_VARIANCE = 1 / 3


def loss(output, batch):
    recon, vq_loss, _ = output
    return F.mse_loss(recon, batch["x"]) / DATA_VARIANCE + vq_loss


FACTS = {
    "task": "reconstruction",
    "labels": "x",
    "reduction": "mean",
    "inputs": {"x": "image"},
    "output": "0",
    "output_kind": "real",
    "output_range": (-1.0, 1.0),
    "output_shape": lambda batch: batch["x"].shape,
    "couples_batch": False,
    "couples_batch_train": False,
    "straight_through": ["quantizer"],
    "stop_gradient": ["quantizer"],
    "tied": (),
    "train_noise": False,
    "train_eval_same": True,
    "deterministic": True,
    "overfit": False,
}
