"""n steps = k steps, save, a fresh process, load, n - k steps: the same bits, dropout included."""

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from unit.models.tiny import RATES
from zoo.models import MODELS
from zoo.objectives import OBJECTIVES
from zoo.train import fit, learning_rate, load_state, make_optimizer, save_state, token_batches

STEPS, LENGTH, BATCH, SEED = 9, 10, 3, 11  # five batches a round: a resume crosses rounds


def text(vocab):
    return torch.randint(1, vocab, (199,), generator=torch.Generator().manual_seed(3))


def masked(batches, vocab):
    """Hide every fourth token with an id of its own."""
    for batch in batches:
        ids = batch["input_ids"].clone()
        labels = torch.full_like(ids, -100)
        labels[:, ::4], ids[:, ::4] = ids[:, ::4], vocab - 1
        yield {"input_ids": ids, "labels": labels}


def with_dropout(family):
    """Give the tiny config with every rate on."""
    config = MODELS[family].presets[f"{family}-tiny"]
    rates = {f.name: 0.1 for f in dataclasses.fields(config) if f.name in RATES}
    return dataclasses.replace(config, **rates)


def batches_of(family, config, start=0):
    """Give the batches from step `start` on; pictures are drawn from the step's number."""
    if family in ("gpt2", "bert"):
        ids = token_batches(text(config.vocab), batch=BATCH, length=LENGTH, seed=SEED, start=start)
        yield from masked(ids, config.vocab) if family == "bert" else ids
    for step in itertools.count(start):
        batch = MODELS[family].example(config, seed=step, batch=BATCH)
        yield batch if family == "clip" else batch | {"labels": torch.arange(BATCH)}


def rate(step):
    return learning_rate(step, peak=1e-2, warmup=3, total=STEPS)


def train(family, folder, start, stop):
    """Run steps `start` to `stop`: from the seed, or from the state in the folder; then save."""
    spec = MODELS[family]
    torch.manual_seed(SEED if start == 0 else 999)
    config = with_dropout(family)
    model = spec.build(config, spec.heads[0])
    optimizer = make_optimizer(model, 1e-2)
    if start:
        assert load_state(folder, model, optimizer) == (start, {"family": family})
    batches = batches_of(family, config, start)
    losses = [
        step.loss
        for step in fit(
            model,
            batches,
            OBJECTIVES[spec.heads[0]],
            optimizer,
            rate=rate,
            start=start,
            steps=stop,
        )
    ]
    save_state(folder, model, optimizer, step=stop, notes={"family": family})
    return losses


def in_a_fresh_process(family, folder, start, stop):
    code = (
        "import sys, torch, test_resume as t; torch.set_num_threads(1); "
        "torch.use_deterministic_algorithms(True); "
        f"print(*t.train({family!r}, {str(folder)!r}, {start}, {stop}))"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(here.parent)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


@pytest.mark.thinned(5)
@pytest.mark.subproc
@pytest.mark.parametrize("stop", [1, 5, 7])
@pytest.mark.parametrize("family", sorted(MODELS))
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(tmp_path, family, stop):
    whole = train(family, tmp_path / "whole", 0, STEPS)
    first = train(family, tmp_path / "cut", 0, stop)
    second = in_a_fresh_process(family, tmp_path / "cut", stop, STEPS)
    assert first + second == whole
    ours, theirs = (load_file(tmp_path / which / "model.safetensors") for which in ("cut", "whole"))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("family", sorted(MODELS))
def test_dropout_is_on_so_another_seed_gives_another_run(family):
    """The test above would pass without dropout too: here the seed alone moves the loss."""
    spec = MODELS[family]
    config = with_dropout(family)
    torch.manual_seed(SEED)
    model = spec.build(config, spec.heads[0])
    batch = next(batches_of(family, config))
    with torch.no_grad():
        losses = {float(OBJECTIVES[spec.heads[0]](model.train(), batch)) for _ in range(3)}
    assert len(losses) == 3
