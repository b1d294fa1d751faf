"""The family oracle on transformers' own models, and on every slip and variant of the tables."""

import pytest
import torch
import transformers

from unit.testing.family_slips import SLIPS
from unit.testing.family_sources import edited
from unit.testing.family_variants import every
from zoo.models import promises
from zoo.testing.family import compare
from zoo.testing.spec import ModelSpec

SMALL = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 24,
}
GPT2 = {"vocab_size": 31, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3}
PATCHES = {"image_size": 12, "patch_size": 4}
TEXT = {"vocab_size": 31, "max_position_embeddings": 16, "eos_token_id": 30, "bos_token_id": 1}


def gpt2_config():
    return transformers.GPT2Config(**GPT2, pad_token_id=0)


def bert_config():
    return transformers.BertConfig(vocab_size=31, max_position_embeddings=16, **SMALL)


def vit_config():
    return transformers.ViTConfig(**SMALL, **PATCHES)


def clip_config():
    text, vision = SMALL | TEXT | {"pad_token_id": 0}, SMALL | PATCHES
    return transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)


def ids(size):
    return {
        "input_ids": torch.randint(1, 30, (size, 7)),
        "attention_mask": torch.ones(size, 7, dtype=torch.long),
    }


def left(size):
    """Pad on the left."""
    mask = (torch.arange(7) >= torch.arange(size)[:, None] % 3).long()
    return {"input_ids": torch.randint(1, 30, (size, 7)) * mask, "attention_mask": mask}


def pixels(size):
    return {"pixel_values": torch.randn(size, 3, 12, 12)}


def both(size):
    text = torch.randint(2, 30, (size, 7))
    text[:, 5] = 30
    return {"input_ids": text, "attention_mask": torch.ones_like(text), **pixels(size)}


PUBLISHED = {
    "GPT2LMHeadModel": ("gpt2", gpt2_config, ids),
    "GPT2Model": ("gpt2", gpt2_config, left),
    "GPT2ForSequenceClassification": ("gpt2", gpt2_config, ids),
    "BertForMaskedLM": ("bert", bert_config, ids),
    "BertModel": ("bert", bert_config, left),
    "BertForSequenceClassification": ("bert", bert_config, ids),
    "BertForPreTraining": ("bert", bert_config, ids),
    "ViTForImageClassification": ("vit", vit_config, pixels),
    "ViTModel": ("vit", vit_config, pixels),
    "CLIPModel": ("clip", clip_config, both),
}


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_is_the_familys(name, backend):
    family, config, batch = PUBLISHED[name]
    kind = getattr(transformers, name)

    def build():
        return kind._from_config(config(), attn_implementation=backend)

    made = compare(ModelSpec(build=build, batch=batch, name=name), family)
    assert [(step.name, step.found) for step in made.wrong] == []
    assert len(made.steps) >= 14


@pytest.mark.parametrize("family", ["gpt2", "bert", "vit", "clip"])
def test_the_zoos_own_model_is_the_familys(family):
    made = compare(getattr(promises, family), family)
    assert [(step.name, step.found) for step in made.wrong] == []


SOUND = every()


@pytest.mark.thinned(3)
@pytest.mark.parametrize(("family", "make"), SOUND.values(), ids=SOUND)
def test_a_right_variant_is_the_familys(family, make):
    made = compare(make(), family)
    assert [(step.name, step.found) for step in made.wrong] == []


ROWS = [
    pytest.param(family, *row, id=f"{family}: {name}")
    for family, table in SLIPS.items()
    for name, row in table.items()
]


@pytest.mark.thinned(4)
@pytest.mark.parametrize(("family", "edits", "step", "where", "found"), ROWS)
def test_a_slip_is_told_first(family, edits, step, where, found):
    first = compare(edited(family, edits), family).wrong[0]
    assert (first.name, first.where) == (step, where)
    assert found in first.found
