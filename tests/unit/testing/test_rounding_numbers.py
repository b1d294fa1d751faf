"""How much rounding is expected, and which patterns are seen: numbers in float64."""

import math

import pytest
import torch
from torch import nn

from unit.testing.records import hold
from zoo.testing import rounding
from zoo.testing.rounding_noise import (
    Disturbed,
    Shadow,
    as_dtype,
    called,
    flat,
    reals,
    rms,
    rounded_weights,
    shadow_of,
    terms,
    working_dtype,
)
from zoo.testing.rounding_tensors import dtype_name, shape_words


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class Map(nn.Module):
    """A map and a tanh, with weights of its own generator."""

    def __init__(self, shift=0.0, seed=1):
        super().__init__()
        self.inner = nn.Linear(4, 3, dtype=torch.float64)
        with torch.no_grad():
            self.inner.weight.copy_(drawn(3, 4, seed=seed))
            self.inner.bias.copy_(drawn(3, seed=seed + 1) + shift)

    def forward(self, x):
        return {"y": self.inner(x).tanh()}


X = drawn(5, 4)


def shadow(module, unit=2.0**-53):
    made = Shadow(module, X, 0, {}, unit)
    made.output = reals(made.run())
    return made


def digits(found):
    """Write a difference down, its numbers with six digits and in roundings of float32."""
    numbers = [found.largest, found.typical, found.bound]
    details = {k: v for k, v in found.details.items() if not isinstance(v, float | list)}
    more = {k: v for k, v in found.details.items() if k not in details}
    numbers += [x for v in more.values() for x in (v if isinstance(v, list) else [v])]
    place = f"{found.verdict} at {found.where!r}, {found.line!r}"
    return [place, found.text, f"{details} {list(more)}", *(f"{x * 2**24:.6g}" for x in numbers)]


GAPS = {
    "far below what is allowed": (1e-9, 0.0, torch.float32),
    "a little below it": (7e-7, 0.0, torch.float32),
    "above it": (2e-6, 0.0, torch.float32),
    "one number alone above it": (1e-9, 3e-6, torch.float32),
    "above it in one precision": (1e-3, 0.0, torch.float32),
    "and not in another": (1e-3, 0.0, torch.bfloat16),
}


@pytest.mark.parametrize(("every", "one", "dtype"), GAPS.values(), ids=GAPS)
@pytest.mark.parametrize("comparable", [True, False])
def test_a_gap_is_judged_by_what_rounding_gives(every, one, dtype, comparable):
    mine, theirs = shadow(Map()), shadow(Map())
    gap = torch.full((15,), every, dtype=torch.float64)
    gap[4] += one
    moved = {"y": mine.output["y"] + gap.view(5, 3)}
    found = rounding.judged(gap, mine.output, moved, mine, theirs, dtype, comparable)
    hold(digits(found))


def test_two_functions_are_told_by_their_float64_runs():
    mine = shadow(Map())
    for shift, comparable in ((1e-3, True), (1e-3, False), (1e-13, True), (1e-16, True)):
        theirs = shadow(Map(shift))
        gap = flat(mine.output) - flat(theirs.output)
        judged = (gap, mine.output, theirs.output, mine, theirs, torch.float32, comparable)
        found = rounding.judged(*judged)
        place = (found.verdict, found.where, found.details.get("dtype"))
        numbers = (found.largest, found.typical, found.bound)
        hold([f"{place}", *(f"{x * 2**24:.3g}" for x in numbers)])
        assert ("two functions" in found.text) == (shift == 1e-3 and comparable)


def test_without_a_float64_run_the_numbers_alone_are_judged():
    x = {"y": drawn(2, 3)}
    found = rounding.judged(drawn(6) * 1e-3, x, {"y": -x["y"]}, None, None, torch.float32, True)
    assert found.text.startswith("bug: (a does not run in float64: judged by the numbers alone) b")
    assert (found.verdict, found.details["pattern"]) == ("bug", "sign")
    assert (found.largest, found.typical) == (
        pytest.approx(float(2 * x["y"].abs().max())),
        pytest.approx(2 * rms(x["y"])),
    )


def test_the_other_is_worse_where_it_is_further_from_the_float64_run():
    mine = shadow(Map())
    exact, off = mine.output, {"y": mine.output["y"] + 1e-3}
    gap = flat(exact) - flat(off)
    for one, other, worse in ((exact, off, "b"), (off, exact, "a")):
        found = rounding.judged(gap, one, other, mine, shadow(Map()), torch.float32, False)
        assert f": {worse} does some step" in found.text
        assert max(found.details["errors"]) == pytest.approx(1e-3)


@pytest.mark.parametrize("unit", [2.0**-24, 2.0**-8], ids=["float32", "bfloat16"])
def test_the_deviation_of_every_number_under_rounding(unit):
    hold([f"{x:.6g}" for x in (shadow(Map()).deviation(unit) / unit).tolist()])


def test_rounding_moves_what_goes_into_a_sum_and_what_comes_out_of_an_op():
    lines = []
    ops = {
        "a sum of one number": lambda: X[:, :1].sum(1),
        "a sum": lambda: X.sum(1),
        "a product": lambda: X * X,
        "a copy": lambda: X.reshape(-1).clone(),
        "in place": lambda: X.clone().mul_(2),
        "two results": lambda: torch.var_mean(X),
        "a result with a name": lambda: torch.sort(X),
        "ids": lambda: torch.add(torch.arange(3), 1),
        "float32": lambda: X.float() * 2,
        "dunder": lambda: X.__mul__(3),
        "a map": lambda: torch.nn.functional.linear(X, X),
        "a convolution": lambda: torch.conv1d(X[:, None], X[:2, None]),
        "nothing": lambda: X[:0] * 2,
    }
    for name, op in ops.items():
        with Disturbed(2.0**-10, 3) as noisy:
            made = op()
        found = made if isinstance(made, tuple) else (made,)
        clean = op()
        clean = clean if isinstance(clean, tuple) else (clean,)
        moved = [rms((a - b).double() / 2.0**-10) for a, b in zip(found, clean, strict=True)]
        lines.append(f"{name}: {type(made).__name__} {[f'{x:.5g}' for x in moved]} {noisy.unit}")
    hold(lines)


TERMS = {
    "a map of five features": ("linear", (drawn(2, 5), drawn(3, 5)), 5),
    "a convolution of two channels": ("conv1d", (drawn(1, 2, 9), drawn(4, 2, 3)), 6),
    "a convolution without a kernel": ("conv1d", (drawn(1, 2, 9),), 9),
    "a convolution with a number": ("conv1d", (drawn(1, 2, 9), 3), 9),
    "a number first": ("sum", (torch.tensor(2.0), drawn(7)), 7),
    "numbers alone": ("sum", (torch.tensor(2.0),), 1),
    "nothing": ("sum", (), 1),
}


@pytest.mark.parametrize(("name", "args", "count"), TERMS.values(), ids=TERMS)
def test_how_many_products_a_number_is_the_sum_of(name, args, count):
    assert terms(name, args) == count


class Draws(nn.Module):
    def forward(self, x, y=2.0):
        assert not torch.is_grad_enabled()
        return x * y + torch.rand(())


def test_a_batch_is_given_by_keyword_by_place_or_alone():
    x = torch.ones(2)
    for batch, factor in (({"x": x, "y": 3.0}, 3.0), ((x, 4.0), 4.0), ([x, 5.0], 5.0), (x, 2.0)):
        made = [called(Draws(), batch, 7) for _ in range(2)]
        drawn_first = torch.rand((), generator=torch.Generator().manual_seed(7))
        assert torch.equal(*made) and torch.equal(made[0], factor + drawn_first.expand(2))


def test_real_numbers_alone_get_a_dtype():
    batch = {"x": torch.ones(2), "ids": torch.arange(2), "n": 3}
    made = as_dtype(batch, torch.float16)
    assert (made["x"].dtype, made["ids"].dtype, made["n"]) == (torch.float16, torch.int64, 3)
    assert as_dtype(batch, None)["x"].dtype is torch.float32


class Counted(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))
        self.register_buffer("scale", torch.ones(1, dtype=dtype))


WORKING = {
    "a parameter": (lambda: nn.Linear(2, 2).half(), torch.float16),
    "a buffer after whole numbers": (lambda: Counted(torch.bfloat16), torch.bfloat16),
    "nothing": (nn.Identity, None),
}


@pytest.mark.parametrize(("build", "dtype"), WORKING.values(), ids=WORKING)
def test_a_module_works_in_the_dtype_of_its_first_real_tensor(build, dtype):
    assert working_dtype(build()) is dtype


FINER = [("float64", "float32"), ("float32", "float32"), ("float32", "bfloat16"), (None, "half")]


@pytest.mark.parametrize(("one", "other"), FINER, ids=map(str, FINER))
def test_which_of_two_is_finer(one, other):
    def made(name):
        return nn.Identity() if name is None else nn.Linear(1, 1, dtype=getattr(torch, name))

    assert rounding.finer(made(one), made(other))
    assert rounding.finer(made(other), made(one)) == (one == other or one is None)


def test_rounded_weights_are_known():
    fine = Map().float()
    assert rounded_weights(Map().float().bfloat16(), fine)
    assert not rounded_weights(Map(shift=1.0).float().bfloat16(), fine)
    assert not rounded_weights(nn.Linear(4, 3).bfloat16(), fine)
    wide = Map().float()
    wide.inner.weight = nn.Parameter(torch.zeros(3, 5))
    assert not rounded_weights(wide.bfloat16(), fine)


def test_a_shadow_is_a_copy_in_float64_with_the_weights_that_are_given():
    rough, fine = Map().float().bfloat16(), Map()
    own, given = (shadow_of(rough, X.bfloat16(), 0, w) for w in (None, fine))
    assert rough.inner.weight.dtype is torch.bfloat16
    assert own.module.inner.weight.dtype is torch.float64 and own.batch.dtype is torch.float64
    assert torch.equal(own.module.inner.weight, rough.inner.weight.double())
    assert torch.equal(given.module.inner.weight, fine.inner.weight)
    assert own.unit == given.unit == 2.0**-53 and own.seed == 0
    assert list(own.output) == ["y"] and own.output["y"].dtype is torch.float64
    assert shadow_of(rough, torch.ones(2, 9), 0, None) is None
    assert shadow_of(rough, X, 0, nn.Linear(1, 1)) is None


class Narrow(Map):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, x):
        return super().forward(x)["y"].to(self.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_shadow_knows_the_lowest_precision_inside(dtype):
    assert shadow_of(Narrow(dtype), X, 0, None).unit == torch.finfo(dtype).eps / 2


def test_small_helpers():
    assert flat({"a": torch.ones(2, 2), "b": torch.zeros(1)}).tolist() == [1, 1, 1, 1, 0]
    assert rms(torch.tensor([3.0, -4.0])) == pytest.approx(math.sqrt(12.5))
    assert rms(torch.empty(0)) == 0.0
    assert list(reals({"a": torch.ones(1), "b": torch.arange(2)})) == ["a"]
    assert dtype_name(torch.bfloat16) == "bfloat16"
    pair = {"a": torch.ones(1, 2)}, {"b": torch.ones(3), "c": torch.ones(())}
    assert shape_words(*pair) == "the shapes are [(1, 2)] and [(3,), ()]"


def test_runs_that_never_part_have_no_place():
    assert rounding.parting(shadow(Map()), shadow(Map())) == rounding.Place("")


class Shifted(nn.Module):
    """Takes off nearly all of its input: what was rounded there is all that is left."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.factor - 1000


def test_inputs_that_were_rounded_are_no_part_of_the_float64_run():
    x = torch.tensor([1000.3, 1001.7])
    for pair in ((Shifted(), Shifted().bfloat16()), (Shifted().bfloat16(), Shifted())):
        found = rounding.explain_difference(*pair, x)
        assert "root mean square; 1 of the output" in found.text
