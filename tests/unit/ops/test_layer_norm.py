"""What is particular to layer norm: other dtypes for weights, statistics in float32."""

import pytest
import torch

from zoo.ops import layer_norm
from zoo.testing.opinfo import randn
from zoo.testing.tolerances import assert_near

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def grads_of(x, w, b, create_graph):
    leaves = [t.detach().requires_grad_() for t in (x, w, b)]
    y = layer_norm(*leaves)
    dy = torch.arange(y.numel(), dtype=y.dtype).cos().reshape(y.shape)
    return y, dy, torch.autograd.grad(y, leaves, dy, create_graph=create_graph, retain_graph=True)


@pytest.mark.parametrize("create_graph", [False, True], ids=["kernel", "formula"])
@pytest.mark.parametrize("other", DTYPES, ids=lambda d: f"weights-{str(d)[6:]}")
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: f"x-{str(d)[6:]}")
def test_weights_of_another_dtype_serve_and_get_gradients_in_their_own(dtype, other, create_graph):
    x, w, b = randn(4, 6).to(dtype), randn(6).to(other), randn(6, seed=1).to(other)
    y, dy, grads = grads_of(x, w, b, create_graph)
    assert [t.dtype for t in (y, *grads)] == [dtype, dtype, other, other]
    with torch.set_grad_enabled(create_graph):
        *raw, _ = y.grad_fn.apply(dy)  # the engine would cast
    assert [t.dtype for t in raw] == [dtype, other, other]
    lowest = min(DTYPES.index(dtype), 1), min(DTYPES.index(other), 1)
    exact = torch.float64 if lowest == (0, 0) else torch.float32
    leaves = [t.detach().double().requires_grad_() for t in (x, w, b)]
    expected = layer_norm(*leaves)
    wanted = torch.autograd.grad(expected, leaves, dy.double())
    for actual, exactly in zip((y, *grads), (expected, *wanted), strict=True):
        coarser = max((actual.dtype, exact, dtype), key=lambda d: torch.finfo(d).eps)
        assert_near(actual, exactly, coarser, 8)


@pytest.mark.parametrize("create_graph", [False, True], ids=["kernel", "formula"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_statistics_do_not_cost_the_gradient_its_digits(dtype, create_graph):
    """Mean and r kept in bfloat16 would leave errors of many roundings in xhat, and so in dw."""
    x = (randn(3, 64) + 8).to(dtype)
    w, b = randn(64).to(dtype), torch.zeros(64, dtype=dtype)
    _, dy, (dx, dw, _) = grads_of(x, w, b, create_graph)
    leaves = [t.detach().double().requires_grad_() for t in (x, w, b)]
    ex, ew, _ = torch.autograd.grad(layer_norm(*leaves), leaves, dy.double())
    assert_near(dx, ex, dtype, 2)
    assert_near(dw, ew, dtype, 2)


def test_wider_weights_do_not_widen_the_work_on_the_gradient():
    """dx is made in x's own float32: weights that float32 holds exactly give the same bits."""
    x, w, b = randn(4, 6).float(), randn(6).float(), randn(6, seed=1).float()
    for create_graph in (False, True):
        _, _, (own, *_) = grads_of(x, w, b, create_graph)
        _, _, (wide, *_) = grads_of(x, w.double(), b.double(), create_graph)
        assert torch.equal(own, wide)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_low_tangent_is_rounded_once(dtype):
    x, w, b = randn(3, 8).to(dtype), randn(8).to(dtype), randn(8, seed=1).to(dtype)
    tangents = tuple(randn(*t.shape, seed=5).to(dtype) for t in (x, w, b))
    _, t = torch.func.jvp(layer_norm, (x, w, b), tangents)
    wide = [tuple(t.double() for t in given) for given in ((x, w, b), tangents)]
    _, exact = torch.func.jvp(layer_norm, *wide)
    assert t.dtype == dtype
    assert_near(t, exact, dtype, 2)
