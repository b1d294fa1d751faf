"""The runner of mutants on a project of one file: every way in which a mutant's run can end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SOURCE = """
import os


def double(x):
    return x * 2


def untested(x):
    return x + 1


def loose(x, eps=1e-5):
    return x + eps


def count(n):
    i = 0
    while i != n:
        i += 1
    return i


def aborts(x):
    if x > 3:
        os.abort()


def leaves(x):
    if x > 3:
        os._exit(0)


def table(n):
    return list(range(n))


TABLE = table(3)
"""

TESTS = """
from zoo import sums


def test_double():
    assert sums.double(3) == 6


def test_loose():
    assert abs(sums.loose(2.0) - 2.0) < 10


def test_count():
    assert sums.count(2) == 2


def test_aborts():
    sums.aborts(3)


def test_leaves():
    sums.leaves(3)


def test_table():
    assert sums.TABLE == [0, 1, 2]
"""

SCRIPT = """
import json, sys
from pathlib import Path
from tools.mutation import tree, work
from tools.mutation.rooms import Room

file = "src/zoo/sums.py"
room = Room(name="sums", source=(), tests=("tests",), floor=95.0, leave={}, files=(file,))
record = work.run(room, work.mutants_of(room), jobs=2, how={}, place=Path("build/tree"))
for row in record["rows"]:
    print(json.dumps([row["function"].rpartition(".")[2], row.get("diff", ""), row["verdict"]]))
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Give (diff, verdict) of each function's mutants in the small project."""
    place = tmp_path_factory.mktemp("project")
    for name, text in {
        "src/zoo/__init__.py": "",
        "src/zoo/sums.py": SOURCE,
        "tests/test_sums.py": TESTS,
        "pyproject.toml": '[tool.mutmut]\nsource_paths = ["src"]\n',
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ZOO_MUTATION_LEAST": "0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for line in done.stdout.splitlines():
        function, diff, verdict = json.loads(line)
        found.setdefault(function, []).append((diff, verdict))
    return found


def of(verdicts, function):
    """Give the set of verdicts of a function's mutants."""
    return {verdict for _, verdict in verdicts[function]}


def test_a_mutant_that_a_test_sees_is_killed(verdicts):
    assert of(verdicts, "double") == {"killed"}


def test_a_mutant_that_no_test_calls_has_no_tests(verdicts):
    assert of(verdicts, "untested") == {"no tests"}


def test_a_mutant_that_all_tests_pass_survives(verdicts):
    assert [x for x in verdicts["loose"] if x[1] == "survived"] == [
        ("- def loose(x, eps=1e-5):\n+ def loose(x, eps=1.00001):", "survived"),
        ("- return x + eps\n+ return x - eps", "survived"),
    ]


def test_a_loop_without_end_is_no_kill(verdicts):
    """`i -= 1` and `i = 1` never reach 2; a mutant that raises is killed."""
    ends = dict(verdicts["count"])
    assert ends["- i += 1\n+ i -= 1"] == ends["- i += 1\n+ i = 1"] == "endless"
    assert "killed" in of(verdicts, "count")


def test_a_crash_is_no_kill(verdicts):
    ends = dict(verdicts["aborts"])
    assert ends["- if x > 3:\n+ if x >= 3:"] == "crash"
    assert ends["- if x > 3:\n+ if x > 4:"] == "survived"


def test_an_end_without_a_word_is_suspicious(verdicts):
    assert dict(verdicts["leaves"])["- if x > 3:\n+ if x >= 3:"] == "suspicious"


def test_a_function_called_only_at_import_is_run_again_from_there(verdicts):
    assert of(verdicts, "table") == {"killed"}
