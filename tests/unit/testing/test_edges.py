"""Trees and traces at their edges: odd keys, empty parts, numbers that are none."""

import collections
import dataclasses

import pytest
import torch
from torch import nn

from zoo.testing.trace import difference, first_divergence, trace
from zoo.testing.trees import at, changed, children, is_tree, leaves

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Out:
    logits: object
    extra: object = None


class Slotted:
    def __init__(self):
        self.inner = {"3": [7, 8]}


TREE = {"a": [1, (2, Pair(3, Out(4, {5: 6})))], "b.c": 7, "": 8, "e": []}


def test_what_is_inside_has_a_path():
    assert leaves(TREE) == {
        "a.0": 1,
        "a.1.0": 2,
        "a.1.1.left": 3,
        "a.1.1.right.logits": 4,
        "a.1.1.right.extra.5": 6,
        "b.c": 7,
        "": 8,
    }
    assert leaves(3) == {"": 3}
    assert leaves([]) == leaves({}) == {}
    assert [is_tree(x) for x in ({}, [], (), Out(1), Out, "x", 3)] == [1, 1, 1, 1, 0, 0, 0]
    assert children("ab") == children(Out) == []
    assert children(Out(1, 2)) == [("logits", 1), ("extra", 2)]


PATHS = {
    "a.0": (TREE, 1),
    "a.1.1.left": (TREE, 3),
    "a.-1.-1.right.logits": (TREE, 4),
    "": (TREE, TREE),
    "inner.3.1": (Slotted(), 8),
    "e": (TREE, []),
}


@pytest.mark.parametrize(("path", "given"), PATHS.items(), ids=[p or "the whole" for p in PATHS])
def test_what_stands_at_a_path(path, given):
    value, expected = given
    assert at(value, path) == expected


MISSING = {
    "a.x": (TREE, "no 'x' on the way to output 'a.x'; there is 0, 1"),
    "a.1.1.up": (TREE, "no 'up' on the way to output 'a.1.1.up'; there is left, right"),
    "a.0.z": (TREE, "no 'z' on the way to output 'a.0.z'; there is int"),
    "e.q": (TREE, "no 'q' on the way to output 'e.q'; there is list"),
    "y": ({"5": 1, 6: 2}, "no 'y' on the way to output 'y'; there is 5, 6"),
}


@pytest.mark.parametrize(("path", "given"), MISSING.items(), ids=list(MISSING))
def test_what_is_not_at_a_path_is_told(path, given):
    with pytest.raises(KeyError) as missing:
        at(given[0], path)
    assert missing.value.args == (given[1],)


def test_a_change_reaches_tensors_alone():
    x = torch.ones(2)
    value = {"a": (x, [x, "s"]), "p": Pair(x, 3), "out": (o := Out(x))}
    made = changed(value, lambda t: t + 1)
    assert made["a"][0].tolist() == made["a"][1][0].tolist() == made["p"].left.tolist() == [2, 2]
    assert type(made["a"]) is tuple and type(made["a"][1]) is list and type(made["p"]) is Pair
    assert made["a"][1][1] == "s" and made["p"].right == 3 and made["out"] is o
    assert changed(x, lambda t: t * 3).tolist() == [3, 3]


# traces

INF, NAN = float("inf"), float("nan")
DIFFERENCES = {
    "of another shape": ([1.0], [1.0, 1.0], (INF, 0.0)),
    "of nothing": ([], [], (0.0, 0.25)),
    "beyond the bound": ([1.0, 10.0], [2.0, 10.5], (1.0, 0.25 + 0.5 * 2.0)),
    "NaN in one": ([1.0, NAN], [1.0, 2.0], (INF, 1.25)),
    "NaN in both": ([NAN, 4.0], [NAN, 2.0], (2.0, 1.25)),
    "infinite": ([4.0, 1.0], [-INF, 1.0], (INF, 0.25)),
    "within": ([1.0, 8.0], [1.0, 8.25], (0.0, 0.75)),
}


@pytest.mark.parametrize(("one", "other", "found"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_the_difference_and_its_bound(one, other, found):
    assert difference(torch.tensor(one), torch.tensor(other), rtol=0.5, atol=0.25) == found


def test_a_difference_as_large_as_its_bound_is_none():
    a, b = {"x": torch.tensor([1.5])}, {"x": torch.tensor([1.0])}
    assert first_divergence(a, b, rtol=0.25, atol=0.25) is None
    found = first_divergence(a, b, rtol=0.25, atol=0.125)
    assert (found.name, found.difference, found.bound) == ("x", 0.5, 0.375)
    assert str(found) == "first differs at x by 0.5 (allowed: 0.375)"


def test_a_mask_counts_where_both_have_its_axes():
    kept = torch.tensor([[True, False], [True, True]])
    one, other = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    one[0, 1] = 5
    options = {"rtol": 0.0, "atol": 0.0, "kept": kept}
    assert first_divergence({"x": one}, {"x": other}, **options) is None
    one[1, 1] = 7
    assert first_divergence({"x": one}, {"x": other}, **options).difference == 7
    wide = {"x": torch.zeros(3, 2, 3)}
    assert first_divergence({"x": one}, wide, **options).difference == INF
    assert first_divergence(wide, {"x": one}, **options).difference == INF
    other_axes = {"x": torch.ones(4)}, {"x": torch.zeros(4)}
    assert first_divergence(*other_axes, **options).difference == 1


class Gives(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.made, self.inner = made, nn.Identity()

    def forward(self, x, **more):
        self.inner(x + len(more))
        return self.made


def test_a_trace_keeps_first_tensors_as_they_were():
    x = torch.ones(2, requires_grad=True)
    for made, kept in (([[x]], x), ((), None), ({"a": x}, None), ((3, x), None), ([x, 3], x)):
        found = trace(Gives(made), x.detach(), more=1)
        assert list(found) == ["inner"] + [""] * (kept is not None)
        assert found["inner"].tolist() == [2, 2]
        if kept is not None:
            assert found[""].data_ptr() != x.data_ptr() and not found[""].requires_grad
