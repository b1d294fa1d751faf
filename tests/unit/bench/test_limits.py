"""The machine's limits: every kernel that may set one computes the same product."""

import platform
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed import limits  # noqa: E402
from benchmarks.speed.clock import Took  # noqa: E402
from benchmarks.speed.limits import Gauge, Limits, fastest, kernels, largest  # noqa: E402
from benchmarks.speed.work import Phase, Product  # noqa: E402

X86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="waits for x86: fbgemm has no other"
)
M, K, N = 7, 32, 16
# rounding of inputs and weights of size one: bfloat16 and float16 by their eps, int8 by a step of
# 1/127 of the largest in x and w; each of the K addends is off by twice that, in random directions
ROUNDING = {
    "float64": 1e-12,
    "float32": 1e-5,
    "bfloat16": 4 * 2 * 2**-8,
    "float16": 4 * 2 * 2**-11,
    "int8": 4 * 2 * 3 / 127,
}


@pytest.mark.parametrize(
    "arithmetic",
    ["float64", "float32", "bfloat16", *(pytest.param(k, marks=X86) for k in ("float16", "int8"))],
)
def test_every_kernel_gives_the_same_product(arithmetic):
    found = {name: call().double() for name, call in kernels(M, K, N, arithmetic)}
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(M, K, generator=draw).double()
    w = (torch.randn(N, K, generator=draw) / K**0.5).double()
    assert found
    for name, y in found.items():
        assert y.shape == (M, N), name
        assert float((y - x @ w.mT).abs().max()) < ROUNDING[arithmetic], name


@X86
def test_torch_has_the_kernels_that_limits_are_measured_with():
    """Private operations of torch: where one goes, limits sink and a share of them rises."""
    names = {name for name, _ in kernels(M, K, N, "float32")}
    assert names == {"linear", "mm", "mm, turned", "oneDNN, packed"}
    assert [name for name, _ in kernels(M, K, N, "float16")] == ["fbgemm, float16 weights"]
    assert [name for name, _ in kernels(M, K, N, "int8")] == ["fbgemm, int8"]


def test_every_way_to_read_reads_all():
    for name, call in limits.reading(1 << 16):
        assert float(call().max()) >= 1024, name  # sums of ones, of a row or of all


@pytest.mark.parametrize(
    ("product", "shape"),
    [
        pytest.param(Product(512, 768, 3072), (512, 768, 3072), id="as-it-is"),
        pytest.param(Product(1, 768, 3072), (256, 768, 3072), id="a-row-would-measure-reading"),
        pytest.param(Product(8192, 768, 768), (1024, 768, 768), id="more-rows-tell-no-more"),
        pytest.param(Product(512, 768, 50257), (512, 768, 4096), id="a-part-of-the-vocabulary"),
        pytest.param(Product(512, 50257, 768), (512, 4096, 768), id="and-of-its-gradient"),
    ],
)
def test_a_rate_is_measured_at_a_shape_near_the_works(product, shape):
    assert limits.shape_of(product) == shape


def test_the_shapes_that_most_work_falls_to_are_measured():
    small = [Product(256, 16 * i, 16) for i in (1, 2, 3, 4)]
    often = Phase((Product(256, 16, 32),), times=9)
    work = (Phase((*small, Product(256, 300, 300))), often)
    found = [(256, 300, 300), (256, 16, 32), (256, 64, 16), (256, 48, 16)]
    assert largest(work) == found


def test_the_fastest_of_several_ways_is_kept():
    big, little = torch.ones(300, 300), torch.ones(3, 3)
    gauge = fastest(1.0, iter([("slow", lambda: big @ big), ("quick", lambda: little @ little)]))
    assert gauge.kernel == "quick"
    assert fastest(1.0, iter(())) is None


def test_a_rate_is_an_amount_over_the_median_time():
    gauge = Gauge(10.0, "any", torch.empty, [Took(1.0, 5.0), Took(2.0, 5.0), Took(9.0, 4.0)])
    assert gauge.rate("cpu") == 5.0
    assert gauge.rate("wall") == 2.0


def test_limits_are_those_of_the_best_shape():
    found = Limits((Phase((Product(4, 8, 8), Product(4, 8, 64))),), {"float32"}, memory=1 << 16)
    found.round()
    found.round()
    small, large = found.products["float32"]
    assert [len(gauge.samples) for gauge in (small, large, found.memory)] == [2, 2, 2]
    best = max(small.rate("wall"), large.rate("wall"))
    assert found.flops("float32", "wall") == best
    assert found.flops("int8", "wall") is None
    assert found.record("wall") == {"float32": best, "memory": found.bytes("wall")}
