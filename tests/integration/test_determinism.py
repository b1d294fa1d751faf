"""The budget of docs/determinism.md, line by line: what has the same bits, and what a bound.

Results and their bounds are those of `results.py`; `settings_child.py` computes them again under
each setting of this machine, in one process that imports once.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from integration import results, settings_child

HERE = Path(__file__).parent
X86 = platform.machine() in ("x86_64", "AMD64")
FORKS = hasattr(os, "fork")
# waiting threads sleep: two of them on a busy machine would spin the time away
QUIET = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "PYTHONHASHSEED": "1"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Give all results under every setting: name -> (value, bound)."""
    if not FORKS:
        pytest.skip("waits for a system that can fork")
    folder = tmp_path_factory.mktemp("settings")
    names = [name for name in settings_child.SETTINGS if X86 or "kernels" not in name]
    path = os.pathsep.join([str(HERE.parents[1] / "src"), str(HERE.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "integration.settings_child", str(folder), *names],
        env=os.environ | QUIET | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return {name: torch.load(folder / f"{name}.pt") for name in names}


def moved(measured, setting):
    """Name the results whose bits are others than in the plain run."""
    plain, other = measured["plain"], measured[setting]
    assert plain.keys() == other.keys() and len(plain) > 500
    return {name for name in plain if not torch.equal(plain[name][0], other[name][0])}


def rooms(names):
    """Give the first words of names, such as ops/gelu."""
    return {"/".join(name.split("/")[:2]) for name in names}


@pytest.mark.subproc
def test_two_processes_give_the_same_bits(measured):
    """These tests' own process has another hash seed, and computes in another order."""
    assert moved(measured, "again") == set()
    here = {r.name: r.value for make in results.groups().values() for r in make()}
    plain = {name: value for name, (value, _) in measured["plain"].items()}
    wrong = [n for n in here if not torch.equal(here[n].detach(), plain[n])]
    assert wrong == []


# what the number of threads may move: long sums, and sums over rows; never what it may not. Where
# MKL divides a product of few rows among threads (with AVX2), also forwards, and a token's margin
MAY_MOVE_WITH_THREADS = {
    "long/sum of 40000",
    "long/layer_norm weight's gradient",
    "ops/layer_norm",
    "ops/layer_norm_linear",
    *(f"{what}/{family}" for what in ("models", "training") for family in results.MODELS),
    *(f"generation/{text}" for text in range(3)),  # their margins
}


@pytest.mark.subproc
def test_threads_move_gradients_that_sum_over_rows_and_long_sums_alone(measured):
    seen = moved(measured, "two threads")
    assert rooms(seen) <= MAY_MOVE_WITH_THREADS
    still = "tokens" if torch.backends.cpu.get_cpu_capability() == "AVX2" else ("forward", "tokens")
    assert not {name for name in seen if name.endswith(still)}


EXACT = ("data/", "tokenizers/", "pictures/", "draws/rand")  # and what a model writes


@pytest.mark.subproc
@pytest.mark.parametrize(
    "setting",
    [
        "two threads",
        "older libraries",
        pytest.param("default kernels", marks=pytest.mark.skipif(not X86, reason="waits for x86")),
        pytest.param("avx2 kernels", marks=pytest.mark.skipif(not X86, reason="waits for x86")),
    ],
)
def test_every_number_stays_within_its_bound(measured, setting):
    plain, other = measured["plain"], measured[setting]
    wrong = {}
    for name, (value, bound) in plain.items():
        off = (value.double() - other[name][0].double()).abs()
        if not bool((off <= bound).all()):
            wrong[name] = float(off.max())
    assert wrong == {}
    exact = {n for n in plain if n.startswith(EXACT) or n.endswith("/tokens")}
    exact -= {"draws/randn float32", "draws/randn float64"}
    assert len(exact) >= 12
    assert moved(measured, setting) & exact == set()


@pytest.mark.subproc
@pytest.mark.skipif(not X86, reason="waits for x86")
def test_the_settings_are_heard(measured):
    """Were they not, the tests above would compare one thing with itself."""
    for setting in ("older libraries", "default kernels"):
        assert {"models/gpt2", "training/bert"} <= rooms(moved(measured, setting))


def test_a_change_beyond_the_bound_would_be_seen():
    """Twice the bound off, in the result with the widest one of each group."""
    for make in list(results.groups().values())[:3]:
        for result in make():
            bound = result.bound()
            off = result.value.detach().double() + 2 * bound
            assert not result.value.numel() or bool(((off - result.value).abs() > bound).any())


@pytest.mark.parametrize("family", sorted(results.MODELS))
def test_a_row_of_a_batch_is_within_the_bound_of_the_row_alone(family):
    model = results.model_of(family)
    batch = results.inputs_of_family(family, model)
    rows = max(len(x) for x in batch.values())
    batch = {k: x if len(x) == rows else x.expand(rows, *x.shape[1:]) for k, x in batch.items()}
    chain = 2 * results.chain_of(model.config)
    with torch.no_grad():
        whole = model(**batch)
        for row in range(rows):
            alone = model(**{k: x[row : row + 1] for k, x in batch.items()})
            # CLIP compares every picture with every text: the row's own is on the diagonal
            mine = whole[row : row + 1, row : row + 1] if family == "clip" else whole[row : row + 1]
            result = results.Result(family, mine, chain, results.largest(whole))
            assert bool(((alone - mine).abs() <= result.bound()).all())


@pytest.mark.parametrize("family", sorted(results.MODELS))
def test_the_order_of_two_computations_moves_no_bit(family):
    first = {r.name: r.hash() for r in results.of_model(family)}
    list(results.of_op(results.OPS["attention"]))
    assert {r.name: r.hash() for r in results.of_model(family)} == first


def test_a_choice_is_ahead_by_more_than_rounding():
    """So that what a model writes is the same on every machine."""
    made = {r.name: r for r in results.of_generation()}
    margins = [r for name, r in made.items() if name.endswith("margins")]
    assert len(margins) == len(results.PROMPTS)
    for result in margins:
        assert bool((result.value > result.bound()).all())
