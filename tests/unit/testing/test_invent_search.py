"""How inputs are looked for: makers, searches, what a module carries, what is asked for."""

import time

import pytest
import torch
from torch import nn

from unit.testing.models import Classifier, Decoder
from unit.testing.records import hold
from zoo.testing.guard import Untouched
from zoo.testing.invent import (
    SECONDS,
    TRIALS,
    Search,
    batch_of,
    builder,
    carried_batch,
    ended,
    fault,
    floats,
    ids,
    invented_spec,
    repeated,
)
from zoo.testing.subject import SpecError

NOTHING = nn.Module()


def test_makers():
    batch = batch_of({"a": ids(5, 2, 3), "b": floats(2), "c": floats(), "d": ended(9, 4)})
    torch.manual_seed(0)
    made = batch(6)
    assert {n: tuple(x.shape) for n, x in made.items()} == {
        "a": (6, 2, 3),
        "b": (6, 2),
        "c": (6,),
        "d": (6, 4),
    }
    assert made["a"].unique().tolist() == [0, 1, 2, 3, 4]
    assert (made["d"][:, -1] == 8).all() and (made["d"][:, :-1] < 8).all()
    torch.manual_seed(0)
    assert ended(9, 40)(6)[:, :-1].unique().tolist() == list(range(8))
    assert ended(1, 3)(2).tolist() == [[0, 0, 0]] * 2


class Choosy(nn.Module):
    def __init__(self, rows=()):
        super().__init__()
        self.rows, self.seen = rows, []

    def forward(self, x):
        self.seen.append((len(x), torch.is_grad_enabled()))
        if len(x) in self.rows:
            raise ValueError(f"first {'y' * 200}\nsecond")
        if not self.rows:
            raise ValueError
        return x


def test_a_batch_must_run_for_two_rows_and_for_three():
    batch = batch_of({"x": floats(1)})
    fine = Choosy((5,))
    assert fault(fine, batch) is None
    assert fine.seen == [(2, False), (3, False)]
    for rows in ((2,), (3,)):
        assert fault(Choosy(rows), batch) == "ValueError: " + f"first {'y' * 200}"[:160]
    assert fault(Choosy(), batch) == "ValueError: "


def test_a_search_counts_and_remembers():
    search = Search(Choosy((3,)), time.monotonic())
    assert (search.tried, search.last, search.said) == (0, "", "")
    assert search.batch(["x"]) is None
    assert search.tried == 4
    assert search.last.startswith("ValueError: first") and search.said == f"{search.last}\n"
    assert not search.over()
    search.tried = TRIALS
    assert not search.over()
    search.tried += 1
    assert search.over()
    assert Search(NOTHING, time.monotonic() - SECONDS - 1).over()
    late = Search(Choosy((3,)), time.monotonic() - 100)
    assert late.batch(["x"]) is None and late.tried == 1
    found = Search(Choosy((9,)), time.monotonic())
    assert found.batch(["x"])(2)["x"].shape == (2, 16)
    assert (found.tried, found.last, found.said) == (1, "", "")


class Carries(nn.Module):
    """Carries an input under one of the names that are asked for."""

    def __init__(self, name, given, call=False):
        super().__init__()
        if call:
            self.given = given
            setattr(self, name, self.give)
        else:
            setattr(self, name, given)

    def give(self):
        return self.given

    def forward(self, weird, other=None):
        assert weird.shape[1:] == (3,)
        return weird


ROWS = torch.arange(6.0).view(2, 3)
CARRIED = {
    "a tensor": (Carries("example_input_array", ROWS), ["weird"]),
    "a dict": (Carries("dummy_inputs", {"weird": ROWS, "other": 3}), ["weird", "other"]),
    "by a method": (Carries("example_inputs", {"weird": ROWS}, call=True), ["weird"]),
    "a dict that does not run": (Carries("dummy_inputs", {"weird": ROWS.T}), None),
    "a tensor that does not run": (Carries("dummy_inputs", ROWS.T), None),
    "a tuple": (Carries("example_inputs", (ROWS,)), None),
    "a word": (Carries("example_inputs", "x"), None),
    "nothing": (NOTHING, None),
}


@pytest.mark.parametrize(("module", "names"), CARRIED.values(), ids=CARRIED)
def test_inputs_that_a_module_carries(module, names):
    made = carried_batch(module)
    assert (None if made is None else list(made(1))) == names
    if made is not None:
        assert made(5)["weird"].tolist() == ROWS[[0, 1, 0, 1, 0]].tolist()


def test_the_first_parameter_or_input_is_the_name_of_a_tensor_that_is_carried():
    class Starred(nn.Module):
        def __init__(self):
            super().__init__()
            self.example_inputs = ROWS

        def forward(self, **given):
            return given["input"]

    assert list(carried_batch(Starred())(2)) == ["input"]


def test_rows_are_taken_in_turn():
    made = repeated({"a": torch.arange(3), "b": torch.tensor(7), "c": "x"})
    assert made(5)["a"].tolist() == [0, 1, 2, 0, 1]
    assert (made(2)["b"].item(), made(2)["c"]) == (7, "x")


def needs(a, b, *rest, c=1, **more):
    return Classifier()


class Unnamed:
    def __call__(self, width):
        return Classifier()


def test_what_cannot_be_built_without_arguments_is_refused():
    for given, said in ((needs, "needs needs a, b to be built"), (Unnamed(), "object at")):
        with pytest.raises(SpecError) as refused:
            builder(given)
        assert said in str(refused.value)
        assert str(refused.value).endswith(
            "to be built; give ModelSpec(build=lambda: ...), or a function without arguments"
        )
    assert builder(Classifier) is Classifier


def optional(width=3, *rest, **more):
    return Classifier()


def test_what_is_said_goes_into_an_invented_spec():
    given = {"batch": lambda size: {"x": torch.ones(size, 5)}, "build": 3, "causal": "x"}
    spec = invented_spec(optional, given)
    assert (spec.name, spec.build, spec.batch, spec.causal) == (
        "optional",
        optional,
        given["batch"],
        "x",
    )
    assert invented_spec(Classifier(), {"name": "", "batch": None}).name == "Classifier"
    assert invented_spec(Decoder, {"name": "mine"}).name == "mine"


class Never(nn.Module):
    def forward(self, a, b=None, *, c):
        raise ValueError("You have to specify b")


def test_what_was_tried_is_told():
    with Untouched(), pytest.raises(SpecError) as refused:
        invented_spec(Never, {})
    hold([str(refused.value)])
