"""Damage to golden checkpoints is told, by the probe or the gate; accepted rounding is not."""

import pytest
import torch

from integration.damage import DAMAGES, SETS, tell
from zoo.checkpoint.packaged import golden
from zoo.evaluate.golden_quality import ask, verdict_of
from zoo.evaluate.sets import GoldenRows
from zoo.evaluate.subject import Subject
from zoo.models import check_probe

QUICK = (  # one or two a checkpoint; the others are scheduled
    "gpt2-english,-quick-for-tanh-gelu",
    "bert-english,-one-block-skipped",
    "bert-spam,-labels-swapped",
    "vit-mnist,-rows-and-columns-exchanged",
    "clip-openmoji,-blue-for-red",
)
RUNS = 5  # of each way to compute, so that there are 100 in all


def params():
    for damage in DAMAGES:
        quick = str(damage) in QUICK
        marks = () if quick else pytest.mark.scheduled
        yield pytest.param(damage, id=str(damage).replace("%", "percent"), marks=marks)


def test_every_quick_damage_is_one():
    assert set(QUICK) <= {str(damage) for damage in DAMAGES}
    assert len(DAMAGES) >= 40


@pytest.mark.parametrize("damage", [*params()])
def test_damage_is_told(damage, tmp_path):
    told = tell(damage, tmp_path)
    assert told.probe is not None and damage.model in told.probe
    if not damage.harmless:
        assert told.gate, f"{told.before:.4f} to {told.after:.4f}, {told.changed} other answers"


@pytest.mark.thinned(13)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("model", SETS)
def test_accepted_rounding_is_no_damage(model, dtype, threads, times):
    folder = golden()[model]
    held = GoldenRows.open(folder.parent / SETS[model])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for _ in range(times):
            subject = Subject.open(folder, dtype=dtype)
            check_probe(folder, subject.model)
            verdict = verdict_of(held, ask(held, subject))
            assert verdict.ok, verdict.sentences
            assert not verdict.changes
    finally:
        torch.set_num_threads(before)


@pytest.fixture(params=[1, pytest.param(RUNS, marks=pytest.mark.scheduled)], ids=["once", "again"])
def times(request):
    return request.param
