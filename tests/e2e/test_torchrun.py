"""A run on two processes, killed, goes on alone, and the other way round: the same losses."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from e2e.door import call, environment
from e2e.work_files import sentences

RECIPE = """
[data]
vocab = 300
valid = 0.2

[model]
family = "gpt2"
config = {context = 12, width = 16, depth = 2, heads = 2, dropout = 0.0, attention_dropout = 0.0}

[optimizer]
rate = 2e-3

[train]
steps = 60
batch = 8
ema = 0.9

[keep]
every = 5
log = 1
evaluate = 20
"""
EPS = 2.0**-23


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Give a folder with a recipe, texts, and a run by one process."""
    place = tmp_path_factory.mktemp("work")
    (place / "recipe.toml").write_text(RECIPE)
    (place / "texts").mkdir()
    for i, text in enumerate(sentences()):
        (place / "texts" / f"{i:03}.txt").write_text(text)
    for name, micros in (("one", 1), ("pieces", 2)):
        answer = call(*words(place, name), "--set", f"train.micros={micros}")
        assert answer.code == 0, answer.err
    return place


def words(place, out):
    return ["train", place / "recipe.toml", "--data", place / "texts", "--out", place / out]


def torchrun(place, out, mode, processes=2):
    """Start `torchrun -m zoo train`, in a process group of its own."""
    starter = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    line = [*map(str, words(place, out)), "--set", f"train.mode={mode}", "--quiet"]
    return subprocess.Popen(
        [*starter, *port, "-m", "zoo", *line],
        env=environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_after_checkpoint(process, run, step):
    """Kill every process of a run once it has saved `step`."""
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / f"step-{step:08}").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoint after two minutes"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def losses(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def assert_follows(work, name):
    """Compare with one process, by what another order of the same sums moves on one process."""
    one, pieces, found = (losses(work / run) for run in ("one", "pieces", name))
    assert [*found] == [*one] == [*range(60)]
    moved = EPS * one[0]  # the largest so far: what is off stays off
    for step, loss in one.items():
        moved = max(moved, abs(pieces[step] - loss))
        assert abs(found[step] - loss) <= 16 * moved, step
    first, last = one[0], one[59]
    assert last < first - 1  # and it does learn


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_are_killed_and_one_goes_on(work, mode):
    out = f"{mode}-then-one"
    process = torchrun(work, out, mode)
    kill_after_checkpoint(process, work / out, 10)
    answer = call(*words(work, out))
    assert answer.code == 0, answer.err
    assert_follows(work, out)


def test_one_is_killed_and_two_go_on(work):
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", *map(str, words(work, "one-then-fsdp")), "--quiet"],
        env=environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    kill_after_checkpoint(process, work / "one-then-fsdp", 10)
    process = torchrun(work, "one-then-fsdp", "fsdp")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert_follows(work, "one-then-fsdp")
