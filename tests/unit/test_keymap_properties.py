"""Names there and back for tables and states that are drawn, and configs that are damaged."""

import dataclasses
import json
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unit.property_rows import drawn, examples, seeds
from zoo.config import ConfigError
from zoo.config import from_theirs as read_config
from zoo.config import to_theirs as write_config
from zoo.keymap import (
    Ignore,
    KeyTable,
    Rename,
    Reshape,
    Stack,
    Tied,
    combine,
    combined_shape,
    from_theirs,
    match,
    plan,
    split,
    to_theirs,
)
from zoo.models import MODELS

kinds = st.lists(st.sampled_from(["plain", "turned", "stack", "shape"]), min_size=1, max_size=5)


def table_of(kinds, blocks, endings=()):
    """One rule a kind, each in every block where `blocks`; names tell nothing of the kind."""
    rules = []
    for i, kind in enumerate(kinds):
        theirs, ours = (f"h.{{}}.t{i}", f"blocks.{{}}.o{i}") if blocks else (f"t{i}", f"o{i}")
        rules.append(
            {
                "plain": Rename(theirs, ours),
                "turned": Rename(theirs, ours, transpose=True),
                "stack": Stack((f"{theirs}.q", f"{theirs}.k", f"{theirs}.v"), ours),
                "shape": Reshape(theirs, ours, (-1, 2, 3), (-1, 6)),
            }[kind]
        )
    body = (*rules, Tied("lm.w", "o0"), Ignore("mask"))
    return KeyTable(
        prefix="body.", body=body, heads={"lm": (Rename("head.b", "lm.b"),)}, endings=endings
    )


def state_of(kinds, depth, seed):
    """Their tensors for a table, with the prefix."""
    state = {"head.b": drawn(seed, 3)}
    for i, kind in enumerate(kinds):
        for n in range(depth or 1):
            name = f"body.h.{n}.t{i}" if depth else f"body.t{i}"
            at = seed + 10 * i + n
            if kind == "stack":
                state |= {f"{name}.{part}": drawn(at + j, 2, 3) for j, part in enumerate("qkv")}
            else:
                state[name] = drawn(at, 4, 2, 3) if kind == "shape" else drawn(at, 4, 3)
    return state


def prefixed(table):
    """Rules name the prefix themselves, as the families' tables do."""

    def named(rule):
        if isinstance(rule, Stack):
            return dataclasses.replace(rule, theirs=tuple("body." + t for t in rule.theirs))
        return dataclasses.replace(rule, theirs="body." + rule.theirs)

    return dataclasses.replace(table, body=tuple(map(named, table.body)))


@examples(20)
@given(kinds=kinds, depth=st.integers(0, 12), seed=seeds, prefix=st.booleans(), noise=st.booleans())
def test_a_state_comes_back_bit_by_bit_whatever_its_table(kinds, depth, seed, prefix, noise):
    table, theirs = prefixed(table_of(kinds, bool(depth))), state_of(kinds, depth, seed)
    read = dict(theirs) if prefix else {n.removeprefix("body."): x for n, x in theirs.items()}
    if noise:
        read |= {"body.mask" if prefix else "mask": torch.zeros(2)}
    ours = from_theirs(table, "lm", read)
    assert len(ours) == 1 + len(kinds) * (depth or 1)
    back = to_theirs(table, "lm", ours, prefix=prefix)
    wanted = {n: x for n, x in read.items() if not n.endswith("mask")}
    assert back.keys() == wanted.keys()
    assert all(torch.equal(back[name], wanted[name]) for name in wanted)


@examples(20)
@given(
    kinds=kinds, depth=st.integers(0, 3), seed=seeds, drop=st.integers(0, 30), more=st.booleans()
)
def test_every_name_of_a_file_is_read_known_or_told(kinds, depth, seed, drop, more):
    """A file's names are parted: what is read, second names, what is left, what is strange."""
    table, names = prefixed(table_of(kinds, bool(depth))), [*state_of(kinds, depth, seed)]
    lost = names.pop(drop % len(names))
    names += ["body.mask", "lm.w", "strange.name"] if more else []
    made = plan(table, "lm", names)
    read = [name for _, sources in made.sources.values() for name in sources]
    assert sorted([*read, *made.tied, *made.unread, *made.unexpected]) == sorted(names)
    assert "strange.name" not in names or "strange.name" in made.unexpected
    stack = re.fullmatch(r"(.*)\.[qkv]", lost)
    others = [n for n in names if stack and n.startswith(stack[1] + ".")]
    assert set(others) <= set(made.unexpected)  # a stack with a part missing is not made


rules = st.sampled_from(
    [
        Rename("a", "b"),
        Rename("a", "b", transpose=True),
        Stack(("a", "c"), "b"),
        Reshape("a", "b", (-1, 2, 3), (-1, 6)),
        Reshape("a", "b", (2, -1), (-1, 2, 1)),
    ]
)
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@examples(40)
@given(rule=rules, first=shapes, second=shapes)
def test_a_shape_that_is_promised_is_the_one_that_is_made_and_undone(rule, first, second):
    tensors = [torch.zeros(first), torch.ones(second)][: 2 if isinstance(rule, Stack) else 1]
    promised = combined_shape(rule, [tuple(t.shape) for t in tensors])
    if promised is None:
        return
    made = combine(rule, tensors)
    assert tuple(made.shape) == promised
    if isinstance(rule, Stack) and (first[0] != second[0] or not first[0]):
        return  # parts of one size alone are told apart again
    for (name, back), tensor in zip(split(rule, made), tensors, strict=True):
        assert name in ("a", "c") and torch.equal(back, tensor)


@examples(40)
@given(
    before=st.text("ab.", max_size=3),
    after=st.text("ab.", max_size=3),
    middle=st.one_of(st.integers(-5, 10**10).map(str), st.text("0129.-+ ٣", max_size=3)),
)
def test_a_number_is_found_where_it_is_plain_and_nowhere_else(before, after, middle):
    found = match(before + "{}" + after, before + middle + after)
    plain = bool(re.fullmatch("[0-9]{1,9}", middle)) and str(int(middle)) == middle
    assert found == (middle if plain else None)


# configs

each_family = pytest.mark.parametrize("family", sorted(MODELS))
junk = st.sampled_from([None, True, -1, 0, 1.5, 10**30, "", "gelu", [], [1, 2, 3], {}, {"a": 1}])


@each_family
@examples(16)
@given(data=st.data())
def test_a_config_with_one_strange_value_is_read_as_it_says_or_refused_by_name(family, data):
    """No other error than ConfigError; what is read says the value that was given."""
    spec = MODELS[family]
    config = spec.presets[f"{family}-tiny"]
    theirs = json.loads(json.dumps(write_config(spec.config_keys, config, "X")))
    holder = data.draw(
        st.sampled_from([theirs, *(v for v in theirs.values() if isinstance(v, dict))])
    )
    if not holder:
        return
    key = data.draw(st.sampled_from(sorted(holder)))
    value = data.draw(junk)
    holder[key] = value
    try:
        made = read_config(spec.config_keys, spec.config, theirs)
    except ConfigError:
        return
    again = json.loads(json.dumps(write_config(spec.config_keys, made, "X")))
    assert read_config(spec.config_keys, spec.config, again) == made
    known = {n for k in spec.config_keys.keys.values() for n in k.theirs}
    if holder is theirs and key in known and value is not None:
        assert again[key] == value or (isinstance(value, list) and again[key] == tuple(value))


@each_family
@examples(10)
@given(name=st.text("abcdefgh_", min_size=4, max_size=10), value=junk)
def test_an_unknown_key_passes_when_it_is_off_and_is_refused_when_it_is_on(family, name, value):
    spec = MODELS[family]
    config = spec.presets[f"{family}-tiny"]
    theirs = write_config(spec.config_keys, config, "X") | {f"zz_{name}": value}
    if not value or isinstance(value, str):
        assert read_config(spec.config_keys, spec.config, theirs) == config
        return
    with pytest.raises(ConfigError, match=rf"no knowledge of .*zz_{name}.* load with strict=False"):
        read_config(spec.config_keys, spec.config, theirs)
    assert read_config(spec.config_keys, spec.config, theirs, strict=False) == config


@each_family
@examples(10)
@given(
    labels=st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True),
    drop=st.integers(0, 9),
)
def test_labels_come_back_in_order_or_the_missing_number_is_named(family, labels, drop):
    spec = MODELS[family]
    config = dataclasses.replace(
        spec.presets[f"{family}-tiny"], classes=len(labels), labels=tuple(labels)
    )
    theirs = json.loads(json.dumps(write_config(spec.config_keys, config, "X")))
    assert read_config(spec.config_keys, spec.config, theirs) == config
    if drop < len(labels) - 1:
        del theirs["id2label"][str(drop)]
        with pytest.raises(ConfigError, match=f"id2label has no entry '{drop}'"):
            read_config(spec.config_keys, spec.config, theirs)
