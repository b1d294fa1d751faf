"""Looking into models: hidden states between blocks and attention maps, for every family."""

import copy
import threading
import weakref

import pytest
import torch
from torch import nn

from zoo.models import GPT2, MODELS
from zoo.models.gpt2 import PRESETS
from zoo.models.look import Inspectable
from zoo.nn import Attention

LOUD = 0.3  # deviation of the weights: large enough that every token and block matters


def inputs_of(part, batch):
    """Keep what a part's encode reads."""
    images = part == "image"
    return {name: x for name, x in batch.items() if (name == "pixel_values") == images}


def build(family, part=None):
    """Build the tiny preset, or a tower of it, in float64 without dropout; give its inputs too."""
    spec = MODELS[family]
    torch.manual_seed(0)
    model = spec.build(spec.presets[f"{family}-tiny"])
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=LOUD)
    batch = {
        name: x.double() if x.is_floating_point() else x
        for name, x in spec.example(model.config, 0, batch=3).items()
    }
    model = model.double().eval()
    return (model, batch) if part is None else (getattr(model, part), inputs_of(part, batch))


def parts():
    """Name every family, and the towers of one that has no blocks of its own."""
    for family, spec in sorted(MODELS.items()):
        with torch.device("meta"):
            model = spec.build(spec.presets[f"{family}-tiny"])
        towers = [name for name, part in model.named_children() if hasattr(part, "blocks")]
        yield from [(family, None)] if hasattr(model, "blocks") else [(family, t) for t in towers]


EACH = pytest.mark.parametrize(("family", "part"), list(parts()), ids=lambda v: str(v))


def padded(model, inputs):
    """Take real tokens away on both sides, where there are tokens."""
    if "input_ids" not in inputs:
        return inputs
    ids = inputs["input_ids"]
    mask = torch.ones_like(ids)
    mask[0, 4:], mask[1, :3] = 0, 0
    return inputs | {"attention_mask": mask}


def near(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def gpt2(**changes):
    torch.manual_seed(0)
    config = PRESETS["gpt2-tiny"]
    model = GPT2(type(config)(**vars(config) | changes)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=LOUD)
    return model.eval(), torch.arange(1, 15).view(2, 7)


@EACH
def test_a_layer_is_what_a_model_cut_off_there_gives(family, part):
    model, inputs = build(family, part)
    found = model.intermediates(**inputs)
    assert list(found.layers) == list(range(len(model.blocks)))
    for number, hidden in found.layers.items():
        short = copy.deepcopy(model)
        short.blocks = short.blocks[: number + 1]
        # BERT's `norm` is that of the embeddings, CLIP's of images that of the pooled token
        bare = family == "bert" or part == "image"
        assert torch.equal(hidden if bare else model.norm(hidden), short.encode(**inputs))
    assert torch.equal(found.last, model.encode(**inputs))


@EACH
def test_a_map_is_that_of_the_state_before_its_block(family, part):
    model, inputs = build(family, part)
    inputs = padded(model, inputs)
    states, maps = model.intermediates(**inputs).layers, model.attention_maps(**inputs)
    real = inputs.get("attention_mask")
    real = None if real is None else real.bool()
    for number in range(1, len(model.blocks)):
        block, state = model.blocks[number], states[number - 1]
        read = state if family == "bert" else block.norm1(state)
        assert torch.equal(maps[number], block.attn.weights(read, real))


@EACH
def test_real_rows_sum_to_one_and_padding_is_zero_both_ways(family, part):
    model, inputs = build(family, part)
    inputs = padded(model, inputs)
    maps = model.attention_maps(**inputs)
    b, h, t, s = maps[0].shape
    real = inputs.get("attention_mask", torch.ones(b, t)).bool()
    assert list(maps) == list(range(len(model.blocks)))
    assert (b, s) == (3, t) and h == model.blocks[0].attn.heads
    for found in maps.values():
        near(found.sum(-1), real[:, None].double().expand(b, h, t))
        assert not found.masked_select(~real[:, None, None, :]).any()
        causal = family == "gpt2" or part == "text"
        assert bool(found.triu(1).any()) is not causal


@EACH
def test_looking_leaves_no_trace(family, part):
    model, inputs = build(family, part)
    before = model.encode(**inputs)
    first, again = model.intermediates(**inputs), model.intermediates(**inputs)
    once, twice = model.attention_maps(**inputs), model.attention_maps(**inputs)
    for number in first.layers:
        assert torch.equal(first.layers[number], again.layers[number])
        assert torch.equal(once[number], twice[number])
    assert torch.equal(model.encode(**inputs), before)
    assert hooks_of(model) == 0


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@EACH
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recompute"])
def test_gradients_flow_from_states_and_maps(family, part, recompute):
    model, inputs = build(family, part)
    expected = gradients(model, inputs)
    if part is None:
        model.recompute = recompute
    else:  # a tower is told so by its CLIP
        inputs = inputs | {"recompute": recompute}
    actual = gradients(model, inputs)
    assert len(expected) == len(actual)
    assert max(float(g.abs().max()) for g in expected) > 1e-3
    for a, e in zip(actual, expected, strict=True):
        near(a, e)


def gradients(model, inputs):
    """Differentiate a sum that reads a middle state, a middle map and the last state."""
    states = model.intermediates(**inputs, layers=[1])
    maps = model.attention_maps(**inputs, layers=[1])
    total = states.layers[1].sin().sum() + maps[1].square().sum() + states.last.cos().sum()
    wanted = [p for name, p in model.blocks.named_parameters() if name.startswith(("0.", "1."))]
    return torch.autograd.grad(total, wanted)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (None, [0, 1, 2]),
        (0, [0]),
        (-1, [2]),
        (-3, [0]),
        ([-1, 0], [0, 2]),
        ([1, -2, 1], [1]),
        ({2, 1}, [1, 2]),
        (range(2), [0, 1]),
        ([], []),
    ],
    ids=["all", "one", "last", "first", "ends", "twice", "set", "range", "none"],
)
def test_layers_are_numbers_from_either_end(layers, expected):
    model, ids = gpt2()
    assert list(model.intermediates(ids, layers=layers).layers) == expected
    assert list(model.attention_maps(ids, layers=layers)) == expected


@pytest.mark.parametrize("layer", [3, -4, True], ids=repr)
@pytest.mark.parametrize("look", ["intermediates", "attention_maps"])
def test_a_layer_that_is_not_there_is_named(look, layer):
    model, ids = gpt2()
    with pytest.raises(ValueError, match=rf"layer {layer!r}; .* 0 to 2, or -3 to -1 from the end"):
        getattr(model, look)(ids, layers=[0, layer])
    assert hooks_of(model) == 0


@pytest.mark.parametrize("look", ["intermediates", "attention_maps"])
def test_hooks_go_when_the_pass_fails(look):
    model, ids = gpt2()
    with pytest.raises(ValueError, match="vocabulary has ids 0 to 96"):
        getattr(model, look)(ids + 96)
    assert hooks_of(model) == 0


@pytest.mark.parametrize("look", ["intermediates", "attention_maps"])
def test_nothing_is_kept_for_a_gradient_without_one(look):
    model, ids = gpt2()
    with torch.no_grad():
        found = getattr(model, look)(ids)
    tensors = found.layers if look == "intermediates" else found
    assert not any(x.requires_grad for x in tensors.values())


def test_states_in_training_are_those_of_the_same_pass():
    """Dropout is drawn once: the last block's state under the norm is the last state."""
    model, ids = gpt2(dropout=0.5)
    found = model.train().intermediates(ids)
    assert torch.equal(model.norm(found.layers[2]), found.last)
    assert not torch.equal(model.eval().intermediates(ids).last, found.last)


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recompute"])
def test_training_goes_on_from_a_middle_state(recompute):
    model, ids = gpt2(dropout=0.5, attention_dropout=0.5)
    model.train().recompute = recompute
    torch.manual_seed(5)
    model.intermediates(ids, layers=1).layers[1].square().sum().backward()
    found = model.blocks[0].attn.qkv.weight.grad.clone()
    model.zero_grad()
    model.recompute = False
    torch.manual_seed(5)
    model.intermediates(ids, layers=1).layers[1].square().sum().backward()
    near(found, model.blocks[0].attn.qkv.weight.grad)
    assert model.blocks[2].attn.qkv.weight.grad is None


def test_states_of_new_tokens_go_on_behind_a_cache():
    model, ids = gpt2()
    with torch.no_grad():
        whole = model.intermediates(ids).layers[1]
        cache = model.new_cache(2)
        model.encode(ids[:, :4], cache=cache)
        near(model.intermediates(ids[:, 4:], cache=cache).layers[1], whole[:, 4:])


def test_a_map_reads_whole_texts_only():
    model, ids = gpt2()
    cache = model.new_cache(2)
    with pytest.raises(ValueError, match="leave the cache out"):
        model.attention_maps(ids, cache=cache)
    assert cache.length == 0


def test_maps_come_one_by_one_and_none_is_kept():
    model, ids = gpt2()
    whole, gone = model.attention_maps(ids), []
    with torch.no_grad():
        for number, found in model.each_attention_map(ids):
            assert all(reference() is None for reference in gone)
            gone.append(weakref.ref(found))
            assert torch.equal(found, whole[number])
    assert len(gone) == 3


def test_two_threads_look_at_once_and_see_their_own():
    model, ids = gpt2()
    expected = [model.intermediates(x).layers for x in (ids, ids + 20)]
    meeting = threading.Barrier(2, timeout=30)
    gate = model.blocks[0].register_forward_pre_hook(lambda *_: void(meeting.wait()))
    found = [None, None]

    def look(index):
        found[index] = model.intermediates(ids + 20 * index).layers

    threads = [threading.Thread(target=look, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.remove()
    for mine, right in zip(found, expected, strict=True):
        assert all(torch.equal(mine[number], right[number]) for number in range(3))


def void(_):
    """Let a hook change nothing."""


class Keyword(nn.Module):
    """A block that names the mask it hands on."""

    def __init__(self):
        super().__init__()
        self.attn = Attention(12, 3).double()

    def forward(self, x, real):
        return x + self.attn(x, padding=real)


class Own(Inspectable, nn.Module):
    """Anything with blocks and encode."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Keyword(), Keyword()])

    def encode(self, x, real):
        for block in self.blocks:
            x = block(x, real)
        return x


def test_any_module_with_blocks_and_encode_can_be_looked_into():
    model, x = Own(), torch.randn(2, 5, 12, dtype=torch.float64)
    real = torch.tensor([[True] * 5, [False, True, True, True, False]])
    states = model.intermediates(x, real)
    assert torch.equal(states.layers[1], states.last)
    maps = model.attention_maps(x, real=real)
    assert torch.equal(maps[0], model.blocks[0].attn.weights(x, real))
    assert torch.equal(maps[1], model.blocks[1].attn.weights(states.layers[0], real))


def test_a_model_without_blocks_says_where_to_look():
    class Two(GPT2):
        def __init__(self):
            nn.Module.__init__(self)
            self.eye, self.ear = gpt2()[0], nn.Identity()

    with pytest.raises(TypeError, match=r"Two has no blocks of its own; look into .*parts: eye$"):
        Two().intermediates()
