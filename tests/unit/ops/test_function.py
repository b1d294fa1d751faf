"""The glue: which way a call goes, and what it costs when nobody asks for a derivative."""

import pytest
import torch
import torch.utils.checkpoint
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import ops
from zoo.ops._elementary import elementary, mapped, readable
from zoo.ops._function import (
    autocast_dtype,
    check_float,
    check_one_forward_mode,
    check_same_dtype,
    derivative_wanted,
    differentiable,
    lowered,
    no_autocast,
    raised,
    transformed,
    wide,
    wide_dtype,
)
from zoo.ops.linear import linear_backward


def test_a_derivative_is_wanted_where_grad_mode_and_an_input_agree():
    x = torch.ones(2, requires_grad=True)
    assert derivative_wanted((1, "a", x)) and not derivative_wanted((x.detach(), None))
    with torch.no_grad():
        assert not derivative_wanted((x,))
    assert not derivative_wanted(())


def test_a_transform_is_seen_from_inside():
    assert not transformed()
    seen = []

    def f(x):
        seen.append(transformed())
        return x

    torch.vmap(f)(torch.ones(3))
    torch.func.grad(f)(torch.tensor(1.0))
    assert seen == [True, True]


def test_a_backward_is_differentiable_with_a_graph_or_in_forward_mode():
    assert differentiable()
    with torch.no_grad():
        assert not differentiable()
        with torch.autograd.forward_ad.dual_level():
            assert differentiable()


def test_autocast_casts_what_torch_would_and_leaves_float64_and_integers():
    x, n, d = torch.ones(2), torch.arange(2), torch.ones(2, dtype=torch.float64)
    assert lowered(x, n, d, None) == (x, n, d, None) and raised(x.half()).dtype == torch.float16
    assert autocast_dtype(x) is None
    with torch.autocast("cpu", dtype=torch.float16):
        assert autocast_dtype(x) == torch.float16
        low = lowered(x, n, d, None)
        assert [t.dtype for t in low[:3]] == [torch.float16, torch.int64, torch.float64]
        assert low[1] is n and low[2] is d and low[3] is None
        assert raised(x.bfloat16()).dtype == torch.float32 and raised(d) is d


def test_a_device_without_autocast_is_no_obstacle():
    x = torch.ones(2, 3, device="meta")
    assert autocast_dtype(x) is None and ops.softmax(x).device.type == "meta"


def test_autocast_of_a_device_says_nothing_of_another():
    x = torch.ones(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert autocast_dtype(x) == torch.bfloat16
        assert autocast_dtype(x.to("meta")) is None and autocast_dtype(x.to("cpu")) is not None


def test_a_formula_is_taken_where_a_derivative_or_a_map_is_about():
    x, seen = torch.ones(3), []
    assert elementary(x) and not mapped() and readable(x) and not readable(x.to("meta"))
    with torch.no_grad():
        assert not elementary(x) and readable(x)
        torch.vmap(lambda row: (seen.append((elementary(row), mapped(), readable(x))), row)[1])(x)
        with torch.autograd.forward_ad.dual_level():
            assert elementary(x)
    assert seen == [(True, True, False)]


def test_forward_mode_without_a_transform_is_heard():
    x, t = torch.randn(2, 3), torch.randn(2, 3)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, t)
        tangent = torch.autograd.forward_ad.unpack_dual(ops.softmax(dual)).tangent
    torch.testing.assert_close(tangent, torch.func.jvp(lambda x: x.softmax(-1), (x,), (t,))[1])


def test_autocast_is_off_inside_and_on_again_after():
    x = torch.ones(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with no_autocast(x):
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")


def test_low_dtypes_are_widened_and_others_stay():
    single, double = torch.float32, torch.float64
    pairs = [(torch.bfloat16, single), (torch.float16, single), (single, single), (double, double)]
    for dtype, wider in pairs:
        x = torch.ones(2, dtype=dtype)
        assert wide(x).dtype == wide_dtype(x) == wider


def test_one_forward_mode_is_welcome_and_two_are_not():
    def once(x):
        check_one_forward_mode("op")
        return x

    x = torch.tensor(1.0)
    check_one_forward_mode("op")
    torch.func.jacfwd(once)(x)
    torch.func.jacfwd(torch.func.jacrev(once))(x)
    with pytest.raises(NotImplementedError, match=r"^op: forward mode inside forward mode"):
        torch.func.jacfwd(torch.func.jacfwd(once))(x)


def test_dtypes_are_refused_by_name():
    x, n = torch.ones(2), torch.arange(2)
    check_float("op", x=x, y=None)
    check_same_dtype("op", x=x, y=None, z=x)
    with pytest.raises(TypeError, match=r"^op: n is torch.int64; give a floating tensor, n.float"):
        check_float("op", x=x, n=n)
    match = "^op: x torch.float32, y torch.float64 differ; cast"
    with pytest.raises(TypeError, match=match):
        check_same_dtype("op", x=x, y=x.double(), z=None)


class Kernels(TorchDispatchMode):
    """Note the name of every kernel that runs inside."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


FAST = {
    "embedding_dense_backward": lambda x: ops.embedding(torch.tensor([1, 0, 1]), x),
    "gelu_backward": lambda x: ops.gelu(x, "tanh"),
    "native_layer_norm_backward": lambda x: ops.layer_norm(x, x[0], x[0]),
    "silu_backward": lambda x: ops.gelu(x, "quick"),
}


@pytest.mark.parametrize("kernel", FAST)
def test_a_backward_is_the_kernel_unless_it_may_be_differentiated(kernel):
    x = torch.randn(2, 3, requires_grad=True)
    for create_graph in (False, True):
        y = FAST[kernel](x)
        with Kernels() as seen:
            torch.autograd.grad(y.sum(), x, create_graph=create_graph)
        assert (kernel in seen.names) is not create_graph


def test_an_op_under_a_checkpoint_gives_the_same_gradients():
    x, w = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)

    def block(x, w):
        return ops.dropout(ops.gelu(ops.linear(x, w)), 0.5, 3)

    y = torch.utils.checkpoint.checkpoint(block, x, w, use_reentrant=False)
    again = torch.autograd.grad(y.square().sum(), (x, w))
    plain = torch.autograd.grad(block(x, w).square().sum(), (x, w))
    assert all(torch.equal(a, b) for a, b in zip(again, plain, strict=True))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
def test_a_linear_backward_gives_only_what_is_asked_for(shape):
    x, w = torch.randn(shape), torch.randn(5, 4)
    dy = torch.randn(*shape[:-1], 5)
    assert linear_backward(dy, x, w, (False, False, False)) == (None, None, None)
    dx, dw, db = linear_backward(dy, x, w, (True, True, True))
    assert (dx.shape, dw.shape, db.shape) == (x.shape, w.shape, (5,))
