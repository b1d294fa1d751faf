"""How ops are read as layers and letters, what is noted of a run, and of which parts it tells."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.family_made import drawn, layer
from unit.testing.family_sources import said
from unit.testing.models import Classifier, classifier_spec
from unit.testing.records import hold
from zoo.testing.family.layers import (
    heads_last,
    is_bias,
    is_one_hot,
    layers_of,
    map_of,
    of_equation,
)
from zoo.testing.family.parse import letter, role, roles, segments, width_of
from zoo.testing.family.run import foreign_norms, keeps_of, said_of, widened
from zoo.testing.family.run import rows_of as batch_rows
from zoo.testing.family.uses import Reads, Use, dropping, uses_of, wide
from zoo.testing.family.walk import numbered
from zoo.testing.subject import Subject

IDS = torch.tensor([[1, 9, 3, 0], [2, 4, 9, 0]])


def test_letters_of_layers():
    x = {n: drawn(2, 3, n) for n in (2, 3, 4, 8, 12, 16)}
    given = [
        ("norm", 4, 4), ("attention", 4, 4), ("conv", 4, 4), ("map", 4, 4), ("map", 4, 12),
        ("map", 4, 2), ("map", 4, 3), ("map", 4, 16), ("map", 8, 4), ("map", 8, 2), ("map", 12, 12),
    ]  # fmt: skip
    made = [letter(layer(kind, x[a], x[b]), 4) for kind, a, b in given]
    assert "".join(made) == "NA.dQsUUD.."
    assert letter(layer(), 4) == letter(layer(x=x[4], y=x[4][0]), 4) == "."


ROLES = {
    "h.0.q_proj.weight": "q", "attn.key.weight": "k", "self.w_v": "v", "to_q.weight": "q",
    "h.value.parametrizations.weight.original": "v", "a.lin_k.bare": "k",
    "c_attn.weight": None,
    "query.inner.weight": "q", "key.a.b.weight": None, "Queries.weight": "q",
}  # fmt: skip


@pytest.mark.parametrize(("name", "found"), ROLES.items(), ids=map(str, ROLES))
def test_what_a_map_makes_by_its_name(name, found):
    assert role(layer(weight=name)) == found


def test_the_order_of_three_maps():
    given = [layer(weight=f"h.{name}.weight") for name in ("key", "query", "value")]
    assert roles(given) == [1, 0, 2]
    assert roles([given[0], given[0], given[2]]) is None
    assert roles([layer(weight="a.weight"), *given[1:]]) is None


def test_the_width_is_that_of_most_norms_or_maps():
    sizes = [layer("norm", y=drawn(1, n)) for n in (4, 6, 4)]
    assert width_of([layer(y=drawn(1, 9)), *sizes]) == 4
    assert width_of([layer(y=drawn(1, 9)), layer(y=drawn(1, 9)), layer(y=drawn(1, 2))]) == 9
    assert width_of([layer("conv")]) is width_of([]) is None


def test_a_new_tower_begins_at_a_stem_after_four_layers():
    stem, more = layer("table"), [layer("norm"), layer("attention"), layer("map")]
    assert [len(p) for p in segments([stem, *more, stem, layer(), stem, layer("conv")])] == [6, 2]
    first = layer(weight="pixels.weight")
    made = segments([*more, layer(), first, layer()], lambda x: x is first)
    assert [len(p) for p in made] == [4, 2]


NUMBERED = {
    "h.3": ("h", 3),
    "a.h.0.b": ("a.h", 0),
    "h.1.2": ("h.1", 2),
    "h": ("", None),
    "": ("", None),
}


@pytest.mark.parametrize(("path", "found"), NUMBERED.items(), ids=[p or "none" for p in NUMBERED])
def test_the_list_that_holds_a_block(path, found):
    assert numbered(path) == found


@pytest.mark.parametrize("name", ["a.bias", "a.beta", "a.shift", "a.b_2", "bias"])
def test_names_of_shifts(name):
    assert is_bias(name) and not is_bias("bias.weight") and not is_bias("a.gamma")


def test_rows_that_are_one_1():
    rows = F.one_hot(torch.tensor([1, 0, 2]), 3).double()
    assert is_one_hot(rows)
    for odd in (rows * 2, rows + 0.5, rows[:, :1], rows[0], torch.ones(2, 2), torch.zeros(2, 2)):
        assert not is_one_hot(odd)


def use(op, x, y, value, equation=""):
    return Use(op, ("w",), (x,), y, "h.0", "net.py:1", (value,), equation)


def test_products_are_read_as_maps():
    rows = F.one_hot(torch.tensor([[1, 0], [2, 1]]), 3).double()
    made = map_of(use("matmul", rows, drawn(2, 2, 4), drawn(3, 4)), 2)
    assert made.kind == "table" and made.x.tolist() == [[1, 0], [2, 1]]
    flat = map_of(use("addmm", drawn(6, 4), drawn(6, 5), drawn(4, 5)), 2)
    assert flat.x.shape == (2, 3, 4) and flat.y.shape == (2, 3, 5)
    assert flat.turn(drawn(6, 5)).shape == (2, 3, 5) and flat.turn(drawn(2, 3, 5)).dim() == 3
    for rows_given in (6, 4):
        assert map_of(use("mm", drawn(6, 4), drawn(6, 5), drawn(4, 5)), rows_given).y.dim() == 2
    heads = map_of(use("matmul", drawn(2, 1, 3, 4), drawn(2, 5, 3, 6), drawn(5, 4, 6)), 2)
    assert heads.x.shape == (2, 3, 4) and heads.y.shape == (2, 3, 30)
    kept = map_of(use("matmul", drawn(2, 5, 3, 4), drawn(2, 5, 3, 6), drawn(5, 4, 6)), 2)
    assert kept.x.shape == (2, 5, 3, 4)
    y = drawn(2, 5, 3, 6)
    assert torch.equal(heads_last(y), y.transpose(1, 2).reshape(2, 3, 30))


EQUATIONS = {
    "btd,dhk->bthk": ((2, 3, 4), (4, 5, 6)),
    "btd, chdk -> cbhtk": ((2, 3, 4), (7, 5, 4, 6)),
    "hkd,bhtk->btd": ((5, 6, 4), (2, 5, 3, 6)),
    "bhtk,hkd->bhtd": ((2, 5, 3, 6), (5, 6, 4)),
    "bd,dk->bk": ((2, 4), (4, 6)),
    "bt,bt->b": ((2, 3), (2, 3)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_an_einsum_is_read_as_a_map(equation):
    one, other = (drawn(*shape, seed=i) for i, shape in enumerate(EQUATIONS[equation]))
    first = not equation.startswith("hkd")
    x, value = (one, other) if first else (other, one)
    y = torch.einsum(equation, one, other)
    made = of_equation(layer(x=x, y=y, value=value), equation)
    turned = None if made.turn is None else tuple(made.turn(y).shape)
    hold([f"{tuple(made.x.shape)} {tuple(made.y.shape)} {turned} {float(made.y[0].sum()):.5g}"])


# uses


DROPS = {
    "by default": ((1,), {}, True),
    "a share of nothing": ((1, 0.0), {}, False),
    "in eval mode": ((1, 0.5, False), {}, False),
    "by name": ((1,), {"p": 0.0}, False),
    "by name, in eval mode": ((1,), {"training": False}, False),
    "by its other name": ((1,), {"train": False}, False),
    "in train mode": ((1, 0.1, True), {}, True),
}


@pytest.mark.parametrize(("args", "kwargs", "drops"), DROPS.values(), ids=DROPS)
def test_whether_a_call_drops_anything(args, kwargs, drops):
    assert dropping(args, kwargs) is drops


class Random(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call, self.layer = call, nn.Linear(4, 4, dtype=torch.float64)

    def forward(self, x):
        return self.call(self.layer(x))


def attended(y, p, by_place):
    q = y.unflatten(-1, (2, 2)).transpose(1, 2)
    if by_place:
        return F.scaled_dot_product_attention(q, q, q, None, p)
    return F.scaled_dot_product_attention(q, q, q, dropout_p=p)


CALLS = {
    "dropout": lambda y: F.dropout(y, 0.5),
    "dropout by name": lambda y: F.dropout(input=y, p=0.5, training=True),
    "dropout that is off": lambda y: F.dropout(y, 0.5, False),
    "dropout of channels": lambda y: F.dropout1d(y, 0.5),
    "attention": lambda y: attended(y, 0.5, by_place=False),
    "attention by place": lambda y: attended(y, 0.5, by_place=True),
    "attention without": lambda y: attended(y, 0.0, by_place=True),
    "a draw": lambda y: y + torch.rand_like(y),
    "a cast": lambda y: y.float() + y.to(torch.float16),
    "a sum with nothing": lambda y: y + torch.zeros(4),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_noise_is_noted_and_left_out(call):
    module = Random(call)
    with torch.no_grad():
        module.layer.weight.copy_(drawn(4, 4))
        module.layer.bias.zero_()
    x = drawn(2, 3, 4, seed=3)
    uses, output, noise = uses_of(module, lambda: module(x))
    lines = [f"{n.what} at {n.module!r}: {n.line.partition(' ')[2]}" for n in noise]
    lines += [f"{u.op} {u.parameters} at {u.module} {tuple(u.output.shape)}" for u in uses]
    if not any("drawn" in line for line in lines):
        lines.append(f"{output.dtype} {float(output.sum()):.6g}")
    hold(lines)
    assert not Reads(module).uses


def test_narrow_types_are_widened():
    every = (torch.float32, torch.float16, torch.bfloat16)
    assert {wide(t) for t in every} == {torch.float64}
    assert [wide(x) for x in (torch.int64, "float32", 3)] == [torch.int64, "float32", 3]
    assert widened(torch.ones(1)).dtype is torch.float64 and widened(IDS) is IDS


# runs


def test_what_may_say_which_positions_are_real():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    given = {
        "mask": mask,
        "flags": mask.bool(),
        "ids": torch.tensor([[5, 6, 0], [7, 0, 0]]),
        "x": drawn(2, 3),
        "other": torch.ones(3, 2, dtype=torch.long),
        "word": "a",
        "whole": torch.ones(2, 3, dtype=torch.long),
    }
    for name, value in given.items():
        hold([name, *sorted(str(x.int().tolist()) for x in keeps_of({name: value}, 2))])
    assert batch_rows({"x": drawn(5, 2), "n": torch.tensor(1)}, 3) == 5
    assert batch_rows({"x": drawn(5, 3)}, 3) == 3 and batch_rows({"x": drawn(5, 2, 3)}, 3) == 5


def test_of_what_a_module_is_made():
    x = drawn(2, 3, 4)
    up = [layer(x=x, y=drawn(2, 3, 8, seed=i)) for i in (1, 2)]
    other = [layer("conv"), layer("other"), layer("table"), layer("norm"), layer("vector")]
    hold([said_of([]), said_of(up), said_of(up[:1] + other), said_of([up[0], up[0], *other])])
    hold([said_of([up[0], replace(up[1], x=x + 1)]), said_of([layer(x=x, y=x)] * 2)])


def test_norms_of_another_family():
    x, w = drawn(2, 3, 8) + 0.2, drawn(8, seed=1)
    rms = x * x.square().mean(-1, keepdim=True).rsqrt()
    norm = layer("norm", y=rms * w, value=w)
    hold([said(foreign_norms([norm, layer(), norm]))])
    shifted = replace(norm, shift=w)
    plain = layer("norm", y=F.layer_norm(x, (8,)) * w, value=w)
    for given in ([norm], [norm, shifted], [norm, plain], [replace(norm, y=2 * norm.y)] * 2, []):
        assert foreign_norms(given) is None


def test_layers_of_a_plain_module():
    with torch.random.fork_rng():
        subject = Subject(classifier_spec(Classifier))
        module = subject.fresh(train=False).double()
        uses, _, _ = uses_of(module, lambda: module(drawn(2, 5)))
    shapes = {n: tuple(p.shape) for n, p in module.named_parameters()}
    made = layers_of(uses, shapes, 2)
    hold([f"{x.kind} {x.weight} {x.bias} {x} {tuple(x.x.shape)} {tuple(x.y.shape)}" for x in made])
