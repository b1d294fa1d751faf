"""The plugin on a suite of its own: order, selection and workers change nothing that is drawn."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
SUITE = {
    "test_a.py": """
        import random, numpy, torch, pytest
        from drawn import note
        HERE = float(torch.rand(()))
        @pytest.fixture(scope="session")
        def wide(): return float(torch.rand(()))
        @pytest.fixture(scope="module", params=[1, 2])
        def shared(request): return random.random()
        @pytest.mark.parametrize("row", range(3))
        def test_rows(row, request): note(request, row, numpy.random.rand(), HERE)
        def test_shared(shared, request): note(request, shared, float(torch.rand(())))
        def test_wide(wide, request): note(request, wide, random.random())
    """,
    "test_b.py": """
        import random, torch, pytest
        from drawn import note
        HERE = random.random()
        @pytest.fixture(scope="module")
        def shared(): return float(torch.rand(()))
        class TestClass:
            @pytest.fixture(scope="class")
            def inner(self): return random.random()
            def test_one(self, inner, shared, request): note(request, inner, shared, HERE)
            def test_two(self, shared, inner, request): note(request, shared, random.random())
    """,
    "drawn.py": """
        import json, os
        def note(request, *values):
            with open(os.environ["NOTES"], "a") as file:
                file.write(json.dumps([request.node.nodeid, values]) + chr(10))
    """,
}
LEAKING = """
    import os, random, pytest, torch
    def test_leaves_a_dtype(): torch.set_default_dtype(torch.float64)
    def test_is_not_harmed(): assert torch.ones(()).dtype is torch.float32
    def test_leaves_a_variable(): os.environ["LEFT"] = "1"
    @pytest.fixture(scope="module")
    def wide():
        torch.set_num_threads(3)
        yield
        torch.set_num_threads(1)
    def test_needs_threads(wide): assert torch.get_num_threads() == 3
    def test_needs_them_too(wide): assert torch.get_num_threads() == 3
    def test_fails_and_leaves(): torch.set_grad_enabled(False); assert 0
    @pytest.mark.parametrize("fresh", [1])
    def test_is_clean(fresh, monkeypatch): monkeypatch.setenv("KEPT", "1"); random.random()
"""


def write(folder, files):
    for name, text in files.items():
        (folder / name).write_text("\n".join(line[8:] for line in text.splitlines()))
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")


def start(folder, *arguments, **environment):
    """Run pytest with the plugin alone, from the command line, as another project would."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "ZOO_", "COV_", "CI"))
    }
    plain = ["-p", "zoo_pytest.deterministic", "-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plain],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def drawn(folder, *arguments, **environment):
    """Give what each test drew."""
    notes = folder / "notes.jsonl"
    notes.unlink(missing_ok=True)
    done = start(folder, *arguments, NOTES=str(notes), **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(map(json.loads, notes.read_text().splitlines()))


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    write(folder, SUITE)
    return folder, drawn(folder)


@pytest.mark.subproc
def test_a_suite_draws_different_numbers_in_different_tests(suite):
    _, seen = suite
    assert len(seen) == 8
    assert len({json.dumps(values) for values in seen.values()}) == 8


ELSEWHERE = {
    "two workers": ["-n", "2"],
    "another order and selection": [
        "test_b.py",
        "test_a.py",
        "-k",
        "two or wide or rows and not 0",
    ],
}


@pytest.mark.subproc
@pytest.mark.parametrize("how", ELSEWHERE)
def test_a_test_draws_the_same_however_it_is_run(suite, how):
    """Without the plugin every run draws something else, and this fails."""
    folder, whole = suite
    seen = drawn(folder, *ELSEWHERE[how])
    assert seen and seen == {name: whole[name] for name in seen}


@pytest.mark.subproc
def test_another_seed_is_another_draw_of_every_test(suite):
    folder, whole = suite
    seen = drawn(folder, ZOO_TEST_SEED="1")
    assert seen.keys() == whole.keys()
    assert not numbers(seen) & numbers(whole)


def numbers(seen):
    """Give all that was drawn; the numbers of rows are not."""
    return {x for values in seen.values() for x in values if isinstance(x, float)}


@pytest.mark.subproc
def test_a_leak_is_told_by_the_test_that_left_it(tmp_path):
    write(tmp_path, {"test_leaks.py": LEAKING.replace("\n    ", "\n        ")})
    done = start(tmp_path, "-rA")
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith("ERROR test_leaks.py::")]
    assert [line.split("::")[1].split(" - ")[0] for line in told] == [
        "test_leaves_a_dtype",
        "test_leaves_a_variable",
        "test_fails_and_leaves",
    ]
    assert "1 failed, 6 passed, 3 errors" in done.stdout
    said = "test_leaks.py::test_leaves_a_dtype left the default dtype at torch.float64; it was"
    assert said in done.stdout


@pytest.mark.subproc
def test_a_run_with_a_hash_seed_by_chance_is_refused_in_ci(tmp_path):
    write(tmp_path, {})
    refused = start(tmp_path, PYTHONHASHSEED="random", CI="1")
    assert refused.returncode == 4
    assert "start with `PYTHONHASHSEED=0 python -m pytest ...`" in refused.stderr


@pytest.mark.subproc
def test_a_seed_that_is_no_number_is_a_usage_error(tmp_path):
    write(tmp_path, {})
    done = start(tmp_path, ZOO_TEST_SEED="many")
    assert done.returncode == 4
    assert "ZOO_TEST_SEED is 'many'; give a whole number, at least 0" in done.stderr
