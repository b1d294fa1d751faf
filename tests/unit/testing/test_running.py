"""Finite numbers, outputs, refusals and data: sound modules pass, wrong ones are stopped."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import Input, ModelSpec

CHECKS = ("forward", "extremes", "output", "refusals", "batch_data")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 5)

    def forward(self, x):
        return self.lin(x)


class Softmaxed(Plain):
    axis = -1

    def forward(self, x):
        return self.lin(x).softmax(self.axis)


class OverTheBatch(Softmaxed):
    axis = 0


class SoftmaxByHand(Plain):
    def forward(self, x):
        e = self.lin(x).exp()
        return e / e.sum(-1, keepdim=True)


class Standardised(Plain):
    def forward(self, x):
        return self.lin((x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True))


class Unit(Plain):
    """Rows of length 1, whose length is zero for zeros as long as the bias is as it was born."""

    def __init__(self, train_mode=False, biased=True):
        super().__init__()
        self.lin, self.train_mode = nn.Linear(4, 5, bias=biased), train_mode
        if biased:
            nn.init.zeros_(self.lin.bias)

    def forward(self, x):
        if self.train_mode and self.training:
            raise ValueError("sequences of 4 cannot be masked by 10")
        x = self.lin(x)
        return x / x.norm(dim=-1, keepdim=True)


class RootOfZero(Plain):
    def forward(self, x):
        return self.lin(x * 0).sub(self.lin.bias).pow(2).sum(-1, keepdim=True).sqrt()


class LogOfZero(Plain):
    def forward(self, x):
        return (self.lin(x) * 0).log() * 0


class Words(nn.Module):
    def __init__(self, how="raise"):
        super().__init__()
        self.words, self.how = nn.Embedding(7, 5), how

    def forward(self, ids):
        return self.words(ids.clamp(0, 6) if self.how == "clamp" else ids)


def batch(size):
    return {"x": torch.randn(size, 4), "labels": torch.randint(5, (size,))}


def loss(output, batch):
    return F.cross_entropy(output, batch["labels"]) if output.size(-1) == 5 else output.mean()


def spec(build, **facts):
    given = {"batch": batch, "loss": loss}
    return ModelSpec(build=build, **given | facts)


def beyond(good):
    return {"ids": good["ids"] + 7}


def words(how):
    return ModelSpec(
        build=lambda: Words(how),
        batch=lambda size: {"ids": torch.randint(7, (size, 3))},
        tokens="ids",
        must_raise={"an id outside the vocabulary": beyond},
    )


@pytest.mark.parametrize(
    "model",
    [
        spec(Plain, output_kind="logits", num_classes=5, task="classification"),
        spec(Softmaxed, output_kind="probabilities", num_classes=5, output_range=(0.0, 1.0)),
        spec(OverTheBatch, couples_batch=True),
        words("raise"),
    ],
    ids=["logits", "probabilities", "coupled", "words"],
)
def test_a_sound_module_passes(model):
    report = check_model(model, only=CHECKS)
    assert report.findings == (), str(report)
    assert not any(o.status == "error" for o in report.outcomes)


@pytest.mark.parametrize(
    ("model", "check", "kind", "said"),
    [
        (spec(LogOfZero), "forward", "non-finite", "begins at"),
        (spec(RootOfZero), "forward", "non-finite", "the gradient of lin"),
        (spec(Plain, loss=lambda o, b: (o * 0).log().mean()), "forward", "non-finite", "the loss"),
        (spec(Plain, loss=lambda o, b: o @ o), "forward", "crash", "raised RuntimeError"),
        (spec(SoftmaxByHand), "extremes", "non-finite", "infinity by infinity"),
        (spec(Standardised), "extremes", "non-finite", "equal numbers everywhere"),
        (spec(lambda: Unit(biased=False)), "extremes", "non-finite", "x of zeros"),
        (spec(Softmaxed, output_kind="logits"), "output", "range", "is a softmax"),
        (spec(Plain, output_kind="probabilities"), "output", "range", "lie between"),
        (spec(Plain, output_kind="unit"), "output", "range", "length 1"),
        (spec(Plain, output_range=(0.0, 0.1)), "output", "range", "output_range"),
        (spec(OverTheBatch), "output", "batch-leak", "the batch"),
        (
            spec(OverTheBatch, output_kind="probabilities", num_classes=5),
            "output",
            "range",
            "axis 0: the softmax is over the wrong axis",
        ),
        (words("clamp"), "refusals", "accepts-bad-input", "an id outside the vocabulary"),
        (spec(Plain, num_classes=3), "batch_data", "bad-input-data", "num_classes=3 allows 0 to 2"),
        (spec(Plain, inputs={"x": Input(high=0.0)}), "batch_data", "bad-input-data", "high=0"),
    ],
)
def test_a_saboteur_is_stopped(model, check, kind, said):
    found = check_model(model, only=(check,)).failures
    assert found, "nothing was found"
    assert found[0].kind == kind and said in found[0].evidence


def test_the_line_of_the_gradient_that_is_not_finite_is_told():
    (found,) = check_model(spec(RootOfZero), only=("forward",)).failures
    assert ".sqrt()" in found.line


def test_nan_that_is_there_until_a_bias_moves_is_a_warning():
    report = check_model(spec(Unit), only=("extremes",))
    assert [f.severity for f in report.findings] == ["warn"]


def test_a_model_that_does_not_run_in_train_mode_breaks_no_check():
    report = check_model(spec(lambda: Unit(train_mode=True)), skip=("compile",))
    assert [(o.check, o.reason) for o in report.outcomes if o.status == "error"] == []
    assert report.failures
