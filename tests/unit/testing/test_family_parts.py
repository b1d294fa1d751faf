"""The parts of which a comparison is made, one by one: layers, uses, patches, pairs, paths."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.family_made import drawn, layer
from unit.testing.family_sources import said
from unit.testing.records import hold
from zoo.testing.family import Comparison, Step, in_words, reads_pixels, uncompared
from zoo.testing.family.heads import (
    Seen,
    compare_attention,
    heads_of,
    projected,
    shared_maps,
    shared_path,
)
from zoo.testing.family.pairs import ends_are, factors, features, is_text, rows_of, scale_of
from zoo.testing.family.parse import Block
from zoo.testing.family.patches import cut_patches, patch_slips, patches_step, sorted_near
from zoo.testing.family.walk import Style, Walk, pooled_slips, tokens_first

PIXELS = drawn(2, 3, 4, 6)
PATCHES = F.unfold(PIXELS, (2, 3), stride=(2, 3)).mT
COLUMNS = F.unfold(PIXELS.mT, (3, 2), stride=(3, 2)).mT
CONV = {"value": drawn(5, 3, 2, 3)}
READ = {
    "patches in order": layer(x=PATCHES),
    "pixels of a patch in another order": layer(x=PATCHES.flip(-1)),
    "column by column": layer(x=COLUMNS),
    "patches in reverse": layer(x=PATCHES.flip(1)),
    "a reshape": layer(x=PIXELS.reshape(2, 4, 18)),
    "other numbers": layer(x=PATCHES + 1),
    "too few numbers": layer(x=PATCHES[:, :2]),
    "nothing": layer(),
    "a picture": layer(x=PIXELS),
    "a convolution": layer("conv", PIXELS, drawn(2, 5, 2, 2), **CONV),
    "a convolution that overlaps": layer("conv", PIXELS, drawn(2, 5, 3, 4), **CONV),
    "a convolution of the picture on its side": layer("conv", PIXELS.mT, drawn(2, 5, 2, 2), **CONV),
    "a convolution of something else": layer("conv", PIXELS + 1, drawn(2, 5, 2, 2), **CONV),
    "a convolution without a kernel": layer("conv", PIXELS, drawn(2, 5, 2, 2)),
}


@pytest.mark.parametrize("patches", READ.values(), ids=READ)
def test_what_a_patch_map_reads(patches):
    hold([said(patches_step("patches", patches, PIXELS))])


def test_patches_are_cut_row_by_row():
    x = torch.arange(24.0).view(1, 1, 4, 6)
    assert cut_patches(x, (2, 3))[0].tolist() == [
        [0, 1, 2, 6, 7, 8],
        [3, 4, 5, 9, 10, 11],
        [12, 13, 14, 18, 19, 20],
        [15, 16, 17, 21, 22, 23],
    ]
    assert sorted_near(PATCHES, PATCHES.flip(-1)) and not sorted_near(PATCHES, PATCHES.flip(1))
    assert not sorted_near(PATCHES, PATCHES[:1])
    assert patch_slips(layer()) == []
    wide_ones = torch.arange(12.0).view(1, 2, 2, 3)
    found = [(words, y.tolist()) for words, y in patch_slips(layer(y=wide_ones))]
    hold([str(x) for x in found])
    assert tokens_first(wide_ones).tolist() == [[[i, i + 6.0] for i in range(6)]]
    assert tokens_first(PATCHES) is PATCHES


def test_maps_that_read_pixels():
    assert reads_pixels(layer(x=PATCHES), PIXELS)
    assert not reads_pixels(layer("conv", PATCHES), PIXELS)
    assert not reads_pixels(layer(x=PATCHES[:, :2]), PIXELS)
    assert not reads_pixels(layer(x=PATCHES + 1e-6), PIXELS)
    assert not reads_pixels(layer(), PIXELS)


def test_a_comparison_in_words():
    good, rare = Step("a", True, "h.0"), Step("b", True, "h.1", "l", "GELU", rare=True)
    bad = Step("c", False, "h.2", "net.py:1 x", "it is wrong", "mend it", 0.12345)
    bare = Step("d", False, "", "", "it is missing", "add it")
    for steps in ((good,), (good, rare), (good, bad), (bad, bare, rare), (bare,)):
        made = Comparison("mine", "gpt2", steps)
        assert str(made) == in_words(made)
        hold(str(made).splitlines())
    hold([said(uncompared("c", ValueError("a\nb"))), said(uncompared("c", ValueError()))])
    hold([said(uncompared("c", ValueError("x" * 300)))])


# pairs


END = drawn(3, 5, 4)
POOLED = {
    "rows of a position each": (END[torch.arange(3), torch.tensor([4, 0, 2])], END, [4, 0, 2]),
    "something else": (drawn(3, 4, seed=1), END, None),
    "one row off": (END[:, 1] + torch.tensor([[0.0], [0.0], [1e-6]]), END, None),
    "other rows": (END[:2, 0], END, None),
    "another width": (END[:, 0, :3], END, None),
    "three axes": (END, END, None),
    "pooled already": (END[:, 1], END[:, 1], [0, 0, 0]),
    "pooled, and other": (END[:, 1], END[:, 2], None),
    "nothing": (None, END, None),
}


@pytest.mark.parametrize(("x", "stream", "places"), POOLED.values(), ids=POOLED)
def test_where_pooled_rows_stand(x, stream, places):
    found = rows_of(x, stream)
    assert (found if found is None else found.tolist()) == places


def test_slips_of_pooling():
    made = pooled_slips(END.double())
    hold([f"{words}: {float(y.sum()):.6g}" for words, y in made.items()])
    assert list(pooled_slips(drawn(1, 20, 2)))[-1] == "it reads position 15, not the first one"
    assert len(pooled_slips(drawn(1, 2, 2))) == 3


def walk(**more):
    style = Style(norm_first=True, causal=True, activation=("ReLU",))
    return Walk(more.pop("module", nn.Identity()), more.pop("weights", {}), 2, style, **more)


IDS = torch.tensor([[1, 9, 3, 0], [2, 4, 9, 0]])
ENDS = {
    "the largest": (IDS, [1, 2], True),
    "one id that every row has once": (torch.tensor([[5, 3, 9], [9, 5, 3]]), [1, 2], True),
    "an id that a row has twice": (torch.tensor([[5, 3, 9], [3, 3, 9]]), [1, 1], False),
    "two ids": (torch.tensor([[5, 3, 9], [9, 5, 4]]), [1, 2], False),
    "nothing of the kind": (IDS, [0, 0], False),
}


@pytest.mark.parametrize(("ids", "places", "right"), ENDS.values(), ids=ENDS)
def test_where_a_text_ends(ids, places, right):
    assert bool(ends_are(ids, torch.tensor(places), walk())) is right


class Config:
    def __init__(self, **said):
        for name, value in said.items():
            setattr(self, name, value)


CONFIGS = {
    "its first end": (Config(eos_token_id=3), [2, 3], False),
    "the end that is said": (Config(eos_token_id=9), [1, 2], True),
    "of the config of texts": (Config(text_config=Config(eos_token_id=0)), [3, 3], True),
    "another place than the end that is said": (Config(eos_token_id=0), [0, 0], False),
    "an end that no text has": (Config(eos_token_id=77), [0, 1], True),
    "no number": (Config(eos_token_id="9"), [0, 0], False),
}


@pytest.mark.parametrize(("config", "places", "right"), CONFIGS.values(), ids=CONFIGS)
def test_where_a_text_ends_by_the_config(config, places, right):
    module = nn.Identity()
    module.config = config
    assert bool(ends_are(IDS, torch.tensor(places), walk(module=module))) is right


def test_which_input_is_a_text():
    stream = drawn(2, 4, 3)
    given = (IDS, IDS[:1], IDS.double(), "x")
    assert [is_text(x, stream) for x in given] == [True, False, False, False]


def test_the_scale_is_a_parameter_of_one_number():
    one, two, named = torch.ones(1), torch.ones(()), torch.zeros(())
    assert scale_of(walk(weights={"a": torch.ones(2)})) is None
    assert scale_of(walk(weights={"w": torch.ones(2), "a": one, "b": two})) is one
    assert scale_of(walk(weights={"a": one, "logit_scale": named})) is named
    assert scale_of(walk(weights={"a": one, "temperature": named})) is named


def test_products_of_features():
    one, other = drawn(3, 4), drawn(3, 4, seed=1)
    made = features(one, other, F.normalize(one, dim=-1), F.normalize(other, dim=-1))
    weights = drawn(3, 3, seed=2)
    hold([f"{words}: {float((y * weights).sum()):.7g}" for words, y in made.items()])
    hold([f"{words}: {float(y):.6g}" for words, y in factors(torch.tensor(1.5)).items()])


# heads


PATHS = {
    ("h.0.q", "h.0.k", "h.0.v"): "h.0",
    ("h.0.attn",): "h.0",
    ("a.q", "b.q"): "",
    ("h.0.q", "h.0.q"): "h.0.q",
    ("h.1", "h.1.q"): "h.1",
    ("",): "h.0",
}


@pytest.mark.parametrize(("paths", "shared"), PATHS.items(), ids=map(str, PATHS))
def test_the_module_that_holds_all(paths, shared):
    given = [replace(layer(), module=p, weight="h.0.up.weight") for p in paths]
    assert shared_path(given) == shared


def test_the_number_of_heads_is_that_of_the_module_or_of_one_around():
    inner, outer = nn.Module(), nn.Module()
    outer.attn, outer.n_head, inner.q = inner, 4, nn.Linear(2, 2)
    assert heads_of(outer, "attn.q") == heads_of(outer, "") == 4
    inner.num_heads = 2
    assert heads_of(outer, "attn.q") == heads_of(outer, "attn") == 2 and heads_of(outer, "") == 4
    for odd in (True, 0, -1, "3"):
        inner.num_heads = odd
        assert heads_of(outer, "attn") == 4
    assert heads_of(nn.Identity(), "") is None


def attention_of(q, k, v, result, trials=2):
    three, rest = [layer(y=y, weight="w") for y in (q, k, v)], layer(x=result, weight="w")
    block = Block(three, rest, None, None, rest, rest)
    seen = Seen(nn.Identity(), causal=False, trials=trials)
    step = compare_attention(seen, block, [q, k, v], result, "block 0")
    return f"{said(step)} {seen.trials}"


def test_attentions_of_odd_shapes_and_of_nothing_that_is_known():
    q, k, v = (drawn(2, 3, 4, seed=s) for s in range(3))
    right = F.scaled_dot_product_attention(q, k, v)
    hold([attention_of(q, k, v, x) for x in (right, right.unflatten(2, (1, 4)), q, right[:, :2])])
    hold([attention_of(q, k[..., :2], v[..., :2], right), attention_of(q, k, v, right * 2, 0)])
    hold([attention_of(q[0], k[0], v[0], right[0])])


def test_one_map_for_two_of_queries_keys_and_values():
    three = [layer(weight=f"h.{n}.weight", y=drawn(2, 3, seed=i)) for i, n in enumerate("qkv")]
    right, wrong = Step("a", True), Step("a", False)
    assert shared_maps(right, three) is right and shared_maps(wrong, [three[0]] * 3) is wrong
    assert shared_maps(right, three[:1]) is right
    for i, j in ((0, 1), (0, 2), (1, 2)):
        given = list(three)
        given[j] = three[i]
        hold([said(shared_maps(right, given))])
        given[j] = replace(three[i], y=three[j].y)
        assert shared_maps(right, given) is right


@pytest.mark.parametrize("how", [{}, {"bias": False}, {"kdim": 4, "vdim": 4}, {"kdim": 3}])
def test_torchs_own_maps(how):
    part = nn.MultiheadAttention(4, 2, **how).double()
    given = [drawn(2, 3, 4), drawn(2, 3, how.get("kdim", 4)), drawn(2, 3, how.get("vdim", 4))]
    own = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    weights = [getattr(part, name) for name in own]
    if weights[0] is None:
        weights = part.in_proj_weight.chunk(3)
    biases = [0, 0, 0] if how.get("bias") is False else part.in_proj_bias.chunk(3)
    expected = [x @ w.T + b for x, w, b in zip(given, weights, biases, strict=True)]
    made = projected(part, given)
    assert all(torch.equal(a, b) for a, b in zip(made, expected, strict=True)) and len(made) == 3
