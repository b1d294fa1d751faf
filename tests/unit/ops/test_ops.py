"""Every public op, on every sample of its row: values, dtypes, autocast, refusals."""

import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.autograd import Function

from unit.ops.op_cases import (
    ROUNDED,
    SEVERAL,
    close,
    direction,
    each_case,
    each_way,
    every_argument,
    tuple_of,
    value_and_grads,
)
from zoo import ops
from zoo.ops.table import OPS
from zoo.testing.tolerances import assert_near

REFUSALS = [
    pytest.param(info, refusal, id=f"{info.name}-{refusal.name}")
    for info in OPS.values()
    for refusal in info.errors()
]


@each_case
def test_value_and_gradients_equal_the_reference(info, sample):
    y, _, grads = value_and_grads(info.op, sample.to(torch.float64, grad=True))
    expected, _, expected_grads = value_and_grads(
        info.reference, sample.to(torch.float64, grad=True)
    )
    close(y, expected)
    close(grads, expected_grads)


@pytest.mark.parametrize(("info", "sample", "dtype"), ROUNDED)
def test_a_dtype_is_kept_and_rounds_no_more_than_it_must(info, sample, dtype):
    """With create_graph the formula replaces the kernel: both must give one answer."""
    rounded = sample.to(dtype, grad=True)
    y = rounded.call(info.op)
    dy = direction(y)
    grads = torch.autograd.grad(y, rounded.floats(), dy, retain_graph=True)
    again = torch.autograd.grad(y, rounded.floats(), dy, create_graph=True)
    exact = rounded.to(torch.float64, grad=True)
    expected = exact.call(info.op)
    expected_grads = torch.autograd.grad(expected, exact.floats(), dy.double())
    assert y.dtype == (torch.float32 if info.loss else dtype)
    assert [g.dtype for g in (*grads, *again)] == [dtype] * 2 * len(grads)
    assert_near(y, expected, dtype, info.roundings * sample.cancels)
    for grad, formula, wanted in zip(grads, again, expected_grads, strict=True):
        assert_near(grad, wanted, dtype, info.roundings * sample.cancels)
        assert_near(formula, grad, dtype, 2 * info.roundings * sample.cancels)


@each_case
def test_inputs_are_never_changed(info, sample):
    leaves = sample.to(torch.float64, grad=True)
    before = [x.detach().clone() for x in leaves.tensors()]
    versions = [x._version for x in leaves.tensors()]
    value_and_grads(info.op, leaves)
    assert versions == [x._version for x in leaves.tensors()]
    assert all(torch.equal(x, y) for x, y in zip(leaves.tensors(), before, strict=True))


@each_way
def test_the_same_bits_come_out_with_and_without_grad(info, sample):
    with_grad = sample.to(torch.float32, grad=True)
    without = sample.to(torch.float32).call(info.op)
    with torch.no_grad():
        in_no_grad = with_grad.call(info.op)
    y = with_grad.call(info.op)
    assert y.requires_grad and not without.requires_grad and not in_no_grad.requires_grad
    assert torch.equal(y, without) and torch.equal(y, in_no_grad)


@each_case
def test_the_backward_itself_gives_the_shapes_and_dtypes_of_the_inputs(info, sample):
    """The engine would sum and cast a gradient to what its input is without a word."""
    y = sample.to(torch.bfloat16, grad=True).call(info.op)
    for differentiable in (False, True):
        with torch.set_grad_enabled(differentiable):
            raw = tuple_of(y.grad_fn.apply(direction(y)))
        leaves = [node.variable for node, _ in y.grad_fn.next_functions if node is not None]
        given = [(g.shape, g.dtype) for g in raw if g is not None]
        assert given == [(leaf.shape, leaf.dtype) for leaf in leaves]


@pytest.mark.parametrize(("info", "sample"), SEVERAL)
def test_only_what_requires_grad_gets_one(info, sample):
    _, dy, expected = value_and_grads(info.op, sample.to(torch.float64, grad=True))
    for i in every_argument(sample):
        alone = sample.to(torch.float64)
        alone.floats()[i].requires_grad_()
        y = alone.call(info.op)
        given = [g for g in tuple_of(y.grad_fn.apply(dy)) if g is not None]
        assert len(given) == 1
        close(given[0].detach(), expected[i])


@each_way
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


@each_way
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


@each_way
def test_low_inputs_give_what_autocast_promises(info, sample):
    """Statistics go out in float32 under autocast, and gradients come back in the inputs' dtype."""
    leaves = sample.to(torch.bfloat16, grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _, grads = value_and_grads(info.op, leaves)
    raised = info.loss or info.autocast == "float32"
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
