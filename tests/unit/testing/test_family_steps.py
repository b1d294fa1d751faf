"""Norms, sums, activations and attentions with every known slip: what each gives, what is said."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from unit.testing.family_sources import said
from unit.testing.records import hold
from zoo.testing.family import attention
from zoo.testing.family.attention import Way, attend, differences, head_counts, ways
from zoo.testing.family.layers import Layer
from zoo.testing.family.steps import (
    ACTIVATIONS,
    EPSILONS,
    Step,
    activation_step,
    equal_step,
    fitted,
    fitted_eps,
    gap,
    near,
    norm_slips,
    norm_step,
    sum_step,
)


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def mark(x):
    """Give a number that changes with any number of a tensor, or with its order."""
    weights = torch.linspace(1, 2, x.numel(), dtype=torch.float64).view(x.shape)
    return f"{tuple(x.shape)} {float((x * weights).sum()):.7g}"


X, W, B = drawn(2, 3, 4), drawn(4, seed=1), drawn(4, seed=2)


def norm(y, value=W, shift=B):
    return Layer("norm", "ln.weight", "ln.bias", X, y, "h.ln", "net.py:3", value=value, shift=shift)


def test_each_slip_of_a_norm_is_computed_and_told_by_its_name():
    lines = []
    for name, made in norm_slips(X, W, B).items():
        step = norm_step("norm", norm(made), X)
        lines += [f"{name}: {mark(made)}", said(step)]
    hold(lines)


def test_rows_without_positions_have_the_slips_that_need_none():
    x = X[:, 0]
    hold([f"{name}: {mark(made)}" for name, made in norm_slips(x, W, B).items()])


def layer_norm(eps, w=W, b=B):
    return F.layer_norm(X, (4,), w, b, eps)


NORMS = {
    "the usual eps": norm(layer_norm(1e-5)),
    "another published eps": norm(layer_norm(1e-12)),
    "twice the usual eps": norm(layer_norm(2e-5)),
    "an eps that is a little too large": norm(layer_norm(2.1e-5)),
    "an eps far too large": norm(layer_norm(0.1)),
    "no scale and no shift": norm(layer_norm(1e-5, None, None), None, None),
    "a scale alone": norm(layer_norm(1e-5, W, None), W, None),
    "a scale of two axes": norm(layer_norm(1e-5), W.view(1, 4), B.view(1, 4)),
    "a scale of another width": norm(layer_norm(1e-5), drawn(5), None),
    "a shift of another width": norm(layer_norm(1e-5), W, drawn(5)),
    "an output of another shape": norm(layer_norm(1e-5)[:, :2]),
    "nothing that is known": norm(drawn(2, 3, 4, seed=5)),
}


@pytest.mark.parametrize("layer", NORMS.values(), ids=NORMS)
def test_a_norm_is_held_against_layer_norm(layer):
    hold([said(norm_step("norm", layer, X)), said(norm_step("norm", layer, X, slips=False))])


def test_slips_are_not_looked_for_where_they_are_not_asked_for():
    wrong = norm(X * W + B)
    assert norm_step("n", wrong, X).found.startswith("it is not normalised")
    assert "known here" in norm_step("n", wrong, X, slips=False).found


@pytest.mark.parametrize("eps", [1e-3, 0.1, 2.0])
def test_an_eps_is_read_off_one_number(eps):
    assert fitted_eps(layer_norm(eps), X, W, B) == pytest.approx(eps, rel=1e-9)


NO_EPS = {
    "of another shape": (X[:1], X, W),
    "where nothing varies": (X, torch.ones_like(X), W),
    "where the norm gives nothing": (B.expand_as(X), X, W),
}


@pytest.mark.parametrize(("y", "x", "w"), NO_EPS.values(), ids=NO_EPS)
def test_no_eps_is_read_off(y, x, w):
    assert fitted_eps(y, x, w, B) == EPSILONS[0] == 1e-5


def test_an_eps_is_never_negative():
    assert fitted_eps(2 * layer_norm(1e-5) - B, X, W, B) == 0.0


S, A, N = drawn(2, 3, 4, seed=3), drawn(2, 3, 4, seed=4), drawn(2, 3, 4, seed=6)
SUMS = {
    "as it should be": S + A,
    "no residual": A,
    "no branch": S,
    "twice the branch": S + A + A,
    "minus the branch": S - A,
    "twice the stream": S + S + A,
    "half": 0.5 * (S + A),
    "by the root of two": (S + A) * 0.5**0.5,
    "onto the norm's output": N + A,
    "with factors": 0.25 * S - 3 * A,
    "something else": drawn(2, 3, 4, seed=9),
    "of another shape": S[:1] + A[:1],
}


@pytest.mark.parametrize("found", SUMS.values(), ids=SUMS)
def test_a_sum_is_held_against_stream_and_branch(found):
    steps = [sum_step("sum", found, S, A, "h.0", "net.py:4", n) for n in (N, None)]
    hold([said(step) for step in steps])


def test_the_factors_of_a_sum_are_fitted():
    assert fitted(0.25 * S - 3 * A, S, A) == pytest.approx((0.25, -3.0))
    assert fitted(S, S, A[:1]) == fitted(S[:1], S, A) == (1.0, 1.0)


def maps(y, x):
    up = Layer("map", "up.weight", "", X, y, "h.up", "net.py:5")
    return up, Layer("map", "down.weight", "", x, X, "h.down", "net.py:6")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_activation_is_told_by_its_name(name):
    wide = drawn(2, 3, 8)
    made = ACTIVATIONS[name](wide)
    right = ("GELU (tanh)", "GELU (erf)", "ReLU")
    step = activation_step("MLP", *maps(wide, made), right, "h", ("ReLU", "SiLU"))
    hold([mark(made), said(step)])


def test_what_is_no_activation_is_told_with_its_distance():
    wide = drawn(2, 3, 8)
    step = activation_step("MLP", *maps(wide, wide.cos()), ("tanh",), "h")
    other = activation_step("MLP", *maps(wide, wide[:, :2]), ("tanh",), "h")
    hold([said(step), said(other)])


def test_two_tensors_are_held_against_each_other_and_the_first_slip_that_fits_is_told():
    place = maps(X, X)[1]
    slips = [("it is doubled", 2 * S), ("it is a sum", S + S)]
    steps = [equal_step("input", found, S, slips, place, "fix it") for found in (S, 2 * S, A)]
    hold([said(step) for step in steps])


def test_near_is_a_hundred_millionth_of_the_largest_number():
    x = torch.tensor([1.0, 100.0], dtype=torch.float64)
    for off, said_near in ((0.9e-6, True), (1.1e-6, False)):
        other = x + torch.tensor([off, 0.0], dtype=torch.float64)
        assert near(x, other) is said_near
        assert gap(x, other) == pytest.approx(off / 100, rel=1e-6)
    assert not near(x, x[:1])
    assert near(x.float(), x)


def test_a_step_says_little_by_itself():
    assert said(Step("a", True)) == "a: right at '', '': ''; ''; 0"


Q, K, V = (drawn(4, 6, 12, seed=20 + i) for i in range(3))
RIGHT = Way(3, "causal")


def one_slip(right):
    made = list(ways([3], right, pairs=False, fused=True))
    return {str(differences(way, right)): way for way in made}


def test_every_way_of_one_slip_is_computed_and_told():
    lines = []
    for right in (RIGHT, Way(3, "none")):
        for words, way in one_slip(right).items():
            lines.append(f"{words}: {mark(attend(Q, K, V, way).nan_to_num(7.0))}")
    hold(lines)


def test_the_right_way_is_torchs():
    cut = [x.unflatten(-1, (3, 4)).transpose(1, 2) for x in (Q, K, V)]
    for mask in ("causal", "none"):
        expected = F.scaled_dot_product_attention(*cut, is_causal=mask == "causal")
        made = attend(Q, K, V, Way(3, mask))
        assert near(made, expected.transpose(1, 2).flatten(2))


def test_keys_that_are_not_kept_are_not_seen():
    keep = torch.ones(4, 6, dtype=torch.bool)
    keep[1, 3:] = False
    moved = V + 5 * (~keep)[..., None]
    made = [attend(Q, K, v, Way(3, "none"), keep) for v in (V, moved)]
    assert near(*made) and not near(made[0], attend(Q, K, V, Way(3, "none")))


@pytest.mark.parametrize("how", ["rotary positions", "rotary positions, interleaved"])
def test_rotary_positions_leave_distances_and_the_first_position(how):
    x = drawn(1, 1, 5, 6, seed=7).expand(2, 3, 5, 6)
    same = x[:, :, :1].expand_as(x)
    turned = attention.rotate(same, how)
    assert near(turned[:, :, 0], x[:, :, 0])
    products = turned @ turned.mT
    assert near(products[..., 0, 1], products[..., 3, 4])
    assert not near(products[..., 0, 1], products[..., 0, 2])
    assert attention.rotate(x[..., :5], how) is not None
    assert near(attention.rotate(x[..., :5], how), x[..., :5])


def test_ways_come_with_no_slip_then_one_then_two():
    heads, plain = [3, 2], Way(3, "none")
    for right, fused in ((RIGHT, True), (RIGHT, False), (plain, False)):
        single = list(ways(heads, right, pairs=False, fused=fused))
        every = list(ways(heads, right, pairs=True, fused=fused))
        assert every[: len(single)] == single
        assert single[:2] == [replace(right, heads=h) for h in heads]
        wrong = [sum(a != b for a, b in zip(fields(w), fields(right), strict=True)) for w in every]
        assert wrong == [0] * 2 + [1] * (len(single) - 2) + [2] * (len(every) - len(single))
        assert {w.heads for w in every[len(single) :]} == {3}
        assert not any(w.rotated for w in every[len(single) :])
        hold([f"{fused} {right.mask}: {len(single)} {len(every)}"])


def fields(way):
    return [getattr(way, name) for name in attention.SAYS]


def test_the_words_of_two_slips_are_both_given():
    way = replace(RIGHT, mask="none", scale="no scale")
    hold(differences(way, RIGHT))


COUNTS = {
    (12, None): [1, 2, 3, 4, 6, 12],
    (12, 4): [4, 1, 2, 3, 6, 12],
    (12, 5): [1, 2, 3, 4, 6, 12],
}


@pytest.mark.parametrize(("given", "expected"), COUNTS.items(), ids=map(str, COUNTS))
def test_numbers_of_heads_begin_with_the_modules_own(given, expected):
    assert head_counts(*given) == expected


def test_no_more_than_64_heads_are_tried_unless_the_module_says_so():
    assert head_counts(130, None) == [1, 2, 5, 10, 13, 26]
    assert head_counts(128, None)[-1] == 64
    assert head_counts(130, 65)[:2] == [65, 1]


@pytest.mark.parametrize("mask", attention.MASKS)
def test_a_mask_says_who_may_look_at_whom(mask):
    made = attention.may_look(mask, 4, torch.device("cpu"))
    hold(["".join(str(int(x)) for x in row) for row in made])


def test_orders_are_all_but_the_right_one():
    letters = {"".join(p) for p in itertools.product("qkv", repeat=3)}
    assert set(attention.ORDERS) == letters - {"qkv"} and len(attention.ORDERS) == 26
