"""What small classifiers share: batches, a body, and the facts of a classification."""

import torch
from benchmarks.testers.sound import known
from torch import Tensor, nn

CLASSES = known(task="classification", num_classes=5, labels="labels", output_kind="logits")


def rows_of(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 6), "labels": torch.randint(5, (size,))}


def pictures(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 3, 8, 8), "labels": torch.randint(5, (size,))}


def texts(size: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(1000, (size, 6)), "labels": torch.randint(5, (size,))}


def body(width: int = 16) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, width), nn.GELU())


NOISE = known(train_noise=True)
