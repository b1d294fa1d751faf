"""Steps of a run, samples of an op and files of a target, at their edges."""

import os
import sys

import pytest
import torch
from torch import nn

from unit.testing.records import hold
from zoo.testing import blame, target
from zoo.testing.blame import Place, Recording, Step, common, first_bad, first_wrong, is_users
from zoo.testing.opinfo import Refusal, Sample, randint, randn

INF, NAN = float("inf"), float("nan")


def test_draws_hang_on_their_shape_and_seed():
    for shape, seed in (((2, 3), 0), ((6,), 2), ((), 1)):
        generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
        expected = torch.randn(shape, dtype=torch.float64, generator=generator)
        assert torch.equal(randn(*shape, seed=seed), expected)
        generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
        assert torch.equal(
            randint(9, *shape, seed=seed), torch.randint(9, shape, generator=generator)
        )


def test_a_sample_knows_its_tensors_in_order():
    a, b, c = torch.ones(1), torch.arange(2), torch.zeros(3)
    made = Sample("s", (a, 2, b), {"x": c, "y": "z"})
    assert [x is y for x, y in zip(made.tensors(), (a, b, c), strict=True)] == [True] * 3
    assert [x is y for x, y in zip(made.floats(), (a, c), strict=True)] == [True] * 2
    assert made.cancels == 1 and made.call(lambda *args, **more: (args, more))[1]["y"] == "z"
    cast = made.to(torch.float16, grad=True)
    assert cast.kwargs["y"] == "z" and cast.args[1] == 2
    assert cast.kwargs["x"].requires_grad and cast.kwargs["x"].data_ptr() != c.data_ptr()
    assert Refusal("r", (1,), {}, ValueError, "m").match == "m"


# steps of a run


def step(kind="op", module="a.b", at="a.b", name="add", line="l", *tensors):
    return Step(kind, module, at, name, line, tensors or (torch.ones(2),))


def unequal(a, b):
    return not torch.equal(a, b)


def test_runs_part_where_their_steps_do():
    one, two = torch.ones(2), torch.zeros(2)
    base = [step(), step("out", "a", "a", "Net")]
    cases = {
        "equal": (base, base),
        "a tensor": ([*base, step("op", "c", "c", "mul", "m", one, one)],
                     [*base, step("op", "c", "c", "mul", "n", one, two)]),
        "a name": ([*base, step("op", "c", "c", "mul", "m")], [*base, step("op", "c", "c", "sub")]),
        "a kind": ([*base, step("in", "c.d", "c.d.e", "Net", "m")],
                   [*base, step("out", "c", "c.d.e", "Net", "n")]),
        "a place": ([*base, step("op", "c.d", "c.d", "mul", "m")],
                    [*base, step("op", "c.e", "c.e", "mul", "n")]),
        "nothing in common": ([step("op", "x", "x")], [step("op", "y", "y")]),
        "one is longer": ([*base, step()], base),
    }  # fmt: skip
    hold(
        [
            f"{k}: {first_wrong(Recording(a), Recording(b), unequal)!r}"
            for k, (a, b) in cases.items()
        ]
    )
    assert common("a.b.c", "a.b.d") == "a.b" and common("a", "b") == common("", "a") == ""
    assert common("a.b", "a.b") == "a.b"


def test_the_first_bad_step_is_told():
    made = Recording(
        [step(), step("op", "c", "c", "div", "m", torch.ones(1), torch.full((1,), NAN))]
    )
    assert first_bad(made, lambda x: bool(x.isnan().any())) == Place("c", "m", "div")
    assert first_bad(made, lambda x: len(x) > 5) is None


def test_places_in_words():
    assert str(Place("a.b", "m.py:3 x")) == "a.b (m.py:3 x)"
    assert str(Place("", "m.py:3 x")) == "the model's own forward (m.py:3 x)"
    assert str(Place("a")) == "a"


def test_positions_are_compared_where_a_tensor_has_them():
    wrong = blame.along(1, 3, lambda x: x[:, :2], unequal)
    a, b = torch.zeros(2, 3), torch.zeros(2, 3)
    b[0, 2] = 1
    assert not wrong(a, b)
    b[0, 1] = 1
    assert wrong(a, b)
    assert not wrong(a, b[:1]) and not wrong(a[:, :2], b[:, :2]) and not wrong(a[0], b[0])


class Child(nn.Module):
    def forward(self, x):
        made = torch.empty(2)
        made = torch.zeros_like(x).copy_(x)
        return made.mul(2), int(made.dim())


class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.child = Child()

    def forward(self, x):
        return {"y": self.child(x)[0] + 1, "shape": x.shape}


@pytest.mark.parametrize("how", [{}, {"ops": False}, {"gradients": True}])
def test_a_run_is_recorded_step_by_step(how):
    module, x = Parent(), torch.ones(2, requires_grad=True)
    made = blame.record(module, lambda: module(x), **how)
    lines = []
    for one in made.steps:
        line = one.line.partition(" ")[2] if one.line else one.line
        values = [f"{t.tolist()} {t.requires_grad}" for t in one.tensors]
        lines.append(f"{one.kind} {one.module!r} {one.at!r} {one.name} {line!r} {values}")
    hold(lines)
    assert made.output["y"].tolist() == [3, 3]
    assert made.output["y"].requires_grad == bool(how.get("gradients"))


def test_steps_hold_copies_unless_gradients_are_wanted():
    x = torch.ones(2)
    kept = [blame.step("in", "", "", "", "", (x,), gradients).tensors[0] for gradients in (0, 1)]
    assert kept[0].data_ptr() != x.data_ptr() and kept[1] is x


USERS = {
    "/home/me/net.py": True,
    "/home/me/trampoline/net.py": True,
    "/site/mutmut/trampoline.py": False,
    "/site/jaxtyping/_decorator.py": False,
    "/site/beartype/x.py": False,
    "/site/typeguard/x.py": False,
    "/usr/lib/contextlib.py": False,
    "/usr/lib/functools.py": False,
    "<string>": False,
    f"{blame.HERE}/blame.py": False,
    f"{blame.TORCH}/nn/x.py": False,
    f"{blame.KIT[1]}/x.py": False,
}


@pytest.mark.parametrize("file", USERS, ids=range(len(USERS)))
def test_whose_a_file_is(file):
    assert is_users(file) is USERS[file]


# targets


@pytest.fixture
def place(tmp_path):
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_a_file_finds_its_neighbours_once(place):
    (place / "beside_for_edges.py").write_text("value = 3")
    (place / "first_for_edges.py").write_text("from beside_for_edges import value")
    (place / "second_for_edges.py").write_text("from beside_for_edges import value")
    for name in ("first_for_edges", "second_for_edges"):
        made = target.from_file(place / f"{name}.py")
        assert (made.value, made.__name__) == (3, name) and sys.modules[name] is made
    assert sys.path[0] == str(place) and sys.path.count(str(place)) == 1
    again = target.from_file(place / "first_for_edges.py")
    assert again.__name__ == f"first_for_edges of {place}"
    assert sys.modules[again.__name__] is again


def test_what_is_no_python_file_is_refused(place):
    (place / "net.txt").write_text("x = 1")
    with pytest.raises(target.SpecError, match=r"net\.txt is no Python file"):
        target.from_file(place / "net.txt")


def test_the_working_folder_is_imported_from_inside_a_block_alone(place):
    folder = os.getcwd()
    sys.path[:] = [p for p in sys.path if p not in ("", folder)]
    with target.Here():
        assert sys.path[0] == folder
        with target.Here():
            assert sys.path.count(folder) == 1
        assert sys.path[0] == folder
    assert folder not in sys.path
    sys.path.insert(0, "")
    with target.Here():
        assert folder not in sys.path
    with target.Here():
        sys.path.insert(0, folder)
    assert sys.path[0] == folder
    sys.path.remove(folder)
    sys.path.remove("")
    with target.Here():
        sys.path.remove(folder)
    assert folder not in sys.path
