"""What is particular to dropout: the mask is a fair function of seed and shape alone."""

import pytest
import torch

from zoo.ops import dropout
from zoo.ops.dropout import draw_bits, keep_mask, keep_scale, random_bits, threshold, tile_seed

CPU = torch.device("cpu")
COUNT = 1 << 18
PINNED = [[0, 1, 1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0, 1, 1]]


def bits_of(number):
    return torch.stack([(number.int() >> k) & 1 for k in range(16)])


def far(share, p, n, deviations=5.0):
    """Whether a share of n fair draws lies further from p than chance has it."""
    return (share - p).abs().max().item() > deviations * (p * (1 - p) / n) ** 0.5


def test_each_of_the_sixteen_bits_is_fair_at_each_place_in_a_word():
    bits = bits_of(draw_bits(torch.tensor(3), COUNT, CPU)).double()
    assert not far(bits.view(16, -1, 4).mean(1), 0.5, COUNT // 4)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_the_share_that_is_kept_is_one_less_the_rate(rate):
    keep = keep_mask((COUNT // 4, 4), rate, 17).double()
    assert not far(keep.mean(0), 1 - threshold(rate) / 65536, COUNT // 4)
    assert abs(threshold(rate) / 65536 - rate) <= 2**-17


@pytest.mark.parametrize("rate", [1e-9, 0.1, 0.3, 0.5, 0.99999, 1 - 1e-9])
def test_scale_times_kept_levels_is_all_levels(rate):
    kept = torch.arange(-(1 << 15), 1 << 15).ge(threshold(rate) - (1 << 15)).sum().item()
    assert kept >= 1 and keep_scale(rate) * kept == 65536
    assert threshold(rate) == min(round(rate * 65536), 65535)


def test_an_element_is_kept_where_its_bits_reach_the_threshold():
    bits = draw_bits(torch.tensor(4), COUNT, CPU).int() + (1 << 15)
    assert torch.equal(keep_mask((COUNT,), 0.25, 4), bits >= 1 << 14)
    assert (bits == 1 << 14).any() and bits.min() == 0 and bits.max() == (1 << 16) - 1


def test_neighbouring_seeds_and_tiles_have_independent_masks():
    seeds = [0, 1, -1, 1 << 32, 1 << 62, *(tile_seed(0, i) for i in range(3)), tile_seed(1, 0)]
    masks = torch.stack([keep_mask((COUNT,), 0.5, seed) for seed in seeds])
    agree = (masks[:, None] == masks[None]).double().mean(-1)
    others = agree[~torch.eye(len(seeds), dtype=torch.bool)]
    assert not far(others, 0.5, COUNT)


def test_rows_and_columns_of_a_mask_are_independent():
    mask = keep_mask((512, 512), 0.5, 5)
    for shift in ((0, 1), (1, 0), (0, 4), (4, 0)):
        agree = (mask == mask.roll(shift, (0, 1))).double().mean()
        assert not far(agree, 0.5, mask.numel())


@pytest.mark.parametrize("seed", [0, 7, -5, (1 << 63) - 1, -(1 << 63)])
@pytest.mark.parametrize("number", [0, 1, 1000])
def test_int_and_tensor_seeds_agree(seed, number):
    tensor = torch.tensor(seed)
    assert int(tile_seed(tensor, number)) == tile_seed(seed, number)
    assert torch.equal(keep_mask((3, 5), 0.4, seed), keep_mask((3, 5), 0.4, tensor))


def test_the_mask_of_a_seed_is_the_same_in_every_version():
    kept = keep_mask((2, 9), 0.5, 2026).int().tolist()
    assert kept == PINNED


def test_the_seeds_of_tiles_are_the_same_in_every_version():
    assert tile_seed(0, 0) == 0x9E3779B97F4A7C15 - (1 << 64) and tile_seed(0, -1) == 0


@pytest.mark.parametrize("seed", [-(1 << 63), (1 << 63) - 1])
def test_every_64_bit_seed_is_welcome(seed):
    assert torch.equal(dropout(torch.ones(9), 0.5, seed) != 0, keep_mask((9,), 0.5, seed))


def test_a_mask_is_boolean_of_the_shape_and_where_it_is_asked_for():
    mask = keep_mask((2, 0, 3), 0.5, 1)
    assert mask.shape == (2, 0, 3) and mask.dtype == torch.bool
    assert keep_mask((2, 3), 0.5, 1, "meta").device.type == "meta"
    assert keep_mask((2, 3), 0.5, 1, "meta").dtype == torch.bool


def test_the_mask_follows_elements_and_not_strides():
    x = torch.ones(6, 5)
    assert torch.equal(dropout(x, 0.5, 3), dropout(torch.ones(5, 6).T, 0.5, 3))


def test_rate_zero_gives_the_tensor_itself():
    x = torch.ones(2, 3, requires_grad=True)
    assert dropout(x, 0.0, 1) is x


def test_a_tiny_rate_keeps_all_and_scales_nothing():
    x = torch.randn(50, 3)
    assert torch.equal(dropout(x, 1e-9, 1), x)


def test_the_backward_drops_what_the_forward_dropped():
    x = torch.rand(40, 3).add(1).requires_grad_()
    y = dropout(x, 0.5, 9)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(dx == 0, y == 0) and torch.equal(dx, (y != 0) * 2.0)
    assert 0 < (y == 0).sum() < y.numel()


def test_mapped_samples_share_a_mask_and_mapped_seeds_do_not():
    x, seeds = torch.ones(3, 50), torch.tensor([4, 5, 6])
    same = torch.vmap(lambda row: dropout(row, 0.5, 4))(x)
    assert torch.equal(same, dropout(x[0], 0.5, 4).expand(3, 50))
    each = torch.vmap(lambda row, seed: dropout(row, 0.5, seed))(x, seeds)
    assert torch.equal(each, torch.stack([dropout(x[0], 0.5, int(s)) for s in seeds]))
    last = torch.vmap(lambda seed: random_bits(seed[1], 5, CPU), 1)(torch.stack([seeds, seeds + 1]))
    assert torch.equal(last, torch.stack([draw_bits(s + 1, 5, CPU) for s in seeds]))


def test_torchs_global_generator_is_left_alone():
    before = torch.get_rng_state()
    dropout(torch.ones(9), 0.5, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_operator_tells_the_compiler_the_truth():
    """Schema, fake tensor, autograd registration: torch's own check of a custom operator."""
    torch.library.opcheck(random_bits, (torch.tensor(5), 7, CPU))
