"""Attention rollout against numbers from paper, and what holds for every map."""

import pytest
import torch

from zoo.evaluate.rollout import over_heads, rollout, share_of


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


def near(actual, expected):
    torch.testing.assert_close(actual, f64(expected), rtol=1e-15, atol=1e-15)


# two tokens, two heads, two layers; behind the second layer each token is half of both
FIRST = f64([[[[0.6, 0.4], [0.2, 0.8]], [[0.2, 0.8], [0.4, 0.6]]]])
SWAP = f64([[[[0, 1], [1, 0]], [[0, 1], [1, 0]]]])


@pytest.mark.parametrize(
    ("head", "one_layer", "share"),
    [
        # A + I = [1.4 .6; .3 1.7], rows sum to 2
        ("mean", [[0.7, 0.3], [0.15, 0.85]], (0.7 + 0.15) / 2),
        # [1.6 .8; .4 1.8], rows sum to 2.4 and 2.2
        ("max", [[2 / 3, 1 / 3], [2 / 11, 9 / 11]], 14 / 33),
        # [1.2 .4; .2 1.6], rows sum to 1.6 and 1.8
        ("min", [[3 / 4, 1 / 4], [1 / 9, 8 / 9]], 31 / 72),
    ],
)
def test_two_tokens_and_two_layers_on_paper(head, one_layer, share):
    near(rollout([FIRST], head=head), [one_layer])
    near(rollout([FIRST, SWAP], head=head), [[[share, 1 - share]] * 2])


def test_a_causal_model_on_paper():
    """A_1 = [1 0; 1/4 3/4], A_2 = [1 0; 1/10 9/10]: the second row is 1/10 + 9/40 and 27/40."""
    maps = [f64([[[[1, 0], [0.5, 0.5]]]]), f64([[[[1, 0], [0.2, 0.8]]]])]
    near(rollout(maps), [[[1, 0], [13 / 40, 27 / 40]]])


def test_the_first_layer_is_multiplied_first():
    near(rollout([SWAP, FIRST]), [[[0.5, 0.5], [0.5, 0.5]]])
    near(rollout([f64([[[[0, 1], [0, 1]]] * 2]), FIRST]), [[[0.35, 0.65], [0.075, 0.925]]])


def test_padding_keeps_to_itself():
    maps = f64([[[[0, 0, 0], [0, 1, 0], [0, 0.5, 0.5]]]])
    near(rollout([maps, maps]), [[[1, 0, 0], [0, 1, 0], [0, 7 / 16, 9 / 16]]])


@pytest.mark.parametrize("head", ["mean", "max", "min"])
def test_rows_sum_to_one_and_stay_causal(head):
    maps = torch.randn(3, 2, 4, 5, 5, dtype=torch.float64)  # layers, batch, heads
    hidden = torch.ones(5, 5).triu(1).bool()
    maps = maps.masked_fill(hidden, -torch.inf).softmax(-1)
    rolled = rollout(maps, head=head)
    near(rolled.sum(-1), [[1] * 5] * 2)
    assert not rolled.masked_select(hidden).any()
    assert bool((rolled[:, ~hidden] > 0).all())


def test_rows_of_a_batch_do_not_mix():
    maps = list(torch.rand(2, 3, 4, 5, 5, dtype=torch.float64).softmax(-1))
    near(rollout([m[1:2] for m in maps]), rollout(maps)[1:2].tolist())


def test_maps_stay_on_their_device():
    assert rollout([FIRST.to("meta")]).shape == (1, 2, 2)


def test_no_layer_and_no_such_head_are_refused():
    with pytest.raises(ValueError, match="no maps to roll out"):
        rollout([])
    with pytest.raises(ValueError, match="head 'sum'; expected one of"):
        over_heads(FIRST, "sum")


def test_the_share_is_the_mean_row_of_the_readers():
    rolled = f64([[[1, 0, 0], [0.2, 0.8, 0], [0.1, 0.3, 0.6]]] * 2)
    readers = torch.tensor([[False, True, True], [True, False, False]])
    near(share_of(rolled, readers), [[0.15, 0.55, 0.3], [1, 0, 0]])
