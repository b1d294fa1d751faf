"""Correct models whose inputs, outputs or dtypes come in an unusual form."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.testers.small import CLASSES, body, rows_of
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known, mse
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Answer:
    """An output with names."""

    logits: Tensor
    hidden: Tensor


Named = namedtuple("Named", ["logits", "hidden"])


class Wrapped(nn.Module):
    """A classifier whose answer is put into some container."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head, self.wrap = body(), nn.Linear(16, 5), wrap

    def forward(self, x: Tensor) -> Any:
        hidden = self.body(x)
        return self.wrap(self.head(hidden), hidden)


def container(name: str, wrap: Callable[[Tensor, Tensor], Any], take: Any, path: Any) -> Model:
    """Describe a classifier that answers in a container."""
    return Model(
        name,
        lambda: Wrapped(wrap),
        rows_of,
        lambda output, batch: F.cross_entropy(take(output), batch["labels"]),
        CLASSES | known(output=path),
    )


class Given(nn.Module):
    """Hugging Face's way: labels go in, the loss comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(16, 5)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.head(self.body(x))
        if labels is None:
            return {"logits": logits}
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class Options(nn.Module):
    """Inputs that need not be there, and switches that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra, self.head = body(), nn.Linear(3, 16), nn.Linear(16, 5)

    def forward(
        self, x: Tensor, *, extra: Tensor | None = None, scale: float = 1.0, **others: Any
    ) -> Tensor:
        hidden = self.body(x) * scale
        return self.head(hidden if extra is None else hidden + self.extra(extra))


class Starred(nn.Module):
    """Any number of inputs, by position."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 16), nn.Linear(4, 16), nn.Linear(16, 5)

    def forward(self, *inputs: Tensor) -> Tensor:
        left, right = inputs
        return self.head(F.gelu(self.left(left) + self.right(right)))


class Two(nn.Module):
    """Two inputs by name; the batch is a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 16), nn.Linear(4, 16), nn.Linear(16, 5)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(F.gelu(self.left(left) + self.right(right)))


class TimeFirst(nn.Module):
    """Time first in, time first out."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


class Last(nn.Module):
    """Time first in, one answer a row out."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(6, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[1][0][-1])


class Alone(nn.Module):
    """A learnt picture: rows and columns in, colours out; there is no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = (nn.Parameter(torch.randn(5, 3)) for _ in "ab")

    def forward(self) -> Tensor:
        return torch.sigmoid(self.rows[:, None] + self.columns)


class Double(nn.Module):
    """A solver that works in float64 whatever comes in, and gives back what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        made = self.head(self.body(x)).double().view(-1, 2, 2)
        sides = x[:, :2].double()
        eye = torch.eye(2, dtype=torch.float64, device=x.device)
        solved = torch.linalg.solve(made @ made.mT + eye, sides)
        return solved.to(x.dtype)


class Single(nn.Module):
    """A model of float32 alone: it refuses anything else by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError(f"x is {x.dtype}; this model is float32 only")
        return self.head(self.body(x))


class Complex(nn.Module):
    """Complex numbers in and inside, their modulus out."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Linear(6, 16, dtype=torch.cfloat)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.low(x).abs().to(self.head.weight.dtype))


class Sparse(nn.Module):
    """Features come as a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(20, 5) / 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sparse.mm(x, self.weight)


class Score(nn.Module):
    """One number a row, without an axis of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).squeeze(-1)


class Spread(nn.Module):
    """The answer is a distribution."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(logits=self.head(self.body(x)))


class Lists(nn.Module):
    """Features of three depths in a list, inside a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, 2, 1) for i in range(3))

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        found = []
        for conv in self.convs:
            x = F.gelu(conv(x))
            found.append(x)
        return {"features": found}


def pyramid(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 3, 8, 8)
    return {"x": x, "target": torch.randn(size, 4)}


def at_each_depth(output: Any, batch: Any) -> Tensor:
    means = [f.mean((2, 3)) for f in output["features"]]
    return F.mse_loss(torch.stack(means).mean(0), batch["target"])


def pair(size: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(size, 6), torch.randn(size, 4), torch.randint(5, (size,))


def third(output: Tensor, batch: Any) -> Tensor:
    return F.cross_entropy(output, batch[2])


def starred(size: int) -> tuple[Tensor, Tensor]:
    return torch.randn(size, 6), torch.randn(size, 4)


def options(size: int) -> dict[str, Tensor]:
    return rows_of(size) | {"extra": torch.randn(size, 3)}


def time_first(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(7, size, 6), "labels": torch.randint(5, (7, size))}


def last(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(7, size, 6), "labels": torch.randint(5, (size,))}


def solved(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 6), "target": 0.3 * torch.randn(size, 2)}


def waves(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 6, dtype=torch.cfloat), "labels": torch.randint(5, (size,))}


def sparse(size: int) -> dict[str, Tensor]:
    x = torch.randn(size, 20) * (torch.rand(size, 20) < 0.2)
    return {"x": x.to_sparse(), "labels": torch.randint(5, (size,))}


def chances(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 6), "labels": torch.randint(2, (size,)).float()}


def bce(output: Tensor, batch: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, batch["labels"])


FIRST = known(batch_axis=1, num_classes=5, labels="labels", output_kind="logits")
MODELS = [
    container("tuple", lambda a, b: (a, b), lambda o: o[0], "0"),
    container("list", lambda a, b: [a, b], lambda o: o[0], "0"),
    container("dict", lambda a, b: {"logits": a, "hidden": b}, lambda o: o["logits"], "logits"),
    container("dataclass", Answer, lambda o: o.logits, "logits"),
    container("named-tuple", Named, lambda o: o.logits, "logits"),
    container(
        "nested", lambda a, b: {"heads": (a, {"deep": b})}, lambda o: o["heads"][0], "heads.0"
    ),
    container("with-none", lambda a, b: (a, None, b), lambda o: o[0], "0"),
    container(
        "with-classes",
        lambda a, b: {"chosen": a.argmax(-1), "logits": a},
        lambda o: o["logits"],
        "logits",
    ),
    container(
        "with-flags", lambda a, b: {"sure": a.softmax(-1).amax(-1) > 0.5, "logits": a},
        lambda o: o["logits"], "logits",
    ),
    container(
        "with-statistics", lambda a, b: {"logits": a, "mean": float(b.detach().mean())},
        lambda o: o["logits"], "logits",
    ),
    Model(
        "loss-inside", Given, rows_of, lambda o, b: o["loss"], CLASSES | known(output="logits")
    ),
    Model("options", Options, options, cross_entropy, CLASSES),
    Model("starred", Starred, starred, lambda o, b: o.square().mean(), known(), bare=False),
    Model("tuple-batch", Two, pair, third, known(num_classes=5, output_kind="logits")),
    Model(
        "tensor-batch",
        lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6)),
        lambda size: torch.randn(size, 6),
        lambda output, batch: F.mse_loss(output, batch),
        known(task="reconstruction", output_kind="real", overfit=False),
    ),
    Model("time-first", TimeFirst, time_first, cross_entropy, FIRST | {"output_batch_axis": 1}),
    Model("time-first-last", Last, last, cross_entropy, FIRST | {"output_batch_axis": 0}),
    Model(
        "no-inputs",
        Alone,
        lambda size: {"target": torch.rand(5, 5, 3)},
        mse,
        known(output_range=(0.0, 1.0), overfit=False),
    ),
    Model("float64-inside", Double, solved, mse, known(output_kind="real")),
    Model("float32-only", Single, rows_of, cross_entropy, CLASSES),
    Model("complex", Complex, waves, cross_entropy, CLASSES),
    Model("sparse", Sparse, sparse, cross_entropy, CLASSES),
    Model("score", Score, chances, bce, known(labels="labels", output_kind="logits")),
    Model(
        "distribution",
        Spread,
        rows_of,
        lambda output, batch: -output.log_prob(batch["labels"]).mean(),
        known(output=lambda o: o.logits),
        bare=False,  # nothing says where its tensor is
    ),
    Model("lists", Lists, pyramid, at_each_depth, known(output="features.2")),
]  # fmt: skip


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("shapes", MODELS)
