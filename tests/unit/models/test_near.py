"""Heads that begin at a word's neighbours: where they look before anything is learnt."""

import pytest
import torch

from zoo.models import BERT, GPT2, BERTConfig, GPT2Config
from zoo.models.near import OFFSETS, look_near_

SIZES = {"vocab": 61, "context": 40, "width": 96, "depth": 2, "heads": 5, "hidden": 70}


def made(**changes):
    torch.manual_seed(3)
    return BERT(BERTConfig(**SIZES | {"heads": 4} | changes), head="masked_lm").eval()


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_each_head_of_the_first_block_looks_at_its_neighbour(heads):
    model = made(heads=heads)
    look_near_(model)
    ids = torch.randint(1, 61, (2, 40), generator=torch.Generator().manual_seed(1))
    ids[:, 5:9] = 7  # masks: the same token again and again
    maps = model.attention_maps(ids)[0]
    for head in range(heads):
        offset = OFFSETS[head % 4]
        inside = torch.arange(2, 38)
        assert (maps[:, head, inside].argmax(-1) == inside + offset).all()
        assert (maps[:, head, inside, inside + offset] > 8 / 40).all()  # 8 times a place's share


def test_no_other_block_and_no_head_is_touched():
    model, plain = made(), made()
    look_near_(model)
    changed = {
        name
        for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True)
        if not torch.equal(one, other)
    }
    assert changed == {
        "tokens.weight",
        "positions.weight",
        "types.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.out.weight",
    }
    assert torch.equal(model.tokens.weight[:, 24:], plain.tokens.weight[:, 24:])
    assert model.head.weight is model.tokens.weight


def test_values_come_through_as_large_as_what_they_join():
    model = made()
    look_near_(model)
    block = model.blocks[0]
    for weight in (block.attn.qkv.weight[-96:], block.attn.out.weight):
        assert weight.std().item() == pytest.approx(96**-0.5, rel=1e-5)


def test_only_a_bert_can_begin_so():
    model = GPT2(GPT2Config(vocab=61, context=8, width=12, depth=1, heads=2), head="lm")
    with pytest.raises(ValueError, match=r"are a BERT's, not a gpt2's"):
        look_near_(model)
