"""Every public op, on every sample of its row, over all that a native op can do."""

import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.autograd import Function, gradcheck, gradgradcheck

from zoo import ops
from zoo.ops.table import OPS
from zoo.testing.opinfo import randn
from zoo.testing.tolerances import assert_near

CASES = [
    pytest.param(info, sample, id=f"{info.name}-{sample.name}")
    for info in OPS.values()
    for sample in info.samples()
]
REFUSALS = [
    pytest.param(info, refusal, id=f"{info.name}-{refusal.name}")
    for info in OPS.values()
    for refusal in info.errors()
]
LOW = [torch.float32, torch.bfloat16, torch.float16]
EXACT = {"rtol": 1e-12, "atol": 1e-12}

each_case = pytest.mark.parametrize(("info", "sample"), CASES)
each_dtype = pytest.mark.parametrize("dtype", LOW, ids=lambda d: str(d).removeprefix("torch."))


def dense(sample, *, grad=False):
    """The sample's floating tensors as contiguous leaves, as finite differences need them."""
    return tuple(x.detach().clone(memory_format=torch.contiguous_format).requires_grad_(grad)
                 for x in sample.floats())  # fmt: skip


def direction(y):
    """A fixed direction to look along: no two elements weigh the same, and nothing is drawn."""
    return torch.arange(y.numel(), dtype=y.dtype).cos().reshape(y.shape)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, **EXACT)


def value_and_grads(op, sample):
    """The output and the gradient of every floating input, along a fixed direction."""
    y = sample.call(op)
    dy = direction(y)
    return y, dy, torch.autograd.grad(y, sample.floats(), dy)


def tuple_of(grads):
    return grads if isinstance(grads, tuple) else (grads,)


def along(op, sample):
    """A scalar function of the floating inputs."""

    def scalar(*floats):
        y = sample.call(op, *floats)
        return (y * direction(y)).sum()

    return scalar


def every_argument(sample):
    return tuple(range(len(sample.floats())))


@each_case
def test_value_and_gradients_equal_the_reference(info, sample):
    y, _, grads = value_and_grads(info.op, sample.to(torch.float64, grad=True))
    expected, _, expected_grads = value_and_grads(
        info.reference, sample.to(torch.float64, grad=True)
    )
    close(y, expected)
    close(grads, expected_grads)


# fast_mode looks along random directions instead of at every element; every element is compared
# with the reference, to rounding, by the tests around these two


@each_case
def test_gradients_pass_finite_differences(info, sample):
    assert gradcheck(
        lambda *floats: sample.call(info.op, *floats),
        dense(sample, grad=True),
        check_batched_grad=True,
        check_forward_ad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )


@each_case
def test_second_derivatives_pass_finite_differences(info, sample):
    assert gradgradcheck(
        lambda *floats: sample.call(info.op, *floats),
        dense(sample, grad=True),
        check_batched_grad=True,
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        fast_mode=True,
    )


@each_case
def test_functional_gradients_equal_the_reference(info, sample):
    floats, argnums = dense(sample), every_argument(sample)
    for transform in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd):
        actual = transform(along(info.op, sample), argnums)(*floats)
        close(actual, torch.func.grad(along(info.reference, sample), argnums)(*floats))


@each_case
def test_jacobians_and_hessians_equal_the_reference(info, sample):
    floats, argnums = dense(sample), every_argument(sample)

    def of(op):
        return lambda *floats: sample.call(op, *floats)

    expected = torch.func.jacrev(of(info.reference), argnums)(*floats)
    close(torch.func.jacrev(of(info.op), argnums)(*floats), expected)
    close(torch.func.jacfwd(of(info.op), argnums)(*floats), expected)
    expected = torch.func.hessian(along(info.reference, sample), argnums)(*floats)
    close(torch.func.hessian(along(info.op, sample), argnums)(*floats), expected)
    twice = torch.func.jacrev(torch.func.jacrev(along(info.op, sample), argnums), argnums)(*floats)
    close(twice, expected)


@each_case
def test_forward_mode_equals_the_reference(info, sample):
    floats = dense(sample)
    tangents = tuple(randn(*x.shape, seed=9) for x in floats)
    actual = torch.func.jvp(lambda *f: sample.call(info.op, *f), floats, tangents)
    close(actual, torch.func.jvp(lambda *f: sample.call(info.reference, *f), floats, tangents))


@each_case
def test_forward_mode_inside_forward_mode_is_refused(info, sample):
    """torch would leave the outer derivative out without a word."""
    twice = torch.func.jacfwd(torch.func.jacfwd(along(info.op, sample)))
    with pytest.raises(NotImplementedError, match="take one of the derivatives in reverse"):
        twice(*dense(sample))


@each_case
def test_mapped_calls_and_gradients_equal_a_loop(info, sample):
    rows = [tuple(x + 0.1 * i for x in dense(sample)) for i in range(3)]
    stacked = [torch.stack(column) for column in zip(*rows, strict=True)]
    grad = torch.func.grad(along(info.op, sample), every_argument(sample))
    close(
        torch.vmap(lambda *f: sample.call(info.op, *f))(*stacked),
        torch.stack([sample.call(info.reference, *row) for row in rows]),
    )
    looped = [grad(*row) for row in rows]
    expected = tuple(torch.stack(column) for column in zip(*looped, strict=True))
    close(torch.vmap(grad)(*stacked), expected)


@each_dtype
@each_case
def test_a_dtype_is_kept_and_rounds_no_more_than_it_must(info, sample, dtype):
    rounded = sample.to(dtype, grad=True)
    y, dy, grads = value_and_grads(info.op, rounded)
    exact = rounded.to(torch.float64, grad=True)
    expected = exact.call(info.op)
    expected_grads = torch.autograd.grad(expected, exact.floats(), dy.double())
    assert y.dtype == (torch.float32 if info.loss else dtype)
    assert [g.dtype for g in grads] == [dtype] * len(grads)
    assert_near(y, expected, dtype, info.roundings * sample.cancels)
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert_near(grad, wanted, dtype, info.roundings * sample.cancels)


@each_dtype
@each_case
def test_the_differentiable_backward_keeps_dtype_and_value(info, sample, dtype):
    """With create_graph the formula replaces the kernel: both must give one answer."""
    leaves = sample.to(dtype, grad=True)
    _, dy, grads = value_and_grads(info.op, leaves)
    again = torch.autograd.grad(leaves.call(info.op), leaves.floats(), dy, create_graph=True)
    assert [g.dtype for g in again] == [dtype] * len(grads)
    for grad, wanted in zip(again, grads, strict=True):
        assert_near(grad, wanted, dtype, 2 * info.roundings * sample.cancels)


@each_case
def test_inputs_are_never_changed(info, sample):
    leaves = sample.to(torch.float64, grad=True)
    before = [x.detach().clone() for x in leaves.tensors()]
    versions = [x._version for x in leaves.tensors()]
    value_and_grads(info.op, leaves)
    assert versions == [x._version for x in leaves.tensors()]
    assert all(torch.equal(x, y) for x, y in zip(leaves.tensors(), before, strict=True))


@each_case
def test_the_same_bits_come_out_with_and_without_grad(info, sample):
    with_grad = sample.to(torch.float32, grad=True)
    without = sample.to(torch.float32).call(info.op)
    with torch.no_grad():
        in_no_grad = with_grad.call(info.op)
    y = with_grad.call(info.op)
    assert y.requires_grad and not without.requires_grad and not in_no_grad.requires_grad
    assert torch.equal(y, without) and torch.equal(y, in_no_grad)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
@each_case
def test_the_backward_itself_gives_the_shapes_and_dtypes_of_the_inputs(info, sample, dtype):
    """The engine would sum and cast a gradient to what its input is without a word."""
    y = sample.to(dtype, grad=True).call(info.op)
    for differentiable in (False, True):
        with torch.set_grad_enabled(differentiable):
            raw = tuple_of(y.grad_fn.apply(direction(y)))
        leaves = [node.variable for node, _ in y.grad_fn.next_functions if node is not None]
        given = [(g.shape, g.dtype) for g in raw if g is not None]
        assert given == [(leaf.shape, leaf.dtype) for leaf in leaves]


@each_case
def test_only_what_requires_grad_gets_one(info, sample):
    _, dy, expected = value_and_grads(info.op, sample.to(torch.float64, grad=True))
    for i in every_argument(sample):
        alone = sample.to(torch.float64)
        x = alone.floats()[i].requires_grad_()
        y = alone.call(info.op)
        given = [g for g in tuple_of(y.grad_fn.apply(dy)) if g is not None]
        assert len(given) == 1
        close(torch.autograd.grad(alone.call(info.op), x, dy)[0], expected[i])


@each_case
def test_autocast_gives_torchs_dtype_and_gradients_in_the_inputs_own(info, sample):
    leaves = sample.to(torch.float32, grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = leaves.call(info.op)
        dy = direction(y)
        inside = torch.autograd.grad(y, leaves.floats(), dy, retain_graph=True)
    outside = torch.autograd.grad(y, leaves.floats(), dy)
    exact = leaves.to(torch.float64, grad=True)
    expected = exact.call(info.op)
    grads = torch.autograd.grad(expected, exact.floats(), dy.double())
    low = {"low": torch.bfloat16}.get(info.autocast, torch.float32)
    assert y.dtype == (torch.float32 if info.loss else low)
    assert all(torch.equal(a, b) for a, b in zip(inside, outside, strict=True))
    assert all(g.dtype == torch.float32 for g in inside)
    assert_near(y, expected, low, 2 * info.roundings * sample.cancels)
    for grad, wanted in zip(inside, grads, strict=True):
        assert_near(grad, wanted, low, 2 * info.roundings * sample.cancels)


@each_case
def test_a_backward_inside_autocast_is_exactly_that_of_its_forward_outside(info, sample):
    leaves = sample.to(torch.float32, grad=True)
    dy = direction(leaves.call(info.op))
    for create_graph in (False, True):
        y = leaves.call(info.op)
        expected = torch.autograd.grad(y, leaves.floats(), dy, retain_graph=True,
                                       create_graph=create_graph)  # fmt: skip
        with torch.autocast("cpu", dtype=torch.bfloat16):
            grads = torch.autograd.grad(y, leaves.floats(), dy, create_graph=create_graph)
        assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))


@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@each_case
def test_low_inputs_give_what_autocast_promises(info, sample, autocast):
    """Statistics go out in float32 under autocast, and gradients come back in the inputs' dtype."""
    leaves = sample.to(torch.bfloat16, grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        y, _, grads = value_and_grads(info.op, leaves)
    raised = info.loss or (autocast and info.autocast == "float32")
    assert y.dtype == (torch.float32 if raised else torch.bfloat16)
    assert all(g.dtype == torch.bfloat16 for g in grads)


@pytest.mark.parametrize(("info", "refusal"), REFUSALS)
def test_a_bad_call_is_refused_with_a_clear_error(info, refusal):
    """Where annotations are checked at run time, they may be the first to refuse."""
    with pytest.raises((refusal.error, TypeCheckError)) as caught:
        info.op(*refusal.args, **refusal.kwargs)
    by_annotation = isinstance(caught.value, TypeCheckError)
    assert by_annotation or re.search(refusal.match, str(caught.value)), str(caught.value)


def functions():
    """Every autograd.Function that a module of zoo.ops defines."""
    rooms = [
        importlib.import_module(m.name) for m in pkgutil.iter_modules(ops.__path__, "zoo.ops.")
    ]
    found = {c for room in rooms for c in vars(room).values() if inspect.isclass(c)}
    return {c for c in found if issubclass(c, Function) and c.__module__.startswith("zoo.ops")}


def nodes(y):
    """The names of all nodes in the graph below y."""
    left, seen = [y.grad_fn], set()
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left.extend(n for n, _ in node.next_functions)
    return {node.name() for node in seen}


def test_every_public_op_has_a_row():
    assert sorted(OPS) == sorted(ops.__all__) == list(ops.__all__)
    assert all(info.name == name and info.op is getattr(ops, name) for name, info in OPS.items())


def test_every_function_is_reached_by_a_row():
    reached = set()
    for info in OPS.values():
        for sample in info.samples():
            reached |= nodes(sample.to(torch.float64, grad=True).call(info.op))
    assert {f"{f.__name__}Backward" for f in functions()} <= reached


def test_every_function_works_under_the_functional_transforms():
    assert all(f.generate_vmap_rule for f in functions())


@pytest.mark.parametrize("info", OPS.values(), ids=list(OPS))
def test_names_in_a_row_are_unique(info):
    names = [row.name for row in (*info.samples(), *info.errors())]
    assert len(names) == len(set(names))
