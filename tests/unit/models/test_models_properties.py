"""The families, whatever the batch: rows are alone, padding is anywhere, cached is uncached."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unit.models.tiny import tiny
from unit.property_rows import chosen, drawn, examples, near, seeds

GPT2, BERT = tiny("gpt2", "lm").eval(), tiny("bert", "masked_lm").eval()
CLIP_TEXT, VIT = tiny("clip", "text_features").eval(), tiny("vit", "image").eval()
CLIP_IMAGE = tiny("clip", "image_features").eval()
# sums of about a hundred terms in a chain of about twenty ops
DEEP = 50_000


def real_ids(seed, vocab, b, t):
    """Ids that are neither padding (0) nor the end of a text, which is the highest one."""
    return 1 + chosen(seed, vocab - 2, b, t)


def run(model, **inputs):
    with torch.no_grad():
        return model(**inputs)


@examples(3)
@given(
    b=st.integers(1, 3),
    t=st.integers(1, 9),
    cuts=st.lists(st.integers(1, 8), max_size=4),
    left=st.integers(0, 4),
    seed=seeds,
)
def test_cached_is_uncached_whatever_the_pieces_and_the_padding(b, t, cuts, left, seed):
    ids = real_ids(seed, GPT2.config.vocab, b, t)
    mask = torch.arange(t) >= chosen(seed + 1, min(left, t - 1) + 1, b, 1)
    whole = run(GPT2, input_ids=ids, attention_mask=mask)
    edges = sorted({0, t, *(cut for cut in cuts if cut < t)})
    cache = GPT2.new_cache(b, t)
    pieces = [
        run(GPT2, input_ids=ids[:, a:z], attention_mask=mask[:, a:z], cache=cache)
        for a, z in itertools.pairwise(edges)
    ]
    near(torch.cat(pieces, 1)[mask], whole[mask], DEEP)


@examples(3)
@given(t=st.integers(1, 9), at=st.integers(0, 8), seed=seeds)
def test_gpt2_does_not_see_what_comes(t, at, seed):
    at = at % t
    ids = real_ids(seed, GPT2.config.vocab, 1, t)
    other = ids.clone()
    other[0, at] = ids[0, at] % (GPT2.config.vocab - 2) + 1
    one, two = run(GPT2, input_ids=ids), run(GPT2, input_ids=other)
    assert torch.equal(one[:, :at], two[:, :at])
    assert not torch.equal(one[:, at], two[:, at])


@pytest.mark.parametrize("family", ["gpt2", "bert"])
@examples(3)
@given(t=st.integers(1, 6), spaces=st.lists(st.booleans(), max_size=4), seed=seeds)
def test_padding_may_stand_anywhere_and_hold_anything(family, t, spaces, seed):
    """A text is spread out among padding; its own tokens get what they would get alone."""
    model = {"gpt2": GPT2, "bert": BERT}[family]
    ids = real_ids(seed, model.config.vocab, 1, t)
    real = torch.tensor([*spaces, *([True] * t)])[None]
    place = real.cumsum(1) <= t
    real = real & place  # the first t of the true ones
    spread = real_ids(seed + 1, model.config.vocab, 1, real.shape[1])
    spread[real] = ids[0]
    padded = run(model, input_ids=spread, attention_mask=real)
    near(padded[real][None], run(model, input_ids=ids), DEEP)


TOWERS = {"gpt2": GPT2, "bert": BERT, "clip-text": CLIP_TEXT, "vit": VIT, "clip-image": CLIP_IMAGE}


def inputs_of(model, name, seed, b, t):
    """A batch of b, its texts of t tokens; CLIP's end with the end token."""
    if name in ("vit", "clip-image"):
        return {"pixel_values": drawn(seed, b, model.config.channels, *model.config.image)}
    ids = real_ids(seed, model.config.vocab, b, t)
    if name == "clip-text":
        ids[:, -1] = model.config.end if model.config.end is not None else model.config.vocab - 1
    return {"input_ids": ids}


@pytest.mark.parametrize("name", TOWERS)
@examples(2)
@given(order=st.lists(st.integers(0, 2), min_size=1, max_size=3), t=st.integers(1, 7), seed=seeds)
def test_a_row_does_not_know_the_others(name, order, t, seed):
    """A batch taken in another order, with rows left out or twice, gives the same rows."""
    model = TOWERS[name]
    batch = inputs_of(model, name, seed, 3, t)
    whole = run(model, **batch)
    near(run(model, **{k: x[order] for k, x in batch.items()}), whole[order], DEEP)


@pytest.mark.parametrize("name", TOWERS)
@examples(6)
@given(seed=seeds, shape=st.lists(st.integers(1, 3), min_size=0, max_size=5))
def test_what_has_the_wrong_number_of_axes_is_refused(name, seed, shape):
    model = TOWERS[name]
    ((key, value),) = inputs_of(model, name, seed, 1, 2).items()
    if len(shape) == value.ndim:
        return
    wrong = torch.ones(shape, dtype=value.dtype)
    # where annotations are checked at run time they may be the first to refuse
    with pytest.raises((ValueError, TypeError), match=f"{key}|input_ids"):
        model(**{key: wrong})


@pytest.mark.parametrize("name", ["gpt2", "bert", "clip-text"])
@examples(6)
@given(
    seed=seeds,
    t=st.integers(1, 7),
    wrong=st.integers(-2, 0) | st.integers(95, 99) | st.integers(-(2**40), 2**40),
)
def test_an_id_outside_the_vocabulary_is_refused_by_its_number(name, seed, t, wrong):
    model = TOWERS[name]
    ids = inputs_of(model, name, seed, 2, t)["input_ids"]
    if 0 <= wrong < model.config.vocab:
        return
    ids[1, seed % t] = wrong
    with pytest.raises(ValueError, match=rf"^input_ids holds {wrong}; this vocabulary has ids 0"):
        model(input_ids=ids)
