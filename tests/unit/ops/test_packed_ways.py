"""Which way a form's products go: what this CPU computes rightly, and what suits wide outputs."""

import pytest
import torch

from zoo.ops import packed as packing
from zoo.ops.packed import FORMS, WAYS, chosen, product_of, quietly, ways

HAVE = {form: ways(form) for form in FORMS}  # found once, which also hears the kernels' warnings


@pytest.mark.parametrize("form", FORMS)
def test_this_build_of_torch_has_every_form(form):
    """The kernels are not public: where torch drops one, this test says so first."""
    assert HAVE[form]
    for way in WAYS[form]:
        assert quietly(lambda w=way: w(torch.ones(4, 4))).size >= 16


@pytest.mark.parametrize(
    ("found", "wide"),
    [
        (WAYS["float32"], packing.Blocked),
        (WAYS["float16"], packing.Half),
        (WAYS["int8"], packing.Int8Object),
        ((packing.Int8,), packing.Int8),
        ((packing.Int8Object, packing.Int8Coarse), packing.Int8Object),
        ((packing.Int8Coarse,), packing.Int8Coarse),  # sums of 16 bits
    ],
)
def test_wide_outputs_of_int8_take_the_way_without_a_pass_of_steps(found, wide):
    assert chosen(found, packing.WIDE) is wide
    assert chosen(found, packing.WIDE - 1) is found[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("outputs", [packing.WIDE - 1, packing.WIDE])
def test_a_product_goes_the_way_that_was_chosen(form, outputs):
    assert type(product_of(torch.ones(outputs, 2), form)) is chosen(HAVE[form], outputs)


@pytest.mark.parametrize(
    ("way", "size"),
    [
        (packing.Blocked, 4 * 35),
        (packing.Half, 2 * 35),
        (packing.HalfObject, 2 * 35),
        (packing.Int8, 35 + 16 * 7),
        (packing.Int8Object, 35 + 12 * 7),
        (packing.Int8Coarse, 35 + 12 * 7),
    ],
)
def test_a_copy_tells_its_bytes_with_those_of_each_output_channel(way, size):
    assert quietly(lambda: way(torch.ones(7, 5))).size == size


def test_a_way_that_is_missing_or_wrong_is_passed_over():
    class Missing:
        def __init__(self, weight):
            raise AttributeError("no such kernel")

    class Wrong(packing.Blocked):
        def __call__(self, x, weight, bias):
            return super().__call__(x, weight, bias) + 1

    assert not packing.works(Missing) and not packing.works(Wrong)
    assert packing.works(packing.Blocked)
