"""The lock of a run folder among real processes: killed, forked, and starting others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.subproc

CHILDREN = {  # how a trainer starts others -> how many live on when it is killed
    "alone": 0,
    "forked": 1,
    "started": 1,
    "started_with_all_files": 1,
    "workers": 2,
    "let_go_in_a_child": 0,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    script = Path(__file__).with_name("lock_child.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path_factory.mktemp("locks")],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("start", CHILDREN)
def test_a_trainer_holds_its_lock_until_it_is_killed_whatever_lives_on(found, start):
    trainer, while_it_lives, living, after = found[start]
    assert f"is being trained by process {trainer} on " in while_it_lives
    assert living == CHILDREN[start]
    assert after == ""
