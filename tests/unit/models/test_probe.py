"""The probe in a file's metadata: what blocks give, and what is said when they give other."""

import copy
import json

import pytest
import torch

from unit.models.tiny import MAIN, tiny
from zoo.models import probe
from zoo.nn import MLP

FAMILIES = pytest.mark.parametrize("family", sorted(MAIN))


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def by_hand(blocks, form=None):
    """Compute a probe with a copy of the blocks, in float64."""
    blocks = copy.deepcopy(blocks).double().eval()
    for part in blocks.modules():
        if form is not None and isinstance(part, MLP):
            part.gelu = form
    width = blocks[0].norm1.weight.shape[0]
    x = torch.sin(1 + 1.7 * torch.arange(3.0 * width, dtype=torch.float64)) * 2**0.5
    x = x.view(1, 3, width)
    with torch.no_grad():
        for block in blocks:
            x = block(x)
    return x[0, -1, :8].tolist()


@FAMILIES
@pytest.mark.parametrize("form", [None, "tanh", "quick"])
def test_each_stack_gives_eight_numbers_of_its_last_token(family, form):
    model = tiny(family, MAIN[family], gelu="erf", dropout=0.5) if family == "bert" else None
    model = (model or tiny(family, MAIN[family], gelu="erf")).train()
    found = probe.take(model, model.stacks(), form)
    expected = {where: by_hand(model.get_submodule(where), form) for where in model.stacks()}
    assert found.keys() == expected.keys()
    for where, numbers in expected.items():
        torch.testing.assert_close(vector(*found[where]), vector(*numbers), rtol=1e-12, atol=0)
    assert model.training and all(m.gelu == "erf" for m in model.modules() if isinstance(m, MLP))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_twin_shares_weights_that_fit_and_casts_others(dtype):
    block = tiny("gpt2", "lm").to(dtype).blocks[0].train()
    twin = probe.twin_of(block)
    assert not twin.training and block.training and twin is not block
    fits = dtype != torch.bfloat16
    for mine, theirs in zip(block.parameters(), twin.parameters(), strict=True):
        assert (mine is theirs) == fits
        assert theirs.dtype == (dtype if fits else torch.float32)
        assert torch.equal(mine.to(theirs.dtype), theirs) and mine.dtype == dtype


KEPT = {
    "none": ({}, {}),
    "no json": ({"zoo.probe": "{"}, {}),
    "a list": ({"zoo.probe": "[1.0]"}, {}),
    "one": ({"zoo.probe": '{"blocks": [1.0, -2.5]}'}, {"blocks": [1.0, -2.5]}),
    "strange ones": (
        {"zoo.probe": '{"a": [1.0, 2], "b": 1.0, "c": [], "d": ["1"], "e": [true], "f": [0.5]}'},
        {"c": [], "f": [0.5]},
    ),
    "another's": ({"format": "pt"}, {}),
}


@pytest.mark.parametrize("row", KEPT)
def test_what_is_kept_is_read_as_far_as_it_is_numbers(row):
    metadata, found = KEPT[row]
    assert probe.kept(metadata) == found


def test_a_distance_is_a_share_of_the_size():
    assert probe.far([3.0, 4.0], [3.0, 4.0]) == 0.0
    assert probe.far([3.0, 4.0], [0.0, 5.0]) == pytest.approx(10**0.5 / 5)
    assert probe.far([0.0, 5.0, 0.0], [0.0, 3.0, 4.0]) == pytest.approx(20**0.5 / 5)
    assert probe.far([1.0], [1.0, 2.0]) == float("inf")
    assert probe.far([1e-30], [0.0]) == pytest.approx(1.0)
    assert probe.far([], []) == 0.0


def told(numbers):
    return {"zoo.probe": json.dumps(numbers)}


def complaint(model, numbers, stacks=("blocks",)):
    return probe.complaint(model, told(numbers), stacks)


SAID = (
    "the blocks do not give the numbers that were kept when the weights were written "
    "(blocks is off by {off:.2%}, with gelu {mine!r}){hint}"
)
HINT = "; with gelu {!r} they do: the config names another"


@pytest.mark.parametrize("mine", ["erf", "tanh", "quick"])
@pytest.mark.parametrize("written", ["erf", "tanh", "quick"])
def test_another_form_of_gelu_is_named(mine, written):
    model = tiny("gpt2", "lm", gelu=mine)
    numbers = probe.take(model, ["blocks"], written)
    said = None
    if mine != written:
        off = probe.far(probe.take(model, ["blocks"])["blocks"], numbers["blocks"])
        said = SAID.format(off=off, mine=mine, hint=HINT.format(written))
    assert complaint(model, numbers) == said


def test_other_numbers_are_said_and_nearly_the_same_are_not():
    model = tiny("gpt2", "lm")
    right = probe.take(model, ["blocks"])["blocks"]

    def said(share, dtype=torch.float64):
        numbers = {"blocks": [n * (1 + share) for n in right]}
        return complaint(copy.deepcopy(model).to(dtype), numbers)

    form = model.config.gelu
    assert [said(share) for share in (0.0, 9e-6, 9e-3, -9e-3)] == [None] * 4
    assert said(0.011) == SAID.format(off=0.011 / 1.011, mine=form, hint="")
    assert said(-0.5) == SAID.format(off=1.0, mine=form, hint="")
    assert said(0.04, torch.bfloat16) is None and said(0.3, torch.bfloat16) is None
    assert "off by 5" in said(1.2, torch.bfloat16)
    assert said(float("nan")) is None  # a run that diverged is read as what it is


def test_only_stacks_that_are_there_in_a_dtype_that_is_known_are_compared():
    model = tiny("gpt2", "lm")
    wrong = {"blocks": [1.0] * 8, "image.blocks": [2.0] * 8}
    assert complaint(model, wrong, ()) is None
    assert complaint(model, {"image.blocks": [2.0] * 8}) is None
    assert complaint(model, {}) is None
    assert complaint(model, wrong).startswith("the blocks do not give")
    odd = tiny("gpt2", "lm").to(torch.float8_e5m2)
    assert complaint(odd, wrong) is None


def test_the_second_stack_is_compared_too():
    model = tiny("clip", "match")
    numbers = probe.take(model, model.stacks())
    first, second = numbers
    assert complaint(model, numbers, model.stacks()) is None
    wrong = numbers | {second: [2 * n for n in numbers[second]]}
    said = complaint(model, wrong, model.stacks())
    assert f"({second} is off by 50.00%, with gelu 'quick')" in said
    slightly = numbers | {first: [1.001 * n for n in numbers[first]], second: wrong[second]}
    assert f"({second} is off by 50.00%" in complaint(model, slightly, model.stacks())
