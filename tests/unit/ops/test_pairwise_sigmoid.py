"""What is particular to SigLIP's loss: chunks, numbers from paper, logits far out, memory."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import ops
from zoo.ops.pairwise_sigmoid import in_chunks
from zoo.testing.opinfo import f64, randn
from zoo.testing.tolerances import assert_near

N, E = 11, 4


def leaves(n=N):
    tensors = randn(n, E), randn(n, E, seed=1), f64(3.0), f64(-2.0)
    return [x.requires_grad_() for x in tensors]


def reference(images, texts, scale, bias):
    """Algorithm 1 of the paper."""
    logits = scale * images @ texts.T + bias
    labels = 2 * torch.eye(len(images), dtype=logits.dtype) - 1
    return -F.logsigmoid(labels * logits).sum() / len(images)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 10, 11, 12])
def test_chunks_of_any_size_give_the_whole_loss_and_its_gradients(rows):
    tensors = leaves()
    loss, expected = in_chunks(*tensors, rows), reference(*tensors)
    close(loss, expected)
    close(in_chunks(*(t.detach() for t in tensors), rows), expected.detach())
    grads = torch.autograd.grad(1.7 * loss, tensors)
    close(grads, torch.autograd.grad(1.7 * expected, tensors))


def test_one_pair_and_one_that_is_none():
    """Two rows, of which the second is zero: logits 2, 0 on the diagonal and 0 beside it."""
    x, y = f64([[1.0], [0.0]]), f64([[2.0], [0.0]])
    loss = ops.pairwise_sigmoid(x, y, f64(1.0), f64(0.0))
    close(loss, f64((math.log1p(math.exp(-2)) + 3 * math.log(2)) / 2))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (3,), (0, 3), (1, 2)])
@pytest.mark.parametrize("rows", [4, N])
def test_only_gradients_that_are_wanted_are_given(wanted, rows):
    tensors = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(leaves())]
    loss = in_chunks(*tensors, rows)
    leaf = [tensors[i] for i in wanted]
    close(torch.autograd.grad(loss, leaf), torch.autograd.grad(reference(*tensors), leaf))


@pytest.mark.parametrize("logit", [-300.0, -90.0, -30.0, 30.0, 90.0, 300.0])
def test_logits_that_exp_cannot_take_keep_loss_and_gradient_finite(logit):
    x = torch.tensor([[1.0]], requires_grad=True)
    loss = ops.pairwise_sigmoid(x, torch.ones(1, 1), torch.tensor(logit), torch.tensor(0.0))
    (dx,) = torch.autograd.grad(loss, x)
    # exp(-90) itself is no number of float32
    expected = F.softplus(f64(-logit)), -logit * torch.sigmoid(f64([[-logit]]))
    torch.testing.assert_close((loss.double(), dx.double()), expected, rtol=1e-6, atol=1e-37)


class Largest(TorchDispatchMode):
    """Note the largest tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple) else (out,):
            if isinstance(x, torch.Tensor):
                self.numbers = max(self.numbers, x.numel())
        return out


def test_all_the_pairs_never_exist():
    tensors = leaves(n=40)
    with Largest() as largest:
        in_chunks(*tensors, 8).backward()
    assert largest.numbers == 8 * 40  # a chunk; all pairs are 40 * 40


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_vectors_beside_float32_scale_and_bias(dtype):
    x, y = (t.detach().to(dtype).requires_grad_() for t in leaves()[:2])
    scale, bias = (torch.tensor(v, requires_grad=True) for v in (3.0, -2.0))
    loss = ops.pairwise_sigmoid(x, y, scale, bias)
    loss.backward()
    assert [t.dtype for t in (loss, scale.grad, bias.grad)] == [torch.float32] * 3
    assert [t.grad.dtype for t in (x, y)] == [dtype] * 2
    assert_near(loss, reference(x.double(), y.double(), f64(3.0), f64(-2.0)), torch.float32, 16)


def test_a_mapped_loss_can_be_differentiated_from_outside():
    x = torch.stack([randn(N, E), randn(N, E, seed=3)]).requires_grad_()
    _, *rest = leaves()
    loss = torch.vmap(lambda x: ops.pairwise_sigmoid(x, *rest))(x)
    expected = torch.stack([reference(one, *rest) for one in x])
    close(loss, expected)
    grads = torch.autograd.grad(loss.sum(), (x, *rest))
    close(grads, torch.autograd.grad(expected.sum(), (x, *rest)))


def test_no_pairs_give_zero_with_zero_gradients():
    tensors = leaves(n=0)
    loss = ops.pairwise_sigmoid(*tensors)
    assert loss == 0 and all((g == 0).all() for g in torch.autograd.grad(loss, tensors))
