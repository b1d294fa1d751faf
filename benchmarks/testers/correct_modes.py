"""Correct models whose modes, frozen parts or unused parts look like bugs."""

import copy
from collections import OrderedDict
from typing import Any

import torch
from benchmarks.testers.small import CLASSES, NOISE, body, pictures, rows_of
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations


class Convs(nn.Module):
    """A small convolutional classifier with batch norm."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8, momentum=momentum)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.stem(x))).mean((2, 3)))


class StochasticDepth(nn.Module):
    """Residual branches that are dropped, a row at a time, in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 16)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16))
            for _ in range(3)
        )
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in self.branches:
            keep = torch.ones(len(x), 1, device=x.device, dtype=x.dtype)
            if self.training:
                keep = torch.bernoulli(keep * 0.8) / 0.8
            x = x + keep * branch(x)
        return self.head(x)


class Frozen(nn.Module):
    """A frozen backbone that stays in eval mode, and a head that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.GELU())
        self.backbone.requires_grad_(False)
        self.head = nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 5))
        self.train()

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(x)
        return self.head(features)


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(29, 16)
        self.mix = nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 29, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.mix(self.embed(input_ids))[0])


def next_tokens(size: int) -> dict[str, Tensor]:
    ids = torch.randint(29, (size, 8))
    return {"input_ids": ids[:, :-1], "labels": ids[:, 1:]}


class Experts(nn.Module):
    """Top-k routing: an expert that no row chose has no gradient."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.router = nn.Linear(6, 6)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 5)) for _ in range(6)
        )
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        gates, chosen = self.router(x).softmax(-1).topk(self.k, -1)
        out = x.new_zeros(len(x), 5)
        for i, expert in enumerate(self.experts):
            rows, places = torch.where(chosen == i)
            if len(rows):
                out = out.index_add(0, rows, gates[rows, places, None] * expert(x[rows]))
        return out


class Auxiliary(nn.Module):
    """A second head that answers in train mode alone."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(6, 16), nn.Linear(16, 16)
        self.helper, self.head = nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Any:
        middle = F.gelu(self.low(x))
        logits = self.head(F.gelu(self.high(middle)))
        return (logits, self.helper(middle)) if self.training else logits


def with_helper(output: Any, batch: Any) -> Tensor:
    if isinstance(output, Tensor):
        return F.cross_entropy(output, batch["labels"])
    return sum(
        weight * F.cross_entropy(logits, batch["labels"])
        for weight, logits in zip((1.0, 0.3), output, strict=True)
    )


class Whitened(nn.Module):
    """Inputs are centred by a running mean, which train mode updates after use."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("seen", torch.tensor(0))
        self.body, self.head = body(), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        centred = x - self.mean
        if self.training:
            with torch.no_grad():
                self.seen += 1
                self.mean += (x.mean(0) - self.mean) / self.seen
        return self.head(self.body(centred))


class Annealed(nn.Module):
    """A temperature that falls with the number of training steps."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.tensor(0))
        self.body, self.head = body(), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(self.body(x)) / (1 + 1 / (1 + self.step.to(x.dtype)))
        if self.training:
            self.step += 1
        return logits


class Averaged(nn.Module):
    """Eval mode answers with an exponential average of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 5))
        self.mean = copy.deepcopy(self.net).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.mean(x)
        with torch.no_grad():
            for slow, fast in zip(self.mean.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
        return self.net(x)


class NoisyLinear(nn.Module):
    """Factored noise on the weights in train mode, as in NoisyNet."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(16, 5)
        self.noise = nn.Parameter(torch.full((5, 16), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        weight = self.head.weight
        if self.training:
            weight = weight + self.noise * torch.randn_like(weight)
        return F.linear(x, weight, self.head.bias)


class Critic(nn.Module):
    """A discriminator under spectral norm."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, stride=2)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            parametrizations.spectral_norm(nn.Linear(72, 5)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def relus() -> nn.Module:
    layers = [nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)]
    return nn.Sequential(OrderedDict(x=nn.Sequential(*layers)))


def seq(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def plain(size: int) -> dict[str, Tensor]:
    batch = rows_of(size)
    return {"input": batch["x"], "labels": batch["labels"]}


BN = known(couples_batch=False, couples_batch_train=True)
SPARSE = known(unused_ok=["experts.*", "router.*"])
MODELS = [
    Model("relu-zeros", relus, plain, cross_entropy, CLASSES),
    Model("batch-norm", Convs, pictures, cross_entropy, CLASSES | BN),
    Model("batch-norm-cumulative", lambda: Convs(None), pictures, cross_entropy, CLASSES | BN),
    Model(
        "batch-norm-rows",
        lambda: seq(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5)),
        plain,
        cross_entropy,
        CLASSES | BN | {"min_batch_train": 2},
    ),
    Model(
        "dropout",
        lambda: seq(nn.Linear(6, 32), nn.GELU(), nn.Dropout(0.2), nn.Linear(32, 5)),
        plain,
        cross_entropy,
        CLASSES | {"train_noise": True},
    ),
    Model("stochastic-depth", StochasticDepth, rows_of, cross_entropy, CLASSES | NOISE),
    Model("frozen-backbone", Frozen, rows_of, cross_entropy, CLASSES | {"frozen": ["backbone.*"]}),
    Model(
        "tied-head",
        Tied,
        next_tokens,
        cross_entropy,
        known(
            task="next_token",
            tokens="input_ids",
            vocab_size=29,
            causal="input_ids",
            labels="labels",
            label_shift=0,
            tied=[("embed.weight", "head.weight")],
        ),
    ),
    Model("experts-top1", lambda: Experts(1), rows_of, cross_entropy, CLASSES | SPARSE),
    Model("experts-top2", lambda: Experts(2), rows_of, cross_entropy, CLASSES | SPARSE),
    Model(
        "auxiliary-head",
        Auxiliary,
        rows_of,
        with_helper,
        CLASSES | {"output": lambda o: o if isinstance(o, Tensor) else o[0]},
    ),
    Model("running-mean", Whitened, rows_of, cross_entropy, CLASSES | {"train_eval_same": False}),
    Model("annealed", Annealed, rows_of, cross_entropy, CLASSES | {"stateful": True}),
    Model("weight-average", Averaged, rows_of, cross_entropy, CLASSES | {"train_eval_same": False}),
    Model("noisy-linear", NoisyLinear, rows_of, cross_entropy, CLASSES | NOISE),
    Model("spectral-norm", Critic, pictures, cross_entropy, CLASSES | {"stateful": True}),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("modes", MODELS)
