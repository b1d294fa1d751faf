"""Every op compiles whole, forward and backward, and gives what it gives uncompiled."""

from dataclasses import replace

import pytest
import torch

from zoo.ops.table import OPS
from zoo.testing.tolerances import assert_near

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


def same(actual, expected, info, sample):
    """Up to rounding: the compiler makes expanded inputs dense, and a product may then add up in
    another order."""
    for x, y in zip(actual, expected, strict=True):
        assert_near(x, y, torch.float32, info.roundings * sample.cancels)


@pytest.mark.thinned(6)
@pytest.mark.parametrize(("info", "sample"), CASES)
def test_a_compiled_op_gives_the_same_value_and_gradients(info, sample):
    compiled = torch.compile(info.op, fullgraph=True, dynamic=False, backend="aot_eager")
    expected = value_and_grads(sample.to(torch.float32, grad=True), info.op)
    actual = value_and_grads(sample.to(torch.float32, grad=True), compiled)
    same(actual, expected, info, sample)
    with torch.no_grad():
        same([sample.to(torch.float32).call(compiled)], expected[:1], info, sample)


@pytest.mark.thinned(2)
@pytest.mark.parametrize("info", OPS.values(), ids=list(OPS))
def test_one_dynamic_graph_serves_batches_of_several_sizes(info):
    compiled = torch.compile(info.op, fullgraph=True, dynamic=True, backend="aot_eager")
    sample = next(iter(info.samples()))
    for size, stance in ((1, "default"), (4, "fail_on_recompile"), (6, "fail_on_recompile")):
        batch = resized(sample, size)
        expected = value_and_grads(batch.to(torch.float32, grad=True), info.op)
        with torch.compiler.set_stance(stance):
            actual = value_and_grads(batch.to(torch.float32, grad=True), compiled)
        same(actual, expected, info, sample)


@pytest.mark.parametrize("info", OPS.values(), ids=list(OPS))
def test_a_compiled_op_obeys_autocast(info):
    compiled = torch.compile(info.op, fullgraph=True, dynamic=False, backend="aot_eager")
    sample = next(iter(info.samples())).to(torch.float32, grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, actual = value_and_grads(sample, info.op), value_and_grads(sample, compiled)
    assert [x.dtype for x in actual] == [x.dtype for x in expected]
    low = expected[0].dtype if info.autocast == "low" else torch.float32
    for x, y in zip(actual, expected, strict=True):
        assert_near(x, y, low, info.roundings)


def resized(sample, size):
    """The sample with the axis that its first tensor calls the batch repeated to another size."""
    length = sample.tensors()[0].shape[0]

    def repeat(x):
        if isinstance(x, torch.Tensor) and x.ndim and x.shape[0] == length:
            return x.repeat_interleave(size, 0)
        return x

    args = tuple(repeat(x) for x in sample.args)
    return replace(sample, args=args, kwargs={k: repeat(x) for k, x in sample.kwargs.items()})
