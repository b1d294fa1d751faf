"""reference_ops puts every reference in place of its op, and every op back."""

import pytest
import torch

from zoo import ops
from zoo.ops.table import OPS
from zoo.testing.reference import reference_ops


@pytest.mark.parametrize("name", OPS)
def test_inside_an_op_is_its_reference_and_afterwards_itself(name):
    before = getattr(ops, name)
    with reference_ops():
        assert getattr(ops, name) is OPS[name].reference
    assert getattr(ops, name) is before is OPS[name].op


def test_an_error_inside_puts_the_ops_back():
    with pytest.raises(KeyError), reference_ops():
        raise KeyError("anything")
    assert ops.gelu is OPS["gelu"].op


def test_inside_the_graph_is_torchs_own():
    x = torch.ones(2, 3, requires_grad=True)
    assert ops.softmax(x).grad_fn.name() == "SoftmaxBackward"
    with reference_ops():
        assert ops.softmax(x).grad_fn.name() == "SoftmaxBackward0"
