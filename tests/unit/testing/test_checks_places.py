"""Positions, names and layouts, by the small functions of the checks: each answer by hand."""

import collections
import dataclasses

import pytest
import torch

from unit.testing.records import plain
from zoo.testing.checks import (
    causal,
    causal_words,
    flow_unused,
    influence,
    influence_blame,
    influence_inputs,
    influence_tools,
    inits,
    inits_alike,
    losses_free,
    memory,
    memory_modes,
    padding_tools,
    positions,
    saving_ties,
    training_loop,
)
from zoo.testing.spec import Input

T = torch.tensor
GRID = torch.arange(12).view(3, 4)
Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True)
class Answer:
    logits: object
    name: str


class Kept(collections.OrderedDict):
    """A mapping with a class of its own, as Hugging Face's outputs are."""


def changes(path, x):
    return (path, x.item())


RAGGED = T([[1, 2, 3, 4], [5, 6, 7, 8]])
KEEP = T([[True, True, False, False], [True, True, True, True]])
NONE_KEPT = torch.zeros(2, 4, dtype=torch.bool)
CASES = {
    # positions
    "refused trials of the first place": (lambda: influence.refused_of({1, 3}, 0, 2), {0, 2}),
    "refused trials of the third": (lambda: influence.refused_of({5, 6}, 2, 2), {0, 1}),
    "dead at the end": (lambda: influence.trailing((0, 2, 4, 6), [0, 4, 6]), {4, 6}),
    "dead at the beginning": (lambda: influence.leading((0, 2, 4, 6), [0, 4, 6]), {0}),
    "dead everywhere": (lambda: influence.trailing((0, 1), [0, 1]), {0, 1}),
    "alive at the end": (lambda: influence.trailing((0, 1), [0]), set()),
    "all of a short sequence": (lambda: influence_tools.spread_out(4, 4), [0, 1, 2, 3]),
    "some of a long one": (lambda: influence_tools.spread_out(11, 3), [0, 5, 10]),
    "other ids, spread": (lambda: influence_tools.other_ids(range(10), 3, 3, 0), [0, 4, 7]),
    "other ids, one later": (lambda: influence_tools.other_ids(range(10), 3, 3, 1), [1, 5, 8]),
    "fewer ids than asked for": (lambda: influence_tools.other_ids([4, 5], 4, 3, 0), [5]),
    "no other id": (lambda: influence_tools.other_ids([4], 4, 3, 0), []),
    "a mask says what to keep": (
        lambda: influence_tools.kept(T([0, 1, 2]), Input()),
        T([False, True, True]),
    ),
    "a mask says what to drop": (
        lambda: influence_tools.kept(T([0, 1, 2]), Input(true_means="drop")),
        T([True, False, False]),
    ),
    "what is hidden": (
        lambda: padding_tools.hidden(T([0, 1, 2]), Input()),
        T([True, False, False]),
    ),
    "kept entries over the others": (
        lambda: influence_tools.filled(RAGGED, KEEP),
        T([[1, 2, 1, 2], [5, 6, 7, 8]]),
    ),
    "one kept entry over three": (
        lambda: influence_tools.filled(RAGGED[:1], T([[False, True, False, False]])),
        T([[2, 2, 2, 2]]),
    ),
    "no entry kept": (lambda: influence_tools.filled(RAGGED, NONE_KEPT), RAGGED),
    "one axis": (lambda: influence_tools.filled(RAGGED[0], KEEP[0]), RAGGED[0]),
    "the end of a mask, turned": (
        lambda: influence_inputs.punched(T([[1, 1, 1], [0, 0, 0]])),
        T([[1, 0, 0], [0, 1, 1]]),
    ),
    "one value over another": (
        lambda: positions.changed_pair(GRID, 1, 0, 3),
        T([[3, 1, 2, 3], [7, 5, 6, 7], [11, 9, 10, 11]]),
    ),
    "slices of a row": (
        lambda: influence_inputs.slices(GRID.view(3, 2, 2), 2),
        [T([[True, False], [True, False]]), T([[False, True], [False, True]])],
    ),
    "slices of a long row": (lambda: len(influence_inputs.slices(torch.zeros(1, 70), 1)), 64),
    "rows and positions in one axis": (
        lambda: influence_blame.placed(GRID.t(), 2, 2),
        (GRID.t().reshape(2, 2, 3), 1),
    ),
    "one row of positions": (lambda: influence_blame.placed(GRID, 3, 1), None),
    "positions along the second axis": (lambda: influence_blame.placed(GRID, 4, 3), (GRID, 1)),
    "positions along the first axis": (
        lambda: influence_blame.placed(GRID.view(4, 3), 4, 3),
        (GRID.view(4, 3), 0),
    ),
    "positions against positions": (
        lambda: influence_blame.placed(torch.zeros(2, 3, 3), 3, 2),
        None,
    ),
    "positions of heads": (
        lambda: influence_blame.placed(GRID.view(1, 3, 2, 2), 3, 1),
        (GRID.view(1, 3, 2, 2), 1),
    ),
    "positions behind heads": (
        lambda: influence_blame.placed(GRID.view(1, 2, 3, 2), 3, 1),
        (GRID.view(1, 2, 3, 2), 2),
    ),
    "positions at the end of heads": (
        lambda: influence_blame.placed(GRID.view(1, 2, 2, 3), 3, 1),
        None,
    ),
    "heads of other rows": (lambda: influence_blame.placed(GRID.view(1, 3, 2, 2), 3, 2), None),
    "positions in five axes": (
        lambda: influence_blame.placed(GRID.view(1, 3, 2, 2, 1), 3, 1),
        None,
    ),
    "positions in one axis": (lambda: influence_blame.placed(GRID[0], 4, 1), None),
    "a decoder's mask": (
        lambda: padding_tools.same_side("decoder_mask", ["ids", "decoder_ids", "tgt"]),
        ["decoder_ids", "tgt"],
    ),
    "an encoder's mask": (lambda: padding_tools.same_side("mask", ["ids", "decoder_ids"]), ["ids"]),
    "a mask of one": (lambda: padding_tools.same_side("mask", ["decoder_ids"]), ["decoder_ids"]),
    "up to so many ahead": (lambda: causal_words.told(3, 0, "a"), "up to 3 ahead"),
    "as many alone": (lambda: causal_words.told(3, 3, "a"), "up to 3 ahead"),
    "fewer alone": (
        lambda: causal_words.told(3, 1, "a"),
        "up to 3 ahead in all layers together, 1 ahead in a alone",
    ),
    "fewer in the model itself": (
        lambda: causal_words.told(3, 1, ""),
        "up to 3 ahead in all layers together, 1 ahead in one alone",
    ),
    "no weight on what is later": (
        lambda: causal_words.holds_nothing_later(GRID.double().tril()),
        True,
    ),
    "a weight on what is later": (
        lambda: causal_words.holds_nothing_later(GRID.double().tril(1)),
        False,
    ),
    "ids one later": (
        lambda: causal.agrees(
            T([[1, 2, 3, 4], [5, 6, 7, 8]]), T([[2, 3, 4, -1], [6, 7, 8, -1]]), 1
        ),
        True,
    ),
    "five ids one later": (
        lambda: causal.agrees(
            T([[1, 2, 3, 4], [5, 6, 7, 8]]), T([[2, 3, 4, -1], [6, 7, -1, -1]]), 1
        ),
        False,
    ),
    "two ids alone": (
        lambda: causal.agrees(T([[1, 2, 1, 2], [1, 2, 1, 2]]), T([[2, 1, 2, 0], [2, 1, 2, 0]]), 1),
        False,
    ),
    "three ids are enough": (
        lambda: causal.agrees(T([[1, 2, 1, 2], [1, 2, 1, 3]]), T([[2, 1, 2, 0], [2, 1, 3, 0]]), 1),
        True,
    ),
    "another id": (
        lambda: causal.agrees(T([[1, 2, 3, 4], [5, 6, 7, 8]]), T([[2, 3, 4, 0], [6, 7, 9, 0]]), 1),
        False,
    ),
    "targets of another length": (lambda: causal.agrees(T([[1, 2, 3, 4]]), T([[2, 3]]), 1), False),
    # names
    "the module of all": (lambda: flow_unused.common(["a.b.w", "a.b.c.w"]), "a.b"),
    "no module of all": (lambda: flow_unused.common(["a.w", "b.w"]), ""),
    "a name without its places": (
        lambda: flow_unused.layerless("blocks.12.fc1.w"),
        "blocks.#.fc1.w",
    ),
    "where a module stands": (lambda: inits_alike.parent("a.b.c"), "a.b"),
    "the owner of the first": (lambda: memory.owner_of(["a.b.c", "d.e"]), "a.b"),
    "the owner of none": (lambda: memory.owner_of([]), ""),
    "the same part of two layers": (lambda: saving_ties.numbered_alike("b.1.w", "b.23.w"), True),
    "another part": (lambda: saving_ties.numbered_alike("b.1.w", "b.1.v"), False),
    "few names": (lambda: training_loop.some(["a", "b", "c"]), "a, b, c"),
    "many names": (lambda: training_loop.some(["a", "b", "c", "d", "e"]), "a, b, c and 2 more"),
    "many names, two of them": (lambda: training_loop.some(["a", "b", "c"], 2), "a, b and 1 more"),
    # tensors
    "a matrix that keeps a signal's size": (lambda: inits.gain(T([[0.5, -0.5, 0.5, 0.5]])), 1.0),
    "a kernel": (lambda: inits.gain(torch.ones(2, 3, 2, 2)), 12**0.5),
    "one number": (lambda: inits_alike.constant(T([[2.0, 2.0]])), True),
    "two numbers": (lambda: inits_alike.constant(T([[2.0, 3.0]])), False),
    "one number, in words": (lambda: inits_alike.worded(T([[0.123456, 0.123456]])), "all 0.1235"),
    "two numbers, in words": (lambda: inits_alike.worded(T([[2.0, 3.0]])), "equal rows"),
    "real numbers are widened": (lambda: training_loop.widened(T([1.5])), T([1.5]).double()),
    "ids are not": (lambda: training_loop.widened(T([1])), T([1])),
    "the norm of all": (lambda: training_loop.norm({"a": T([3.0]), "b": T([[0.0, 4.0]])}), 5.0),
    "all in one vector": (
        lambda: training_loop.flat({"a": T([[3.0], [1.0]]), "b": T([4.0])}, ["b", "c", "a"]),
        T([4.0, 3.0, 1.0]).double(),
    ),
    "nothing in one vector": (lambda: training_loop.flat({}, ["a"]), torch.zeros(0).double()),
    "rows of a batch": (
        lambda: training_loop.cut_rows(
            {"a": GRID, "b": {"c": [GRID.t(), 7]}, "d": (GRID,), "e": Pair(GRID, "x")},
            {"a": 0, "b.c.0": 1, "d.0": None, "e.left": 0, "e.0": 0},
            1,
            3,
        ),
        {
            "a": GRID[1:3],
            "b": {"c": [GRID.t()[:, 1:3], 7]},
            "d": (GRID,),
            "e": Pair(GRID[1:3], "x"),
        },
    ),
    "a picture has places": (lambda: memory_modes.is_placed(torch.zeros(1, 1, 1)), True),
    "a table has none": (lambda: memory_modes.is_placed(torch.zeros(1, 1)), False),
    "ids have none": (lambda: memory_modes.is_placed(GRID.view(1, 3, 4)), False),
    "words have none": (lambda: memory_modes.is_placed("abc"), False),
    "cut along an axis": (
        lambda: memory_modes.along(GRID, False, [1], GRID, lambda n: n - 1),
        GRID[:, :3],
    ),
    "repeated along both": (
        lambda: memory_modes.along(GRID[:, :1], True, [0, 1], GRID[:, :1], lambda n: n + 1),
        T([[0, 0], [4, 4], [8, 8], [0, 0]]),
    ),
    "of another length": (
        lambda: memory_modes.along(GRID, False, [1], GRID[:, :2], lambda n: 1),
        GRID,
    ),
    "a vector, whole": (
        lambda: memory_modes.along(T([1, 2]), True, [0], T([3, 4]), lambda n: 1),
        T([1]),
    ),
    "a vector of rows": (
        lambda: memory_modes.along(T([1, 2]), False, [0], T([3, 4]), lambda n: 1),
        T([1, 2]),
    ),
    "changed in a mapping of its own": (
        lambda: losses_free.rebuilt(Kept(a=T(1), b=[T(2), None]), changes),
        Kept(a=("a", 1), b=[("b.0", T(2).item()), None]),
    ),
    "changed in a dict": (
        lambda: losses_free.rebuilt({"a": (T(1), "x")}, changes),
        {"a": (("a.0", 1), "x")},
    ),
    "changed in a named pair": (
        lambda: losses_free.rebuilt(Pair(T(1), {"k": T(2)}), changes),
        Pair(("left", 1), {"k": ("right.k", 2)}),
    ),
    "changed in a dataclass": (
        lambda: losses_free.rebuilt(Answer(T(1), "x"), changes),
        Answer(("logits", 1), "x"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_as_it_is_worked_out_by_hand(name):
    answer, wanted = CASES[name]
    found = answer()
    assert plain(found) == (pytest.approx(wanted) if isinstance(wanted, float) else plain(wanted))
