"""Key tables at their edges: a head with a prefix of its own, numbered second names, one part."""

import pytest
import torch

from zoo.keymap import (
    KeyTable,
    Rename,
    Reshape,
    Stack,
    Tied,
    affine,
    combined_shape,
    from_theirs,
    plan,
    to_theirs,
)

# the body of "plain" files has no prefix, that of "other" files one of its own
TABLE = KeyTable(
    prefix="body.",
    body=(Rename("body.h.{}.w", "blocks.{}.w"), Tied("body.h.{}.v", "blocks.{}.w")),
    heads={"lm": (), "other": (Rename("body.top", "top"),)},
    prefixes={"other": ""},
)


@pytest.mark.parametrize(("head", "prefix"), [("lm", "body."), ("other", ""), (None, "body.")])
def test_a_head_may_have_a_prefix_of_its_own(head, prefix):
    assert TABLE.prefix_of(head) == prefix


@pytest.mark.parametrize(
    ("head", "unread", "unexpected", "sources"),
    [("lm", ["top"], ["h.w"], ["blocks.0.w"]), ("other", [], ["h.0.w", "h.w"], ["top"])],
)
def test_a_name_without_its_prefix_is_read_where_the_head_has_it(head, unread, unexpected, sources):
    heads = {"lm": (), "other": (Rename("x.top", "top"),)}
    table = KeyTable("body.", TABLE.body, heads, prefixes={"other": "x."})
    result = plan(table, head, ["h.0.w", "h.w", "top"])
    assert result.unread == unread
    assert result.unexpected == unexpected
    assert list(result.sources) == sources


def test_the_prefix_left_away_is_the_heads_own():
    own = KeyTable("body.", TABLE.body, TABLE.heads, prefixes={"other": "body.h."})
    state = {"blocks.3.w": torch.ones(2)}
    assert list(to_theirs(own, "other", state, prefix=False)) == ["3.w"]
    assert list(to_theirs(own, "lm", state, prefix=False)) == ["h.3.w"]
    assert list(to_theirs(own, "lm", state)) == ["body.h.3.w"]


def test_a_second_name_has_its_blocks_number():
    result = plan(TABLE, "lm", ["body.h.7.v", "body.h.7.w"])
    assert result.tied == {"body.h.7.v": "blocks.7.w"}
    assert list(result.sources) == ["blocks.7.w"]


def test_a_tensor_under_its_second_name_alone_is_read_as_it_is():
    result = plan(TABLE, "lm", ["body.h.7.v"])
    rule = Rename("body.h.7.v", "blocks.7.w")
    assert result.sources == {"blocks.7.w": (rule, ("body.h.7.v",))}
    assert result.tied == {}
    tensor = torch.randn(2, 3)
    assert torch.equal(from_theirs(TABLE, "lm", {"body.h.7.v": tensor})["blocks.7.w"], tensor)


@pytest.mark.parametrize("transpose", [True, False])
def test_a_linear_maps_weight_is_transposed_where_asked_and_its_bias_never(transpose):
    weight = Rename("a.weight", "b.weight", transpose=transpose)
    assert affine("a", "b", transpose=transpose) == (weight, Rename("a.bias", "b.bias"))


def test_a_linear_map_is_not_transposed_unless_asked():
    assert affine("a", "b")[0] == Rename("a.weight", "b.weight", transpose=False)


@pytest.mark.parametrize(
    ("rule", "shapes", "expected"),
    [
        (Stack(("a",), "b"), [(2, 3)], (2, 3)),
        (Stack(("a", "c"), "b"), [(2, 3), (5, 3)], (7, 3)),
        (Stack(("a", "c"), "b"), [(2,), (5,)], (7,)),
        (Stack(("a", "c", "d"), "b"), [(2, 3), (2, 3), (2, 4)], None),
        (Reshape("a", "b", (2, 3), (3, 2)), [(2, 3)], (3, 2)),
        (Reshape("a", "b", (1, 6), (-1, 6)), [(1, 6)], (1, 6)),
    ],
    ids=["one", "rows", "vectors", "the-last-differs", "no-free-axis", "a-free-axis-of-ours"],
)
def test_the_shape_foretold_is_the_shape_made(rule, shapes, expected):
    assert combined_shape(rule, shapes) == expected


def test_a_stack_that_cannot_be_split_is_refused():
    table = KeyTable("", (Stack(("q", "k"), "qk"),), {})
    with pytest.raises(ValueError, match="shorter"):
        to_theirs(table, None, {"qk": torch.zeros(1, 3)})
