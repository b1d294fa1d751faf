"""Correct models of pictures: towers, boxes, masks, generators, fields."""

import math
from typing import Any

import torch
from benchmarks.testers.small import CLASSES, NOISE, pictures
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known, mse
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """Segmentation with a skip; group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.SiLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.leave = nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.enter(x)
        return self.leave(torch.cat([high, self.up(self.down(high))], 1))


def segmented(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 3, 8, 8), "labels": torch.randint(4, (size, 8, 8))}


def pixels(output: Tensor, batch: Any) -> Tensor:
    return F.cross_entropy(output, batch["labels"])


class Residual(nn.Module):
    """A residual network of batch norms whose last one begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(8, 5)
        nn.init.zeros_(self.norms[2].weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.norms[0](self.stem(x))))
        inner = self.norms[2](self.convs[1](F.relu(self.norms[1](self.convs[0](x)))))
        return self.head(F.relu(x + inner).mean((2, 3)))


class Patches(nn.Module):
    """A vision transformer with a class token and a mask token that pretraining alone reads."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, "gelu", batch_first=True)
        self.cut = nn.Conv2d(3, 16, 4, 4)
        self.first = nn.Parameter(torch.zeros(1, 1, 16))
        self.hidden = nn.Parameter(torch.zeros(1, 1, 16))
        self.place = nn.Parameter(0.02 * torch.randn(1, 5, 16))
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).flatten(2).mT
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.encoder(x)[:, 0])


class Mixer(nn.Module):
    """Mixing over patches, then over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.norms = nn.Conv2d(3, 16, 2, 2), nn.ModuleList(nn.LayerNorm(16) for _ in "ab")
        self.places = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
        self.channels = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).flatten(2).mT
        x = x + self.places(self.norms[0](x).mT).mT
        return self.head((x + self.channels(self.norms[1](x))).mean(1))


class Shifted(nn.Module):
    """Swin: windows of 2 x 2, rolled by one."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.head = nn.Conv2d(3, 16, 2, 2), nn.Linear(16, 5)
        self.look = nn.ModuleList(nn.MultiheadAttention(16, 2, batch_first=True) for _ in "ab")

    def windows(self, x: Tensor, look: nn.Module) -> Tensor:
        b, h, w, c = x.shape
        x = x.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        x = x + look(x, x, x, need_weights=False)[0]
        x = x.view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(b, h, w, c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.windows(self.cut(x).permute(0, 2, 3, 1), self.look[0])
        x = self.windows(x.roll((-1, -1), (1, 2)), self.look[1]).roll((1, 1), (1, 2))
        return self.head(x.mean((1, 2)))


class Squeezed(nn.Module):
    """Squeeze and excitation, then a maximum with ties behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        x = x * self.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid()
        return self.head(F.adaptive_max_pool2d(x, 1).flatten(1))


class Warped(nn.Module):
    """A spatial transformer that begins with the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.find, self.read = nn.Linear(192, 6), nn.Linear(192, 5)
        nn.init.zeros_(self.find.weight)
        with torch.no_grad():
            self.find.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(self.find(x.flatten(1)).view(-1, 2, 3), x.shape, align_corners=False)
        return self.read(F.grid_sample(x, grid, align_corners=False).flatten(1))


class Boxes(nn.Module):
    """A detector: class logits and boxes in (0, 1) for six queries."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.queries = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(6, 16))
        self.look = nn.MultiheadAttention(16, 2, batch_first=True)
        self.classes, self.sides = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = self.cut(x).flatten(2).mT
        asked = self.queries.expand(len(x), -1, -1)
        found = asked + self.look(asked, seen, seen, need_weights=False)[0]
        return {"logits": self.classes(found), "boxes": self.sides(found).sigmoid()}


def boxed(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 3, 8, 8)
    return {"x": x, "labels": torch.randint(4, (size, 6)), "boxes": torch.rand(size, 6, 4)}


def detected(output: Any, batch: Any) -> Tensor:
    right = F.cross_entropy(output["logits"].mT, batch["labels"])
    return right + 5 * F.l1_loss(output["boxes"], batch["boxes"])


class Bottleneck(nn.Module):
    """An autoencoder with a sigmoid at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.GELU())
        self.large = nn.Sequential(nn.Linear(12, 192), nn.Sigmoid(), nn.Unflatten(1, (3, 8, 8)))

    def forward(self, x: Tensor) -> Tensor:
        return self.large(self.small(x))


class Variational(nn.Module):
    """A VAE: it draws in train mode, and gives the mean in eval mode."""

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(12, 16), nn.Linear(4, 12)
        self.mean, self.spread = nn.Linear(16, 4), nn.Linear(16, 4)
        self.always = always

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.small(x).tanh()
        mean, log = self.mean(h), self.spread(h)
        draw = self.training or self.always
        z = mean + (torch.exp(log / 2) * torch.randn_like(mean) if draw else 0)
        return self.large(z), mean, log


def elbo(output: Any, batch: Any) -> Tensor:
    x, mean, log = output
    kl = (mean.square() + log.exp() - 1 - log).sum(-1).mean() / 2
    return (x - batch["x"]).square().sum(-1).mean() + 0.01 * kl


class Denoiser(nn.Module):
    """Predict the noise; the batch brings it, the model knows the step by sines."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, 16), nn.SiLU())
        self.enter, self.leave = nn.Linear(12, 16), nn.Linear(16, 12)
        self.middle = nn.Linear(16, 16)
        self.register_buffer("keep", torch.linspace(0.99, 0.05, 20))

    def forward(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        keep = self.keep[t][:, None]
        noisy = keep.sqrt() * x + (1 - keep).sqrt() * noise
        rates = torch.exp(torch.arange(4, device=x.device, dtype=x.dtype) * -1.0)
        angles = t[:, None] * rates
        when = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        return self.leave(F.silu(self.middle(F.silu(self.enter(noisy) + when))))


def diffused(size: int) -> dict[str, Tensor]:
    x, noise = torch.randn(size, 12), torch.randn(size, 12)
    return {"x": x, "noise": noise, "t": torch.randint(20, (size,)), "target": noise}


class Sines(nn.Module):
    """A field: coordinates to colours by sines with SIREN's first weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 24), nn.Linear(24, 24)])
        self.head = nn.Linear(24, 3)
        nn.init.uniform_(self.layers[0].weight, -0.5, 0.5)
        nn.init.uniform_(self.layers[1].weight, -math.sqrt(6 / 24) / 30, math.sqrt(6 / 24) / 30)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.head(x)


def colours(size: int) -> dict[str, Tensor]:
    x = torch.rand(size, 2) * 2 - 1
    return {"x": x, "target": torch.rand(size, 3)}


class Spectral(nn.Module):
    """A Fourier neural operator: complex weights on the low frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv1d(2, 8, 1), nn.Conv1d(8, 1, 1)
        self.weight = nn.Parameter(torch.randn(8, 8, 4, dtype=torch.cfloat) / 8)
        self.skip = nn.Conv1d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        low = torch.fft.rfft(x)[..., :4]
        weight = self.weight.to(low.dtype)
        mixed = torch.fft.irfft(torch.einsum("bim,iom->bom", low, weight), n=x.shape[-1])
        return self.leave(F.gelu(mixed + self.skip(x)))


def curves(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 2, 16)
    return {"x": x, "target": x.cumsum(-1)[:, :1] / 4}


class Bytes(nn.Module):
    """Pictures come as bytes; the model scales them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3])[:, None, None])
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype) / 255 - self.mean
        return self.head(F.gelu(self.conv(x)).mean((2, 3)))


def raw(size: int) -> dict[str, Tensor]:
    x = torch.randint(256, (size, 3, 8, 8), dtype=torch.uint8)
    return {"x": x, "labels": torch.randint(5, (size,))}


def flat(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 12)}


def light(size: int) -> dict[str, Tensor]:
    x = torch.rand(size, 3, 8, 8)
    return {"x": x, "target": x.clone()}


def enlarge() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))


def enlarged(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 3, 4, 4)
    return {"input": x, "target": F.interpolate(x, scale_factor=2, mode="nearest")}


BN = known(couples_batch_train=True, couples_batch=False)
REAL = known(task="regression", output_kind="real")
MODELS = [
    Model(
        "u-net",
        UNet,
        segmented,
        pixels,
        known(
            task="segmentation", num_classes=4, class_axis=1, labels="labels", output_kind="logits"
        ),
    ),
    Model("residual", Residual, pictures, cross_entropy, CLASSES | BN),
    Model(
        "patches",
        Patches,
        pictures,
        cross_entropy,
        CLASSES | NOISE | {"unused_ok": ["hidden"]},
        False,
    ),
    Model("mixer", Mixer, pictures, cross_entropy, CLASSES),
    Model("shifted-windows", Shifted, pictures, cross_entropy, CLASSES),
    Model("squeeze", Squeezed, pictures, cross_entropy, CLASSES),
    Model("warped", Warped, pictures, cross_entropy, CLASSES),
    Model("detector", Boxes, boxed, detected, known(output="logits")),
    Model("autoencoder", Bottleneck, light, mse, known(output_range=(0.0, 1.0))),
    Model("vae", Variational, flat, elbo, NOISE | known(output="0", deterministic=True)),
    Model(
        "vae-always-drawing",
        lambda: Variational(True),
        flat,
        elbo,
        NOISE | known(output="0", deterministic=False),
        bare=False,
    ),
    Model(
        "denoiser", Denoiser, diffused, mse, REAL | known(task="denoising", inputs={"t": "index"})
    ),
    Model("sines", Sines, colours, mse, REAL),
    Model("fourier-operator", Spectral, curves, mse, REAL),
    Model("bytes", Bytes, raw, cross_entropy, CLASSES),
    Model("enlarger", enlarge, enlarged, mse, REAL),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("vision", MODELS)
