"""Batches keep rows' bits by one thread and by two, so that what is served need not go one by one.

Each number of threads has a process of its own, whose waiting threads sleep.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])


@pytest.mark.subproc
@pytest.mark.parametrize("threads", [1, 2])
def test_engines_and_models_of_published_sizes_keep_rows_bits(threads):
    done = subprocess.run(
        [sys.executable, "-m", "integration.bits_child", str(threads)],
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    assert len(held) == 8 and all(held.values()), held
