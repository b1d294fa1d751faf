"""Tensors inside whatever a model gives."""

import collections
import dataclasses

import pytest
import torch

from zoo.testing.trees import at, changed, leaves, tensors

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Out:
    logits: torch.Tensor
    extra: object = None


X, Y = torch.zeros(1), torch.ones(2)
TREES = {
    "a tensor": (X, {"": X}),
    "a tuple": ((X, (Y, 3)), {"0": X, "1.0": Y}),
    "a dict": ({"a": X, "b": [Y]}, {"a": X, "b.0": Y}),
    "a named tuple": (Pair(X, Y), {"left": X, "right": Y}),
    "a dataclass": (Out(X, {"y": Y}), {"logits": X, "extra.y": Y}),
    "nothing": (None, {}),
}


@pytest.mark.parametrize(("value", "expected"), TREES.values(), ids=TREES)
def test_tensors_are_found_by_path(value, expected):
    found = tensors(value)
    assert found.keys() == expected.keys()
    assert all(found[path] is expected[path] for path in found)
    assert all(at(value, path) is x for path, x in found.items())


def test_leaves_hold_what_is_no_tensor():
    assert leaves({"a": (1, "x")}) == {"a.0": 1, "a.1": "x"}


def test_a_wrong_path_names_what_there_is():
    with pytest.raises(KeyError, match=r"no 'logit'.*there is logits, extra"):
        at(Out(X), "logit")


def test_changing_keeps_the_shape_of_the_tree():
    value = {"a": X, "b": [Y, Pair(X, 3)]}
    found = changed(value, lambda x: x + 1)
    assert isinstance(found["b"][1], Pair) and found["b"][1].right == 3
    assert torch.equal(found["a"], X + 1) and torch.equal(found["b"][0], Y + 1)
    assert torch.equal(value["a"], X)
