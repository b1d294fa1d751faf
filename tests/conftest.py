"""One place for what every tier shares: one thread, one seed, deterministic algorithms."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network

import random
import subprocess
import sys
import textwrap
import zlib

import hypothesis
import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # before any parallel region: a forked child would deadlock otherwise
torch.use_deterministic_algorithms(True)
# torch imports these lazily: pay once here, not inside the first test that needs them
torch.testing.assert_close(torch.ones(1), torch.ones(1))
torch.func.grad(torch.sin)(torch.tensor(1.0))

hypothesis.settings.register_profile(
    "zoo", derandomize=True, deadline=None, database=None, max_examples=50
)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("ZOO_HYPOTHESIS", "zoo"))

RERUNS: list[str] = []


@pytest.fixture(autouse=True)
def _seed_everything(request):
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def pytest_collection_modifyitems(items):
    unit = [item.nodeid for item in items if item.nodeid.startswith("tests/unit")]
    odd = [nodeid for nodeid in unit if "\\" in nodeid]
    if odd:  # mutmut hands ids back to pytest, which finds none with an escape in it
        raise pytest.UsageError(f"give these rows plain ids, such as ids=count(): {odd[:3]}")
    skip = pytest.mark.skip(reason="waits for the scheduled run (ZOO_SCHEDULED=1)")
    for item in items:
        if "scheduled" in item.keywords and not os.environ.get("ZOO_SCHEDULED"):
            item.add_marker(skip)


def pytest_collection_finish(session):
    if "MUTANT_UNDER_TEST" in os.environ:  # a forked child need not walk torch's heap
        gc.collect()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    if report.outcome == "rerun":
        RERUNS.append(report.nodeid)


def pytest_terminal_summary(terminalreporter):
    for nodeid in RERUNS:
        terminalreporter.line(f"FLAKY {nodeid}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """A test that needed a rerun fails the run: a rerun may show a flake, never hide it."""
    if not hasattr(session.config, "workerinput") and session.exitstatus == 0 and RERUNS:
        session.exitstatus = 70


@pytest.fixture
def run_python():
    """Run a script in a fresh process; give what it prints, fail with what it says."""

    def run(script: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
