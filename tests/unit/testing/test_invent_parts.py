"""Every candidate for an input, in its order: what names and layers say, and how a search goes."""

import itertools

import pytest
import torch
from torch import nn

from unit.testing.records import hold
from zoo.testing.invent import (
    LENGTH,
    SECONDS,
    SIDES,
    TRIALS,
    candidates,
    combinations,
    in_order,
    lengths,
    numbers,
    real_parameters,
    sides,
    widths,
)


def looks(make, size=2):
    """Say what a maker makes: dtype, shape, and of whole numbers the range."""
    torch.manual_seed(0)
    made = make(size)
    kind = f"{str(made.dtype).removeprefix('torch.')} {tuple(made.shape)}"
    if made.dtype.is_floating_point:
        below = bool((made.flatten()[:64] < 0).any())
        return f"{kind}{' normal' if below else f' from {float(made.min()):.2f}'}"
    return f"{kind} {int(made.min())}..{int(made.max())}"


def some(makers, most=30):
    """Write the first makers down, those that make the same in a row once."""
    said = [f"{looks(make)}" for make in itertools.islice(makers, most)]
    return [f"{key} x{len(list(same))}" for key, same in itertools.groupby(said)]


class Config:
    image_size, context, n_positions = 20, 9, 600
    vision_config = type("Vision", (), {"image_size": (24, 12), "img_size": [1, 2, 3]})()


class Holds(nn.Module):
    """Layers of many kinds, numbers of its own and a config."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class Configured(Holds):
    def __init__(self):
        super().__init__()
        self.config, self.block_size, self.resolution = Config(), 1, -4
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, 6))
        self.position = nn.Parameter(torch.zeros(5))


NOTHING = Holds()
TABLES = Holds(nn.Embedding(7, 3), nn.Embedding(50, 3))
ARGUMENTS = (
    *("mask", "attention_mask", "timesteps", "t", "sigma_step", "y", "class_labels", "cond"),
    *("edge_type", "edge_attr", "edge_index", "adj", "lengths", "pixel_values", "img", "x"),
    *("input_ids", "src", "Token", "text"),
)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_candidates_by_name(name):
    hold(some(candidates(NOTHING, name)))
    hold(some(candidates(TABLES, name, 5)))


class TwoConvolutions(Holds):
    def __init__(self):
        super().__init__(nn.Linear(5, 2), nn.Conv2d(3, 4, 2))


LAYERS = {
    "tables": TABLES,
    "a bag": Holds(nn.EmbeddingBag(6, 2)),
    "a convolution of signals": Holds(nn.Conv1d(2, 3, 3)),
    "a convolution of pictures": Holds(nn.Conv2d(2, 3, 3)),
    "a convolution of volumes": Holds(nn.Conv3d(1, 2, 1)),
    "recurrent, rows first": Holds(nn.GRU(3, 4, batch_first=True)),
    "recurrent, time first": Holds(nn.LSTM(3, 4)),
    "attention, rows first": Holds(nn.MultiheadAttention(4, 2, batch_first=True)),
    "attention, time first": Holds(nn.MultiheadAttention(4, 2)),
    "a transformer's layer": Holds(nn.TransformerEncoderLayer(4, 2, 6)),
    "a linear map": Holds(nn.Linear(5, 2)),
    "two maps of one width": Holds(nn.Linear(5, 2), nn.Linear(5, 3)),
    "a norm of batches": Holds(nn.BatchNorm1d(3)),
    "a layer norm": Holds(nn.LayerNorm((2, 3))),
    "a map, then a convolution": TwoConvolutions(),
    "no layer": NOTHING,
    "a config": Configured(),
}


@pytest.mark.parametrize("module", LAYERS.values(), ids=LAYERS)
def test_candidates_by_layers(module):
    hold(some(candidates(module, "x")))
    hold(some(candidates(module, "image", 6)))


def test_what_a_module_says_of_lengths_and_sides():
    made = Configured()
    assert numbers(made, ["image_size"]) == [20, (24, 12)]
    assert numbers(made, ["none", "block_size", "context"]) == [1, 9]
    assert lengths(made) == [8, 9, 17, 16]
    assert lengths(NOTHING) == [LENGTH] == [8]
    assert sides(made) == [(20, 20), (24, 12), *((n, n) for n in SIDES)]
    assert sides(NOTHING) == [(n, n) for n in (32, 28, 16, 8, 64, 12, 96, 128, 224)]


class Sized(nn.Module):
    def __init__(self, **said):
        super().__init__()
        for name, value in said.items():
            setattr(self, name, value)


SAID = {
    "a length": (Sized(seq_len=5), [8, 5], 0),
    "the longest that is tried": (Sized(max_len=512), [8, 512], 0),
    "one that is too long": (Sized(max_len=513), [8], 0),
    "the shortest that is tried": (Sized(block_size=2), [8, 2], 0),
    "one that is too short": (Sized(block_size=1), [8], 0),
    "a number that is none": (Sized(context="x"), [8], 0),
    "the same again": (Sized(context=8, max_length=6, n_positions=6), [8, 6], 0),
    "at most four": (Sized(context=3, max_len=4, max_length=5, seq_len=6), [8, 3, 4, 5], 0),
    "a side": (Sized(img_size=10), [8], 1),
    "no side": (Sized(image_size=0, input_size=(1, 2, 3), image_res=("a", 2)), [8], 0),
    "two sides": (Sized(input_resolution=[6, 4]), [8], 1),
}


@pytest.mark.parametrize(("module", "found", "more"), SAID.values(), ids=SAID)
def test_lengths_and_sides_that_are_named(module, found, more):
    assert lengths(module) == found
    assert len(sides(module)) == len(SIDES) + more


def test_widths_are_sizes_of_the_first_weights():
    module = Holds(nn.Linear(5, 2), nn.Conv1d(3, 7, 4), nn.Linear(11, 13))
    assert widths(module) == [2, 3, 4, 5, 7]
    assert widths(Holds(nn.Bilinear(9, 8, 6), nn.Bilinear(1, 2, 3))) == [1, 2, 3, 6, 8, 9]
    assert widths(Holds(nn.Bilinear(19, 18, 16), nn.Bilinear(11, 12, 14)))[-1] == 19
    assert widths(Holds(nn.LayerNorm(3))) == []
    assert real_parameters(Holds(nn.LazyLinear(3), nn.LayerNorm(2)))[0][0] == "layers.1.weight"


def test_places_near_the_front_of_every_list_come_first():
    assert in_order([range(2), range(3)]) == [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (1, 2)]
    assert len(in_order([range(400), range(400)])) == 40 * TRIALS == 80000
    assert (TRIALS, SECONDS) == (2000, 5.0)


def test_inputs_of_one_kind_are_of_one_shape_at_first():
    module = Holds(nn.Linear(5, 2))
    for names in (["a"], ["a", "b"], ["t", "y"]):
        made = list(itertools.islice(combinations(module, names, 3), 30))
        hold([", ".join(f"{n} {looks(m)}" for n, m in c.items()) for c in made])
