"""What is true of every op, whatever the shapes: values, adjoints, linearity of the backward."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from unit.ops.op_calls import CALLS
from unit.property_rows import drawn, examples, inner, leaves, near, seeds, sizes
from zoo import ops

each_op = pytest.mark.parametrize("name", CALLS)
shapes = st.tuples(sizes, sizes, sizes, sizes)
#: the longest chain of roundings among these sizes: sums of at most 36 terms, twice, and what is
#: around them; the third power of 1 / sqrt(eps) in a row of one number multiplies it
LONGEST = 2000


def pulled(function, floats, dy):
    """The gradients of a function's floating inputs for one gradient of its output."""
    y = function(*floats)
    assert y.shape == dy.shape
    return torch.autograd.grad(y, floats, dy)


@each_op
@examples(5)
@example(n=(2, 3, 4, 5), seed=10)
@example(n=(1, 2, 4, 5), seed=11)
@given(n=shapes, seed=seeds)
def test_values_and_gradients_are_the_references_on_any_shape(name, n, seed):
    op, reference, floats = CALLS[name](n, seed)
    mine, theirs = leaves(*floats), leaves(*floats)
    y, expected = op(*mine), reference(*theirs)
    near(y, expected, LONGEST, *floats)
    dy = drawn(seed + 7, *y.shape)
    grads = torch.autograd.grad(y, mine, dy)
    wanted = torch.autograd.grad(expected, theirs, dy)
    for grad, other in zip(grads, wanted, strict=True):
        near(grad, other, LONGEST, dy, *floats)


@each_op
@examples(4)
@example(n=(2, 3, 4, 5), seed=10)
@example(n=(1, 2, 4, 5), seed=11)
@given(n=shapes, seed=seeds)
def test_the_backward_is_the_adjoint_of_the_tangent(name, n, seed):
    """<dy, J t> = <J^T dy, t>: forward mode and backward are written by hand apart."""
    op, _, floats = CALLS[name](n, seed)
    tangents = tuple(drawn(seed + 20 + i, *x.shape) for i, x in enumerate(floats))
    y, moved = torch.func.jvp(op, floats, tangents)
    dy = drawn(seed + 7, *y.shape)
    grads = pulled(op, leaves(*floats), dy)
    there = inner(dy, moved)
    back = sum(inner(grad, t) for grad, t in zip(grads, tangents, strict=True))
    near(there, back, LONGEST, dy, *floats, *tangents)


@each_op
@examples(4)
@example(n=(2, 3, 4, 5), seed=10, a=2, b=-3)
@given(n=shapes, seed=seeds, a=st.integers(-3, 3), b=st.integers(-3, 3))
def test_the_backward_is_linear_in_what_comes_in(name, n, seed, a, b):
    op, _, floats = CALLS[name](n, seed)
    shape = op(*floats).shape
    first, second = drawn(seed + 7, *shape), drawn(seed + 8, *shape)
    together = pulled(op, leaves(*floats), a * first + b * second)
    one, other = (pulled(op, leaves(*floats), dy) for dy in (first, second))
    for whole, x, y in zip(together, one, other, strict=True):
        near(whole, a * x + b * y, LONGEST, 3 * first, *floats)


@each_op
@examples(4)
@example(n=(2, 3, 4, 5), seed=10)
@example(n=(1, 2, 4, 5), seed=11)
@given(n=shapes, seed=seeds)
def test_the_two_ways_of_the_backward_agree(name, n, seed):
    """With create_graph an elementary formula stands in for the kernel."""
    op, _, floats = CALLS[name](n, seed)
    mine = leaves(*floats)
    y = op(*mine)
    dy = drawn(seed + 7, *y.shape)
    for plain, again in zip(
        torch.autograd.grad(y, mine, dy, retain_graph=True),
        torch.autograd.grad(y, mine, dy, create_graph=True),
        strict=True,
    ):
        near(again, plain, LONGEST, dy, *floats)


# what treats the rows of its first axis one by one
BATCHED = ["gelu-erf", "gelu-quick", "gelu-tanh", "layer_norm", "linear", "normalize", "softmax"]


@pytest.mark.parametrize("name", BATCHED)
@examples(4)
@given(n=shapes, seed=seeds, order=st.permutations([4, 2, 0, 3, 1]))
def test_a_row_does_not_know_where_in_the_batch_it_stands(name, n, seed, order):
    op, _, floats = CALLS[name](n, seed)
    x, *others = floats
    order = [i for i in order if i < len(x)]
    y = op(x, *others)
    near(op(x[order], *others), y[order], LONGEST, *floats)
    near(op(x[order[:1]], *others), y[order[:1]], LONGEST, *floats)


LINEAR = ["drop_path", "dropout", "embedding", "patches"]


@pytest.mark.parametrize("name", LINEAR)
@examples(6)
@example(n=(2, 3, 4, 5), seed=10)
@example(n=(1, 2, 4, 5), seed=11)
@given(n=shapes, seed=seeds)
def test_a_linear_op_is_linear_and_its_backward_its_adjoint(name, n, seed):
    op, _, (x,) = CALLS[name](n, seed)
    other = drawn(seed + 5, *x.shape)
    near(op(2 * x - 3 * other), 2 * op(x) - 3 * op(other), 16, x, other)
    y = op(x)
    dy = drawn(seed + 7, *y.shape)
    (dx,) = pulled(op, leaves(x), dy)
    near(inner(y, dy), inner(x, dx), LONGEST, x, dy)


@examples(10)
@given(n=shapes, seed=seeds, channels=st.integers(1, 3))
def test_putting_patches_together_undoes_cutting(n, seed, channels):
    patch, grid = (1 + n[0] % 3, 1 + n[1]), (n[2], n[3])
    images = drawn(seed, 2, channels, grid[0] * patch[0], grid[1] * patch[1])
    rows = ops.patches(images, patch)
    assert rows.shape == (2, grid[0] * grid[1], channels * patch[0] * patch[1])
    assert torch.equal(ops.unpatches(rows, patch, grid), images)
    assert torch.equal(ops.patches(ops.unpatches(rows, patch, grid), patch), rows)
    rows = drawn(seed + 1, *rows.shape).requires_grad_()
    dy = drawn(seed + 2, *images.shape)
    (dx,) = torch.autograd.grad(ops.unpatches(rows, patch, grid), rows, dy)
    assert torch.equal(dx, ops.patches(dy, patch))


def test_every_op_has_a_call():
    assert {name.split("-")[0] for name in CALLS} == {*ops.__all__} - {"unpatches"}
