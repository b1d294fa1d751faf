import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import hold
from zoo.testing import rounding, rounding_tensors


def explain_difference(*given, **options):
    """Explain, and hold the words and the place; which numbers come is the machine's."""
    found = rounding.explain_difference(*given, **options)
    words = [f"{found.verdict} at {found.where!r}, {found.line!r}: {found.text}"]
    hold([NUMBER.sub("#", x) for x in [*words, f"{sorted(found.details)}"]])
    return found


def compare_tensors(*given):
    """Compare two tensors, and hold all that is found."""
    found = rounding_tensors.compare_tensors(*given)
    every = (found.largest, found.typical, found.bound, found.relative)
    numbers = " ".join(f"{x * 2**24:.6g}" for x in every)
    record = found.record()
    ulps = {name: f"{x:.6g}" for name, x in record.pop("ulps").items()}
    hold([found.verdict, found.text, found.pattern, numbers, f"{sorted(record)} {ulps}"])
    return found


NUMBER = re.compile(r"(?<![\w.])\d[\d.]*(e[+-]\d+)?|\.py:\d+")


class Block(nn.Module):
    """A transformer block, written in a few ways: some are the same function, some are not."""

    def __init__(self, attend="sdpa", eps=1e-5, gelu="none", scaled=True, square="transposed"):
        super().__init__()
        torch.manual_seed(0)
        self.attend, self.gelu, self.scaled, self.square = attend, gelu, scaled, square
        self.norm, self.norm2 = nn.LayerNorm(24, eps=eps), nn.LayerNorm(24, eps=eps)
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)
        self.up, self.down = nn.Linear(24, 40), nn.Linear(40, 24)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, 3, 8)).permute(2, 0, 3, 1, 4)
        if self.attend == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = q @ k.mT * (8**-0.5 if self.scaled else 1.0)
            y = scores.softmax(-1) @ v
        y = y.transpose(1, 2).flatten(2)
        weight = self.out.weight.T if self.square == "transposed" else self.out.weight
        x = x + y @ weight + self.out.bias
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate=self.gelu))


class RowByRow(nn.Module):
    """Another batch shape: the same rows, one at a time."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return torch.cat([self.block(row[None]) for row in x])


class CoarseInside(Block):
    """A block that works in float32 and throws digits away on its way."""

    def forward(self, x):
        return super().forward(x.bfloat16().to(torch.float32))


class Unstable(nn.Module):
    """The same variance, as the mean of squares minus the square of the mean."""

    def __init__(self, squares):
        super().__init__()
        self.squares = squares

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        if self.squares:
            return (x * x).mean(-1, keepdim=True) - mean * mean
        return ((x - mean) ** 2).mean(-1, keepdim=True)


def tokens():
    return torch.randn(5, 7, 24, generator=torch.Generator().manual_seed(1))


SAME_FUNCTION = {
    "the same module in bfloat16": lambda: (Block(), Block().bfloat16()),
    "the same module in float16": lambda: (Block(), Block().half()),
    "the same module in float64": lambda: (Block(), Block().double()),
    "attention written out": lambda: (Block(), Block(attend="by hand")),
    "attention written out, in bfloat16": lambda: (Block(), Block(attend="by hand").bfloat16()),
    "both in bfloat16, written in two ways": lambda: (
        Block().bfloat16(),
        Block(attend="by hand").bfloat16(),
    ),
}


@pytest.mark.parametrize("pair", SAME_FUNCTION.values(), ids=SAME_FUNCTION)
def test_one_function_in_two_ways_differs_by_rounding(pair):
    found = explain_difference(*pair(), tokens())
    assert found.verdict == "rounding", found.text
    assert 0 < found.typical <= found.bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_another_batch_shape_is_no_bug(dtype):
    a, b = Block().to(dtype), RowByRow().to(dtype)
    assert rounding.explain_difference(a, b, tokens()).verdict in ("equal", "rounding")


OTHER_FUNCTION = {
    "a missing scale": (lambda: Block(attend="by hand", scaled=False), ""),
    "another eps": (lambda: Block(eps=1e-6), "norm"),
    "gelu by tanh": (lambda: Block(gelu="tanh"), ""),
    "gelu by tanh, in bfloat16": (lambda: Block(gelu="tanh").bfloat16(), ""),
    "a weight that is not transposed": (lambda: Block(square="as it is"), ""),
}


@pytest.mark.parametrize(("other", "where"), OTHER_FUNCTION.values(), ids=OTHER_FUNCTION)
def test_two_functions_are_a_bug_with_a_place(other, where):
    found = explain_difference(Block(), other(), tokens())
    assert found.verdict == "bug"
    assert "two functions" in found.text
    assert found.where == where
    assert "test_rounding.py" in found.line


def test_digits_that_are_thrown_away_are_a_bug():
    found = explain_difference(Block(), CoarseInside(), tokens())
    assert found.verdict == "bug"
    assert "b does some step in too low a precision" in found.text


def test_an_unstable_way_to_the_same_function_is_a_bug():
    found = explain_difference(Unstable(False), Unstable(True), tokens() + 1000)
    assert found.verdict == "bug"
    assert "unstable" in found.text


def test_the_same_bits_are_equal():
    assert explain_difference(Block(), Block(), tokens()).verdict == "equal"


def test_a_batch_may_be_keywords_or_a_tuple():
    for batch in ({"x": tokens()}, (tokens(),)):
        assert explain_difference(Block(), Block().bfloat16(), batch).verdict == "rounding"


def test_other_shapes_are_a_bug():
    found = explain_difference(nn.Linear(24, 3), nn.Linear(24, 4), tokens())
    assert found.verdict == "bug"
    assert "shapes" in found.text


class Broken(nn.Module):
    def forward(self, x):
        return x / (x - x)


def test_not_a_number_in_one_alone_is_a_bug():
    found = explain_difference(nn.Identity(), Broken(), tokens())
    assert found.verdict == "bug"
    assert "NaN or infinite" in found.text


def test_modules_and_generators_are_left_alone():
    a, b = Block(), Block().bfloat16()
    before, state = b.qkv.weight.clone(), torch.get_rng_state()
    explain_difference(a, b, tokens())
    assert torch.equal(b.qkv.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "given",
    [(Block(), Block()), (Block(), tokens()), ("a", "b")],
    ids=["no batch", "module and tensor", "words"],
)
def test_what_cannot_be_compared_is_refused(given):
    with pytest.raises(TypeError, match=r"batch|expected two modules"):
        explain_difference(*given)


# tensors alone


def numbers():
    return torch.randn(6, 9, generator=torch.Generator().manual_seed(2))


def with_zero_row(x):
    x = x.clone()
    x[2] = 0
    return x


def with_one_wrong(x):
    x = x.clone()
    x[3, 4] += 1
    return x


PATTERNS = {
    "rows in another order": (lambda x: x[[2, 0, 1, 5, 3, 4]], "permuted"),
    "columns in another order": (lambda x: x[:, [1, 0, 2, 3, 8, 5, 6, 7, 4]], "permuted"),
    "all in another order": (lambda x: x.reshape(9, 6).T.reshape(6, 9), "permuted"),
    "shifted by one": (lambda x: x.roll(1, 0), "shifted"),
    "flipped": (lambda x: x.flip(1), "flipped"),
    "transposed": (lambda x: x.T, "transposed"),
    "times a root": (lambda x: x / math.sqrt(9), "scale"),
    "times one and a little": (lambda x: x * (1 + 4e-6), "scale"),
    "its sign turned": (lambda x: -x, "sign"),
    "plus a constant": (lambda x: x + 0.25, "offset"),
    "a row of zeros": (with_zero_row, "missing"),
    "one number alone": (with_one_wrong, "some"),
    "without its last row": (lambda x: x[:-1], "missing rows"),
    "without its first row": (lambda x: x[1:], "missing rows"),
    "in another shape": (lambda x: x.reshape(9, 6), "reshaped"),
    "other numbers": (lambda x: x + 0.01 * x.flip(0), ""),
}


@pytest.mark.parametrize(("change", "pattern"), PATTERNS.values(), ids=PATTERNS)
def test_a_mistake_is_named(change, pattern):
    found = compare_tensors(numbers(), change(numbers()))
    assert found.verdict == "bug"
    assert found.pattern == pattern


def test_a_square_matrix_that_is_transposed_is_seen():
    x = numbers()[:, :6]
    assert compare_tensors(x, x.T.contiguous()).pattern == "transposed"


def test_a_factor_is_named():
    assert "1 / sqrt(9)" in compare_tensors(numbers(), numbers() / 3).text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_rounding_to_a_dtype_is_rounding(dtype):
    fine = torch.randn(40, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = compare_tensors(fine, fine.to(dtype))
    assert found.verdict == "rounding", found.text
    assert found.ulps is not None
    assert found.ulps["largest"] <= 1.0


def test_the_declared_dtype_is_the_measure():
    x = numbers()
    noise = torch.randn(6, 9, generator=torch.Generator().manual_seed(4))
    y = x * (1 + 1e-3 * noise)
    assert compare_tensors(x, y, torch.bfloat16).verdict == "rounding"
    assert compare_tensors(x, y).verdict == "bug"


def test_whole_numbers_do_not_round():
    ids = torch.arange(6)
    assert compare_tensors(ids, ids).verdict == "equal"
    assert compare_tensors(ids, ids.flip(0)).verdict == "bug"


def test_infinities_in_the_same_places_are_equal():
    x = numbers()
    x[0, 0] = math.inf
    assert compare_tensors(x, x.clone()).verdict == "equal"
    y = x.clone()
    y[0, 0] = math.nan
    assert compare_tensors(x, y).verdict == "bug"


def test_tensors_by_name_are_judged_by_the_worst():
    one = {"a": numbers(), "b": numbers()}
    found = explain_difference(one, {"a": numbers(), "b": -numbers()})
    assert found.verdict == "bug"
    assert found.text.startswith("bug: b: b is a with its sign turned")
    assert set(found.details) == {"a", "b"}


def test_a_tensor_that_is_missing_is_a_bug():
    found = explain_difference({"a": numbers(), "b": numbers()}, {"a": numbers()})
    assert found.verdict == "bug"
    assert "b is in one of them only" in found.text
