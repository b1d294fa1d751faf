"""Planted bugs: each still fits the code, the page names them all, and the unit tier sees them."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.power.bugs import CLASSES, Bug, read_bugs, rest_of, unit_of  # noqa: E402
from benchmarks.power.page import PAGE, read_caught, table, with_table  # noqa: E402

BUGS = read_bugs()
# nobody sees it yet: the best beam mostly goes on from the best, so its answer stays the same
OPEN: list[str] = []
# three of one small room: its tests run once without a bug, then once for each
ALWAYS = ["heads-merged-without-transpose"]  # the others: test_every_bug_is_caught


def run(*arguments: str) -> dict[str, dict]:
    """Run the runner; give what it found by id."""
    command = [sys.executable, "-m", "benchmarks.power", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
def test_a_bug_fits_its_file_exactly_once(bug):
    source = (ROOT / bug.file).read_text()
    changed = bug.edited(source)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))


def test_a_bug_that_no_longer_fits_is_told():
    bug = Bug("lost", "core", "src/zoo/ops/gelu.py", "K = 1.0", "K = 2.0", "", "seeded")
    with pytest.raises(ValueError, match=r"'K = 1.0' stands 0 times in src/zoo/ops/gelu.py"):
        bug.edited("K = 0.5")


def test_a_thread_names_a_repository_and_a_number():
    for bug in BUGS:
        said = bug.kind == "thread"
        assert bool(re.fullmatch(r"[\w.-]+/[\w.-]+#[1-9]\d*", bug.thread)) == said, bug.id


def test_there_are_as_many_as_were_measured_elsewhere_and_twenty_threads():
    counts = {kind: sum(bug.kind == kind for bug in BUGS) for kind in CLASSES}
    assert counts["core"] >= 16 and counts["newest"] >= 27 and counts["thread"] >= 20


def test_every_bug_has_tests_of_its_room_and_the_rest_holds_all_others():
    for room in {bug.room for bug in BUGS}:
        mine, rest = unit_of(room), rest_of(room)
        assert mine and all((ROOT / name).exists() for name in [*mine, *rest])
        assert not {*mine} & {*rest}


def test_the_page_is_what_the_tables_and_the_last_runs_say():
    page, caught = PAGE.read_text(), read_caught()
    assert with_table(page, table(BUGS, caught)) == page, "python -m benchmarks.power --table"
    assert re.findall(r"^\| `([\w-]+)`: ", page, re.MULTILINE) == [bug.id for bug in BUGS]


def test_no_bug_was_missed_in_the_last_runs():
    caught = read_caught()
    assert [name for name, row in caught.items() if row["verdict"] != "killed"] == OPEN
    assert caught and {*caught} <= {bug.id for bug in BUGS}


def test_the_test_that_caught_a_bug_is_still_there():
    for row in read_caught().values():
        if row["id"] in OPEN:
            continue
        file, _, name = row["test"].partition("::")
        assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in (ROOT / file).read_text()


@pytest.mark.subproc
def test_a_bug_is_caught_now():
    found = run("--only", *ALWAYS)
    assert sorted(found) == ALWAYS
    assert {row["verdict"] for row in found.values()} == {"killed"}
    assert {row["where"] for row in found.values()} == {"room"}


@pytest.mark.scheduled
@pytest.mark.subproc
def test_every_bug_is_caught():
    found = run()
    assert len(found) == len(BUGS)
    assert [row["id"] for row in found.values() if row["verdict"] != "killed"] == OPEN
