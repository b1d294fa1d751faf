"""The corpus that testing kits are measured on: every bug applies, and every model runs."""

import json
import pickle
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.testers import correct, run, table  # noqa: E402
from benchmarks.testers.calls import inputs_of  # noqa: E402
from benchmarks.testers.corpus import HALVES, Case, cases, edited, sound  # noqa: E402
from benchmarks.testers.said import canonical, place  # noqa: E402

from zoo.testing.finding import KINDS  # noqa: E402
from zoo.testing.spec import ModelSpec  # noqa: E402

BUGS = [case for half in HALVES for case in cases(half)]
SOUND = [case for half in HALVES for case in sound(half)]
STOPS = {"crash", "shape", "bad-input-data"}  # a bug of these kinds need not run


def forward_backward(spec: ModelSpec) -> torch.Tensor:
    """Run a batch through and back; the loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, batch = spec.build(), spec.batch(3)
        given = inputs_of(model, batch)
        output = model(**given) if isinstance(given, dict) else model(*given)
        loss = spec.loss(output, batch)
    if loss.requires_grad:
        loss.sum().backward()
    return loss


@pytest.mark.parametrize("half", HALVES)
def test_a_half_is_large_enough(half):
    found = cases(half)
    real = [case for case in found if case.bug.source != "seeded"]
    assert len(found) >= 150
    assert len({case.arch for case in found}) >= 12
    assert 3 * len(real) >= len(found)


def test_ids_are_unique():
    counts = Counter(case.id for case in BUGS)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("case", BUGS, ids=lambda case: case.id)
def test_a_bug_names_known_kinds_and_a_place(case):
    assert case.bug.kinds
    assert set(case.bug.kinds) <= set(KINDS)
    assert case.bug.where
    assert case.bug.needs in table.NEEDS
    assert case.source() != Case(case.id, case.half, case.arch).source()


RUNNING = [case for case in BUGS if not STOPS & set(case.bug.kinds)]  # others may stop the model


@pytest.mark.thinned(8)
@pytest.mark.parametrize("case", RUNNING, ids=lambda case: case.id)
def test_a_buggy_model_builds_and_runs(case):
    case.spec(declared=True)
    forward_backward(case.spec(declared=False))


@pytest.mark.parametrize("case", SOUND, ids=lambda case: case.id)
def test_a_sound_model_runs_and_has_a_finite_loss(case):
    loss = forward_backward(case.spec(declared=True))
    assert loss.dim() == 0
    assert torch.isfinite(loss)


@pytest.mark.thinned(8)
@pytest.mark.parametrize("case", BUGS, ids=lambda case: case.id)
def test_a_place_of_a_bug_is_a_module_or_an_input(case):
    right = Case(case.id, case.half, case.arch).spec(declared=False).build()
    wrong = built(case)
    known = {name for model in (right, wrong) if model for name, _ in model.named_modules()}
    known |= set(case.spec(declared=False).batch(2))  # an input may be the place
    assert [where for where in case.bug.where if where not in known] == []


def built(case):
    """Build the buggy model, or give None where the bug stops it."""
    try:
        return case.spec(declared=False).build()
    except Exception:
        return None


def test_classes_of_an_edited_source_can_be_pickled():
    model = SOUND[0].spec(declared=False).build()
    assert type(pickle.loads(pickle.dumps(model))) is type(model)


@pytest.mark.parametrize(
    ("old", "why"), [("absent", "occurs 0 times"), ("a", "occurs 3 times"), ("banana", "itself")]
)
def test_an_edit_that_is_not_one_is_refused(old, why):
    with pytest.raises(ValueError, match=why):
        edited("banana", [(old, "banana")], "a case")


def test_correct_models_are_many_and_their_ids_unique():
    rows = correct.rows()
    assert len({row.id for row in rows}) == len(rows) >= 250


@pytest.mark.parametrize(
    ("where", "score"),
    [("blocks.0.attn", 1.0), ("blocks.1.attn", 1.0), ("blocks.1", 0.5), ("head", 0.0), ("", 0.0)],
)
def test_a_place_scores_by_how_near_it_is(where, score):
    model = torch.nn.Module()
    block = torch.nn.ModuleDict({"attn": torch.nn.Linear(2, 2)})
    other = torch.nn.ModuleDict({"attn": torch.nn.Linear(2, 2)})
    model.blocks, model.head = torch.nn.ModuleList([block, other]), torch.nn.Linear(2, 2)
    assert place(where, ["blocks.0.attn"], model) == score


def test_layers_of_different_types_keep_their_numbers():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    assert canonical("1", model) == "1"


@pytest.mark.parametrize(("hits", "of"), [(0, 250), (35, 63), (10, 10)])
def test_intervals_are_wilson_s(hits, of):
    theirs = binomtest(hits, of).proportion_ci(method="wilson")
    assert table.wilson(hits, of) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.subproc
def test_a_run_writes_a_line_a_case_and_the_table_reads_it(tmp_path, capsys):
    out, numbers = tmp_path / "out.jsonl", tmp_path / "table.json"
    name = BUGS[0].id
    arguments = ["--half", BUGS[0].half, "--only", name, "--jobs", "1", "--limit", "0"]
    assert run.main([*arguments, "--out", str(out)]) == 0
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert (line["id"], line["caught"]) == (name, False)
    assert line["error"] == "no answer in 0 s"
    assert table.main([str(out), "--json", str(numbers)]) == 0
    assert "0/1 = 0 %" in capsys.readouterr().out
    assert json.loads(numbers.read_text())["bugs"][0]["errors"] == 1
