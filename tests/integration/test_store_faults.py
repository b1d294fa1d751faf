"""A save that is killed, or that meets a full or broken disk, at one call after another.

faults.c makes the faults and faults.py looks at what they leave; here it is said what must hold.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = (
    "first save",
    "second save",
    "overwrite",
    "overwrite without a score",
    "rotation",
    "rotation, one stays",
    "the past again",
    "sharded",
    "run",
    "by hand, first",
    "by hand, again",
)
ALWAYS = [case for case in CASES if case not in ("second save", "overwrite without a score", "run")]
KILLS = ["killed", "torn"]
ERRORS = ["no space", "bad disk", "not allowed", "short", "full"]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("waits for a C compiler on Linux")
    built = tmp_path_factory.mktemp("shim") / "faults.so"
    words = [compiler, "-shared", "-fPIC", "-o", built, HERE / "faults.c", "-ldl", "-lpthread"]
    subprocess.run(words, check=True)
    return built


@pytest.fixture
def meet_faults(shim, tmp_path):
    def run(jobs):
        """Run jobs in a fresh process; give what each found."""
        done = subprocess.run(
            [sys.executable, HERE / "faults.py", tmp_path, json.dumps(jobs)],
            env=os.environ | {"LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [job["case"] for job in found] == [case for case, _, _ in jobs]
        return found

    return run


def faults_of(found):
    return [f"{job['case']}: {fault}" for job in found for fault in job["wrong"]]


def count_of(job, kind):
    return sum(n for what, n in job["points"].items() if what.startswith(kind))


@pytest.mark.subproc
def test_killed_at_any_call_of_a_save_there_is_the_old_state_or_the_new(meet_faults):
    """At every call that changes the disk, and in the middle of every write."""
    found = meet_faults([[case, KILLS, None] for case in ALWAYS])
    assert faults_of(found) == []
    changes = {"create", "write", "mkdir", "fsync", "rename", "unlink", "rmdir"}
    for job in found:
        assert sum(call in changes for call, *_ in job["calls"]) == count_of(job, "killed")
    assert sum(count_of(job, "killed") for job in found) > 200
    assert sum(count_of(job, "torn") for job in found) > 80


@pytest.mark.subproc
def test_an_error_at_any_of_the_first_hundred_calls_is_said_and_harms_nothing(meet_faults):
    """No space, an I/O error, no permission, half a write, and a disk that stays full."""
    (job,) = meet_faults([["run", ERRORS, 100]])
    assert job["wrong"] == []
    assert count_of(job, "bad disk") == 100
    assert all(count_of(job, kind) > 20 for kind in ERRORS)


def lost_without_power(calls):
    """Say what a disk could lose that keeps only what it was waited for, in whatever order.

    A visible name must come after all that it holds; what is old must keep its files until its
    hidden name, and the new one, are on the disk.
    """
    unwritten, unnamed, moved = set(), set(), set()  # files, names in their folders, new names
    faults = []
    for call, path, *source in calls:
        if call in ("create", "write"):
            unwritten.add(path)
        if call in ("create", "mkdir", "rename") and not path.endswith("/calm"):  # was there
            unnamed.add(path)
        if call == "fsync":
            unwritten.discard(path)
            unnamed = {name for name in unnamed if os.path.dirname(name) != path}
        if call == "rename":
            (old,) = source
            moved.add(path)
            inside = {p for p in unwritten | unnamed if p.startswith(f"{old}/")}
            inside |= unwritten & {old}
            if inside and is_visible(path):
                faults.append(f"{path} is named before {sorted(inside)} is on the disk")
            unnamed.discard(old)
            if not is_visible(path) and any(is_visible(p) for p in unnamed):
                faults.append(f"{path} goes before {sorted(filter(is_visible, unnamed))} is there")
        if call == "unlink" and os.path.dirname(path) in unnamed & moved:
            faults.append(f"{path} is removed while its folder may have its old name")
    left = sorted(p for p in unwritten | unnamed if is_visible(p))
    return faults + [f"{path} is not on the disk at the end" for path in left]


def is_visible(path):
    return not any(part.startswith(".") or part.endswith(".partial") for part in Path(path).parts)


@pytest.mark.subproc
def test_a_save_waits_for_the_disk_in_the_right_order(meet_faults):
    """Killed processes lose nothing that the kernel has; a machine without power does."""
    found = meet_faults([[case, [], None] for case in CASES])
    assert all(job["calls"] for job in found)
    lost = [f"{job['case']}: {f}" for job in found for f in lost_without_power(job["calls"])]
    assert lost == [], "\n".join(lost)


@pytest.mark.subproc
@pytest.mark.scheduled
@pytest.mark.parametrize("case", CASES)
def test_every_fault_at_every_call(meet_faults, case):
    assert faults_of(meet_faults([[case, [*KILLS, *ERRORS], None]])) == []
