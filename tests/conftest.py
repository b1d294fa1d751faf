"""What every tier shares beside the plugins: one warm start, and what waits for the scheduled run.

Of the plugins `deterministic` seeds and guards, `reruns` tells of flakes, `spent` writes down CPU
seconds, and `found` tries first what a random search has found before.
"""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import zlib

import pytest

pytest_plugins = [
    "zoo_pytest.deterministic",
    "zoo_pytest.reruns",
    "zoo_pytest.found",
    "zoo_pytest.spent",
]

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network


def memory_for_files():
    """Give a file system in memory with room for what tests write, where there is one.

    Checkpoints wait for the disk (fsync): on a busy one that took longer than all computing.
    """
    place = "/dev/shm"
    if os.access(place, os.W_OK):
        there = os.statvfs(place)
        if there.f_bavail * there.f_frsize >= 4 << 30:
            return {"PYTEST_DEBUG_TEMPROOT": place}
    return {}


os.environ.update(memory_for_files() | os.environ)  # what is set already stays


def pytest_sessionstart(session):
    if session.config.pluginmanager.hasplugin("dsession"):
        return  # xdist's controller runs no test
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    import hypothesis
    import torch

    # torch imports these lazily: pay once here, not inside the first test that needs them
    torch.testing.assert_close(torch.ones(1), torch.ones(1))
    torch.func.grad(torch.sin)(torch.tensor(1.0))
    steady = hypothesis.settings.get_profile("deterministic")
    hypothesis.settings.register_profile("zoo", steady, max_examples=50)
    hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
    hypothesis.settings.load_profile(os.environ.get("ZOO_HYPOTHESIS", "zoo"))


def pytest_collection_modifyitems(items):
    unit = [item.nodeid for item in items if item.nodeid.startswith("tests/unit")]
    odd = [nodeid for nodeid in unit if "\\" in nodeid]
    if odd:  # mutmut hands ids back to pytest, which finds none with an escape in it
        raise pytest.UsageError(f"give these rows plain ids, such as ids=count(): {odd[:3]}")
    if os.environ.get("ZOO_SCHEDULED"):
        return
    skip = pytest.mark.skip(reason="waits for the scheduled run (ZOO_SCHEDULED=1)")
    for item in items:
        thinned = item.get_closest_marker("thinned")
        # drawn by its name, so that which rows are kept depends on no other test
        left_out = thinned and zlib.crc32(item.nodeid.encode()) % thinned.args[0]
        if left_out or "scheduled" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish():
    """Keep torch's heap and thousands of collected tests out of every later collection."""
    gc.collect()
    gc.freeze()


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
