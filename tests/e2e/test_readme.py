"""What the README shows runs as it stands."""

import os
import re
import subprocess
import sys

import pytest

from e2e.door import ROOT, SECONDS, call, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def calls():
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def first_words(text):
    return re.sub(r"[^\w ]", "", next(line for line in text.splitlines() if line.strip()))[:50]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Make a folder as a clone is after `make tour`, and a `zoo` to call."""
    place = tmp_path_factory.mktemp("readme")
    command = place / "bin" / "zoo"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zoo "$@"\n')
    command.chmod(0o755)
    answer = call("tour", "--out", "build/tour", cwd=place)
    assert answer.code == 0, answer.err
    return place


def test_there_are_blocks_to_run():
    assert len(blocks("python")) >= 4
    assert len(calls()) >= 5


@pytest.mark.parametrize("block", blocks("python"), ids=first_words)
def test_a_python_block_runs(block, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=SECONDS,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("line", calls(), ids=first_words)
def test_a_call_runs(line, place):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        capture_output=True,
        encoding="utf-8",
        env=environment(PATH=f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"),
        timeout=SECONDS,
        cwd=place,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
