"""What is particular to the losses: chunks, ignored rows, nothing counted, memory."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import ops
from zoo.ops._loss_chunks import add_product_
from zoo.ops.cross_entropy import cross_entropy_backward, cross_entropy_forward
from zoo.ops.linear_cross_entropy import chunked
from zoo.testing.opinfo import randint, randn
from zoo.testing.tolerances import assert_near

LABELS = torch.tensor([3, -100, 0, 5, 5, -100, -100, 1, 2, 4, -100])


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def leaves(dtype=torch.float64, rows=11):
    tensors = randn(rows, 4), randn(6, 4), randn(6)
    return [x.to(dtype).requires_grad_() for x in tensors]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 11, 256])
def test_chunks_of_any_size_give_the_whole_loss_and_its_gradients(rows, smoothing, reduction):
    x, weight, bias = leaves()
    loss = chunked(x, weight, LABELS, bias, -100, smoothing, reduction, rows)
    logits = F.linear(x, weight, bias)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    expected = F.cross_entropy(logits, LABELS, **options)
    close(loss, expected)
    grads = torch.autograd.grad(1.7 * loss, (x, weight, bias))
    close(grads, torch.autograd.grad(1.7 * expected, (x, weight, bias)))


def test_what_ignored_rows_hold_does_not_matter():
    x, weight, bias = leaves()
    with torch.no_grad():
        x[LABELS == -100] = torch.nan
    loss = ops.linear_cross_entropy(x, weight, LABELS, bias)
    kept = LABELS != -100
    close(loss, F.cross_entropy(F.linear(x[kept], weight, bias), LABELS[kept]))
    close(ops.cross_entropy(F.linear(x, weight, bias), LABELS), loss)
    dx, dw = torch.autograd.grad(loss, (x, weight))
    assert (dx[~kept] == 0).all() and dw.isfinite().all()


def test_a_loss_that_counts_nothing_is_zero_with_zero_gradients():
    x, weight, bias = leaves()
    labels = torch.full((11,), -100)
    for loss in (
        ops.linear_cross_entropy(x, weight, labels, bias),
        ops.cross_entropy(F.linear(x, weight, bias), labels),
    ):
        assert loss == 0
        grads = torch.autograd.grad(loss, (x, weight, bias))
        assert all((g == 0).all() for g in grads)


def test_no_rows_at_all_give_zero():
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = ops.cross_entropy(logits, torch.zeros(0, dtype=torch.int64))
    (dx,) = torch.autograd.grad(loss, logits)
    assert loss == 0 and loss.dtype == torch.float32 and dx.shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_loss_of_low_logits_is_taken_in_float32(dtype):
    logits, labels = randn(5, 300).to(dtype), randint(300, 5)
    loss = ops.cross_entropy(logits, labels)
    assert loss.dtype == torch.float32
    assert_near(loss, F.cross_entropy(logits.double(), labels), torch.float32, 8)


def test_gradients_of_many_chunks_are_added_up_in_float32():
    """Ones to be counted: bfloat16 would stop at 256, where adding 1 rounds away."""
    total = torch.full((2, 3), 7.0)
    ones = torch.ones(2, 1, dtype=torch.bfloat16), torch.ones(1, 3, dtype=torch.bfloat16)
    add_product_(total, *ones, first=True)
    for _ in range(299):
        add_product_(total, *ones, first=False)
    assert (total == 300).all()


def test_a_second_backward_gives_what_the_first_gave():
    """The first hands its tensors to the parameters, whose gradients are then changed in place."""
    x, weight, bias = leaves()
    loss = ops.linear_cross_entropy(x, weight, LABELS, bias)
    loss.backward(retain_graph=True)
    first = weight.grad.clone()
    weight.grad.mul_(100)
    weight.grad = None
    (3 * loss).backward(retain_graph=True)
    loss.backward()
    close(weight.grad, 4 * first)


def test_the_backward_of_the_logits_works_on_pieces_alike():
    """More numbers than one piece takes, and a last piece that is uneven."""
    x, labels = randn(13, 30_000), randint(30_000, 13)
    loss, lse = cross_entropy_forward(x, labels, -100, 0.1, "mean")
    dx = cross_entropy_backward(torch.tensor(2.0).double(), x, labels, lse, -100, 0.1, "mean")
    leaf = x.clone().requires_grad_()
    expected = F.cross_entropy(leaf, labels, label_smoothing=0.1)
    close(loss, expected)
    close(dx, torch.autograd.grad(2 * expected, leaf)[0])


class Largest(TorchDispatchMode):
    """Note the largest tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple) else (out,):
            if isinstance(x, torch.Tensor):
                self.numbers = max(self.numbers, x.numel())
        return out


def test_all_the_logits_never_exist():
    x, weight, bias = leaves(torch.float32, rows=40)
    with Largest() as largest:
        chunked(x, weight, randint(6, 40), bias, -100, 0.0, "mean", 8).backward()
    assert largest.numbers == 40 * 4  # x itself; a chunk has 8 * 6 logits, all rows 40 * 6


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_gradients_that_are_wanted_are_formed(wanted):
    tensors = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(leaves())]
    x, weight, bias = tensors
    loss = ops.linear_cross_entropy(x, weight, LABELS, bias)
    assert [g.numel() > 0 for g in loss.grad_fn.formed] == [x.requires_grad for x in tensors]
    expected = F.cross_entropy(F.linear(x, weight, bias), LABELS)
    leaf = [tensors[i] for i in wanted]
    close(torch.autograd.grad(loss, leaf), torch.autograd.grad(expected, leaf))
