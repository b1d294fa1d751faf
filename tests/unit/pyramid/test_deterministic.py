"""The plugin's parts: seeds come from names, settings are set and told, slips are usage errors."""

import random
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch

from zoo_pytest import deterministic


def draws():
    """Draw from every global generator."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_seed_is_the_crc_of_a_name(monkeypatch):
    monkeypatch.delenv("ZOO_TEST_SEED", raising=False)
    assert deterministic.seed_of("tests/a.py::test_b") == zlib.crc32(b"tests/a.py::test_b")


@pytest.mark.parametrize("mixed", [1, 77, 2**32 - 1, 2**40 + 5])
def test_the_environment_mixes_a_number_into_every_seed(monkeypatch, mixed):
    monkeypatch.setenv("ZOO_TEST_SEED", str(mixed))
    expected = (zlib.crc32(b"x") ^ mixed) % 2**32
    assert deterministic.seed_of("x") == expected


@pytest.mark.parametrize("said", ["", "one", "-1", "1.5"])
def test_a_seed_that_is_no_number_is_a_usage_error(monkeypatch, said):
    monkeypatch.setenv("ZOO_TEST_SEED", said)
    match = f"^ZOO_TEST_SEED is {said!r}; give a whole number, at least 0$"
    with pytest.raises(pytest.UsageError, match=match):
        deterministic.seed_of("x")


def test_every_generator_is_seeded():
    deterministic.seed_everything(5)
    first = draws()
    assert len({*first, *draws()}) == 6
    deterministic.seed_everything(5)
    assert draws() == first


def test_generators_are_put_back():
    before = deterministic.generators()
    first = draws()
    deterministic.seed_everything(9)
    deterministic.put_generators_back(before)
    assert draws() == first


def test_this_test_is_seeded_by_its_own_name(request):
    """What it draws now is what that seed gives, whatever ran before."""
    seen = draws()
    deterministic.seed_everything(deterministic.seed_of(request.node.nodeid))
    assert draws() == seen


@pytest.fixture(scope="module")
def shared():
    return draws()


@pytest.fixture(scope="module", params=["a", "b"])
def numbered(request):
    return request.param, draws()


def seeded(name):
    deterministic.seed_everything(deterministic.seed_of(name))
    return draws()


MODULE = "tests/unit/pyramid/test_deterministic.py"


def test_a_shared_fixture_is_seeded_by_its_own_name(shared):
    assert shared == seeded(f"{MODULE}::shared[0] of module")


def test_each_parameter_of_a_shared_fixture_has_its_own_seed(numbered):
    name, seen = numbered
    assert seen == seeded(f"{MODULE}::numbered[{'ab'.index(name)}] of module")


@pytest.fixture(scope="module")
def late():
    return draws()


def test_a_shared_fixture_moves_no_generator(request):
    before = torch.get_rng_state(), random.getstate()
    request.getfixturevalue("late")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


IMPORTED = draws()  # while this module is imported


def test_a_module_is_seeded_while_it_is_imported():
    assert seeded(MODULE) == IMPORTED


def test_torch_is_deterministic_and_has_the_threads_of_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_deterministic_debug_mode("default")
    deterministic.settle_torch()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("said", "given"), [("0", "0"), ("17", "17"), ("random", None), ("", None), (None, None)]
)
def test_the_hash_seed_is_read_and_set_for_children(monkeypatch, said, given):
    for name in deterministic.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONHASHSEED", "0" if said is None else said)
    if said is None:
        monkeypatch.delenv("PYTHONHASHSEED")
    assert deterministic.settle_environment() == given


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    deterministic.settle_environment()
    assert deterministic.os.environ["OMP_NUM_THREADS"] == "3"
    assert deterministic.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


class Plugins:
    def __init__(self, *names):
        self.names = names

    def hasplugin(self, name):
        return name in self.names


class Config:
    """As much of pytest's config as the plugin asks."""

    def __init__(self, *plugins):
        self.pluginmanager = Plugins(*plugins)


@pytest.mark.parametrize(("hashed", "said"), [("5", "hash seed 5"), (None, "drawn by chance")])
def test_the_header_says_what_a_run_hangs_on(monkeypatch, hashed, said):
    monkeypatch.setenv("ZOO_TEST_SEED", "12")
    line = deterministic.header(Config(), hashed)
    assert line.startswith("deterministic: seed 12, 1 thread(s) a process, hash seed ")
    assert said in line


def test_workers_start_with_the_hash_seed_that_was_set_for_them():
    assert deterministic.header(Config("dsession"), None).endswith("hash seed 0")


def test_a_run_whose_sets_have_no_order_is_refused_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.UsageError, match=r"start with `PYTHONHASHSEED=0 python -m pytest"):
        deterministic.settle(Config(), None)
    deterministic.settle(Config("dsession"), None)  # its workers have one


@pytest.mark.subproc
def test_the_plugin_loads_no_library():
    code = "import sys, zoo_pytest.deterministic; print({'torch', 'numpy', 'zoo'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
