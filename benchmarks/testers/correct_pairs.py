"""Correct models whose rows meet on purpose: contrastive losses, prototypes, stopped twins."""

import copy
import math
from typing import Any

import torch
from benchmarks.testers.small import CLASSES, body, rows_of
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known
from torch import Tensor, nn
from torch.nn import functional as F


class Towers(nn.Module):
    """CLIP: two towers on the sphere, a temperature, and (b, b) logits."""

    def __init__(self, scale: float = math.log(1 / 0.07), bias: float | None = None) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(12, 8), nn.Embedding(31, 8)
        self.scale = nn.Parameter(torch.tensor(scale))
        self.bias = None if bias is None else nn.Parameter(torch.tensor(bias))

    def forward(self, pixels: Tensor, input_ids: Tensor) -> Tensor:
        left = F.normalize(self.image(pixels.flatten(1)), dim=-1)
        right = F.normalize(self.text(input_ids).mean(1), dim=-1)
        logits = self.scale.exp() * left @ right.T
        return logits if self.bias is None else logits + self.bias


def captioned(size: int) -> dict[str, Tensor]:
    return {"pixels": torch.randn(size, 3, 2, 2), "input_ids": torch.randint(31, (size, 5))}


def clip(output: Tensor, batch: Any) -> Tensor:
    right = torch.arange(len(output), device=output.device)
    return (F.cross_entropy(output, right) + F.cross_entropy(output.T, right)) / 2


def siglip(output: Tensor, batch: Any) -> Tensor:
    signs = 2 * torch.eye(len(output), device=output.device, dtype=output.dtype) - 1
    return -F.logsigmoid(signs * output).sum(-1).mean()


class Views(nn.Module):
    """Two views of each row through one network."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.project = body(), nn.Linear(16, 8)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return self.project(self.body(left)), self.project(self.body(right))


def views(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 6)
    noise = 0.1 * torch.randn(2, size, 6)
    return {"left": x + noise[0], "right": x + noise[1], "labels": torch.randint(2, (size,))}


def simclr(output: Any, batch: Any) -> Tensor:
    z = F.normalize(torch.cat(output), dim=-1)
    scores = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
    half = len(z) // 2
    return F.cross_entropy(scores, torch.arange(2 * half, device=z.device).roll(half))


def supervised(output: Any, batch: Any) -> Tensor:
    z, labels = F.normalize(torch.cat(output), dim=-1), batch["labels"].repeat(2)
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    log = (z @ z.T / 0.5).masked_fill(~others, -1e9).log_softmax(-1)
    same = (labels[:, None] == labels) & others
    return -((log * same).sum(-1) / same.sum(-1)).mean()


def barlow(output: Any, batch: Any) -> Tensor:
    left, right = ((z - z.mean(0)) / (z.std(0, correction=0) + 1e-4) for z in output)
    c = left.T @ right / len(left)
    return (c - torch.eye(len(c), device=c.device)).square().mean()


def vicreg(output: Any, batch: Any) -> Tensor:
    spread = sum(F.relu(1 - (z.var(0, correction=0) + 1e-4).sqrt()).mean() for z in output)
    return F.mse_loss(*output) + spread


class Siamese(nn.Module):
    """SimSiam: a predictor, and twins through which no gradient goes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.predict = body(), nn.Linear(16, 16)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        a, b = self.body(left), self.body(right)
        return self.predict(a), self.predict(b), a.detach(), b.detach()


def stopped(output: Any, batch: Any) -> Tensor:
    p, q, a, b = output
    return 1 - (F.cosine_similarity(p, b).mean() + F.cosine_similarity(q, a).mean()) / 2


class Bootstrap(nn.Module):
    """BYOL: the target follows the online network by an average and is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.online = body()
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.predict = nn.Linear(16, 16)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        if self.training:
            with torch.no_grad():
                for slow, fast in zip(
                    self.target.parameters(), self.online.parameters(), strict=True
                ):
                    slow.lerp_(fast, 0.01)
        with torch.no_grad():
            a, b = self.target(left), self.target(right)
        return self.predict(self.online(left)), self.predict(self.online(right)), a, b


class Cosine(nn.Module):
    """Cosines with learnt prototypes, times a learnt temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.prototypes = body(), nn.Parameter(torch.randn(5, 16))
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.normalize(self.body(x), dim=-1) @ F.normalize(self.prototypes).T


class Margin(nn.Module):
    """ArcFace: forward reads the labels in train mode, and need not get them in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.prototypes = body(), nn.Parameter(torch.randn(5, 16))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        cosine = F.normalize(self.body(x), dim=-1) @ F.normalize(self.prototypes).T
        if labels is not None and self.training:
            angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
            right = F.one_hot(labels, 5).bool()
            cosine = torch.where(right, torch.cos(angle + 0.3), cosine)
        return 8 * cosine


class Prototypes(nn.Module):
    """Few shots: class means of a support set, distances of the queries. One task a call."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        means = self.body(support).mean(1)
        return -torch.cdist(self.body(query), means).square()


def task(size: int) -> dict[str, Tensor]:
    centres = torch.randn(3, 1, 6)
    labels = torch.randint(3, (size,))
    query = centres[labels, 0] + 0.3 * torch.randn(size, 6)
    return {"support": centres + 0.3 * torch.randn(3, 4, 6), "query": query, "labels": labels}


class Shop(nn.Module):
    """Users and items; the other items of a batch are the negatives."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(50, 8), nn.Embedding(40, 8)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.users(user) @ self.items(item).T


def bought(size: int) -> dict[str, Tensor]:
    return {"user": torch.randperm(50)[:size], "item": torch.randperm(40)[:size]}


class Normed(nn.Module):
    """Embeddings on the sphere, compared across the batch by the loss alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.project = body(), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.project(self.body(x)), dim=-1)


def spread(output: Tensor, batch: Any) -> Tensor:
    same = batch["labels"][:, None] == batch["labels"]
    far = (output[:, None] - output).square().sum(-1)
    return (torch.where(same, far, F.relu(1 - far))).mean()


PAIR = known(task="contrastive", symmetric_loss=True)
ROWS = known(output="0", couples_batch=False)
MODELS = [
    Model("clip", Towers, captioned, clip, PAIR | known(couples_batch=True, tokens="input_ids")),
    Model(
        "siglip",
        lambda: Towers(math.log(10), -10.0),
        captioned,
        siglip,
        PAIR | known(couples_batch=True, tokens="input_ids"),
    ),
    Model("simclr", Views, views, simclr, ROWS | known(overfit=False)),
    Model("supervised-contrastive", Views, views, supervised, ROWS | known(overfit=False)),
    Model("barlow-twins", Views, views, barlow, ROWS | known(overfit=False)),
    Model("vicreg", Views, views, vicreg, ROWS),
    Model("simsiam", Siamese, views, stopped, ROWS | known(stop_gradient=True)),
    Model(
        "byol",
        Bootstrap,
        views,
        stopped,
        ROWS | known(stop_gradient=True),
    ),
    Model("cosine-classifier", Cosine, rows_of, cross_entropy, CLASSES),
    Model("arc-face", Margin, rows_of, cross_entropy, CLASSES | known(train_eval_same=False)),
    Model(
        "prototypes",
        Prototypes,
        task,
        cross_entropy,
        known(task="classification", num_classes=3, labels="labels"),
    ),
    Model("in-batch-negatives", Shop, bought, clip, known(couples_batch=True)),
    Model("pair-distances", Normed, rows_of, spread, known(output_kind="unit", overfit=False)),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("pairs", MODELS)
