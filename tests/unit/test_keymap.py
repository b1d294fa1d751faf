"""Key tables: every rule there and back, and what is left over is named."""

import pytest
import torch

from zoo.keymap import (
    Ignore,
    KeyTable,
    Rename,
    Reshape,
    Stack,
    Tied,
    affine,
    combined_shape,
    from_theirs,
    match,
    plan,
    to_theirs,
)

TABLE = KeyTable(
    prefix="body.",
    body=(
        Rename("body.emb.weight", "tokens.weight"),
        Rename("body.h.{}.w", "blocks.{}.w", transpose=True),
        Stack(("body.h.{}.q", "body.h.{}.k"), "blocks.{}.qk"),
        Ignore("body.h.{}.mask"),
    ),
    heads={
        "lm": (Tied("lm.weight", "tokens.weight"),),
        "cls": affine("cls", "head"),
        None: (),
    },
    endings=((".gamma", ".weight"),),
)
THEIRS = {
    "body.emb.weight": torch.arange(6.0).view(3, 2),
    "body.h.0.w": torch.arange(10.0).view(2, 5),
    "body.h.0.q": torch.zeros(2, 3),
    "body.h.0.k": torch.ones(2, 3),
    "body.h.11.w": torch.arange(10.0).view(2, 5) + 1,
    "body.h.11.q": torch.full((2, 3), 2.0),
    "body.h.11.k": torch.full((2, 3), 3.0),
}
HEAD = {"cls.weight": torch.ones(4, 2), "cls.bias": torch.zeros(4)}


def test_ours_are_named_transposed_and_stacked():
    ours = from_theirs(TABLE, "lm", THEIRS)
    assert sorted(ours) == [
        "blocks.0.qk",
        "blocks.0.w",
        "blocks.11.qk",
        "blocks.11.w",
        "tokens.weight",
    ]
    assert torch.equal(ours["blocks.11.w"], THEIRS["body.h.11.w"].t())
    assert torch.equal(ours["blocks.0.qk"], torch.cat([torch.zeros(2, 3), torch.ones(2, 3)]))


@pytest.mark.parametrize("head", ["lm", "cls", None])
@pytest.mark.parametrize("prefix", [True, False])
def test_there_and_back_is_the_same(head, prefix):
    theirs = THEIRS | (HEAD if head == "cls" else {})
    back = to_theirs(TABLE, head, from_theirs(TABLE, head, theirs), prefix=prefix)
    expected = theirs if prefix else {n.removeprefix("body."): t for n, t in theirs.items()}
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[name], expected[name]) for name in expected)


def test_a_file_without_the_prefix_reads_the_same():
    bare = {name.removeprefix("body."): tensor for name, tensor in THEIRS.items()}
    with_prefix, without = from_theirs(TABLE, "lm", THEIRS), from_theirs(TABLE, "lm", bare)
    assert with_prefix.keys() == without.keys()
    assert all(torch.equal(with_prefix[n], without[n]) for n in without)


@pytest.mark.parametrize(
    ("head", "names", "unread", "unexpected", "tied", "sources"),
    [
        (
            "lm",
            ["body.h.0.mask", "body.emb.weight"],
            ["body.h.0.mask"],
            [],
            {},
            ["tokens.weight"],
        ),
        ("lm", ["emb.gamma"], [], [], {}, ["tokens.weight"]),
        ("lm", ["cls.bias"], ["cls.bias"], [], {}, []),
        ("lm", ["body.h.0.q"], [], ["body.h.0.q"], {}, []),
        ("lm", ["body.h.x.w", "other"], [], ["body.h.x.w", "other"], {}, []),
        (
            "lm",
            ["lm.weight", "emb.weight"],
            [],
            [],
            {"lm.weight": "tokens.weight"},
            ["tokens.weight"],
        ),
        ("lm", ["lm.weight"], [], [], {}, ["tokens.weight"]),
    ],
    ids=["buffer", "old-ending", "other-head", "half-stack", "strange", "tied", "second-name-only"],
)
def test_a_plan_says_what_each_tensor_is(head, names, unread, unexpected, tied, sources):
    result = plan(TABLE, head, names)
    assert (result.unread, result.unexpected, result.tied, sorted(result.sources)) == (
        unread,
        unexpected,
        tied,
        sources,
    )


def test_names_without_a_rule_are_listed():
    with pytest.raises(KeyError, match=r"no rule for \['strange'\]"):
        from_theirs(TABLE, "lm", THEIRS | {"strange": torch.zeros(1)})
    with pytest.raises(KeyError, match=r"no rule for \['blocks.0.other'\]"):
        to_theirs(TABLE, "lm", {"blocks.0.other": torch.zeros(1)})


@pytest.mark.parametrize(
    ("pattern", "name", "number"),
    [
        ("h.{}.w", "h.0.w", "0"),
        ("h.{}.w", "h.120.w", "120"),
        ("h.{}.w", "h.01.w", None),
        ("h.{}.w", "h..w", None),
        ("h.{}.w", "h.-1.w", None),
        ("h.{}.w", "h.1.w.w", None),
        ("h.{}.w", "h.\u0661.w", None),
        ("h.{}.w", "h.1234567890.w", None),
        ("h.{}.h", "h.h", None),
        ("a", "a", ""),
        ("a", "b", None),
    ],
    ids=range(11),
)
def test_a_number_is_plain_digits(pattern, name, number):
    assert match(pattern, name) == number


@pytest.mark.parametrize(
    ("rule", "shapes", "expected"),
    [
        (Rename("a", "b"), [(2, 3)], (2, 3)),
        (Rename("a", "b", transpose=True), [(2, 3)], (3, 2)),
        (Rename("a", "b", transpose=True), [(2,)], None),
        (Stack(("a", "c"), "b"), [(2, 3), (4, 3)], (6, 3)),
        (Stack(("a", "c"), "b"), [(2, 3), (4, 5)], None),
        (Stack(("a", "c"), "b"), [(2,), ()], None),
    ],
    ids=repr,
)
def test_a_combined_shape_is_known_before_reading(rule, shapes, expected):
    assert combined_shape(rule, shapes) == expected


CONV = Reshape("conv.weight", "patch.weight", (-1, 3, 2, 5), (-1, 30))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7, 3, 2, 5), (7, 30)),
        ((7, 3, 5, 2), None),  # as many numbers, on other axes
        ((7, 6, 1, 5), None),
        ((7, 30), None),
    ],
    ids=str,
)
def test_a_reshape_takes_the_shape_that_it_names_and_no_other(shape, expected):
    assert combined_shape(CONV, [shape]) == expected


def test_a_reshape_goes_there_and_back():
    table = KeyTable(prefix="", body=(CONV,), heads={})
    theirs = {"conv.weight": torch.randn(4, 3, 2, 5)}
    ours = from_theirs(table, None, theirs)
    assert ours["patch.weight"].shape == (4, 30)
    back = to_theirs(table, None, ours)
    assert torch.equal(back["conv.weight"], theirs["conv.weight"])
