"""A bench in numbers: what stress makes of weights, what a bench is given, when it is copied."""

import copy

import pytest
import torch
from torch import nn

from unit.testing.models import Classifier, classifier_spec, decoder_spec
from unit.testing.records import hold
from zoo.testing import subject as subjects
from zoo.testing.guard import Untouched
from zoo.testing.stress import ROOM, Bench, Widths, apart, dress, make_bench, put_weights, runs
from zoo.testing.subject import Subject


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class Many(nn.Module):
    """One parameter of each kind that stress treats in its own way."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 2, padding_idx=1, dtype=torch.float64)
        self.plain = nn.Embedding(3, 2, dtype=torch.float64)
        self.small = nn.Parameter(torch.full((2, 3), 0.01, dtype=torch.float64))
        self.large = nn.Parameter(torch.full((2, 3), -5.0, dtype=torch.float64))
        self.kernel = nn.Parameter(torch.zeros(2, 2, 4, dtype=torch.float64))
        self.vector = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.zeros = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
        self.wave = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.count = nn.Parameter(torch.arange(3), requires_grad=False)
        self.norm = nn.BatchNorm1d(2, dtype=torch.float64)
        self.bare = nn.BatchNorm1d(2, track_running_stats=False, affine=False)
        with torch.no_grad():
            self.table.weight.fill_(0.5)
            self.plain.weight.fill_(0.25)


@pytest.mark.parametrize("how", [{"strong": True}, {"strong": False}, {"strong": True, "seed": 8}])
def test_what_stress_makes_of_weights(how):
    module = Many()
    put_weights(module, **how)
    lines = []
    for name, x in (*module.named_parameters(), *module.named_buffers()):
        flat = torch.view_as_real(x.detach()) if x.is_complex() else x.detach()
        lines.append(f"{name}: {[f'{v:.5g}' for v in flat.double().flatten().tolist()]}")
    hold(lines)


def test_what_stress_leaves_alone():
    module = Many()
    put_weights(module, strong=True)
    assert module.count.tolist() == [0, 1, 2]
    assert module.table.weight[1].tolist() == [0.5, 0.5]
    assert module.table.weight.requires_grad and module.norm.num_batches_tracked == 0


def bench_of(build=Classifier, dtype=torch.float64, kind="strong", **facts):
    with Untouched():
        subject = Subject(classifier_spec(build, **facts))
        return Bench(subject, subject.fresh(), dtype, kind, False)


def test_a_bench_knows_what_it_was_made_with():
    for dtype in (torch.float64, torch.float32):
        made = bench_of(dtype=dtype, kind="mild")
        assert (made.dtype, made.kind, made.train, made.pristine) == (dtype, "mild", False, None)
        assert made.bound == torch.finfo(dtype).eps * ROOM[dtype]
    assert {torch.float64: 2.0**22, torch.float32: 2.0**12} == ROOM


def test_a_batch_gets_the_benchs_dtype():
    batch = {
        "x": [torch.ones(2), {"y": torch.ones(2, dtype=torch.float16)}],
        "ids": torch.arange(2),
        "wave": torch.ones(2, dtype=torch.complex64),
        "mask": torch.ones(2, dtype=torch.bool),
        "word": "a",
    }
    for dtype, wave in (
        (torch.float64, torch.complex128),
        (torch.float32, torch.complex64),
    ):
        made = bench_of(dtype=dtype).cast(batch)
        assert made["x"][0].dtype is made["x"][1]["y"].dtype is dtype
        assert (made["ids"].dtype, made["wave"].dtype) == (torch.int64, wave)
        assert (made["mask"].dtype, made["word"]) == (torch.bool, "a")


class Draws(Classifier):
    def forward(self, x):
        y = self.head(self.hidden(x)) + torch.rand(3)
        return {"y": y, "kept": [y, torch.zeros(2)]}


def test_runs_are_seeded_and_in_the_benchs_dtype():
    with Untouched():
        bench = bench_of(Draws, output="y")
        dress(bench)
        batch = bench.batch(2)
        assert batch["x"].dtype is torch.float64 and batch["x"].shape == (2, 5)
        assert not torch.equal(batch["x"], bench.batch(2, 5)["x"])
        assert bench.batch()["x"].shape == (3, 5)
        output = bench.run(batch)
        assert output["y"].requires_grad and output["kept"][1].dtype is torch.float64
        every = bench(batch)
        assert list(every) == ["y", "kept.0", "kept.1"]
        assert not any(x.requires_grad for x in every.values())
        assert torch.equal(every["y"], output["y"]) and torch.equal(bench.main(batch), output["y"])
        assert every["y"].data_ptr() != every["kept.0"].data_ptr()
        for call in (lambda seed: bench(batch, seed)["y"], lambda seed: bench.main(batch, seed)):
            assert torch.equal(call(1), call(1)) and not torch.equal(call(0), call(1))
        assert not bench.main(batch).requires_grad
        assert torch.equal(bench.run(batch, 1)["y"], bench.main(batch, 1))
        assert torch.get_default_dtype() is torch.float32


def test_a_loss_is_seeded_has_gradients_and_is_in_the_benchs_dtype():
    def loss(output, batch):
        return (output["y"].mean() * torch.zeros(()) + torch.rand(())).sum()

    with Untouched():
        bench = bench_of(Draws, output="y")
        bench.subject.spec = classifier_spec(Draws, output="y").__class__(
            build=Draws, batch=classifier_spec().batch, loss=loss
        )
        dress(bench)
        batch = bench.batch(2)
        found = bench.loss(batch)
        assert found.requires_grad and found.dtype is torch.float64
        assert torch.equal(bench.loss(batch, 0), found)
        assert not torch.equal(bench.loss(batch, 1), found)


def test_tensors_differ_beyond_the_bound_alone():
    bench = bench_of()
    x = torch.tensor([1.0, 4.0], dtype=torch.float64)
    for factor, differ in ((0.9, False), (1.1, True)):
        other = x + torch.tensor([4 * factor * bench.bound, 0.0], dtype=torch.float64)
        assert bench.differ(x, other) is differ
        assert bench.apart(x, other) == pytest.approx(factor * bench.bound)
    assert bench.differ(x, x[:1]) and bench.differ(x, x * float("nan"))


NAN, INF = float("nan"), float("inf")
APART = {
    "the larger of both is the measure": ([1.0, 2.0], [1.0, 8.0], 0.75),
    "of the first": ([-8.0, 2.0], [-8.0, 4.0], 0.25),
    "an infinity is no measure": ([INF, 2.0], [INF, 4.0], 0.5),
    "infinities of two signs": ([INF, 2.0], [-INF, 2.0], INF),
    "infinities alone, of two signs": ([INF], [-INF], INF),
    "zeros and a little": ([0.0], [1e-310], None),
    "NaN beside a difference": ([NAN, 2.0], [NAN, 1.0], 0.5),
}


@pytest.mark.parametrize(("one", "other", "expected"), APART.values(), ids=APART)
def test_how_far_two_tensors_lie_apart(one, other, expected):
    given = [torch.tensor(x, dtype=torch.float64) for x in (one, other)]
    tiny = torch.finfo(torch.float64).tiny
    assert apart(*given) == (pytest.approx(1e-310 / tiny) if expected is None else expected)
    assert apart(*reversed(given)) == apart(*given)


def test_complex_numbers_and_masks_lie_apart_too():
    wave = torch.tensor([3 + 4j, 0])
    assert apart(wave, wave) == 0.0
    assert apart(wave, wave + torch.tensor([0, 1j])) == pytest.approx(0.2)
    flags = torch.tensor([True, False])
    assert (apart(flags, flags), apart(flags, ~flags)) == (0.0, 1.0)
    assert apart(torch.ones(2, requires_grad=True), torch.ones(2)) == 0.0


class HalfParameters(Classifier):
    def __init__(self):
        super().__init__()
        self.head.bfloat16()

    def forward(self, x):
        return self.head(self.hidden(x.float()).to(self.head.weight.dtype))


DRESSED = {
    "strong in float64": (Classifier, torch.float64, "strong", torch.float64, True),
    "mild in float64": (Classifier, torch.float64, "mild", torch.float64, True),
    "as built in float64": (Classifier, torch.float64, "as built", torch.float64, False),
    "as built in float32": (Classifier, torch.float32, "as built", torch.float32, False),
    "half in float32": (HalfParameters, torch.float32, "as built", torch.float32, False),
}


@pytest.mark.parametrize(("build", "dtype", "kind", "made", "moved"), DRESSED.values(), ids=DRESSED)
def test_a_bench_is_dressed(build, dtype, kind, made, moved):
    with Untouched():
        bench = bench_of(build, dtype, kind)
        before = copy.deepcopy(bench.module)
        dress(bench)
    assert {p.dtype for p in bench.module.parameters()} == {made}
    same = torch.equal(bench.module.hidden.weight, before.hidden.weight.to(made))
    assert same is not moved


def test_strong_and_mild_are_not_alike():
    with Untouched():
        made = [bench_of(kind=kind) for kind in ("strong", "mild")]
        for bench in made:
            dress(bench)
    hold([f"{float(b.module.hidden.weight.detach().abs().mean()):.4g}" for b in made])


class Floating(Classifier):
    """Computes a part in another dtype, or gives what is no number."""

    def __init__(self, dtype=None, scale=1.0):
        super().__init__()
        self.dtype, self.factor = dtype, scale

    def forward(self, x):
        y = super().forward(x) * self.factor
        return y if self.dtype is None else y.to(self.dtype).to(y.dtype)


RUNS = {
    "float64 throughout": (None, 1.0, True, 2.0**-52 * 2**22),
    "a part in float32": (torch.float32, 1.0, True, 2.0**-23 * 2**12),
    "a part in float16": (torch.float16, 1.0, True, 2.0**-7 * 16),
    "a part in bfloat16": (torch.bfloat16, 1.0, True, 2.0**-7 * 16),
    "not finite": (None, INF, False, 2.0**-52 * 2**22),
}


@pytest.mark.parametrize(("dtype", "scale", "fine", "bound"), RUNS.values(), ids=RUNS)
def test_a_first_run_says_in_which_precision_a_model_computes(dtype, scale, fine, bound):
    with Untouched():
        bench = bench_of(lambda: Floating(dtype, scale))
        dress(bench)
        assert runs(bench, strict=False) is fine
        assert bench.bound == bound
        assert runs(bench, strict=True) is True


def test_an_error_is_raised_where_nothing_else_can_be_tried():
    class Raises(Classifier):
        def forward(self, x):
            raise ZeroDivisionError("no")

    with Untouched():
        bench = bench_of(Raises)
        assert runs(bench, strict=False) is False
        with pytest.raises(ZeroDivisionError):
            runs(bench, strict=True)
        with pytest.raises(ZeroDivisionError):
            make_bench(bench.subject, train=False, stress=True, like=None)


def test_widths_are_those_of_real_results():
    with Widths() as watch:
        x = torch.ones(2, dtype=torch.float16) + 1
        torch.empty(0, dtype=torch.bfloat16) + 1
        torch.add(torch.arange(2), 1)
        x.double().mul(2)
    assert watch.seen == {torch.float16, torch.float64}


def test_a_large_model_is_copied_not_built_again():
    built = []

    def build():
        built.append(1)
        return Classifier()

    with Untouched():
        subject = Subject(classifier_spec(build))
        subject.built.count = int(subjects.LARGE) + 1
        first = make_bench(subject, train=True, stress=True, like=None)
        count = len(built)
        again = make_bench(subject, train=True, stress=True, like=first)
        assert len(built) == count
        assert first.pristine is not None and again.pristine is None
        assert again.module is not first.pristine and again.module.training
        for one, other in zip(again.module.parameters(), first.module.parameters(), strict=True):
            assert torch.equal(one, other)
        assert (again.kind, again.dtype, again.train) == (first.kind, first.dtype, True)
        first.bound = 0.125
        assert make_bench(subject, train=True, stress=True, like=first).bound == 0.125


def test_benches_of_one_kind_have_the_same_weights():
    with Untouched():
        subject = Subject(decoder_spec())
        first = make_bench(subject, train=False, stress=True, like=None)
        again = make_bench(subject, train=False, stress=True, like=first)
        assert first.pristine is None and not again.module.training
        for one, other in zip(again.module.parameters(), first.module.parameters(), strict=True):
            assert torch.equal(one, other) and one is not other
