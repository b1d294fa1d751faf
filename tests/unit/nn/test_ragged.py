"""Padding left out of the blocks: the same numbers for real tokens, and nobody is surprised."""

from dataclasses import replace

import pytest
import torch

from zoo.models import BERT, GPT2
from zoo.models.bert import PRESETS as BERTS
from zoo.models.gpt2 import PRESETS as GPT2S
from zoo.nn.ragged import WASTE, leaves_out, through_real

MASKS = {
    "padding on the right": [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]],
    "padding on the left": [[0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1]],
    "a hole": [[1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 1]],
    "a row of padding alone": [[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]],
}
QUIET = {"dropout": 0.0, "attention_dropout": 0.0}


def model_of(family, head=None, **options):
    torch.manual_seed(2)
    preset = BERTS["bert-tiny"] if family is BERT else GPT2S["gpt2-tiny"]
    model = family(replace(preset, **(QUIET | options)), head=head).double().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


def batch_of(mask):
    mask = torch.tensor(mask)
    ids = torch.randint(1, 97, mask.shape, generator=torch.Generator().manual_seed(1))
    return ids * mask, mask


def hooked(model):
    """Hang a hook on a layer, so that blocks are given whole batches."""
    model.blocks[0].mlp.up.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("mask", list(MASKS.values()), ids=list(MASKS))
@pytest.mark.parametrize("family", [BERT, GPT2])
def test_real_tokens_have_the_states_of_a_padded_batch(family, mask):
    ids, mask = batch_of(mask)
    real = mask.bool()
    left, whole = model_of(family), hooked(model_of(family))
    with torch.no_grad():
        assert leaves_out(list(left.blocks), real) and not leaves_out(list(whole.blocks), real)
        a, b = (model.encode(ids, mask)[real] for model in (left, whole))
    # sums of some hundred terms in another order, in float64
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * float(b.abs().max()))


def test_while_gradients_are_wanted_padding_goes_along():
    ids, mask = batch_of(MASKS["padding on the right"])
    model = model_of(BERT)
    assert not leaves_out(list(model.blocks), mask.bool())
    hidden = model.encode(ids, mask)
    assert hidden[mask == 0].all()  # what a label of padding would learn from
    with torch.no_grad():
        assert not model.encode(ids, mask)[mask == 0].any()


@pytest.mark.parametrize("family", [BERT, GPT2])
def test_blocks_see_no_padding(family):
    ids, mask = batch_of(MASKS["padding on the right"])
    model, seen = model_of(family), []
    kind = type(model.blocks[0])
    assert kind.forward is not torch.nn.Module.forward

    class Watched(kind):
        def forward(self, x, padding, *rest):
            seen.append((tuple(x.shape), padding))
            return super().forward(x, padding, *rest)

    for block in model.blocks:
        block.__class__ = Watched
    with torch.no_grad():
        model.encode(ids, mask)
    width = model.config.width
    assert seen == [((1, 9, width), (2, 6, 1))] * model.config.depth


@pytest.mark.parametrize("head", ["masked_lm", "token", "span", None])
def test_a_head_reads_real_tokens_alone(head):
    ids, mask = batch_of(MASKS["a hole"])
    model, seen = model_of(BERT, head), []
    expected = model(ids, mask).detach()
    kind = type(model.head)

    class Watched(kind):
        def forward(self, x):
            seen.append(x.shape[:-1])
            return super().forward(x)

    model.head.__class__ = Watched
    with torch.no_grad():
        y = model(ids, mask)
    assert seen == [(7,)]
    real = mask.bool()
    torch.testing.assert_close(y[real], expected[real], rtol=1e-11, atol=1e-11)
    assert y.shape == expected.shape and not y[~real].any()


def test_padding_comes_out_as_zeros():
    _, mask = batch_of(MASKS["padding on the right"])
    model = model_of(BERT)
    x = torch.randn(3, 6, model.config.width, dtype=torch.float64)
    with torch.no_grad():
        y = through_real(model.blocks, x, mask.bool(), recompute=True)
    assert not y[mask == 0].any()
    assert y[mask == 1].all()


@torch.no_grad()
def test_little_padding_stays_where_it_is():
    blocks = list(model_of(BERT).blocks)
    mask = torch.ones(2, 8, dtype=torch.bool)
    assert not leaves_out(blocks, mask)
    mask[0, 7] = False
    assert not leaves_out(blocks, mask)  # 1 of 16
    mask[0, 6] = False
    assert mask.float().mean() == 1 - WASTE
    assert leaves_out(blocks, mask)
    assert not leaves_out(blocks, torch.zeros_like(mask))


@torch.no_grad()
def test_dropped_attention_weights_are_drawn_for_whole_rows():
    _, mask = batch_of(MASKS["padding on the right"])
    blocks = list(model_of(BERT, attention_dropout=0.1).blocks)
    assert leaves_out(blocks, mask.bool())
    blocks[1].train()
    assert not leaves_out(blocks, mask.bool())
    quiet = list(model_of(BERT, dropout=0.5).train().blocks)
    assert leaves_out(quiet, mask.bool())


@torch.no_grad()
def test_a_traced_batch_is_not_looked_at():
    blocks = list(model_of(BERT).blocks)
    assert not leaves_out(blocks, torch.zeros(2, 8, dtype=torch.bool, device="meta"))
