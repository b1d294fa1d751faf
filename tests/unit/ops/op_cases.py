"""The cases that the tests of all ops share: each op's samples, and what is asked of one."""

import pytest
import torch

from zoo.ops.table import OPS

CASES = [
    pytest.param(info, sample, id=f"{info.name}-{sample.name}")
    for info in OPS.values()
    for sample in info.samples()
]
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def way(sample):
    """What tells two ways of calling an op apart: options, and words among the arguments."""
    words = tuple(x for x in sample.args if isinstance(x, str))
    return len(sample.args), words, tuple(sample.kwargs)


def ways_of(cases):
    """The first case of each way of calling each op, with something in all of its tensors."""
    first = {}
    for case in cases:
        info, sample = case.values
        if all(x.numel() for x in sample.tensors()):
            first.setdefault((info.name, *way(sample)), case)
    return [*first.values()]


def ends_of(cases):
    """Each op's first case and the one with the most options."""
    chosen = {}
    for case in cases:
        chosen.setdefault(case.values[0].name, []).append(case)
    most = [max(own, key=lambda case: len(case.values[1].kwargs)) for own in chosen.values()]
    return [*{case.id: case for case in (*(own[0] for own in chosen.values()), *most)}.values()]


def compact(case):
    """Whether a case lies densely: where all are made dense, the others would be tried twice."""
    return all(x.is_contiguous() for x in case.values[1].floats())


DENSE = [case for case in CASES if compact(case)]
WAYS = ways_of(DENSE)
ENDS = ends_of(WAYS)
SEVERAL = [case for case in CASES if len(case.values[1].floats()) > 1]
FIRSTS = [*{case.values[0].name: case for case in reversed(WAYS)}.values()][::-1]
ROUNDED = [
    pytest.param(*case.values, dtype, id=f"{case.id}-{str(dtype).removeprefix('torch.')}")
    for dtype, cases in ((torch.float32, CASES), (torch.bfloat16, CASES), (torch.float16, WAYS))
    for case in cases
]

each_case = pytest.mark.parametrize(("info", "sample"), CASES)
each_dense_case = pytest.mark.parametrize(("info", "sample"), DENSE)
each_way = pytest.mark.parametrize(("info", "sample"), WAYS)
each_op = pytest.mark.parametrize(("info", "sample"), FIRSTS)


def dense(sample, *, grad=False):
    """The sample's floating tensors as contiguous leaves, as finite differences need them."""
    return tuple(x.detach().clone(memory_format=torch.contiguous_format).requires_grad_(grad)
                 for x in sample.floats())  # fmt: skip


def direction(y):
    """A fixed direction to look along: no two elements weigh the same, and nothing is drawn."""
    return torch.arange(y.numel(), dtype=y.dtype).cos().reshape(y.shape)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, **EXACT)


def value_and_grads(op, sample):
    """The output and the gradient of every floating input, along a fixed direction."""
    y = sample.call(op)
    dy = direction(y)
    return y, dy, torch.autograd.grad(y, sample.floats(), dy)


def tuple_of(grads):
    return grads if isinstance(grads, tuple) else (grads,)


def along(op, sample):
    """A scalar function of the floating inputs."""

    def scalar(*floats):
        y = sample.call(op, *floats)
        return (y * direction(y)).sum()

    return scalar


def every_argument(sample):
    return tuple(range(len(sample.floats())))
