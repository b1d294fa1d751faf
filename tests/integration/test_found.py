"""A property that fails under a random search, written down and tried first by the next run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.subproc

SOURCE = Path(__file__).parents[2] / "src"
PROPERTIES = """
import os

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

BROKEN = "BROKEN" in os.environ
# without `generate` nothing is searched for: what runs are rows
phases = [p for p in Phase if "SEARCH" in os.environ or p == Phase.explicit]
run = settings(phases=phases, database=None, derandomize=True, print_blob=True, deadline=None)


@run
@pytest.mark.parametrize("kind", ["list", "text"])
@given(n=st.integers(0, 10**6), word=st.text())
def test_small(kind, tmp_path_factory, n, word):
    print("tried", kind, n, repr(word))
    assert not (BROKEN and n > 1000 and kind == "text")


@run
@given(data=st.data())
def test_drawn(data):
    n = data.draw(st.integers(0, 10**6))
    print("drawn", n)
    assert not (BROKEN and n > 10)


class TestInside:
    @run
    @given(word=st.text())
    def test_word(self, word):
        print("inside", repr(word))
        assert not (BROKEN and word)
"""


def pytest_run(folder, *options, **environment):
    kept = {k: v for k, v in os.environ.items() if k != "ZOO_HYPOTHESIS"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", "-p",
         "zoo_pytest.found", "--rootdir", str(folder), *options, str(folder)],
        capture_output=True, text=True, cwd=folder, timeout=120, check=False,
        env=kept | {"PYTHONPATH": str(SOURCE)} | environment,
    )  # fmt: skip


def test_what_was_found_is_found_again_before_any_search(tmp_path):
    (tmp_path / "test_it.py").write_text(PROPERTIES)
    rows = tmp_path / "tests" / "rows" / "found.jsonl"

    done = pytest_run(tmp_path, "--found-record", "-n", "1", BROKEN="1", SEARCH="1")
    assert done.returncode == 1, done.stdout
    written = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["test"] for row in written] == [
        "test_it.py::test_small[text]", "test_it.py::test_drawn",
        "test_it.py::TestInside::test_word",
    ]  # fmt: skip
    assert written[0]["arguments"] == {"n": "1001", "word": "''"}
    assert written[1]["arguments"] is None and written[1]["blob"]

    done = pytest_run(tmp_path, ZOO_HYPOTHESIS="fuzz", BROKEN="1")
    assert done.returncode == 1, done.stdout
    assert "3 failed, 1 skipped" in done.stdout  # no row, nothing to run
    assert "tried text 1001 ''" in done.stdout and "drawn 11" in done.stdout
    assert len(rows.read_text().splitlines()) == 3  # what is known is not written twice

    done = pytest_run(tmp_path)
    assert done.returncode == 0 and "2 passed, 2 skipped" in done.stdout, done.stdout
    assert "tried text 1001 ''" in done.stdout and "inside '0'" in done.stdout
    assert "tried list" not in done.stdout

    rows.write_text("{}\n")
    done = pytest_run(tmp_path)
    assert done.returncode == 4 and "found.jsonl:1 is '{}'; expected" in done.stderr
