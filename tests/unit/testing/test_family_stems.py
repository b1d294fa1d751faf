"""What is told of embeddings, positions and class tokens."""

from dataclasses import replace

import pytest
import torch

from unit.testing.family_made import drawn, layer, walk
from unit.testing.family_sources import said
from unit.testing.records import hold
from zoo.testing.family.stems import (
    added_rows,
    class_step,
    fitted_parts,
    flat,
    in_roles,
    inside,
    is_ids,
    is_places,
    near_zero,
    otherwise,
    position_ids,
    same,
)
from zoo.testing.family.steps import Step

TABLE = drawn(9, 4, seed=1)
X = drawn(2, 5, 4)
ROWS = TABLE[:5]
ADDED = {
    "as they should be": X + ROWS,
    "not at all": X,
    "twice": X + 2 * ROWS,
    "subtracted": X - ROWS,
    "multiplied": X * ROWS,
    "a larger stream": 2 * X + ROWS,
    "a smaller stream": X / 2 + ROWS,
    "larger positions": X + 2 * ROWS,
    "in reverse": X + ROWS.flip(0),
    "the first alone": X + ROWS[:1],
    "one late": X + ROWS.roll(1, 0),
    "to the first row alone": torch.cat([X[:1] + ROWS, X[1:]]),
    "with factors": 0.3 * X + 5 * ROWS,
    "something else": drawn(2, 5, 4, seed=9),
}


@pytest.mark.parametrize("y", ADDED.values(), ids=ADDED)
def test_rows_of_a_table_are_added(y):
    place = layer("vector", X, y, "wpe.weight", value=ROWS, op="add")
    rows, step = added_rows(walk(weights={"wpe.weight": TABLE}), place, X, "positions")
    assert torch.equal(rows, ROWS)
    hold([said(step)])


READ = {
    "from another row": (TABLE[2:7], TABLE),
    "rows that are not the table's": (drawn(5, 4, seed=3), TABLE),
    "of a table as long as the stream": (drawn(5, 4, seed=3), TABLE[:5]),
    "too few": (TABLE[:3], TABLE),
    "one row": (TABLE[:1], TABLE),
    "too few, of a short table": (TABLE[:3], TABLE[:3]),
}


@pytest.mark.parametrize(("read", "table"), READ.values(), ids=READ)
def test_which_rows_are_read(read, table):
    y = X + read if len(read) in (1, 5) else X
    place = layer("vector", X, y, "wpe.weight", value=read[None], op="add")
    rows, step = added_rows(walk(weights={"wpe.weight": table}), place, X, "positions")
    hold([said(step), f"{tuple(rows.shape)} {float(rows.sum()):.6g}"])


def test_where_rows_begin_in_a_table():
    assert [inside(TABLE[a:b], TABLE) for a, b in ((0, 9), (0, 1), (4, 9), (8, 9))] == [0, 0, 4, 8]
    assert inside(TABLE[:2] + 1, TABLE) is None and inside(TABLE, TABLE[:3]) is None
    assert inside(TABLE[[0, 2]], TABLE) is None


RIGHT = torch.arange(5).expand(2, 5)
PLACES = {
    "in order": (RIGHT, []),
    "in order, without rows": (RIGHT[0], []),
    "one late": (RIGHT + 1, []),
    "all the first": (RIGHT * 0, []),
    "wrong in the second row": (torch.tensor([[0, 1, 2, 3, 4], [0, 0, 1, 2, 3]]), []),
    "from the mask": (
        torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]]),
        [RIGHT > 9, torch.tensor([[True] * 5, [False, False, True, True, True]])],
    ),
    "a single number": (torch.tensor(0), []),
    "a single other number": (torch.tensor(3), []),
}


@pytest.mark.parametrize(("ids", "keeps"), PLACES.values(), ids=PLACES)
def test_which_positions_are_read(ids, keeps):
    hold([said(position_ids(layer("table", ids, weight="wpe.weight"), "positions", keeps))])


def test_tables_are_told_apart():
    ids, places, types = torch.tensor([[5, 6, 7]]), torch.arange(3)[None], torch.zeros(1, 3).long()
    tokens = layer("table", ids, weight="wte.weight")
    pos = layer("table", places, weight="second.weight")
    kinds = layer("table", types, weight="third.weight")
    every = in_roles([pos, kinds, tokens], {"input_ids": ids, "position_ids": places})
    assert {k: v.weight for k, v in every.items()} == {
        "tokens": "wte.weight",
        "positions": "second.weight",
        "third.weight2": "third.weight",
    }
    assert in_roles([], {}) == {}
    assert in_roles([pos, tokens], {})["tokens"] is pos
    two = in_roles([tokens, pos, replace(pos, weight="more.weight")], {"input_ids": ids})
    assert list(two) == ["tokens", "positions", "more.weight2"]
    names = ("ids", "position", "token_type", "segment", "Mask", "x")
    assert [is_ids(n, ids) for n in names] == [True, False, False, False, False, True]
    assert not is_ids("x", X) and not is_ids("x", torch.tensor(3)) and not is_ids("x", "y")
    assert same(ids, ids.int()) and not same(ids, places) and not same(None, ids)
    assert not same(ids, ids[:, :2])
    named = {"pos.weight": types, "wpe.weight": types, "type_pos.weight": places, "e.weight": types}
    assert [is_places(layer("table", x, weight=n)) for n, x in named.items()] == [1, 1, 0, 0]
    segment = layer("table", places, weight="segment.weight")
    assert [is_places(t) for t in (pos, segment, layer("table"), replace(pos, x=ids[:, :0]))] == [
        True,
        False,
        False,
        False,
    ]


def test_what_is_nothing_beside_what():
    scale = torch.tensor([1e3, -2e3])
    assert near_zero(torch.tensor([1.9e-6, 0]), scale)
    assert not near_zero(torch.tensor([-2.1e-6, 0]), scale)
    alike = drawn(1, 1, 4).expand(2, 3, 4)
    assert flat(alike, X) and flat(X[:, :1], X) and not flat(X, X)


def test_factors_of_tables_are_told():
    a, b = drawn(2, 5, 4, seed=5), drawn(5, 4, seed=6)
    wrong = Step("embedding", False, "w", "l", "it differs", "fix", 0.5)
    parts = {"tokens": a, "places": b}
    hold([said(fitted_parts(wrong, 0.25 * a - 2 * b, parts))])
    assert fitted_parts(wrong, drawn(2, 5, 4, seed=8), parts) is wrong


PATCHES = layer("conv", y=drawn(2, 4, 2, 3, seed=2), weight="patch.weight")
STREAM = PATCHES.y.flatten(2).mT
CLS = drawn(1, 1, 4, seed=3).expand(2, 1, 4)
TOKENS = {
    "a class token first": torch.cat([CLS, STREAM], 1),
    "registers too": torch.cat([CLS, 2 * CLS, STREAM], 1),
    "a class token last": torch.cat([STREAM, CLS], 1),
    "another in each row": torch.cat([drawn(2, 1, 4, seed=7), STREAM], 1),
    "patches in reverse": torch.cat([CLS, STREAM.flip(1)], 1),
    "column by column": torch.cat([CLS, PATCHES.y.mT.flatten(2).mT], 1),
    "mixed": torch.cat([CLS, PATCHES.y.reshape(2, -1, 4)], 1),
    "other patches": torch.cat([CLS, STREAM + 1], 1),
    "no more tokens than patches": STREAM,
}


@pytest.mark.parametrize("y", TOKENS.values(), ids=TOKENS)
def test_a_class_token_stands_before_the_patches(y):
    made = layer("vector", y=y, weight="cls", op="cat")
    hold([said(class_step(walk(), made, STREAM, PATCHES, "tokens"))])


def test_positions_of_patches_in_another_order_are_told_as_such():
    rows = drawn(6, 4, seed=4)
    wrong = Step("positions", False, "p", "l", "it differs", "add", 0.5)
    columns = PATCHES.y.mT.flatten(2).mT
    place = layer("vector", y=columns + rows, value=rows[None], op="add")
    hold([said(otherwise(wrong, walk(), place, PATCHES))])
    for step, at in (
        (replace(wrong, gap=0.0), place),
        (replace(wrong, ok=True), place),
        (wrong, replace(place, value=None)),
        (wrong, replace(place, y=columns)),
        (wrong, replace(place, value=rows[:3])),
    ):
        assert otherwise(step, walk(), at, PATCHES) is step
