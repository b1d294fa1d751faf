"""Who looks where: the map that attention never forms, against what attention gives."""

import pytest
import torch

from zoo.nn import Attention

T, HEADS, SIZE = 5, 3, 7  # SIZE > T: values are independent, so only one map gives an output
REAL = {
    "all-real": None,
    "right": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
    "left": [[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]],
    "hole": [[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]],
    "one-empty-row": [[0, 0, 0, 0, 0], [1, 1, 0, 0, 0]],
}
PADDING = {name: None if rows is None else torch.tensor(rows).bool() for name, rows in REAL.items()}
EACH = pytest.mark.parametrize("padding", PADDING.values(), ids=PADDING)
CAUSAL = pytest.mark.parametrize("causal", [False, True], ids=["both-ways", "causal"])


def make(causal=False, rate=0.0):
    torch.manual_seed(0)
    attn = Attention(HEADS * SIZE, HEADS, causal=causal, rate=rate).double()
    for parameter in attn.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return attn.eval(), torch.randn(2, T, HEADS * SIZE, dtype=torch.float64)


def near(actual, expected, bound=1e-12):
    torch.testing.assert_close(actual, expected, rtol=bound, atol=bound)


@EACH
@CAUSAL
def test_weights_times_values_is_what_attention_gives(causal, padding):
    attn, x = make(causal)
    values = attn.qkv(x)[..., 2 * HEADS * SIZE :].unflatten(2, (HEADS, SIZE)).transpose(1, 2)
    mixed = attn.weights(x, padding) @ values
    near(attn.out(mixed.transpose(1, 2).flatten(2)), attn(x, padding))


@EACH
@CAUSAL
def test_rows_of_real_tokens_sum_to_one_and_padding_has_zeros(causal, padding):
    attn, x = make(causal)
    weights = attn.weights(x, padding)
    real = torch.ones(2, T).bool() if padding is None else padding
    near(weights.sum(-1), real[:, None].double().expand(2, HEADS, T))
    seen = real[:, None, :, None] & real[:, None, None, :]
    seen = (seen.tril() if causal else seen).expand(2, HEADS, T, T)
    assert bool((weights[seen] > 0).all())
    assert bool((weights[~seen] == 0).all())


def test_one_token_looks_at_itself():
    attn, x = make(causal=True)
    assert torch.equal(attn.weights(x[:, :1]), torch.ones(2, HEADS, 1, 1, dtype=torch.float64))


def test_dropout_is_left_out():
    attn, x = make(rate=0.5)
    assert torch.equal(attn.train().weights(x), attn.eval().weights(x))


def test_gradients_flow_through_the_map():
    attn, x = make(causal=True)
    padding = PADDING["left"]
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attn.weights(x, padding), x)


def test_low_precision_is_left_before_the_softmax():
    attn, x = make()
    exact = attn.bfloat16().double().weights(x.bfloat16().double())
    low = attn.bfloat16().weights(x.bfloat16())
    assert low.dtype == torch.float32
    near(low.sum(-1), torch.ones(2, HEADS, T), 1e-6)
    near(low.double(), exact, 0.2)  # queries and keys are rounded to 8 bits, scores are about 10


def test_autocast_means_what_it_means_for_attention():
    attn, x = make()
    attn, x = attn.float(), x.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = attn.weights(x)
    assert torch.equal(cast, attn.bfloat16().weights(x.bfloat16()))
