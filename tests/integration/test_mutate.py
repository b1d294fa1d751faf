"""`zoo mutate` on a small project of its own: what each mutant comes to, however it is run."""

import json
import signal
import subprocess
import sys

import pytest

from zoo.pyramid.mutate import MutateError, mutant_from_edit, mutants_of, run_mutants

MODEL = '''\
"""A model without torch."""
import math

TABLE = [1, 2, 3]


class Scale:
    def __init__(self, size):
        self.size = size
        self.times = 1

    def __call__(self, values):
        return [v / math.sqrt(self.size) for v in values]


def shifted(labels):
    return labels[1:]


def nobody(x):
    return x - 1


def at_import():
    return max(TABLE)


BEST = at_import()
'''

CHILD = """\
def in_a_child(x):
    return x + 1
"""

# no plugins: half of a short run is loading them
PYTEST = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 pytest -q"

TESTS = """\
import os
import pathlib
import subprocess
import sys

import pytest

from toy.model import BEST, Scale, shifted


@pytest.fixture(scope="module")
def scale():
    return Scale(4)


def test_it_is_built(scale):
    assert scale.size == 4


def test_the_scale_is_a_root(scale):
    assert scale([2.0]) == [1.0]


def test_labels_lose_the_first():
    assert shifted([7, 8, 9]) == [8, 9]


def test_labels_are_shorter():
    assert len(shifted([7, 8, 9])) == 2


def test_a_child_process():
    code = "from toy.child import in_a_child; assert in_a_child(1) == 2"
    own = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=own).returncode == 0


def test_what_ran_at_import():
    assert BEST == 3
"""

# says -> (old, new, verdict, what it says about it)
EDITS = {
    "the root is lost": ("math.sqrt(self.size)", "self.size", "killed", "the_scale_is_a_root"),
    "another first label": ("labels[1:]", "labels[:-1]", "killed", "labels_lose_the_first"),
    "built wrong, for later tests": ("self.size = size", "self.size = 4", "survived", ""),
    "built wrong, once": ("self.size = size", "self.size = size + 5", "killed", "it_is_built"),
    "in a child process": ("x + 1", "x + 2", "killed", "a_child_process"),
    "in what nobody runs": ("x - 1", "x + 1", "survived", ""),
    "at import": ("max(TABLE)", "min(TABLE)", "killed", "what_ran_at_import"),
    "unused": ("self.times = 1", "self.times = 2", "survived", ""),
    "no module any more": ("TABLE = [1, 2, 3]", "TABLE = nonsense", "broken", "nonsense"),
    "the end of the process": ("return labels[1:]", "import os; os.abort()", "error", "signal 6"),
    "an endless loop": ("return labels[1:]", "while True: pass", "timeout", "still running"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project in the src layout, that only its own pytest settings make importable."""
    root = tmp_path_factory.mktemp("project")
    (root / "src" / "toy").mkdir(parents=True)
    (root / "src" / "toy" / "__init__.py").write_text("")
    (root / "src" / "toy" / "model.py").write_text(MODEL)
    (root / "src" / "toy" / "child.py").write_text(CHILD)
    (root / "test_toy.py").write_text(TESTS)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['src']\n")
    return root


def edits(project, names):
    folder = project / "src" / "toy"
    made = []
    for says in names:
        file = folder / ("child.py" if "child" in says else "model.py")
        made.append(mutant_from_edit(file, *EDITS[says][:2], says, id=says))
    return made


def outcomes(results):
    return {r.mutant.id: (r.verdict, r.test or r.why) for r in results}


@pytest.fixture(scope="module")
def forked(project):
    before = {p: p.read_bytes() for p in project.rglob("*.py")}
    mutants = edits(project, EDITS)
    found = {r.mutant.id: r for r in run_mutants(mutants, PYTEST, cwd=project, spare=1.0)}
    assert {p: p.read_bytes() for p in project.rglob("*.py")} == before  # nothing is written
    return found


@pytest.mark.parametrize("says", EDITS)
def test_each_mutant_comes_to_what_it_should(forked, says):
    _, _, verdict, about = EDITS[says]
    assert forked[says].verdict == verdict
    assert about in (forked[says].test or forked[says].why)


def test_what_no_test_reaches_is_said_and_not_run(forked):
    assert forked["in what nobody runs"].reached == 0
    assert forked["in what nobody runs"].tests == 0
    assert forked["unused"].tests > 0


def test_only_tests_that_run_the_function_are_asked(forked):
    assert forked["another first label"].tests <= 2


def test_a_process_for_each_mutant_gives_the_same(project, forked):
    names = ["the root is lost", "in a child process", "unused", "no module any more"]
    alone = run_mutants(edits(project, names), PYTEST, cwd=project, fork=False)
    for result in alone:
        assert result.verdict == forked[result.mutant.id].verdict, result
        assert result.test == forked[result.mutant.id].test


def test_any_command_will_do(project):
    code = "from toy.model import shifted; assert shifted([1, 2]) == [2]"
    command = ["PYTHONPATH=src", sys.executable, "-c", code]
    names = ["another first label", "unused", "no module any more"]
    found = outcomes(run_mutants(edits(project, names), command, cwd=project))
    assert [found[name][0] for name in names] == ["killed", "survived", "broken"]
    assert "exit code 1" in found["another first label"][1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{PYTEST} no_such_test.py", "fails without any mutant"),
        (f"{PYTEST} -k no_such_name", "fails without any mutant"),
        ([sys.executable, "-c", "pass"], "never imports"),
    ],
    ids=["fails", "no test", "never imported"],
)
def test_a_command_that_cannot_judge_is_refused(project, command, said):
    with pytest.raises(MutateError, match=said):
        list(run_mutants(edits(project, ["unused"]), command, cwd=project))


VERB = """
import signal, sys
from zoo.cli import UsageError, mutate, verb_parser
signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup it would be ignored
try:
    sys.exit(mutate.run(verb_parser("mutate", mutate).parse_args(sys.argv[1:])))
except UsageError as error:
    sys.exit(f"refused: {error}")
except KeyboardInterrupt:
    sys.exit(130)
"""


def zoo_mutate(project, *arguments):
    return [
        sys.executable,
        "-c",
        VERB,
        str(project / "src" / "toy" / "model.py"),
        *arguments,
    ]


def test_the_verb_names_survivors_and_goes_on_where_it_stopped(project, tmp_path):
    out = tmp_path / "report.jsonl"
    call = zoo_mutate(project, "--command", PYTEST, "--out", str(out), "--only", "slice,sqrt")
    first = subprocess.run(call, cwd=project, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert "mutants killed" in first.stdout.splitlines()[-1]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    model = project / "src" / "toy" / "model.py"
    assert {r["id"] for r in lines} == {m.id for m in mutants_of(model, only=["slice", "sqrt"])}
    again = subprocess.run(call, cwd=project, capture_output=True, text=True, check=False)
    assert f"{len(lines)} of them are known" in again.stderr
    assert len(out.read_text().splitlines()) == len(lines)


def test_an_interrupt_prints_what_is_known(project):
    call = zoo_mutate(project, "--command", PYTEST)
    process = subprocess.Popen(call, cwd=project, stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    lines += process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 130
    assert any("stopped after" in line for line in lines)
