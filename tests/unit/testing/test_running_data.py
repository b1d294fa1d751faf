"""Data that cannot be meant: what is said of each kind of wrong batch, word by word (records/)."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import Input, ModelSpec


class Net(nn.Module):
    def forward(self, x, ids=None, mask=None):
        return x.nan_to_num().flatten(1)[:, :2].abs() + 1


def spec(make, **facts):
    return ModelSpec(build=Net, batch=make, **facts)


def rows(size, low=-1.0, high=1.0):
    return torch.linspace(low, high, size * 4).view(size, 4)


def with_labels(values, **facts):
    def make(size):
        return {"x": rows(size), "labels": torch.tensor(values).repeat(size)[:size]}

    return spec(make, labels="labels", **facts)


def with_ids(low, high, **facts):
    def make(size):
        return {"x": rows(size), "ids": torch.linspace(low, high, 5 * size).long().view(size, 5)}

    return spec(make, tokens="ids", **facts)


def with_mask(values, name="mask", **facts):
    def make(size):
        mask = torch.tensor(values).repeat(size, 1)
        return {"x": rows(size).unsqueeze(1).repeat(1, 4, 1), name: mask}

    return spec(make, padding_mask=name, **facts)


def of_x(made, **known):
    return spec(lambda size: {"x": made(size)}, inputs={"x": Input(**known)})


def a_nan(size):
    x = rows(size)
    x[0, 1] = float("nan")
    return x


def one_row_only(size):
    if size > 7:
        raise ValueError("seven rows are all there are")
    return {"x": rows(size), "labels": torch.full((size,), 2)}


class Own:
    """Numbers that hang on no seed: each call has others."""

    calls = 0

    def __call__(self, size):
        self.calls += 1
        return {"x": rows(size, high=1.0 + self.calls)}


CASES = {
    "numbers in their range, ends included": (of_x(rows, low=-1.0, high=1.0), []),
    "below the declared range": (of_x(rows, low=-0.5), [("fail", "x")]),
    "above the declared range": (of_x(rows, high=0.5), [("fail", "x")]),
    "NaN in an input": (of_x(a_nan), [("fail", "x")]),
    "positions up to the longest": (of_x(rows, sequence_axis=1, max_length=4), []),
    "positions beyond the longest": (of_x(rows, sequence_axis=1, max_length=3), [("fail", "x")]),
    "complex numbers, which have no order": (of_x(lambda n: rows(n).to(torch.complex64)), []),
    "no numbers at all": (spec(lambda n: {"x": rows(n), "ids": torch.zeros(n, 0)}), []),
    "ids from the first to the last": (with_ids(0, 6, vocab_size=7), []),
    "an id beyond the last": (with_ids(0, 7, vocab_size=7), [("fail", "ids")]),
    "an id below 0": (with_ids(-1, 6, vocab_size=7), [("fail", "ids")]),
    "ids of a vocabulary of their own": (
        with_ids(0, 8, vocab_size=7, inputs={"ids": Input(kind="tokens", vocab_size=9)}),
        [],
    ),
    "beyond a vocabulary of their own": (
        with_ids(0, 8, vocab_size=70, inputs={"ids": Input(kind="tokens", vocab_size=8)}),
        [("fail", "ids")],
    ),
    "ids of an unknown vocabulary": (with_ids(0, 6), []),
    "a mask of 0 and 1": (with_mask([1, 1, 0, 0]), []),
    "a mask of bool": (with_mask([True, True, False, False]), []),
    "a mask that is added": (with_mask([0.0, 0.0, -9.0, -9.0]), []),
    "a mask of weights": (with_mask([1.0, 0.5, 0.25, 0.0]), [("fail", "mask")]),
    "a mask of lengths": (with_mask([2, 0, 0, 1]), [("fail", "mask")]),
    "a mask of many numbers": (with_mask([-3, 4, 5, 6, 7, 8]), [("fail", "mask")]),
    "a mask that is not that of padding": (
        spec(
            lambda n: {"x": rows(n), "mask": torch.full((n, 4), 2)},
            inputs={"mask": Input(kind="mask")},
        ),
        [("fail", "mask")],
    ),
    "numbers that are no mask": (spec(lambda n: {"x": rows(n), "mask": torch.full((n, 4), 2)}), []),
    "labels of all classes": (with_labels([0, 1, 2], num_classes=3), []),
    "a label beyond the last class": (with_labels([0, 1, 3], num_classes=3), [("fail", "labels")]),
    "a label below 0": (with_labels([-1, 1, 2], num_classes=3), [("fail", "labels")]),
    "a label below 0 that is ignored": (with_labels([-1, 1], num_classes=3, ignore_index=-1), []),
    "labels of -100": (with_labels([-100, 1, 2], num_classes=3), []),
    "labels of -100 with another index": (
        with_labels([-100, 1, 2], num_classes=3, ignore_index=-1),
        [("fail", "labels")],
    ),
    "no label that counts": (with_labels([-100]), [("fail", "labels")]),
    "no label that counts, by another index": (
        with_labels([7], ignore_index=7),
        [("fail", "labels")],
    ),
    "one label for all": (with_labels([1], num_classes=3), [("warn", "labels")]),
    "one label for all of one class": (with_labels([0], num_classes=1), []),
    "one label for all of an unknown number": (with_labels([1]), []),
    "one label for all of few": (spec(one_row_only, labels="labels", num_classes=3), []),
    "one label beyond the classes": (with_labels([4], num_classes=3), [("fail", "labels")]),
    "whole numbers to be told": (
        with_labels([40], num_classes=3, task="regression"),
        [("warn", "labels")],
    ),
    "real labels": (with_labels([0.5, 9.0], num_classes=3), []),
    "labels that are yes or no": (with_labels([True, True], num_classes=3), []),
    "rows that are all the same": (
        spec(lambda n: {"x": torch.ones(n, 4)}),
        [("warn", "x")],
    ),
    "rows that are the same in one of two inputs": (
        spec(lambda n: {"x": rows(n), "ids": torch.ones(n, 4).long()}),
        [],
    ),
    "other rows for the same seed": (spec(Own()), [("warn", "x")]),
    "NaN for the same seed is the same": (spec(lambda n: {"x": a_nan(n)}), [("fail", "x")]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_with_a_batch_is_said_of_its_entry(name):
    given, wanted = CASES[name]
    (outcome,) = check_model(given, only=("batch_data",)).outcomes
    assert outcome.status in ("passed", "found")
    assert [(f.severity, f.where) for f in outcome.findings] == wanted
