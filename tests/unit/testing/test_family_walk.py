"""What is told of norms, of the order of blocks, of heads and of torch's own attention."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from unit.testing.family_made import drawn, layer, walk
from unit.testing.family_sources import said
from unit.testing.records import hold
from zoo.testing.family.families import final_norm
from zoo.testing.family.heads import Seen, compare_torchs
from zoo.testing.family.parse import Block, Tower, side_by_side
from zoo.testing.family.uses import uses_of
from zoo.testing.family.walk import (
    normed,
    order_of_blocks,
    order_of_norms,
    output_step,
    reading,
)

X = drawn(2, 5, 4)


def norm(x, eps=1e-5, **more):
    w, b = drawn(4, seed=11), drawn(4, seed=12)
    shift = more.pop("shift", b)
    y = torch.nn.functional.layer_norm(x, (4,), w, shift, eps)
    return layer("norm", x, y, more.pop("weight", "ln.weight"), value=w, shift=shift, **more)


def test_a_shift_that_is_held_must_be_read():
    bare = norm(X, shift=None)
    held = walk(unread=frozenset({"ln.bias", "other.bias"}))
    hold([said(normed(held, "norm", bare, X)), said(normed(walk(), "norm", bare, X))])
    for given in (norm(X), replace(bare, weight=""), replace(bare, weight="x.weight")):
        assert normed(held, "norm", given, X).ok
    assert not normed(held, "norm", replace(bare, y=bare.y + 1), X).ok


def test_a_branch_reads_what_its_norm_gave():
    first = norm(X)
    readers = {
        "the norm": layer(x=first.y),
        "the stream": layer(x=X),
        "something else": layer(x=X + 1),
        "another shape": layer(x=X[:, :2]),
        "nothing that is known": layer(),
    }
    for stream in (X, None):
        for name, reader in readers.items():
            found = reading(walk(stream=stream), [reader, reader], first, "input")
            hold([name, *(said(x) for x in found)])


def block(number, norm1=None, weight=None):
    path = f"h.{number}"
    up = layer(weight=weight or f"{path}.up.weight")
    up = replace(up, module=f"{path}.up")
    down = layer(weight=f"{path}.down.weight")
    return Block([layer(weight=f"{path}.qkv.weight")], down, norm1, None, up, down)


def test_norms_come_first_or_last():
    tower = Tower(4, [], [block(0), block(1)])
    for own, family in ((True, True), (True, False), (False, True), (False, False)):
        tower.norm_first = own
        made = order_of_norms(walk(norm_first=family), tower, "text ")
        hold([f"{own} {family}", *(said(x) for x in made)])


ORDERS = {
    "in order": [block(0), block(1), block(2)],
    "in reverse": [block(2), block(1), block(0)],
    "one twice": [block(0), block(1, weight="h.0.up.weight")],
    "one left out": [block(0), block(2)],
    "all but one": [block(1)],
}


@pytest.mark.parametrize("blocks", ORDERS.values(), ids=ORDERS)
def test_blocks_run_once_and_in_order(blocks):
    module = nn.Module()
    module.h = nn.ModuleList(nn.Linear(1, 1) for _ in range(3))
    made = order_of_blocks(walk(module=module), Tower(4, [], blocks), "image ")
    hold([said(x) for x in made])


READS = {
    "all of it": X,
    "the first position": X[:, 0],
    "the mean": X.mean(1),
    "the mean of the rest": X[:, 1:].mean(1),
    "the last position": X[:, -1],
    "the sum": X.sum(1),
    "the third": X[:, 2],
    "something else": drawn(2, 4, seed=4),
    "another stream": X + 1,
}


@pytest.mark.parametrize("x", READS.values(), ids=READS)
def test_what_a_head_reads(x):
    hold([said(output_step("head", layer(x=x), X))])


LAST = ("sum", "h.1", X, drawn(2, 5, 4, seed=6), None)
FINAL = {
    "of all positions": [norm(X)],
    "twice": [norm(X), norm(norm(X).y)],
    "and another": [norm(X), norm(X)],
    "of the first position": [norm(X[:, 0])],
    "of the mean": [norm(X.mean(1))],
    "of the mean of the rest": [norm(X[:, 1:].mean(1))],
    "of the last position": [norm(X[:, -1])],
    "of the branch alone": [norm(LAST[3][:, 0])],
    "before the last branch": [norm(LAST[2][:, 0])],
    "of something else": [norm(drawn(2, 4, seed=5))],
    "of what is not known": [replace(norm(X[:, 0]), x=None)],
}


@pytest.mark.parametrize("norms", FINAL.values(), ids=FINAL)
@pytest.mark.parametrize("name", ["", "image ", "text "])
def test_the_norm_after_the_last_block(norms, name):
    for last in (None, LAST):
        stream = X if last is None else last[2] + last[3]
        going = walk(stream=stream, last=last)
        hold([said(x) for x in final_norm(going, norms, stream, name)])


# torch's own attention


CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)
MASKS = {
    "causal": CAUSAL,
    "none": None,
    "turned round": ~CAUSAL,
    "nothing that is known": torch.eye(5, dtype=torch.bool).roll(1, 0),
}


def attention(batch_first=True, mask=None, **other):
    part = nn.MultiheadAttention(4, 2, batch_first=batch_first).double()
    with torch.no_grad():
        part.in_proj_weight.copy_(drawn(12, 4, seed=1))
        part.out_proj.weight.copy_(drawn(4, 4, seed=2))
        given = [other.get(n, X if batch_first else X.mT) for n in "qkv"]
        y = part(*given, attn_mask=mask, need_weights=False)[0]
    if batch_first:  # torch turns them before the function that is noted
        given, y = [x.transpose(0, 1) for x in given], y.transpose(0, 1)
    return part, layer("attention", given[0], y, given=tuple(given), raw=y)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("causal", [True, False])
def test_masks_of_torchs_own_attention(mask, causal):
    part, made = attention(mask=mask)
    module = nn.Module()
    module.add_module("attn", part)
    place = replace(made, module="attn")
    hold([said(compare_torchs(Seen(module, causal), place, 2, "block 0"))])
    assert compare_torchs(Seen(part, causal), replace(made, module=""), 2, "b").where == ""


def test_odd_uses_of_torchs_own_attention():
    lines = []
    for other in ({"q": X[:, :3]}, {"k": X + 1, "v": X + 1}, {"v": X + 1}):
        part, made = attention(**other)
        made = replace(made, module="")
        lines.append(said(compare_torchs(Seen(part, causal=False), made, 2, "block 0")))
    part, made = attention()
    for odd in (replace(made, given=(X,)), replace(made, module="out_proj")):
        odd = replace(odd, module=odd.module if odd.module == "out_proj" else "")
        lines.append(said(compare_torchs(Seen(part, causal=False), odd, 2, "block 0")))
    time_first = X.transpose(0, 1)
    part, made = attention(batch_first=False, q=time_first, k=time_first, v=time_first)
    lines.append(said(compare_torchs(Seen(part, False), replace(made, module=""), 2, "b")))
    part, made = attention(batch_first=False, q=X, k=X, v=X)
    lines.append(said(compare_torchs(Seen(part, False), replace(made, module=""), 2, "b")))
    hold(lines)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_of_torchs_own_attention_is_noted(p):
    part = nn.MultiheadAttention(4, 2, dropout=p, batch_first=True).double()
    for mode in (True, False):
        part.train(mode)
        _, output, noise = uses_of(part, lambda: part(X, X, X)[0])
        hold([f"{p} {mode}", *(f"{n.what} at {n.module!r}" for n in noise)])
        torch.testing.assert_close(output, part.eval()(X, X, X)[0])


def test_maps_of_each_head_are_put_side_by_side():
    names = ("key", "query", "value")
    made = [layer(weight=f"{n}.{i}.weight", y=drawn(1, 2, 2, seed=i + 3 * j)) for i in range(2)
            for j, n in enumerate(names)]  # fmt: skip
    found = side_by_side(made)
    assert [x.weight for x in found] == ["query.0.weight", "key.0.weight", "value.0.weight"]
    for x, at in zip(found, (1, 0, 2), strict=True):
        assert torch.equal(x.y, torch.cat([made[at].y, made[at + 3].y], -1))
