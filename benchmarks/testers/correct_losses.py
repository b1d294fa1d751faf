"""torch's losses in use, and its transformer with both masks."""

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.testers.sound import Model, Sound, both, known, taught
from torch import Tensor, nn
from torch.nn import functional as F

Draw = Callable[[int], Any]


class Head(nn.Module):
    """A small network: what the losses are put on."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Pair(nn.Module):
    """Two inputs through one network."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.tower = Head(out)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return self.tower(left), self.tower(right)


class Adaptive(nn.Module):
    """A loss with parameters of its own, inside the model: the output is (log p, loss)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 16)
        self.loss = nn.AdaptiveLogSoftmaxWithLoss(16, 30, cutoffs=[5, 12])

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        out = self.loss(self.body(x), labels)
        return out.output, out.loss


def on(draw: Draw) -> Draw:
    """Put a normal input beside the labels that `draw` gives."""
    return lambda size: {"x": torch.randn(size, 6), "labels": draw(size)}


def two(draw: Draw) -> Draw:
    """Put two normal inputs beside the labels."""
    return lambda size: {
        "left": torch.randn(size, 6),
        "right": torch.randn(size, 6),
        "labels": draw(size),
    }


def signs(size: int) -> Tensor:
    return torch.randint(2, (size,)) * 2.0 - 1


def classes(size: int) -> Tensor:
    return torch.randint(5, (size,))


def holed(size: int) -> Tensor:
    labels = classes(size)
    labels[1::3] = -100
    return labels


def numbers(size: int) -> Tensor:
    return torch.randn(size, 5)


def several(size: int) -> Tensor:
    return torch.randint(2, (size, 5)).float()


def sets(size: int) -> Tensor:
    return torch.stack([torch.randperm(5) for _ in range(size)]).masked_fill(
        torch.arange(5) > 2, -1
    )


def log_softmax_kl(output: Tensor, batch: Any) -> Tensor:
    wanted = F.log_softmax(batch["labels"], -1)
    return F.kl_div(F.log_softmax(output, -1), wanted, reduction="batchmean", log_target=True)


def focal(output: Tensor, labels: Tensor) -> Tensor:
    right = output.log_softmax(-1).gather(1, labels[:, None])
    return -((1 - right.exp()) ** 2 * right).mean()


def gaussian(output: Tensor, batch: Any) -> Tensor:
    mean, raw = output.chunk(2, -1)
    return F.gaussian_nll_loss(mean, batch["labels"][:, :3], F.softplus(raw) + 1e-3)


def triplet(output: Any, batch: Any) -> Tensor:
    return F.triplet_margin_loss(output[0], output[1], output[1].roll(1, 0), margin=4.0)


CLASSES = known(task="classification", num_classes=5, labels="labels", output_kind="logits")
REAL = known(task="regression", labels="labels", output_kind="real")
MANY = known(task="multilabel", labels="labels", output_kind="logits")
PAIRED = known(output="0")

ROWS: list[tuple[str, nn.Module | Callable[..., Tensor], Draw, dict[str, Any]]] = [
    ("cross-entropy", nn.CrossEntropyLoss(), classes, CLASSES),
    ("cross-entropy-smoothed", nn.CrossEntropyLoss(label_smoothing=0.1), classes, CLASSES),
    ("cross-entropy-ignoring", nn.CrossEntropyLoss(), holed, CLASSES | {"ignore_index": -100}),
    (
        "cross-entropy-weighted",
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])),
        classes,
        CLASSES,
    ),
    (
        "cross-entropy-sum",
        nn.CrossEntropyLoss(reduction="sum"),
        classes,
        CLASSES | {"reduction": "sum"},
    ),
    (
        "cross-entropy-soft",
        nn.CrossEntropyLoss(),
        lambda n: torch.randn(n, 5).softmax(-1),
        known(output_kind="logits"),
    ),
    ("nll", lambda o, y: F.nll_loss(o.log_softmax(-1), y), classes, CLASSES),
    ("multi-margin", nn.MultiMarginLoss(), classes, CLASSES),
    ("bce-logits", nn.BCEWithLogitsLoss(), several, MANY),
    ("bce-logits-weighted", nn.BCEWithLogitsLoss(pos_weight=torch.full((5,), 2.0)), several, MANY),
    ("bce", lambda o, y: F.binary_cross_entropy(o.sigmoid(), y), several, MANY),
    ("multilabel-soft-margin", nn.MultiLabelSoftMarginLoss(), several, MANY),
    ("multilabel-margin", nn.MultiLabelMarginLoss(), sets, {}),
    ("soft-margin", nn.SoftMarginLoss(), lambda n: several(n) * 2 - 1, {}),
    ("l1", nn.L1Loss(), numbers, REAL),
    ("smooth-l1", nn.SmoothL1Loss(beta=0.5), numbers, REAL),
    ("huber", nn.HuberLoss(), numbers, REAL),
    ("mse-sum", nn.MSELoss(reduction="sum"), numbers, REAL | {"reduction": "sum"}),
    ("poisson", nn.PoissonNLLLoss(), lambda n: torch.poisson(torch.full((n, 5), 2.0)), {}),
    ("focal", focal, classes, CLASSES),
]


def heads() -> list[Model]:
    """Put the losses of the table on a small network."""
    return [
        Model(name, lambda: Head(5), on(draw), lambda o, b, f=f: f(o, b["labels"]), facts)
        for name, f, draw, facts in ROWS
    ]


PAIRS = [
    Model("kl", lambda: Head(5), on(numbers), log_softmax_kl),
    Model("gaussian-nll", lambda: Head(6), on(numbers), gaussian),
    Model("triplet", lambda: Pair(4), two(signs), triplet, PAIRED),
    Model(
        "cosine-embedding",
        lambda: Pair(4),
        two(signs),
        lambda o, b: F.cosine_embedding_loss(o[0], o[1], b["labels"], margin=0.2),
        PAIRED,
    ),
    Model(
        "margin-ranking",
        lambda: Pair(1),
        two(signs),
        lambda o, b: F.margin_ranking_loss(o[0][:, 0], o[1][:, 0], b["labels"], margin=0.5),
        PAIRED,
    ),
    Model(
        "hinge-embedding",
        lambda: Pair(4),
        two(signs),
        lambda o, b: F.hinge_embedding_loss((o[0] - o[1]).norm(dim=-1), b["labels"], margin=2.0),
        PAIRED,
    ),
    Model(
        "adaptive-softmax",
        Adaptive,
        on(lambda n: torch.randint(30, (n,))),
        lambda o, b: o[1],
        known(output="0", unused_ok=("loss.tail.*",)),
    ),
]


class Masked(nn.Module):
    """Call a torch encoder with the mask in the sense of Hugging Face: 1 counts."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.embed = nn.Embedding(13, 8)
        self.place = nn.Embedding(9, 8)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.causal = causal

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        t = input_ids.shape[1]
        x = self.embed(input_ids) + self.place(torch.arange(t, device=input_ids.device))
        future = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        return self.encoder(
            x, mask=future if self.causal else None, src_key_padding_mask=attention_mask == 0
        )


def padded(size: int) -> dict[str, Tensor]:
    """Draw right-padded tokens."""
    mask = torch.ones(size, 7, dtype=torch.long)
    mask[::2, 5:] = 0
    return {"input_ids": torch.randint(1, 13, (size, 7)) * mask, "attention_mask": mask}


def masked_mse(output: Tensor, batch: Any) -> Tensor:
    """Compare the positions that count."""
    keep = batch["attention_mask"].bool()
    return (output - batch["target"])[keep].square().mean()


def masked(causal: bool) -> Model:
    """Describe the encoder with masks."""
    facts = known(
        tokens="input_ids", vocab_size=13, max_length=9, pad_id=0, padding_mask="attention_mask",
        true_means="keep", padding_side="right", causal="input_ids" if causal else False,
    )  # fmt: skip
    name = "encoder-causal" if causal else "encoder-padded"
    build = lambda: Masked(causal)  # noqa: E731
    return Model(name, build, taught(build, padded), masked_mse, facts)


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("losses", [*heads(), *PAIRS, masked(False), masked(True)])
