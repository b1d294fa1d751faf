"""Products of low dtypes: as exact as one rounding allows, and no copy of a weight is kept."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from zoo import ops
from zoo.ops._product import ROWS, SLOW_BFLOAT16, masters, multiplies_in, rounded

IN, OUT = 24, 9
NORM = torch.ones(IN), torch.zeros(IN)
LABELS = torch.arange(4 * ROWS) % OUT

#: each op that multiplies by a weight: of x, weight and bias
CALLS = {
    "linear": lambda x, w, c: ops.linear(x, w, c),
    "gelu_linear": lambda x, w, c: ops.gelu_linear(x, w, c, "tanh"),
    "layer_norm_linear": lambda x, w, c: ops.layer_norm_linear(x, *NORM, w, c),
    "linear_cross_entropy": lambda x, w, c: ops.linear_cross_entropy(x, w, LABELS[: len(x)], c),
}


def made(rows, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows)
    shapes = (rows, IN), (OUT, IN), (OUT,)
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shapes]


@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, 2 * ROWS + 1])
def test_a_bfloat16_product_is_the_exact_one_rounded(rows):
    floats = made(rows, torch.bfloat16)
    x, w, c = (t.detach().double() for t in floats)
    y = ops.linear(*floats)
    dy = torch.randn(rows, OUT, generator=torch.Generator().manual_seed(0)).bfloat16()
    y.backward(dy)
    dy = dy.double()
    exact = [x @ w.T + c, dy @ w, dy.T @ x, dy.sum(0)]
    sizes = [
        x.abs() @ w.abs().T + c.abs(),
        dy.abs() @ w.abs(),
        dy.abs().T @ x.abs(),
        dy.abs().sum(0),
    ]
    half_step, in_float = torch.finfo(torch.bfloat16).eps / 2, torch.finfo(torch.float32).eps
    for found, right, size in zip([y, *(t.grad for t in floats)], exact, sizes, strict=True):
        # float32 sums of up to `rows` exact products, then one rounding
        allowed = half_step * right.abs() * 1.01 + (rows + IN) * in_float * size
        assert found.dtype == torch.bfloat16
        assert ((found.double() - right).abs() <= allowed).all()


@pytest.mark.parametrize("rows", [3, 2 * ROWS])
@pytest.mark.parametrize("op", CALLS)
def test_under_autocast_no_copy_of_a_weight_is_kept(op, rows):
    x, w, c = made(rows)
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autocast("cpu", torch.bfloat16), saved_tensors_hooks(pack, lambda tensor: tensor):
        CALLS[op](x, w, c)
    like_it = [t for t in kept if t.shape == w.shape]
    assert like_it
    assert all(t.data_ptr() == w.data_ptr() for t in like_it)


@pytest.mark.parametrize("rows", [3, 2 * ROWS])
@pytest.mark.parametrize("op", CALLS)
def test_under_autocast_a_weight_is_rounded_and_its_gradient_is_not_wider_off_than_one_rounding(
    op, rows
):
    floats = made(rows)
    with torch.autocast("cpu", torch.bfloat16):
        y = CALLS[op](*floats)
    y.float().sum().backward()
    low = [t.detach().bfloat16() for t in floats]
    exact = [t.double().requires_grad_() for t in low]
    given = floats[0].detach().double().requires_grad_()
    if op in ("gelu_linear", "layer_norm_linear"):  # what is multiplied is cast, not x
        exact[0] = given
    norm = [t.double() for t in NORM]
    call = {
        **CALLS,
        "layer_norm_linear": lambda x, w, c: ops.layer_norm_linear(x, *norm, w, c),
    }[op]
    call(*exact).sum().backward()
    assert [t.grad.dtype for t in floats] == [torch.float32] * 3
    # a chain of casts: x, n or gelu(h), the product, dy, dx, each to bfloat16
    step = 8 * torch.finfo(torch.bfloat16).eps
    for found, right in zip(floats, exact, strict=True):
        off = (found.grad.double() - right.grad).abs()
        assert off.max() <= step * right.grad.abs().max()


def test_where_the_products_are_made():
    x = torch.zeros(2 * ROWS, 1)
    assert multiplies_in(x, 2 * ROWS) == torch.float32
    assert multiplies_in(x.double(), 2 * ROWS) == torch.float64
    assert multiplies_in(x.half(), 2 * ROWS) == torch.float16
    assert multiplies_in(x.bfloat16(), ROWS - 1) == torch.bfloat16
    at = torch.float32 if SLOW_BFLOAT16 else torch.bfloat16
    assert multiplies_in(x.bfloat16(), ROWS) == at
    assert multiplies_in(x.bfloat16().to("meta"), ROWS) == torch.bfloat16


def test_a_rounded_weight_has_the_precision_of_one_dtype_and_the_type_of_another():
    weight = torch.tensor([1.0, 1.001, 3.14159])
    assert torch.equal(rounded(weight, torch.bfloat16, torch.float32), weight.bfloat16().float())
    assert rounded(weight, torch.float32, torch.float32) is weight


def test_only_float32_weights_are_left_to_the_op():
    x = torch.zeros(1, 2)
    w, c = torch.zeros(3, 2), torch.zeros(3)
    assert masters(x, w, c) == (w, c)
    with torch.autocast("cpu", torch.bfloat16):
        low = x.bfloat16()
        assert masters(low, w, c)[0] is w
        assert masters(low, w, c.half())[0].dtype == torch.bfloat16
        assert masters(low, w.half(), None)[0].dtype == torch.bfloat16
        assert masters(low, w.double(), None)[0].dtype == torch.float64
