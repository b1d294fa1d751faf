"""The numbers of a probe: what a model gives, how far off they may be, and what is said of it."""

import copy
import math

import pytest
import torch

from unit.models.tiny import MAIN, tiny
from zoo.models import probe_numbers as numbers
from zoo.models.probe_inputs import inputs_of, wave

INF, NAN = math.inf, math.nan
MODELS = {name: tiny(name, head).eval() for name, head in MAIN.items()}
FAMILIES = pytest.mark.parametrize("family", sorted(MODELS))


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_numbers_are_kept_to_ten_digits_or_fewer():
    assert numbers.shortened(1 / 3) == 0.3333333333
    assert numbers.shortened(-2e5 / 3) == -66666.66667
    assert numbers.shortened(1.26e-5, 2) == 1.3e-5
    assert numbers.shortened(1234.0, 1) == 1000.0


def test_a_root_mean_square_is_that_of_all_numbers():
    assert numbers.rms(vector(3, 4, 0, 0)) == 2.5
    assert numbers.rms(torch.tensor([[3, 4], [0, 0]], dtype=torch.float16)) == 2.5
    assert numbers.rms(torch.empty(0, 3)) == 0.0
    assert numbers.rms(vector(-2)) == 2.0


def test_kept_numbers_are_spread_by_the_golden_ratio():
    x = torch.arange(100.0).view(4, 25)
    assert numbers.kept_of(x, 5) == [61.0, 23.0, 85.0, 47.0, 9.0]
    assert numbers.kept_of(vector(1 / 3, 2), 9) == [2.0, 0.3333333333]
    assert numbers.kept_of(torch.empty(0), 3) == []
    assert numbers.kept_of(x.T, 2) == [40.0, 80.0]


def test_the_largest_of_each_of_the_first_lines_is_kept():
    x = torch.zeros(2, 15, 3)
    x[0, :, 1] = x[1, :, 2] = 1
    assert numbers.largest(x) == [1] * 15 + [2] * 9
    assert numbers.largest(torch.empty(0, 3)) == []
    assert numbers.largest(vector(1, 5, 3)) == [1]


def test_a_tolerance_grows_with_depth_and_gain():
    eps = 2.0**-23
    assert numbers.tolerance(3, 1.0) == 16 * 2 * 4 * eps
    assert numbers.tolerance(0, 5.0) == 16 * 2 * eps * 5
    kept = {"tolerance": numbers.tolerance(3, 1.0)}
    assert numbers.allowed(kept, torch.float32) == 128 * eps + 1e-9
    assert numbers.allowed(kept, torch.float64) == 128 * 2.0**-52 + 1e-9


def test_an_answer_is_described():
    x = vector(1, 2, 3, 4, 5).view(1, 5)
    assert numbers.about(x, 1.26e-5, 2) == {
        "shape": [1, 5],
        "rms": 3.31662479,
        "tolerance": 1.3e-5,
        "values": [4.0, 2.0],
    }


def test_a_gain_is_the_largest_share_by_which_a_push_grew():
    x, push = vector(3, 4, 0, 0), 2.0**-20
    pushed = [x * (1 + 2 * push), x * (1 - 3 * push), x]
    assert numbers.gain(x, pushed) == 3.0
    assert numbers.gain(x, [x]) == 1.0
    assert numbers.gain(x, [x * (1 + push / 2)]) == 1.0
    assert numbers.gain(vector(0), [vector(0)]) == 1.0
    assert numbers.gain(vector(0), [vector(1e-150)]) == pytest.approx(1e150 * 2.0**20, rel=1e-12)


def test_a_record_has_a_tolerance_of_each_blocks_depth():
    found = numbers.Answers(
        {"a": [vector(1, 2), vector(3, 4)], "b": [torch.arange(6.0)]},
        vector(5, 7, 6).expand(2, 3),
    )
    gains = {"a": [1.0, 2.0], "b": [4.0]}

    def about(x, depth, grown, count):
        return numbers.about(x, numbers.tolerance(depth, grown), count)

    assert numbers.record(found, gains, 8.0) == {
        "output": about(found.output, 3, 8.0, 16) | {"argmax": [1, 1]},
        "stacks": {
            "a": [about(vector(1, 2), 1, 1.0, 4), about(vector(3, 4), 2, 2.0, 4)],
            "b": [about(torch.arange(6.0), 1, 4.0, 4)],
        },
    }
    assert len(numbers.record(found, gains, 8.0)["output"]["values"]) == 6
    assert len(numbers.record(found, gains, 8.0)["stacks"]["b"][0]["values"]) == 4


def kept(**changes):
    return {"shape": [4], "rms": 2.5, "tolerance": 1e-6, "values": [3.0, 0.0]} | changes


X = vector(0, 4, 3, 0)  # of which numbers 2 and 0 are kept
DISTANCES = {
    "as it was": (kept(), X, 0.0),
    "in other numbers": (kept(), X.float(), 0.0),
    "a small number by the size of all": (kept(values=[3.0, 0.5]), X, 0.2),
    "a large number by its own": (kept(values=[6.0, 0.0], rms=2.5), X, 0.5),
    "below nothing": (kept(values=[-5.0, 0.0]), X, 1.6),
    "the size": (kept(rms=5.0), X, 0.5),
    "nothing at all": (kept(values=[0.0, 0.0], rms=0.0), X * 0, 0.0),
    "next to nothing": (kept(values=[0.0, 0.0], rms=0.0), X * 1e-31, 0.3),
    "another shape": (kept(shape=[2, 2]), X, INF),
    "more numbers": (kept(values=[0.0] * 5), X, INF),
    "no number": (kept(), X * NAN, INF),
    "too large a number": (kept(), X * INF, INF),
}


@pytest.mark.parametrize("row", DISTANCES)
def test_a_distance_is_the_largest_share(row):
    before, found, off = DISTANCES[row]
    assert numbers.off_by(before, found) == pytest.approx(off, rel=1e-12)


LINES = torch.tensor([[0.0, 4.0, 3.0], [9.0, 1.0, 8.0]])
MOVED = "in line {} of the answer {} is the largest, was {}"
PLACES = {
    "as they were": ([1, 0], 0.0, None),
    "nearly equal": ([2, 2], 0.125, None),
    "just nearly equal": ([2, 0], 0.1, MOVED.format(0, 1, 2)),
    "one line": ([1, 2], 0.05, MOVED.format(1, 0, 2)),
    "a place that is not there": ([1, 3], 9.0, MOVED.format(1, 0, 3)),
    "fewer lines": ([1], 0.0, None),
    "more lines": ([1, 0, 7], 0.0, None),
}


@pytest.mark.parametrize("row", PLACES)
def test_the_largest_number_of_a_line_stays_where_it_was(row):
    places, share, said = PLACES[row]
    assert numbers.moved({"argmax": places, "rms": 1.0}, LINES, share) == said
    assert numbers.moved({"argmax": places, "rms": 1.0}, LINES.view(2, 1, 3), share) == said


def test_a_size_that_was_kept_widens_what_is_nearly_equal():
    assert numbers.moved({"argmax": [2], "rms": 10.0}, LINES, 0.05) is None
    assert numbers.moved({"argmax": [2], "rms": 9.0}, LINES, 0.05) == MOVED.format(0, 1, 2)


def part(**changes):
    return {"rms": 1.0, "tolerance": 1.0, "values": [1.0, 2.0]} | changes


FINITE = {
    "all": (part(), part(), True),
    "a value of the output": (part(values=[1.0, INF]), part(), False),
    "a size of the output": (part(rms=NAN), part(), False),
    "a tolerance of the output": (part(tolerance=INF), part(), False),
    "a value of a block": (part(), part(values=[-INF]), False),
    "a size of a block": (part(), part(rms=INF), False),
    "a tolerance of a block": (part(), part(tolerance=NAN), False),
}


@pytest.mark.parametrize("row", FINITE)
def test_answers_that_are_not_finite_are_known(row):
    output, block, finite = FINITE[row]
    found = {"output": output, "stacks": {"a": [part(), block]}}
    assert numbers.is_finite(found) is finite


def straight(model, change=lambda x: x):
    """Run a model with hooks of our own: what its blocks and it give for the fixed inputs."""
    batch = inputs_of(model)
    mask = batch.get("attention_mask")
    found, hooks = {}, []
    for where in model.stacks():
        blocks = model.get_submodule(where)
        found[where] = []
        texts = mask is not None and not where.startswith("image")

        def keep(_part, _given, x, where=where, texts=texts):
            found[where].append(x[mask.bool()] if texts else x.flatten(0, 1))

        hooks += [block.register_forward_hook(keep) for block in blocks]
        hooks.append(blocks[0].register_forward_pre_hook(lambda _, g: (change(g[0]), *g[1:])))
    with torch.no_grad():
        wide = {"interpolate": True} if "pixel_values" in batch else {}
        output = model(**batch, **wide)
    for hook in hooks:
        hook.remove()
    return found, output[mask.bool()] if mask is not None and output.dim() == 3 else output


def equal(found, expected, output=True):
    stacks, whole = expected
    assert found.stacks.keys() == stacks.keys()
    for where, blocks in stacks.items():
        assert len(found.stacks[where]) == len(blocks)
        assert all(torch.equal(a, b) for a, b in zip(found.stacks[where], blocks, strict=True))
    assert torch.equal(found.output, whole) if output else found.output is None


@FAMILIES
def test_answers_are_what_blocks_and_head_give_of_real_tokens(family):
    model = MODELS[family]
    before = {name: id(p) for name, p in model.named_parameters()}
    equal(numbers.answers(model, torch.float64), straight(model))
    equal(numbers.answers(model, torch.float64, output=False), straight(model), output=False)
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def hooked(model):
    """Give every layer a hook, as casting does: it is then led over padding, too.

    A product of fewer rows may add in another order; which CPUs do so is written nowhere.
    """
    for part in model.modules():
        part.register_forward_pre_hook(lambda *_: None)
    return model


@FAMILIES
def test_weights_may_be_rounded_and_computed_with_in_another_dtype(family):
    model = MODELS[family]
    before = {name: p.clone() for name, p in model.named_parameters()}
    rounded = copy.deepcopy(model).to(torch.bfloat16).double()
    found = numbers.answers(model, torch.float64, through=torch.bfloat16)
    equal(found, straight(hooked(rounded)))
    lower = copy.deepcopy(model).half()
    equal(numbers.answers(lower, torch.float64), straight(hooked(copy.deepcopy(lower).double())))
    assert {p.dtype for p in lower.parameters()} == {torch.float16}
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@FAMILIES
def test_a_push_is_a_share_of_what_the_first_blocks_read(family):
    model = MODELS[family]

    def pushed(x):
        size = float(x.square().mean().sqrt())
        return x + 2.0**-20 * size * wave(x.numel(), 2).view(x.shape)

    equal(numbers.answers(model, torch.float64, push=2), straight(model, pushed))


def test_a_choice_of_two_is_asked_as_one_question():
    model = tiny("bert", "multiple_choice").eval()
    found = numbers.answers(model, torch.float64)
    batch = {name: x[None] for name, x in inputs_of(model).items()}
    with torch.no_grad():
        assert torch.equal(found.output, model(**batch))
    assert found.output.shape == (1, 2)


@FAMILIES
def test_a_model_that_runs_as_it_is_is_taken_and_others_by_a_twin(family):
    model = MODELS[family]
    assert numbers.ready(model, torch.float64) is model
    for other, dtype in (
        (model, torch.float32),
        (copy.deepcopy(model).train(), torch.float64),
    ):
        twin = numbers.ready(other, dtype)
        assert twin is not other and not twin.training and type(twin) is type(other)
        mine, theirs = dict(other.named_parameters()), dict(twin.named_parameters())
        assert mine.keys() == theirs.keys() and twin.head_name == other.head_name
        assert all(theirs[n].data_ptr() == p.data_ptr() for n, p in mine.items())


@FAMILIES
def test_what_is_measured_is_exact_and_of_each_lower_dtype(family):
    model = MODELS[family]
    found = numbers.measured(model, [torch.bfloat16])
    exact = numbers.answers(model, torch.float64)
    pushed = [numbers.answers(model, torch.float64, push=n) for n in (1, 2, 3)]
    gains = {
        where: [numbers.gain(x, [p.stacks[where][i] for p in pushed]) for i, x in enumerate(xs)]
        for where, xs in exact.stacks.items()
    }
    last = numbers.gain(exact.output, [p.output for p in pushed])
    rounded = numbers.answers(model, torch.float64, through=torch.bfloat16)
    assert found == {
        "exact": numbers.record(exact, gains, last),
        "bfloat16": numbers.record(rounded, gains, last),
    }
    assert numbers.measured(model).keys() == {"exact"}


def test_what_overflows_is_left_out():
    model = tiny("gpt2", "lm", depth=1).eval()
    with torch.no_grad():
        model.norm.weight.mul_(1e6)
    assert numbers.measured(model, [torch.float16, torch.float32]).keys() == {"exact", "float32"}


def test_the_first_difference_is_named():
    model = tiny("gpt2", "lm").eval()
    before = numbers.measured(model)["exact"]
    for dtype in (torch.float64, torch.float32):
        assert numbers.difference(before, model, dtype, True) is None
    again = copy.deepcopy(before)
    again["stacks"]["blocks"][1]["values"][0] *= 2
    again["stacks"]["blocks"][2]["values"][0] *= 3
    off = numbers.off_by(
        again["stacks"]["blocks"][1], numbers.answers(model, torch.float64).stacks["blocks"][1]
    )
    said = f"blocks.1 is the first that differs, by {off:.2g} of its size"
    for output in (True, False):
        assert numbers.difference(again, model, torch.float64, output) == said
    again = copy.deepcopy(before)
    again["output"]["rms"] *= 1.5
    said = "the blocks are as they were, what the head gives differs by 0.33 of its size"
    assert numbers.difference(again, model, torch.float64, True) == said
    assert numbers.difference(again, model, torch.float64, False) is None
    again = copy.deepcopy(before)
    place = again["output"]["argmax"][0]
    again["output"]["argmax"][0] = (place + 1) % 97
    said = MOVED.format(0, place, (place + 1) % 97)
    assert numbers.difference(again, model, torch.float64, True) == said
    assert numbers.difference(before | {"stacks": {}}, model, torch.float64, True) is None
    again["stacks"]["blocks"][0]["values"][0] = NAN
    said = numbers.difference(again, model, torch.float64, False)
    assert said == "blocks.0 is the first that differs, by inf of its size"
