"""A sample is cast with its strides, its tensors are found in order, and it is called anew."""

import pytest
import torch

from zoo.testing.opinfo import Sample, f64, randint, randn, restrided

LAYOUTS = {
    "dense": randn(2, 3, 4),
    "transposed": randn(2, 3, 4).transpose(0, 2),
    "expanded": randn(2, 1, 4).expand(2, 5, 4),
    "expanded-last": randn(3, 1).expand(3, 4),
    "expanded-whole": f64(2.0).expand(3),
    "empty": randn(2, 0, 3).transpose(0, 2),
    "scalar": f64(1.5),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_copy_has_the_values_and_the_strides_of_its_master(name):
    master = LAYOUTS[name]
    copy = restrided(master, torch.float32)
    assert copy.dtype == torch.float32
    assert copy.stride() == master.stride() and torch.equal(copy, master.float())
    assert copy.numel() == 0 or copy.data_ptr() != master.data_ptr()


def sample():
    return Sample("s", (randn(2, 3), randint(5, 2), "form"), {"w": randn(3), "eps": 0.5})


def test_casting_leaves_integers_and_settings_alone():
    cast = sample().to(torch.float16)
    assert [x.dtype for x in cast.tensors()] == [torch.float16, torch.int64, torch.float16]
    assert not any(x.requires_grad for x in cast.tensors())
    assert (cast.args[2], cast.kwargs["eps"], cast.name) == ("form", 0.5, "s")


def test_leaves_ask_for_gradients_where_they_can():
    leaves = sample().to(torch.float32, grad=True)
    assert [x.requires_grad for x in leaves.tensors()] == [True, False, True]
    assert all(x.is_leaf for x in leaves.tensors())


def test_a_copy_of_integers_is_a_copy():
    master = sample()
    assert master.to(torch.float64).args[1].data_ptr() != master.args[1].data_ptr()


def test_a_call_takes_other_floats_in_order_and_its_own_without():
    def op(x, ids, form, w, eps):
        return x, ids, form, w, eps

    master = sample()
    x, w = torch.ones(1), torch.zeros(2)
    given = master.call(op, x, w)
    assert given[0] is x and given[3] is w and given[1:3] == (master.args[1], "form")
    assert master.call(op)[0] is master.args[0] and master.call(op)[4] == 0.5


def test_draws_repeat_and_seeds_differ():
    assert torch.equal(randn(2, 3), randn(2, 3)) and torch.equal(randint(9, 4), randint(9, 4))
    assert not torch.equal(randn(2, 3), randn(2, 3, seed=1))
    assert randn(2, 3).dtype == f64(1).dtype == torch.float64
