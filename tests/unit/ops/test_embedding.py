"""What is particular to embedding: sums in float32, mapped ids, refusals without a look ahead."""

import pytest
import torch

from zoo.ops import embedding


@pytest.mark.parametrize("create_graph", [False, True], ids=["kernel", "formula"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_many_small_gradients_add_up_in_low_precision(dtype, create_graph):
    """In bfloat16 a sum of ones would stop at 256, in float16 at 2048."""
    weight = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
    y = embedding(torch.ones(4096, dtype=torch.int64), weight)
    (dw,) = torch.autograd.grad(y.sum(), weight, create_graph=create_graph)
    assert dw.tolist() == [[0, 0], [4096, 4096], [0, 0]]


def test_ids_can_be_mapped_over():
    ids, weight = torch.tensor([[2, 0, 2], [1, 1, 0]]), torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(torch.vmap(embedding, (0, None))(ids, weight), weight[ids])

    def loss(weight, ids):
        return embedding(ids, weight).square().sum()

    each = torch.vmap(torch.func.grad(loss), (None, 0))(weight, ids)
    counts = torch.stack([row.bincount(minlength=3) for row in ids])[..., None]
    torch.testing.assert_close(each, 2 * weight * counts)


def test_an_id_outside_the_table_is_refused_with_and_without_gradients():
    for requires_grad in (False, True):
        weight = torch.zeros(3, 2, requires_grad=requires_grad)
        with pytest.raises(IndexError, match=r"^embedding: ids go from 1 to 7; "):
            embedding(torch.tensor([1, 7]), weight)


def test_no_rows_serve_no_ids():
    weight = torch.zeros(0, 2, requires_grad=True)
    y = embedding(torch.zeros(4, 0, dtype=torch.int64), weight)
    (dw,) = torch.autograd.grad(y.sum(), weight)
    assert y.shape == (4, 0, 2) and dw.shape == (0, 2)
