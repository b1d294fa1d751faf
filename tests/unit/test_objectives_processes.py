"""The contrastive objective in one of two processes, with torch's own stand-in for the other.

The stand-in gives each process's own rows for those of all others, and adds no gradients.
"""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.testing._internal.distributed.fake_pg import FakeStore

from zoo.objectives import Gather, features, gather, pair_loss, processes

D = torch.float64


@pytest.fixture(params=[0, 1], ids=["first", "second"])
def rank(request):
    """Be this one of two processes."""
    dist.init_process_group("fake", store=FakeStore(), rank=request.param, world_size=2)
    yield request.param
    dist.destroy_process_group()


def rows(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, dtype=D, generator=generator), dim=-1)


def test_one_process_is_one_unless_a_group_says_more():
    assert processes() == 1
    x = rows(3, 5)
    assert gather(x) is x


def test_all_rows_are_gathered_in_the_order_of_the_processes(rank):
    x = rows(3, 5)
    assert processes() == 2
    assert torch.equal(gather(x), torch.cat([x, x]))
    assert torch.equal(gather(x.t()), torch.cat([x.t(), x.t()]))


def test_a_process_keeps_the_gradients_of_its_own_rows(rank):
    x = rows(3, 5).requires_grad_()
    weight = rows(6, 5, seed=1)
    (found,) = torch.autograd.grad((Gather.apply(x) * weight).sum(), x)
    assert torch.equal(found, weight[3 * rank : 3 * rank + 3])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_each_row_is_to_match_its_own_of_all_processes(rank, reduction):
    images, texts, scale = rows(3, 5), rows(3, 5, seed=1), torch.tensor(7.0, dtype=D)
    loss = pair_loss(images, texts, scale, None, reduction=reduction)
    own = torch.arange(3) + 3 * rank
    both = [(images, texts), (texts, images)]
    parts = [F.cross_entropy(scale * a @ torch.cat([b, b]).t(), own) for a, b in both]
    want = sum(parts) / 2 * (1 if reduction == "mean" else 3)
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=1e-12)


def test_the_mean_of_all_is_given_unless_the_sum_is_asked_for(rank):
    images, texts, scale = rows(3, 5), rows(3, 5, seed=1), torch.tensor(7.0, dtype=D)
    mean = pair_loss(images, texts, scale, None)
    assert torch.equal(mean * 3, pair_loss(images, texts, scale, None, reduction="sum"))


def test_rows_are_numbered_where_they_are(rank):
    images, texts, scale = rows(3, 5), rows(3, 5, seed=1), torch.tensor(7.0, dtype=D)
    with torch.device("meta"):
        assert pair_loss(images, texts, scale, None).device.type == "cpu"


class Pairs(torch.nn.Module):
    """Two encoders: an image is its pixels, a text its ids, without what the mask leaves out."""

    def encode_image(self, pixels):
        return pixels

    def encode_text(self, ids, mask):
        return ids if mask is None else ids * mask


@pytest.mark.parametrize("mask", [None, [[1.0, 0.0], [1.0, 1.0]]], ids=["whole", "padded"])
def test_texts_are_read_with_their_mask(mask):
    batch = {"pixel_values": rows(2, 2), "input_ids": rows(2, 2, seed=1)}
    batch |= {} if mask is None else {"attention_mask": torch.tensor(mask, dtype=D)}
    images, texts = features(Pairs(), batch)
    assert images is batch["pixel_values"]
    assert torch.equal(texts, batch["input_ids"] * batch.get("attention_mask", 1.0))
