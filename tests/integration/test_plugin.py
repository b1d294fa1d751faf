"""The pytest plugin in pytest runs of their own: what is collected, said and reported."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from zoo.testing import CHECKS

pytestmark = pytest.mark.subproc

ROOT = Path(__file__).parents[2]
MODELS = """
import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 5))

    def forward(self, features):
        return self.layers(features)


class Leaking(Net):
    def forward(self, features):
        return self.layers(features - features.mean(0))


def described(build):
    return ModelSpec(
        build=build,
        batch=lambda size: {
            "features": torch.randn(size, 6), "labels": torch.randint(5, (size,))
        },
        loss=lambda output, batch: F.cross_entropy(output, batch["labels"]),
        couples_batch_train=True,
    )


good, leaking = described(Net), described(Leaking)
nothing = 3
"""
SUITES = """
import pytest
from nets import Leaking, Net, good, leaking
from zoo.testing import ModelSuite, parametrize_with_checks

THREE = ("forward", "determinism", "batch_independence")


class TestSound(ModelSuite):
    spec = good
    only = THREE


class TestKnown(ModelSuite):
    spec = leaking
    only = THREE
    expected_failures = {"batch_independence": "the mean of the batch is meant"}


class TestMended(ModelSuite):
    spec = "nets:good"
    only = THREE
    expected_failures = {"determinism": "was noisy once"}


class TestClass(ModelSuite):
    spec = Net
    only = THREE
    skip = ("forward",)


class TestTiers(ModelSuite):
    spec = good
    only = ("determinism", "threads")


@parametrize_with_checks([good, "nets:leaking"], only=THREE)
def test_each(spec, check):
    check(spec)
"""
THREE = ("forward", "determinism", "batch_independence")
ONLY = tuple(word for name in THREE for word in ("--zoo-only", name))


CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--model", default="x")
    parser.addoption("--quick", action="store_true")


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: mine")


def pytest_generate_tests(metafunc):
    if "model" in metafunc.fixturenames:
        metafunc.parametrize("model", [metafunc.config.getoption("--model")])
"""
TARGETS = ("--zoo-model=nets:good", "--zoo-model=nets:leaking")
LEAKING = (*ONLY, "--zoo-model=nets:leaking")
TIERS = ("test_suites.py", "-k", "TestTiers")
RUNS = {
    "alone": (*ONLY, *TARGETS),
    "two workers": (*ONLY, *TARGETS, "-n", "2"),
    "file": (*ONLY, "--zoo-model=nets.py", "--zoo-tier=quick"),
    "every check": ("--zoo-model=nets:good", "-rs"),
    "known": (*LEAKING, "--zoo-expect=batch_independence=meant", "-rx"),
    "mended": (*LEAKING, "--zoo-expect=determinism=was noisy"),
    "suites": ("test_suites.py", "-rxs"),
    "zoo_quick": ("-m", "zoo_quick", *TIERS),
    "zoo_full": ("-m", "zoo_full", *TIERS),
    "no module": ("--zoo-model=nowhere:spec",),
    "no name": ("--zoo-model=nets:god",),
    "no check": ("--zoo-model=nets:good", "--zoo-only=x"),
    "no check to expect": ("--zoo-model=nets:good", "--zoo-expect=x=y"),
    "no tier": ("--zoo-model=nets:good", "--zoo-tier=slow"),
    "own options": (*ONLY, "--model=y", "--quick", "--zoo-model=nets:good", "own/test_mine.py"),
}
# one process for all: most of a run's time is the import of torch
CHILD = """
import contextlib, io, json, os, sys, pytest
for words in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = pytest.main(words)
    print(json.dumps([int(code), told.getvalue()]))
"""


def child(place, *words, given=""):
    """Run Python in a process of its own; give the ended process."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "ZOO_", "COV_"))}
    path = os.pathsep.join([str(ROOT / "src"), str(place)])
    return subprocess.run(
        [sys.executable, *words],
        input=given,
        capture_output=True,
        text=True,
        env=kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "COLUMNS": "200"},
        timeout=600,
        cwd=place,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run pytest with all that RUNS names; give exit code, words and JUnit file of each."""
    place = tmp_path_factory.mktemp("project")
    (place / "nets.py").write_text(MODELS)
    (place / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\n")
    (place / "test_suites.py").write_text(SUITES)
    (place / "own").mkdir()
    (place / "own" / "conftest.py").write_text(CONFTEST)
    (place / "own" / "test_mine.py").write_text("def test_mine(model):\n    assert model == 'y'\n")
    reports = {name: place / f"{name}.xml" for name in RUNS}
    words = [
        ["-p", "no:cacheprovider", f"--junitxml={reports[name]}", *row]
        for name, row in RUNS.items()
    ]
    done = child(place, "-c", CHILD, given=json.dumps(words))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {n: (*line, reports[n]) for n, line in zip(RUNS, lines, strict=True)}


def cases(report):
    """Give what became of each test of a JUnit file, by name."""
    found = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname').rpartition('.')[2]}::{case.get('name')}"
        name = name.removeprefix("model_tests").removeprefix("test_suites")
        found[name] = ("passed", "")
        for tag in ("failure", "skipped", "error"):
            for node in case.iter(tag):
                found[name] = (tag, node.get("message") + (node.text or ""))
    return found


def results(report):
    return {name: result for name, (result, _) in cases(report).items()}


def test_a_model_is_checked_without_a_test_file(runs):
    code, told, report = runs["alone"]
    assert code == 1
    assert results(report) == {
        f"::test_model[nets:{spec}-{check}]": "failure"
        if (spec, check) == ("leaking", "batch_independence")
        else "passed"
        for spec in ("good", "leaking")
        for check in THREE
    }
    assert "1 failed, 5 passed" in told


def test_the_failure_is_told_whole_and_stands_in_the_junit_file(runs):
    _, told, report = runs["alone"]
    said = cases(report)["::test_model[nets:leaking-batch_independence]"][1]
    for text in (told, said):
        assert "FAIL batch-leak: rows of a batch change each other" in text
        assert re.search(
            r"nets\.py:\d+ return self\.layers\(features - features\.mean\(0\)\)", text
        )
        assert "from nets import leaking" in text
        assert "check_batch_independence(leaking)" in text
    assert "Traceback" not in told and "suite.py" not in told


def test_two_workers_say_what_one_says(runs):
    code, told, report = runs["two workers"]
    assert "2 workers" in told
    assert (code, results(report)) == (runs["alone"][0], results(runs["alone"][2]))


def test_a_file_and_all_its_specs_are_a_target(runs):
    code, _, report = runs["file"]
    assert code == 1
    assert {name.partition("[")[2].partition("-")[0] for name in results(report)} == {
        "nets.py:good",
        "nets.py:leaking",
    }


def test_a_sound_model_is_green_on_every_check(runs):
    code, told, report = runs["every check"]
    assert code == 0, told
    assert len(results(report)) == len(CHECKS)
    assert set(results(report).values()) == {"passed", "skipped"}
    assert "no trainer is declared" in told


def test_an_expected_failure_on_the_command_line_has_to_fail(runs):
    code, told, _ = runs["known"]
    assert code == 0, told
    assert "XFAIL" in told and "meant" in told
    code, told, _ = runs["mended"]
    assert code == 1
    assert "[XPASS(strict)] was noisy" in told


def test_a_suite_is_one_test_a_check(runs):
    found = results(runs["suites"][2])
    for name in THREE:
        assert found[f"TestSound::test_check[{name}]"] == "passed"
    assert {n for n in found if n.startswith("TestClass")} == {
        "TestClass::test_check[determinism]",
        "TestClass::test_check[batch_independence]",
    }


def test_a_known_failure_shows_its_reason_and_a_mended_one_fails(runs):
    code, told, report = runs["suites"]
    assert code == 1
    found = cases(report)
    result, said = found["TestKnown::test_check[batch_independence]"]
    assert (result, "the mean of the batch is meant" in said) == ("skipped", True)
    result, said = found["TestMended::test_check[nets:good-determinism]"]
    assert (result, "[XPASS(strict)] was noisy once" in said) == ("failure", True)
    assert "the mean of the batch is meant" in told


def test_a_function_of_the_users_runs_once_a_spec_and_check(runs):
    found = {n: r for n, r in results(runs["suites"][2]).items() if "test_each" in n}
    assert len(found) == 6
    assert [n for n, r in found.items() if r != "passed"] == [
        "::test_each[nets:leaking-batch_independence]"
    ]


MARKERS = {"zoo_quick": "determinism", "zoo_full": "threads"}


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_chooses_the_tier(marker, runs):
    code, told, report = runs[marker]
    assert code == 0, told
    assert list(results(report)) == [f"TestTiers::test_check[{MARKERS[marker]}]"]


WRONG = {
    "no module": "no module 'nowhere'",
    "no name": "nets has no 'god'; it has",
    "no check": "no check is called 'x'",
    "no check to expect": "no check is called 'x'",
    "no tier": "invalid choice: 'slow'",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_checked_is_a_usage_error(name, runs):
    code, told, _ = runs[name]
    assert code == pytest.ExitCode.USAGE_ERROR, told
    assert WRONG[name] in told
    assert "Traceback" not in told


def test_a_conftest_with_options_and_markers_of_its_own_does_not_clash(runs):
    code, told, report = runs["own options"]
    assert code == 0, told
    assert len(results(report)) == 1 + len(THREE)


def test_pytest_starts_without_torch_and_without_zoo(tmp_path):
    (tmp_path / "test_light.py").write_text(
        "import sys\n"
        "def test_light(request):\n"
        "    assert request.config.pluginmanager.hasplugin('zoo')\n"
        "    assert not {'torch', 'zoo'} & set(sys.modules)\n"
    )
    done = child(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "test_light.py")
    assert done.returncode == 0, done.stdout
