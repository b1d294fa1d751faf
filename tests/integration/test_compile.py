"""Every op compiles whole, forward and backward, and gives the bits that it gives uncompiled."""

import pytest
import torch

from zoo.ops.table import OPS

CASES = [
    pytest.param(info, sample, id=f"{info.name}-{sample.name}")
    for info in OPS.values()
    for sample in info.samples()
]
pytestmark = pytest.mark.compile


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def value_and_grads(sample, call):
    y = sample.call(call)
    dy = torch.arange(y.numel(), dtype=y.dtype).cos().reshape(y.shape)
    return y, *torch.autograd.grad(y, sample.floats(), dy)


def same_bits(actual, expected):
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize(("info", "sample"), CASES)
def test_a_compiled_op_and_its_gradients_have_the_same_bits(info, sample):
    compiled = torch.compile(info.op, fullgraph=True, dynamic=False, backend="aot_eager")
    expected = value_and_grads(sample.to(torch.float32, grad=True), info.op)
    assert same_bits(value_and_grads(sample.to(torch.float32, grad=True), compiled), expected)
    with torch.no_grad():
        assert torch.equal(sample.to(torch.float32).call(compiled), expected[0])
