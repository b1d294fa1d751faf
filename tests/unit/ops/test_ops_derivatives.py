"""Every public op, on the samples of its row, over all derivatives that a native op can give."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from unit.ops.op_cases import (
    ENDS,
    along,
    close,
    dense,
    direction,
    each_dense_case,
    each_op,
    each_way,
    every_argument,
)
from zoo.testing.opinfo import randn


@each_dense_case
def test_second_derivatives_equal_the_reference(info, sample):
    """Of a graph that autograd itself has made, by what came in and by the inputs."""
    found = []
    for op in (info.op, info.reference):
        floats = dense(sample, grad=True)
        y = sample.call(op, *floats)
        dy = direction(y).requires_grad_()
        grads = torch.autograd.grad(y, floats, dy, create_graph=True)
        scalar = sum((g * direction(g)).sum() for g in grads)
        every = (dy, *floats)
        found.append(torch.autograd.grad(scalar, every, allow_unused=True, materialize_grads=True))
    close(*found)


# Every element is compared with the reference, to rounding, by the tests around these two, which
# look once an op whether reference and op are wrong together, along random directions (fast_mode).


@pytest.mark.parametrize(("info", "sample"), ENDS)
def test_gradients_pass_finite_differences(info, sample):
    assert gradcheck(
        lambda *floats: sample.call(info.op, *floats),
        dense(sample, grad=True),
        check_batched_grad=True,
        check_forward_ad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )


@pytest.mark.parametrize(("info", "sample"), ENDS)
def test_second_derivatives_pass_finite_differences(info, sample):
    assert gradgradcheck(
        lambda *floats: sample.call(info.op, *floats),
        dense(sample, grad=True),
        check_batched_grad=True,
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        fast_mode=True,
    )


@each_way
def test_functional_derivatives_equal_the_reference(info, sample):
    floats, argnums = dense(sample), every_argument(sample)

    def of(op):
        return lambda *floats: sample.call(op, *floats)

    expected = torch.func.grad(along(info.reference, sample), argnums)(*floats)
    close(torch.func.grad(along(info.op, sample), argnums)(*floats), expected)
    expected = torch.func.jacrev(of(info.reference), argnums)(*floats)
    close(torch.func.jacrev(of(info.op), argnums)(*floats), expected)
    close(torch.func.jacfwd(of(info.op), argnums)(*floats), expected)
    expected = torch.func.hessian(along(info.reference, sample), argnums)(*floats)
    close(torch.func.hessian(along(info.op, sample), argnums)(*floats), expected)
    twice = torch.func.jacrev(torch.func.jacrev(along(info.op, sample), argnums), argnums)(*floats)
    close(twice, expected)


@each_op
def test_a_pullback_may_be_taken_later_and_without_grad(info, sample):
    """The transform is over by then, and what its forward left out must be made up."""
    floats, found = dense(sample), []
    for op in (info.op, info.reference):
        y, pull = torch.func.vjp(lambda *f, op=op: sample.call(op, *f), *floats)
        with torch.no_grad():
            found.append(pull(direction(y)))
    close(*found)


@each_dense_case
def test_forward_mode_equals_the_reference(info, sample):
    floats = dense(sample)
    tangents = tuple(randn(*x.shape, seed=9) for x in floats)
    actual = torch.func.jvp(lambda *f: sample.call(info.op, *f), floats, tangents)
    close(actual, torch.func.jvp(lambda *f: sample.call(info.reference, *f), floats, tangents))


@each_way
def test_forward_mode_keeps_a_low_dtype(info, sample):
    floats = sample.to(torch.bfloat16).floats()
    tangents = tuple(direction(x) for x in floats)
    y, t = torch.func.jvp(lambda *f: sample.call(info.op, *f), floats, tangents)
    assert y.dtype == t.dtype == (torch.float32 if info.loss else torch.bfloat16)


@each_op
def test_forward_mode_inside_forward_mode_is_refused(info, sample):
    """torch would leave the outer derivative out without a word."""
    twice = torch.func.jacfwd(torch.func.jacfwd(along(info.op, sample)))
    with pytest.raises(NotImplementedError, match="take one of the derivatives in reverse"):
        twice(*dense(sample))


@each_dense_case
def test_mapped_calls_and_gradients_equal_a_loop(info, sample):
    rows = [dense(sample, grad=True), tuple((x + 0.1).requires_grad_() for x in dense(sample))]
    values = [sample.call(info.reference, *row) for row in rows]
    looped = [
        torch.autograd.grad(y, row, direction(y)) for y, row in zip(values, rows, strict=True)
    ]
    stacked = [torch.stack(column).detach().requires_grad_() for column in zip(*rows, strict=True)]
    expected = tuple(torch.stack(column) for column in zip(*looped, strict=True))
    y = torch.vmap(lambda *f: sample.call(info.op, *f))(*stacked)
    close(y, torch.stack(values))
    close(torch.autograd.grad(y, stacked, torch.stack([direction(v) for v in values])), expected)
    grad = torch.func.grad(along(info.op, sample), every_argument(sample))
    close(torch.vmap(grad)(*stacked), expected)
