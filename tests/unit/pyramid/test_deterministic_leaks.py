"""A test that leaves a global changed is told what, and it is put back."""

import gc
import locale
import logging
import os
import signal
import sys
import types

import numpy as np
import pytest
import torch

from zoo_pytest import deterministic, leaks

# what is done -> a part of the sentence, and of the cure
LEAKS = {
    "default-dtype": (
        lambda: torch.set_default_dtype(torch.float64),
        "left the default dtype at torch.float64; it was torch.float32: put it back, "
        "torch.set_default_dtype(torch.float32), after the fixture's yield",
    ),
    "default-device": (
        lambda: torch.set_default_device("meta"),
        "left the default device at device(type='meta'); it was device(type='cpu'): make tensors",
    ),
    "grad-mode": (
        lambda: torch.set_grad_enabled(False),
        "left grad mode at False; it was True: write `with torch.no_grad():`",
    ),
    "threads": (lambda: torch.set_num_threads(3), "left the number of threads at 3; it was 1: "),
    "deterministic": (
        lambda: torch.set_deterministic_debug_mode("default"),
        "left deterministic algorithms at 0; it was 2: ",
    ),
    "anomaly": (lambda: torch.autograd.set_detect_anomaly(True), "left anomaly mode at True"),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), "left autocast on the CPU at "),
    "precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        "left the precision of float32 products at medium; it was highest: ",
    ),
    "cudnn": (lambda: setattr(torch.backends.cudnn, "benchmark", True), "left cudnn.benchmark at "),
    "fast-path": (
        lambda: torch.backends.mha.set_fastpath_enabled(False),
        "left attention's fast path at False",
    ),
    "numpy-errors": (lambda: np.seterr(all="raise"), "left numpy's error handling at {"),
    "folder": (lambda: os.chdir("/"), "left the working folder at /; it was "),
    "variable": (
        lambda: os.environ.__setitem__("LEFT_BEHIND", "1"),
        "left the environment variable LEFT_BEHIND set to '1'; it was not set: "
        "use monkeypatch.setenv('LEFT_BEHIND')",
    ),
    "variable-gone": (
        lambda: os.environ.__delitem__("PATH"),
        "left the environment variable PATH unset; it was ",
    ),
    "signal": (
        lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        "left the handlers of SIGINT and SIGTERM at ",
    ),
    "logging": (lambda: logging.disable(50), "left the level of logging at "),
    "collector": (gc.disable, "left the garbage collector at False; it was True: "),
}
EVERY = pytest.mark.parametrize("name", LEAKS)


@pytest.fixture
def guard():
    guard = leaks.Guard()
    guard.begin()
    yield guard
    guard.end("the test of the guard")  # so that nothing is left behind when a test here fails


@EVERY
def test_what_is_left_is_told_and_put_back(guard, name):
    before = leaks.reading()
    leak, said = LEAKS[name]
    leak()
    (told,) = guard.end("tests/a.py::test_b")
    assert told.startswith("tests/a.py::test_b left ") and said in told
    assert list(leaks.differences(before, leaks.reading())) == []


def test_several_things_are_told_one_by_one(guard):
    for name in ("grad-mode", "folder", "variable"):
        LEAKS[name][0]()
    assert len(guard.end("t")) == 3


@EVERY
def test_what_a_test_puts_back_itself_is_nothing(guard, name):
    before = leaks.reading()
    LEAKS[name][0]()
    for left in leaks.differences(before, leaks.reading()):
        leaks.put_back(left)
    assert guard.end("t") == []


def test_a_generator_that_was_moved_is_nothing(guard):
    torch.rand(3)
    np.random.rand(3)
    assert guard.end("t") == []


@pytest.mark.parametrize("name", ["PYTEST_CURRENT_TEST", "KMP_INIT_AT_FORK", "_TORCH_X"])
def test_what_libraries_set_in_the_environment_is_nothing(guard, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert guard.end("t") == []


def test_a_variable_set_while_a_library_is_imported_is_the_librarys(guard, monkeypatch):
    """Which test is the first to import one is a matter of order."""
    monkeypatch.setitem(sys.modules, "a_module_of_a_library", types.ModuleType("a_module"))
    monkeypatch.setenv("SET_BY_A_LIBRARY", "1")
    assert guard.end("t") == []


@EVERY
def test_a_fixture_that_outlives_the_test_may_change_things(guard, name):
    before = leaks.reading()
    LEAKS[name][0]()
    guard.fixture_made("key", "wide", before)
    assert guard.end("t") == []
    for left in leaks.differences(before, leaks.reading()):
        leaks.put_back(left)


@EVERY
def test_a_fixture_that_ends_without_putting_back_is_named(guard, name):
    before = leaks.reading()
    LEAKS[name][0]()
    guard.fixture_made("key", "wide", before)
    guard.fixture_ended("key")
    (told,) = guard.end("t")
    assert told.startswith("the fixture wide of t left ")


def test_a_fixture_that_puts_back_is_nothing(guard, monkeypatch):
    before = leaks.reading()
    os.environ["LEFT_BEHIND"] = "1"
    guard.fixture_made("key", "wide", before)
    del os.environ["LEFT_BEHIND"]
    guard.fixture_ended("key")
    assert guard.end("t") == []


def test_fixtures_may_end_in_any_order(guard):
    first = leaks.reading()
    os.environ["LEFT_ONE"] = "1"
    guard.fixture_made("one", "one", first)
    second = leaks.reading()
    os.environ["LEFT_TWO"] = "2"
    guard.fixture_made("two", "two", second)
    del os.environ["LEFT_ONE"]
    guard.fixture_ended("one")
    del os.environ["LEFT_TWO"]
    guard.fixture_ended("two")
    assert guard.end("t") == []


def test_an_end_without_a_begin_is_nothing():
    assert leaks.Guard().end("t") == []


def test_the_locale_is_read():
    before = leaks.reading()["the locale"]
    assert before == locale.setlocale(locale.LC_ALL)


def test_a_folder_that_is_gone_is_told(guard, tmp_path):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (told,) = guard.end("t")
    assert told.startswith(f"t left the working folder at {leaks.GONE}; it was ")


class Report:
    def __init__(self, passed):
        self.passed, self.outcome, self.longrepr, self.result = passed, "", None, ["a test"]


def test_a_module_that_changes_a_global_when_imported_is_an_error():
    before = leaks.reading()
    torch.set_default_dtype(torch.float64)
    report = deterministic.judged(Report(True), "tests/test_x.py", before)
    assert (report.outcome, report.result) == ("failed", [])
    said = "importing tests/test_x.py left the default dtype at torch.float64"
    assert report.longrepr.startswith(said)
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize("passed", [True, False])
def test_a_module_that_changes_nothing_is_as_it_was(passed):
    report = deterministic.judged(Report(passed), "tests/test_x.py", leaks.reading())
    assert (report.outcome, report.longrepr, report.result) == ("", None, ["a test"])


def test_long_values_are_cut():
    assert len(leaks.short("x" * 1000)) < 200
