"""What counts in a loss, which rows it joins and where it falls: all that is said (records/)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import held
from zoo.testing.checks.losses import check_loss
from zoo.testing.engine import NotApplicable
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject

CLASSES = 5


class Heads(nn.Module):
    """A tensor or several, each a linear map of x."""

    def __init__(self, **sizes):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(4, size) for name, size in sizes.items()})

    def forward(self, x):
        made = {name: head(x) for name, head in self.heads.items()}
        return made["y"] if set(made) == {"y"} else made


def spec(loss, batch, heads=(("y", CLASSES),), **facts):
    return ModelSpec(build=lambda: Heads(**dict(heads)), batch=batch, loss=loss, **facts)


def rows(size, length=0):
    return {"x": torch.randn(*((size, length, 4) if length else (size, 4)))}


def classes(size):
    return rows(size) | {"labels": torch.randint(CLASSES, (size,))}


def every_class(size):
    return rows(size) | {"labels": torch.arange(size) % CLASSES}


def numbers(size):
    return rows(size) | {"labels": torch.randn(size)}


def sequence(size, holes=0, index=-100, low=0):
    labels = torch.arange(size * 6).view(size, 6) % (CLASSES - low) + low
    if holes:
        labels[:, -holes:] = index
    return rows(size, 6) | {"labels": labels}


def padded(size):
    mask = torch.ones(size, 6, dtype=torch.long)
    mask[:, 4:] = 0
    return sequence(size) | {"mask": mask}


def dropped(size):
    batch = padded(size)
    return batch | {"mask": 1 - batch["mask"]}


def cross(o, b, **how):
    return F.cross_entropy(o.flatten(0, -2), b["labels"].flatten(), **how)


def ahead(o, b, **how):
    return F.cross_entropy(o[:, :-1].flatten(0, 1), b["labels"][:, 1:].flatten(), **how)


def margin(o, b, keep=True):
    """No form that is known: hinge of each position, holes left out or not."""
    labels = b["labels"]
    right = o.gather(-1, labels.clamp(min=0)[..., None])
    each = F.softplus(1 + o - right).pow(2).sum(-1)
    return (each * (labels >= 0 if keep else 1)).mean()


def over_rows(o, b):
    each = F.softplus(o.softmax(0)).pow(2).sum(-1)
    return (each * (b["labels"] >= 0)).mean()


def spread_of(o, b, sign=1.0):
    return (0.5 * ((o[:, 0] - b["labels"]) / o[:, 1].exp()) ** 2 + sign * o[:, 1]).mean()


def product(o, b):
    """Each row of one output is weighted with the numbers of all rows of another."""
    return ((o["a"].pow(2).sum(-1)) * o["w"].exp()).mean() + 0 * b["x"].sum()


def of_own_row(o, b):
    return (o["a"].pow(2).sum(-1) * o["w"][:, 0].exp()).mean() + 0 * b["x"].sum()


TWO = (("a", 3), ("w", 1))
CASES = {
    # labels that say that they do not count
    "-100 that counts as the last class": (
        spec(lambda o, b: cross(o, {"labels": b["labels"] % CLASSES}), lambda n: sequence(n, 2)),
        [("fail", "loss-ignored")],
    ),
    "-1 that counts, by declaration": (
        spec(
            lambda o, b: cross(o, {"labels": b["labels"].clamp(0)}),
            lambda n: sequence(n, 2, -1),
            ignore_index=-1,
        ),
        [("fail", "loss-ignored")],
    ),
    "-1 that nobody counts": (
        spec(lambda o, b: cross(o, b, ignore_index=-1), lambda n: sequence(n, 2, -1)),
        [],
    ),
    "a hole, one position later": (
        spec(
            lambda o, b: ahead(o, {"labels": b["labels"].clamp(0)}),
            lambda n: sequence(n, 1, -1),
            ignore_index=-1,
        ),
        [("fail", "loss-ignored")],
    ),
    "a class that is the declared index": (
        spec(lambda o, b: cross(o, b, ignore_index=4), sequence, ignore_index=4),
        [],
    ),
    "a declared index that counts where it stands": (
        spec(lambda o, b: cross(o, b), sequence, ignore_index=4),
        [("fail", "loss-ignored")],
    ),
    "a declared index that would count": (
        spec(
            lambda o, b: cross(o, {"labels": b["labels"] % 7 % CLASSES}), sequence, ignore_index=7
        ),
        [("fail", "loss-ignored")],
    ),
    "a declared index that would raise": (
        spec(lambda o, b: cross(o, b), sequence, ignore_index=9),
        [("fail", "loss-ignored")],
    ),
    "a declared index that would raise, one later": (
        spec(lambda o, b: ahead(o, b), sequence, ignore_index=9),
        [("fail", "loss-ignored")],
    ),
    # padding
    "padding that counts": (
        spec(lambda o, b: cross(o, b), padded, padding_mask="mask"),
        [("fail", "loss-ignored")],
    ),
    "padding that counts, one position later": (
        spec(lambda o, b: ahead(o, b), padded, padding_mask="mask"),
        [("fail", "loss-ignored")],
    ),
    "padding that counts, by a mask of what to drop": (
        spec(lambda o, b: cross(o, b), dropped, padding_mask="mask", true_means="drop"),
        [("fail", "loss-ignored")],
    ),
    "padding that does not": (
        spec(
            lambda o, b: cross(o, {"labels": b["labels"].masked_fill(b["mask"] == 0, -100)}),
            padded,
            padding_mask="mask",
        ),
        [],
    ),
    # a class that never counts
    "one class of five is lost": (
        spec(lambda o, b: cross(o, b, ignore_index=2), every_class, labels="labels"),
        [("fail", "loss-ignored")],
    ),
    "two classes of five are lost": (
        spec(
            lambda o, b: cross(o, b, weight=torch.tensor([1.0, 0, 0, 1, 1], dtype=o.dtype)),
            every_class,
        ),
        [("warn", "loss-ignored")],
    ),
    "the lost class is the declared index": (
        spec(lambda o, b: cross(o, b, ignore_index=2), every_class, ignore_index=2),
        [],
    ),
    "a class is lost at all positions": (
        spec(lambda o, b: cross(o, b, ignore_index=2), sequence),
        [("warn", "loss-ignored")],
    ),
    "a class is lost at real positions": (
        spec(
            lambda o, b: cross(
                o, {"labels": b["labels"].masked_fill(b["mask"] == 0, 2)}, ignore_index=2
            ),
            padded,
            padding_mask="mask",
        ),
        [("fail", "loss-ignored")],
    ),
    "a class is lost beside a declared index": (
        spec(
            lambda o, b: cross(
                o, {"labels": b["labels"].masked_fill(b["labels"] == 2, -1)}, ignore_index=-1
            ),
            lambda n: sequence(n, 1, -1),
            ignore_index=-1,
        ),
        [("fail", "loss-ignored")],
    ),
    "the id of padding is lost": (
        spec(lambda o, b: cross(o, b, ignore_index=2), sequence, pad_id=2),
        [],
    ),
    # losses that are of no known form
    "holes of a hinge that do not count": (
        spec(margin, lambda n: sequence(n, 2), ignore_index=-100),
        [],
    ),
    "holes of a hinge that count": (
        spec(lambda o, b: margin(o, b, keep=False), lambda n: sequence(n, 2), ignore_index=-100),
        [("fail", "loss-ignored")],
    ),
    "holes of a hinge that count, where labels are shifted": (
        spec(
            lambda o, b: margin(o, b, keep=False),
            lambda n: sequence(n, 2),
            ignore_index=-100,
            label_shift=1,
        ),
        [],
    ),
    # rows that are joined
    "numbers of all rows": (spec(product, rows, TWO), [("fail", "loss-shape")]),
    "numbers of the own row": (spec(of_own_row, rows, TWO), []),
    # which way it falls
    "a regression": (
        spec(lambda o, b: F.smooth_l1_loss(o[:, 0], b["labels"]), numbers, [("y", 1)]),
        [],
    ),
    "a regression that runs away": (
        spec(lambda o, b: -F.smooth_l1_loss(o[:, 0], b["labels"]), numbers, [("y", 1)]),
        [("fail", "loss-sign")],
    ),
    "classes by a hinge, turned": (
        spec(lambda o, b: -margin(o, b), classes),
        [("fail", "loss-sign")],
    ),
    "a spread": (spec(spread_of, numbers, [("y", 2)]), []),
    "a spread that runs away": (
        spec(lambda o, b: spread_of(o, b, -1.0), numbers, [("y", 2)]),
        [("warn", "loss-sign")],
    ),
    "a spread that runs away from a regression": (
        spec(lambda o, b: spread_of(o, b, -1.0), numbers, [("y", 2)], task="regression"),
        [("fail", "loss-sign")],
    ),
    # outputs that have no part
    "the main output has no part": (
        spec(
            lambda o, b: o["spread"].pow(2).mean() + 0 * o["mean"].sum(),
            rows,
            (("mean", 3), ("spread", 2)),
            output="mean",
        ),
        [("fail", "loss-constant")],
    ),
    "labels that say which are read, and are not": (
        spec(lambda o, b: o.pow(2).mean(), classes, labels="labels"),
        [("fail", "loss-targets")],
    ),
    "labels that are not read": (
        spec(lambda o, b: o.pow(2).mean(), classes),
        [("warn", "loss-targets")],
    ),
    "labels beyond the classes": (
        spec(lambda o, b: F.cross_entropy(o, b["labels"] + 3), every_class, labels="labels"),
        [("fail", "crash")],
    ),
    "a loss of no rows": (
        spec(lambda o, b: F.cross_entropy(o, b["labels"] * 0 - 100), classes),
        [("fail", "non-finite")],
    ),
    "a number": (spec(lambda o, b: 1.5, classes), [("fail", "detached")]),
    "a loss of each row, declared": (
        spec(
            lambda o, b: F.cross_entropy(o, b["labels"], reduction="none"),
            classes,
            reduction="none",
        ),
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_of_a_loss(name):
    given, wanted = CASES[name]
    assert [(one.severity, one.kind) for one in held(check_loss(Subject(given)))] == wanted


class Raises(Heads):
    def forward(self, x):
        raise KeyError("not today")


UNTRIED = {
    "no forward": (Raises, lambda o, b: o.mean(), "the model does not run on 4 rows: KeyError"),
    "no finite output": (
        lambda: nn.Sequential(nn.Linear(4, 2), Infinite()),
        lambda o, b: o.mean(),
        "the output is not finite",
    ),
}


class Infinite(nn.Module):
    def forward(self, input):
        return input / 0.0


@pytest.mark.parametrize(("build", "loss", "said"), UNTRIED.values(), ids=UNTRIED)
def test_a_loss_that_cannot_be_looked_at_is_not_judged(build, loss, said):
    name = "input" if "finite" in said else "x"
    given = ModelSpec(build=build, batch=lambda n: {name: torch.randn(n, 4)}, loss=loss)
    with pytest.raises(NotApplicable, match=said):
        list(check_loss(Subject(given)))
