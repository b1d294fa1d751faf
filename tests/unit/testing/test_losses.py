import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model, held
from zoo.testing.checks.losses import check_loss
from zoo.testing.engine import NotApplicable
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject

CLASSES = 5


class Answer(nn.Module):
    """A linear head, and what is done to its output before it is given."""

    def __init__(self, out, last):
        super().__init__()
        self.head = nn.Linear(4, out)
        self.last = last

    def forward(self, x):
        return self.last(self.head(x))


class Two(nn.Module):
    """Two outputs, by name."""

    def __init__(self):
        super().__init__()
        self.mean, self.spread = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return {"mean": self.mean(x), "spread": self.spread(x)}


class Own(nn.Module):
    """A model that gives its loss beside the logits."""

    def __init__(self, sign):
        super().__init__()
        self.head, self.sign = nn.Linear(4, CLASSES), sign

    def forward(self, x, labels):
        logits = self.head(x)
        return {"loss": self.sign * F.cross_entropy(logits, labels), "logits": logits}


def same(x):
    return x


def classes(size):
    return {"x": torch.randn(size, 4), "labels": torch.randint(CLASSES, (size,))}


def numbers(size):
    return {"x": torch.randn(size, 4), "labels": torch.randn(size)}


def tags(size):
    return {"x": torch.randn(size, 4), "labels": (torch.rand(size, CLASSES) < 0.4).float()}


def holed(size):
    labels = torch.randint(CLASSES, (size, 6))
    labels[:, 4:] = -100
    return {"x": torch.randn(size, 6, 4), "labels": labels}


def padded(size):
    mask = torch.ones(size, 6, dtype=torch.long)
    mask[:, 4:] = 0
    labels = torch.randint(CLASSES, (size, 6))
    return {"x": torch.randn(size, 6, 4), "labels": labels, "mask": mask}


def cross(output, batch):
    return F.cross_entropy(output.flatten(0, -2), batch["labels"].flatten())


def kl(output, batch):
    mean, spread = output["mean"], output["spread"]
    return 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()


def spec(loss, batch=classes, out=CLASSES, last=same, **facts):
    return ModelSpec(build=lambda: Answer(out, last), batch=batch, loss=loss, **facts)


def found(given):
    return [(one.kind, one.severity) for one in held(check_loss(Subject(given)))]


SOUND = {
    "cross entropy": spec(cross, reduction="mean", labels="labels"),
    "cross entropy with smoothed labels": spec(
        lambda o, b: F.cross_entropy(o, b["labels"], label_smoothing=0.1), reduction="mean"
    ),
    "a declared sum": spec(
        lambda o, b: F.cross_entropy(o, b["labels"], reduction="sum"), reduction="sum"
    ),
    "weights of float32": spec(
        lambda o, b: F.cross_entropy(o, b["labels"], weight=torch.arange(1.0, 6.0).to(o.dtype))
    ),
    "nll of log-probabilities": spec(
        lambda o, b: F.nll_loss(o, b["labels"]), last=lambda x: x.log_softmax(-1)
    ),
    "logarithms of probabilities": spec(
        lambda o, b: F.nll_loss(o.log(), b["labels"]), last=lambda x: x.softmax(-1)
    ),
    "binary cross entropy of a sigmoid": spec(
        lambda o, b: F.binary_cross_entropy(o, b["labels"].to(o.dtype)), tags, last=torch.sigmoid
    ),
    "a focal loss": spec(
        lambda o, b: (
            -((1 - (p := o.log_softmax(-1).gather(1, b["labels"][:, None])).exp()) ** 2 * p).mean()
        )
    ),
    "a squared error": spec(
        lambda o, b: F.mse_loss(o.squeeze(-1), b["labels"].to(o.dtype)), numbers, 1
    ),
    "an absolute error": spec(
        lambda o, b: F.l1_loss(o.squeeze(-1), b["labels"].to(o.dtype)), numbers, 1
    ),
    "labels to ignore": spec(cross, holed, ignore_index=-100, reduction="mean", label_shift=0),
    "a declared index that is a class": spec(
        lambda o, b: F.cross_entropy(o, b["labels"], ignore_index=0), ignore_index=0
    ),
    "a KL term": ModelSpec(build=Two, batch=lambda n: {"x": torch.randn(n, 4)}, loss=kl),
    "a loss that forward gives": ModelSpec(build=lambda: Own(1), batch=classes),
}


@pytest.mark.parametrize("given", SOUND.values(), ids=SOUND)
def test_a_sound_loss_passes(given):
    assert found(given) == []


def summed(output, batch):
    return F.cross_entropy(output, batch["labels"], reduction="sum")


BROKEN = {
    "one loss a row": (
        spec(lambda o, b: F.cross_entropy(o, b["labels"], reduction="none")), "loss-shape",
    ),
    "a number without its gradient": (
        spec(lambda o, b: torch.tensor(cross(o, b).item())), "detached",
    ),
    "a loss that raises": (spec(lambda o, b: F.cross_entropy(o, b["labels"] + 1)), "crash"),
    "the log of zero": (spec(lambda o, b: (o * 0).log().mean()), "non-finite"),
    "accuracy": (
        spec(lambda o, b: (o.argmax(-1) != b["labels"]).double().mean()), "detached",
    ),
    "a constant": (spec(lambda o, b: (o * 0).sum() + 1), "loss-constant"),
    "compared with itself": (
        spec(lambda o, b: F.cross_entropy(o, o.argmax(-1)), labels="labels"), "loss-constant",
    ),
    "compared with the input": (
        spec(lambda o, b: F.cross_entropy(o, b["x"].argmax(-1)), labels="labels"), "loss-targets",
    ),
    "the sign turned": (spec(lambda o, b: -cross(o, b)), "loss-sign"),
    "the sign turned, in forward": (
        ModelSpec(build=lambda: Own(-1), batch=classes), "loss-sign",
    ),
    "the sign of another loss turned": (
        spec(lambda o, b: -F.multi_margin_loss(o, b["labels"])), "loss-sign",
    ),
    "an absolute error with the sign turned": (
        spec(lambda o, b: -F.l1_loss(o[:, 0], b["labels"].to(o.dtype)), numbers, 1,
             last=lambda x: x.expand(-1, 1)), "loss-sign",
    ),
    "the sign of a KL term turned": (
        ModelSpec(build=Two, batch=lambda n: {"x": torch.randn(n, 4)}, loss=lambda o, b: -kl(o, b)),
        "loss-sign",
    ),
    "softmax twice": (spec(cross, last=lambda x: x.softmax(-1)), "loss-input"),
    "softmax twice in the loss": (spec(lambda o, b: cross(o.softmax(-1), b)), "loss-input"),
    "sigmoid before cross entropy": (spec(cross, last=torch.sigmoid), "loss-input"),
    "relu before cross entropy": (spec(cross, last=torch.relu), "loss-input"),
    "sigmoid twice": (
        spec(lambda o, b: F.binary_cross_entropy_with_logits(o, b["labels"].to(o.dtype)),
             tags, last=torch.sigmoid), "loss-input",
    ),
    "nll of raw scores": (spec(lambda o, b: F.nll_loss(o, b["labels"])), "loss-input"),
    "softmax over the batch": (
        spec(lambda o, b: F.nll_loss(o.log_softmax(0), b["labels"])), "loss-input",
    ),
    "several classes as one": (
        spec(lambda o, b: F.cross_entropy(o, b["labels"].to(o.dtype)), tags), "loss-input",
    ),
    "relu before a squared error": (
        spec(lambda o, b: F.mse_loss(o.squeeze(-1), b["labels"].to(o.dtype)), numbers, 1,
             torch.relu), "loss-input",
    ),
    "a column against a row": (
        spec(lambda o, b: (o - b["labels"]).square().mean(), numbers, 1), "loss-shape",
    ),
    "a class swallowed": (
        spec(lambda o, b: F.cross_entropy(o, b["labels"], ignore_index=0)), "loss-ignored",
    ),
    "padding as a label": (
        spec(cross, padded, padding_mask="mask", label_shift=0), "loss-ignored",
    ),
    "ignored labels that count": (
        spec(lambda o, b: F.cross_entropy(o.flatten(0, 1), b["labels"].flatten().clamp(0)),
             holed, ignore_index=-100), "loss-ignored",
    ),
    "a sum that was called a mean": (spec(summed, reduction="mean"), "loss-scale"),
    "a mean that was called a sum": (spec(cross, reduction="sum"), "loss-scale"),
    "divided by the rows twice": (spec(lambda o, b: cross(o, b) / len(o)), "loss-scale"),
    "a mean over the padding too": (
        spec(lambda o, b: F.cross_entropy(
            o.flatten(0, 1), b["labels"].flatten(), reduction="none").mean(),
            holed, ignore_index=-100, reduction="mean"), "loss-scale",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "kind"), BROKEN.values(), ids=BROKEN)
def test_a_broken_loss_is_stopped(given, kind):
    assert found(given)[0] == (kind, "fail")


def test_an_undeclared_sum_is_no_failure():
    assert found(spec(summed)) == [("loss-scale", "warn")]


class Pairs(nn.Module):
    """Similarities of rows with rows."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, a, b):
        return self.left(a) @ self.right(b).T


def pair(size):
    return {"a": torch.randn(size, 4), "b": torch.randn(size, 4)}


def one_way(output, batch):
    return F.cross_entropy(output, torch.arange(len(output)))


def both_ways(output, batch):
    return (one_way(output, batch) + one_way(output.T, batch)) / 2


def rolled(output, batch):
    return F.cross_entropy(output, torch.arange(len(output)).roll(1))


PAIRS = {
    "both ways": (both_ways, []),
    "one way": (one_way, [("loss-one-sided", "fail")]),
    "other pairs": (rolled, [("loss-targets", "fail")]),
}


@pytest.mark.parametrize(("loss", "wanted"), PAIRS.values(), ids=PAIRS)
def test_pairs_are_pulled_together_both_ways(loss, wanted):
    given = ModelSpec(build=Pairs, batch=pair, loss=loss, task="contrastive", symmetric_loss=True)
    assert found(given) == wanted


def test_without_a_loss_there_is_nothing_to_say():
    with pytest.raises(NotApplicable, match="no loss"):
        found(ModelSpec(build=lambda: Answer(2, same), batch=classes))


FAR = {
    "cross entropy": (F.cross_entropy, False),
    "the logarithm of a softmax": (lambda o, y: F.nll_loss(o.softmax(-1).log(), y), True),
    "a softmax by hand": (
        lambda o, y: F.nll_loss((o.exp() / o.exp().sum(-1, keepdim=True)).log(), y),
        True,
    ),
    "the logarithm of a softmax by torch": (
        lambda o, y: F.nll_loss(F.log_softmax(o, -1), y),
        False,
    ),
    "the logarithm of a sigmoid": (
        lambda o, y: -torch.where(one_hot(y) > 0, o.sigmoid(), (-o).sigmoid()).log().mean(),
        True,
    ),
    "binary with logits": (
        lambda o, y: F.binary_cross_entropy_with_logits(o, one_hot(y).to(o.dtype)),
        False,
    ),
    "torch's soft margin, which overflows itself": (
        lambda o, y: F.soft_margin_loss(o, (2 * one_hot(y) - 1).to(o.dtype)),
        False,
    ),
}


def one_hot(labels):
    return F.one_hot(labels, 4)


@pytest.mark.parametrize("name", FAR)
def test_a_cross_entropy_is_finite_for_logits_far_apart(name):
    loss, bad = FAR[name]
    spec = ModelSpec(
        build=lambda: nn.Linear(5, 4),
        batch=lambda n: {"input": torch.randn(n, 5), "labels": torch.randint(4, (n,))},
        loss=lambda o, b: loss(o, b["labels"]),
    )
    kinds = [f.kind for f in check_model(spec, only=("loss",)).failures]
    assert kinds == (["non-finite"] if bad else [])
