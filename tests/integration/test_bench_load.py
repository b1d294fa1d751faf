"""The load tests, for a few seconds: Locust runs, answers are right, counts are equal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCUST = ROOT / ".venv" / "load" / "locust"


@pytest.mark.scheduled
@pytest.mark.parametrize("stage", ["baseline", "soak"])
def test_a_short_run_finds_no_fault(stage, tmp_path):
    if not LOCUST.is_dir():
        pytest.skip("waits for the extra load in .venv/load")
    words = ["--seconds", "2", "--soak-seconds", "3", "--ceiling", "10", "--out", str(tmp_path)]
    models = ["--models", "gpt2=golden/gpt2-english", "spam=golden/bert-spam"]
    command = [sys.executable, "-m", "benchmarks.load", stage, *words, *models]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["exit_code"] == 0 and found[stage]["answered"] > 0
    assert (found[stage]["wrong"], found[stage]["errors"]) == (0, 0)
    assert found[stage]["counts_differ"] == {} and found[stage]["nonsense_let_in"] == 0
    assert "equal" in (tmp_path / "table.md").read_text()
