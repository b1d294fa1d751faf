"""A set of results has the accepted bits, and is recorded for comparing one run with another."""

import json

import pytest
import torch

from integration import bits, results
from zoo import ops
from zoo.ops.table import OPS

KNOWN = bits.read()
HERE = bits.kind()


@pytest.mark.parametrize("group", results.groups())
def test_results_are_the_accepted_ones(group, record_property):
    made = {result.name: result for result in results.groups()[group]()}
    for name, result in made.items():
        record_property(bits.PROPERTY + name, result.hash())
    assert bits.judge_all(made, KNOWN, HERE) == []
    # a name in the file that nobody computes any more would be kept for ever
    assert {name for name in KNOWN["results"] if name.startswith(f"{group}/")} == made.keys()


def test_every_accepted_result_belongs_to_a_group():
    groups = tuple(f"{group}/" for group in results.groups())
    assert [name for name in KNOWN["results"] if not name.startswith(groups)] == []


def test_the_file_is_small_and_every_kind_says_why():
    assert bits.FILE.stat().st_size < 200_000
    for about in KNOWN["kinds"].values():
        assert len(about["history"][-1]["because"].split()) >= bits.LEAST_WORDS


# arithmetic that is a little wrong, and the op that it stands for
def gelu_of_another_constant(x, form="erf"):
    if form != "tanh":
        return ops.gelu(x, form)
    inner = (2 / torch.pi) ** 0.5 * (x + 0.0447 * x**3)  # 0.044715 in the paper
    return x * 0.5 * (1 + torch.tanh(inner))


def softmax_a_little_too_large(x):
    return ops.softmax(x) * (1 + 2**-14)


def linear_that_sums_from_the_other_end(x, weight, bias=None):
    return ops.linear(x.flip(-1), weight.flip(-1), bias)


def layer_norm_with_sample_variance(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
    return centred / torch.sqrt(variance + eps) * weight + bias


PLANTED = [  # op, its wrong form, a result that must be named
    ("gelu", gelu_of_another_constant, "ops/gelu/tanh-batch/forward"),
    ("softmax", softmax_a_little_too_large, "ops/softmax/batch/forward"),
    ("linear", linear_that_sums_from_the_other_end, "ops/linear/batch/forward"),
    ("layer_norm", layer_norm_with_sample_variance, "ops/layer_norm/batch/forward"),
]


def wrongly(name, op):
    """Compute an op's results with another function in its place."""
    made = results.of_op(results.changed(OPS[name], op))
    return {result.name: result for result in made}


def accepted_here():
    """Give what this machine itself computes, as if it were accepted."""
    right = {r.name: r for name in OPS for r in results.of_op(OPS[name])}
    empty = bits.read(bits.FILE.with_name("none"))
    return bits.accepted(right, empty, HERE, "made by this test", "2026-01-01")


@pytest.fixture(scope="module")
def here():
    return accepted_here()


@pytest.mark.parametrize(("name", "op", "named"), PLANTED, ids=[p[1].__name__ for p in PLANTED])
def test_changed_arithmetic_is_named_with_how_much(here, name, op, named):
    told = bits.judge_all(wrongly(name, op), here, HERE)
    assert any(line.startswith(f"{named}: not the accepted bits: ") for line in told)
    assert all("off by" in line or "others did" in line for line in told)


@pytest.mark.parametrize(("name", "op", "named"), PLANTED, ids=[p[1].__name__ for p in PLANTED])
def test_on_another_kind_of_machine_only_more_than_rounding_is_named(here, name, op, named):
    told = bits.judge_all(wrongly(name, op), here, "another kind")
    more = name != "linear"  # another order of summing is what another kind may well do
    assert any(line.startswith(f"{named}: too far from") for line in told) == more
    assert bool(told) == more


def test_a_result_that_nobody_accepted_is_named(here):
    lone = results.Result("ops/new/batch/forward", torch.ones(3), 4, 1.0)
    told = bits.judge(lone, here, HERE)
    assert told == f"ops/new/batch/forward: no accepted value: {bits.HOW}"


def test_another_shape_is_named(here):
    wide = results.Result("ops/gelu/tanh-batch/forward", torch.ones(3), 4, 1.0)
    told = bits.judge(wide, here, HERE)
    assert told == "ops/gelu/tanh-batch/forward: shape [3], accepted [2, 3, 5]"


def test_what_is_exact_is_exact_on_every_kind():
    tokens = {"t": results.Result("t", torch.tensor([3, 1, 4]))}
    empty = bits.read(bits.FILE.with_name("none"))
    known = bits.accepted(tokens, empty, "one", "made by this test", "2026-01-01")
    other = results.Result("t", torch.tensor([3, 1, 5]))
    told = "t: not the accepted bits: number 2 of 3 is 5, accepted is 4: off by 1, where rounding"
    assert bits.judge(other, known, "another").startswith(told)
    assert bits.judge(tokens["t"], known, "another") is None


@pytest.mark.parametrize("because", ["", "fixed", "a fix"])
def test_nothing_is_accepted_without_a_reason(because):
    empty = bits.read(bits.FILE.with_name("none"))
    with pytest.raises(ValueError, match="say in a few words why the bits may change"):
        bits.accepted({}, empty, "one", because, "2026-01-01")


def result(value, name="r"):
    return results.Result(name, torch.tensor([value, 2.0]), 2, 1.0)


def test_accepting_keeps_the_reasons_and_counts_what_changed():
    empty = bits.read(bits.FILE.with_name("none"))
    first = bits.accepted({"r": result(1.0)}, empty, "one", "the first ones", "2026-01-01")
    again = bits.accepted({"r": result(1.5)}, first, "one", "a better sum", "2026-01-02")
    assert again["kinds"]["one"]["history"] == [
        {"date": "2026-01-01", "because": "the first ones", "changed": 1},
        {"date": "2026-01-02", "because": "a better sum", "changed": 1},
    ]
    assert bits.judge(result(1.5), again, "one") is None
    assert "number 0 of 2 is 1, accepted is 1.5" in bits.judge(result(1.0), again, "one")
    assert json.loads(bits.text_of(again)) == again


def test_another_kind_is_accepted_within_the_bounds_and_refused_beyond():
    empty = bits.read(bits.FILE.with_name("none"))
    known = bits.accepted({"r": result(1.0)}, empty, "one", "the first ones", "2026-01-01")
    near = {"r": result(1.0 + 2**-23)}
    both = bits.accepted(near, known, "two", "an older processor", "2026-01-02")
    assert bits.judge(near["r"], both, "two") is None
    assert both["results"] == known["results"]
    with pytest.raises(ValueError, match="and is too far from them: r: too far from"):
        bits.accepted({"r": result(1.1)}, known, "two", "an older processor", "2026-01-02")


def test_what_the_first_kind_changes_is_no_longer_known_of_the_others():
    empty = bits.read(bits.FILE.with_name("none"))
    two = {"r": result(1.0), "s": result(1.0, "s")}
    known = bits.accepted(two, empty, "one", "the first ones", "2026-01-01")
    known = bits.accepted(two, known, "two", "an older processor", "2026-01-02")
    changed = two | {"r": result(3.0)}
    known = bits.accepted(changed, known, "one", "a better sum", "2026-01-03")
    assert known["kinds"]["two"]["hashes"].keys() == {"s"}
    assert bits.judge(result(3.0), known, "two") is None
    assert "too far" in bits.judge(result(1.0), known, "two")


def report(folder, name, **hashes):
    """Write a report as pytest does."""
    lines = [f'<property name="{bits.PROPERTY}{k}" value="{v}"/>' for k, v in hashes.items()]
    file = folder / f"{name}.xml"
    case = f"<testcase><properties>{''.join(lines)}</properties></testcase>"
    file.write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>")
    return file


def test_two_reports_that_differ_are_told_apart_by_name(tmp_path, capsys):
    one = report(tmp_path, "one", a="11", b="22", c="33")
    two = report(tmp_path, "two", a="11", b="23", d="44")
    assert bits.main(["--compare", str(one), str(one)]) == 0
    assert capsys.readouterr().out == "two reports: the same 3 results\n"
    assert bits.main(["--compare", str(one), str(two)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "two reports: c: only in one of the two runs",
        "two reports: d: only in one of the two runs",
        "two reports: b: 22 and 23",
    ]


def test_reports_without_results_are_no_proof(tmp_path, capsys):
    empty = report(tmp_path, "empty")
    assert bits.main(["--compare", str(empty), str(empty)]) == 1
    assert "holds no results" in capsys.readouterr().out
