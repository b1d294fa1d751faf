"""A bench is in float64, hides nothing, and knows what rounding to expect."""

import pytest
import torch
from torch import nn

from unit.testing.models import Classifier, classifier_spec, decoder_spec
from zoo.testing.guard import Untouched
from zoo.testing.stress import apart
from zoo.testing.subject import Subject

EPS = torch.finfo(torch.float64).eps


def bench_of(spec, **how):
    return Subject(spec).bench(**how)


class ZeroHead(Classifier):
    """The last layer of a residual branch begins at zero: its input cannot be seen."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)


class Narrow(Classifier):
    def forward(self, x):
        return super().forward(x).float().double()


class Half(Classifier):
    def forward(self, x):
        return super().forward(x).bfloat16().to(x.dtype)


class NeedsFloat(Classifier):
    def forward(self, x):
        assert x.dtype is torch.float32
        return super().forward(x)


class LogOfScale(Classifier):
    """A scale that must be positive."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, 3), 0.5))

    def forward(self, x):
        return super().forward(x) * self.scale.log()


KINDS = {
    "any model": (Classifier, torch.float64, "strong", EPS * 2**22),
    "a float32 step inside": (Narrow, torch.float64, "strong", 2.0**-23 * 2**12),
    "a bfloat16 step inside": (Half, torch.float64, "strong", 2.0**-7 * 16),
    "float32 alone": (NeedsFloat, torch.float32, "strong", 2.0**-23 * 2**12),
    "a weight that must be positive": (LogOfScale, torch.float64, "mild", EPS * 2**22),
}


@pytest.mark.parametrize(("build", "dtype", "kind", "bound"), KINDS.values(), ids=KINDS)
def test_a_bench_is_as_strong_as_the_model_bears(build, dtype, kind, bound):
    with Untouched():
        bench = bench_of(classifier_spec(build))
        again = bench.subject.bench()
        x = bench.batch()
        assert (bench.dtype, bench.kind, bench.bound) == (dtype, kind, bound)
        assert torch.equal(bench.main(x), again.main(x))
        assert again.bound == bound and again.module is not bench.module


def test_zeros_do_not_hide_what_is_before_them():
    with Untouched():
        bench = bench_of(classifier_spec(ZeroHead))
        one, other = bench.batch(seed=0), bench.batch(seed=1)
        assert bench.apart(bench.main(one), bench.main(other)) > 0.1
        assert bench.differ(bench.main(one), bench.main(other))


def test_statistics_are_not_neutral():
    def build():
        return nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3))

    with Untouched():
        bench = bench_of(classifier_spec(build, name="x"))
        norm = bench.module[0]
        assert norm.running_mean.abs().min() > 0
        assert (norm.running_var - 1).abs().min() > 0


def test_without_stress_the_weights_are_those_that_were_built():
    with Untouched():
        subject = Subject(decoder_spec())
        plain, built = subject.bench(stress=False), subject.fresh()
        for one, other in zip(plain.module.parameters(), built.parameters(), strict=True):
            assert torch.equal(one, other.double())


NAN = float("nan")
APART = {
    "equal": ([1.0, 2.0], [1.0, 2.0], 0.0),
    "by a half of the largest": ([1.0, 2.0], [0.0, 2.0], 0.5),
    "both NaN": ([NAN, 2.0], [NAN, 2.0], 0.0),
    "one NaN": ([NAN, 2.0], [1.0, 2.0], float("inf")),
    "another shape": ([1.0], [1.0, 2.0], float("inf")),
    "infinite twice": ([float("inf")], [float("inf")], 0.0),
    "nothing": ([], [], 0.0),
}


@pytest.mark.parametrize(("one", "other", "expected"), APART.values(), ids=APART)
def test_distance_is_relative_to_the_largest(one, other, expected):
    assert apart(torch.tensor(one).double(), torch.tensor(other).double()) == expected


def test_whole_numbers_are_equal_or_not():
    assert apart(torch.tensor([1, 2]), torch.tensor([1, 2])) == 0.0
    assert apart(torch.tensor([1, 2]), torch.tensor([1, 3])) == 1.0
