"""What is particular to CLIP's loss: chunks, large scales, memory, dtypes side by side."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import ops
from zoo.ops.contrastive import in_chunks
from zoo.testing.opinfo import f64, randn
from zoo.testing.tolerances import assert_near

N, E = 11, 4


def leaves(n=N, scale=3.0):
    tensors = randn(n, E), randn(n, E, seed=1), f64(scale)
    return [x.requires_grad_() for x in tensors]


def reference(images, texts, scale):
    logits, own = scale * images @ texts.T, torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dense", [0, N - 1, N, 1000], ids=lambda d: f"keep-up-to-{d}")
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 10, 11, 12])
def test_chunks_of_any_size_give_the_whole_loss_and_its_gradients(rows, dense):
    x, y, scale = leaves()
    loss, expected = in_chunks(x, y, scale, rows, dense), reference(x, y, scale)
    close(loss, expected)
    close(in_chunks(x.detach(), y.detach(), scale.detach(), rows, dense), expected.detach())
    grads = torch.autograd.grad(1.7 * loss, (x, y, scale))
    close(grads, torch.autograd.grad(1.7 * expected, (x, y, scale)))


def test_more_rows_than_a_chunk_holds():
    x, y, scale = leaves(n=600)
    loss, expected = ops.contrastive(x, y, scale), reference(x, y, scale)
    close(loss, expected)
    grads = torch.autograd.grad(loss, (x, y, scale))
    close(grads, torch.autograd.grad(expected, (x, y, scale)))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("rows", [4, N])
def test_only_gradients_that_are_wanted_are_given(wanted, rows):
    tensors = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(leaves())]
    loss = in_chunks(*tensors, rows, 0)
    leaf = [tensors[i] for i in wanted]
    close(torch.autograd.grad(loss, leaf), torch.autograd.grad(reference(*tensors), leaf))


def test_a_second_backward_gives_what_the_first_gave():
    x, y, scale = leaves()
    loss = ops.contrastive(x, y, scale)
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    x.grad.mul_(100)
    x.grad = None
    (3 * loss).backward(retain_graph=True)
    loss.backward()
    close(x.grad, 4 * first)


@pytest.mark.parametrize("rows", [2, N])
def test_a_temperature_as_sharp_as_clip_allows_loses_nothing(rows):
    """Rows that agree exactly, and one text that agrees with nothing: logits from -100 to 100."""
    x = F.normalize(randn(N, E)).float()
    y = x.clone()
    y[4] = -y[4]
    for sign in (1, -1):
        scale = torch.tensor(100.0)
        loss = in_chunks(x, sign * y, scale, rows, 0)
        expected = reference(x.double(), sign * y.double(), scale.double())
        assert_near(loss, expected, torch.float32, 100)


class Largest(TorchDispatchMode):
    """Note the largest tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple) else (out,):
            if isinstance(x, torch.Tensor):
                self.numbers = max(self.numbers, x.numel())
        return out


def test_all_the_pairs_never_exist_above_the_limit():
    x, y, scale = leaves(n=40)
    with Largest() as largest:
        in_chunks(x, y, scale, 8, 39).backward()
    assert largest.numbers == 8 * 40  # a chunk; all pairs are 40 * 40


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_vectors_beside_a_float32_scale(dtype):
    """As in mixed precision: the loss is float32, each gradient is of its input's dtype."""
    x, y, _ = (t.detach().to(dtype).requires_grad_() for t in leaves())
    scale = torch.tensor(3.0, requires_grad=True)
    loss = ops.contrastive(x, y, scale)
    loss.backward()
    assert [t.dtype for t in (loss, x.grad, y.grad, scale.grad)] == [
        torch.float32, dtype, dtype, torch.float32,
    ]  # fmt: skip
    assert_near(loss, reference(x.double(), y.double(), f64(3.0)), torch.float32, 16)


def test_autocast_takes_vectors_of_two_dtypes():
    """One tower may end in a norm, the other in a product."""
    x, y, scale = (t.detach().float() for t in leaves())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ops.contrastive(x, y.bfloat16(), scale)
    close(loss, ops.contrastive(x, y.bfloat16().float(), scale))


def test_a_mapped_loss_can_be_differentiated_from_outside():
    x = torch.stack([randn(N, E), randn(N, E, seed=3)]).requires_grad_()
    _, y, scale = leaves()
    loss = torch.vmap(lambda x: ops.contrastive(x, y, scale))(x)
    expected = torch.stack([reference(one, y, scale) for one in x])
    close(loss, expected)
    grads = torch.autograd.grad(loss.sum(), (x, y, scale))
    close(grads, torch.autograd.grad(expected.sum(), (x, y, scale)))


def test_no_pairs_give_zero_with_zero_gradients():
    x, y, scale = leaves(n=0)
    loss = ops.contrastive(x, y, scale)
    assert loss == 0 and all((g == 0).all() for g in torch.autograd.grad(loss, (x, y, scale)))
