"""The mutation tool: kinds of mutants, verdicts and scores, tracked survivors, what escapes."""

import math
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # the tools are no package of the wheel

from tools.mutation import children, mutants, survivors  # noqa: E402
from tools.mutation.score import both, score, wilson  # noqa: E402


@pytest.fixture
def mutate(tmp_path, monkeypatch):
    """Give the mutants of a text, as if it were a file of zoo."""
    monkeypatch.chdir(tmp_path)

    def made(text):
        file = Path(f"src/zoo/made{abs(hash(text))}.py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return mutants.mutated(str(file)).mutants

    return made


KINDS = {
    "return x * 2": [("number", "3"), ("operator", "x / 2")],
    "return x < y": [("operator", "x <= y")],
    "return not x": [("operator", "return x")],
    "x += y": [("operator", "x = y"), ("operator", "x -= y")],
    "return g(x, y)": [
        ("argument", "g(None, y)"),
        ("argument", "g(x, None)"),
        ("argument", "g(y)"),
        ("argument", "g(x, )"),
    ],
    "x = y": [("value", "x = None")],
    "return lambda: y": [("value", "lambda: None")],
    "return True": [("flag", "False")],
    "return 'a b'": [("words", "'XXa bXX'"), ("words", "'A B'")],
    "return x if y else z": [("condition", "(y) and False"), ("condition", "(y) or True")],
    "return x.lower()": [("method", "x.upper()")],
}


@pytest.mark.parametrize("body", KINDS, ids=list(map(str, range(len(KINDS)))))
def test_a_mutant_says_what_it_changes(mutate, body):
    found = mutate(f"def f(x, y, z, g):\n    {body}\n")
    assert sorted(m.kind for m in found) == sorted(kind for kind, _ in KINDS[body])
    for kind, text in KINDS[body]:
        assert any(m.kind == kind and text in survivors.sides(m.diff())[1] for m in found), text


def test_arguments_values_and_words_are_no_arithmetic():
    assert not mutants.COMPUTING & {"argument", "value", "words"}


def test_a_mutant_is_known_by_function_and_lines_whatever_stands_above(mutate):
    body = "def f(x):\n    return x + 1\n\n\nclass C:\n    def m(self, x):\n        return x - 1\n"
    keys = [
        [(m.function.split(".", 2)[2], m.diff()) for m in mutate(t)] for t in (body, "\n" + body)
    ]
    assert keys[0] == keys[1]
    assert {function for function, _ in keys[0]} == {"f", "C.m"}
    assert ("C.m", "- return x - 1\n+ return x + 1") in keys[0]


def test_the_words_of_an_error_are_marked_over_all_its_lines(mutate):
    text = "def f(x):\n    if x:\n        raise ValueError(\n            f'{x + 1}'\n        )\n"
    assert all(mutant.in_raise for mutant in mutate(text))


def test_chosen_mutants_alone_are_written(mutate):
    found = mutate("def f(x):\n    return x + 1\n\n\ndef g(x):\n    return x * 3 + 2\n")
    one = next(m for m in found if m.diff() == "- return x * 3 + 2\n+ return x / 3 + 2")
    text, names = mutants.mutated(one.file).write({one.id})
    module = mutants.module_name(one.file)
    assert names == {one.id: f"{module}.x_g__mutmut_1"}
    assert "x / 3 + 2" in text
    assert "x_f__mutmut" not in text


# how a child ends: exit code, over its wall time, its last word -> verdict
ENDS = {
    "a test failed": (0, False, "failed", "killed"),
    "a test failed, then the process died": (-signal.SIGSEGV, False, "failed", "killed"),
    "all passed": (0, False, "passed", "survived"),
    "all passed, then the process died": (-signal.SIGSEGV, False, "passed", "crash"),
    "over its CPU time": (-signal.SIGXCPU, False, "test", "timeout"),
    "over its wall time": (-signal.SIGKILL, True, "test", "timeout"),
    "out of memory": (-signal.SIGKILL, False, "test", "crash"),
    "a segmentation fault": (-signal.SIGSEGV, False, "test", "crash"),
    "pytest broke": (0, False, "broke", "crash"),
    "left in the middle with code 0": (0, False, "test", "suspicious"),
    "left with code 1, mutmut's kill": (1, False, "test", "suspicious"),
    "not a word": (70, False, "", "suspicious"),
}


@pytest.mark.parametrize("name", ENDS)
def test_only_a_failed_test_is_a_kill(name):
    code, late, last, verdict = ENDS[name]
    assert children.verdict(code, late=late, last=last) == verdict


def row(verdict, *, computes=True, **more):
    return {"verdict": verdict, "computes": computes} | more


def test_unknown_and_equivalent_mutants_are_in_no_part_of_the_score():
    rows = [row("killed")] * 18 + [row("survived"), row("no tests")]
    rows += [row("survived", status="equivalent")] * 3
    rows += [row("endless")] * 4 + [row("crash"), row("suspicious")]
    found = score(rows)
    assert (found.mutants, found.killed, found.decided) == (29, 18, 20)
    assert found.percent() == 90.0
    assert found.least() == pytest.approx(100 * 18 / 26)
    assert found.equivalent == 3
    assert found.unknown == {"endless": 4, "crash": 1, "suspicious": 1}


def test_an_accepted_survivor_still_counts_against_the_score():
    assert score([row("killed"), row("survived", status="accepted")]).percent() == 50.0


def test_operators_and_numbers_have_a_score_of_their_own():
    rows = [row("killed", computes=False)] * 8 + [row("killed"), row("survived")]
    assert [part.percent() for part in both(rows)] == [90.0, 50.0]


def test_nothing_decided_is_no_score():
    assert score([row("endless")]).percent() is None
    assert wilson(0, 0) == (0.0, 100.0)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (95, 100), (7, 9)])
def test_the_interval_is_wilsons(hits, trials):
    """Its ends are the rates at which what was seen is 1.96 standard errors away."""
    rate, found = hits / trials, [end / 100 for end in wilson(hits, trials)]
    for end in found:
        error = math.sqrt(end * (1 - end) / trials)
        assert abs(rate - end) == pytest.approx(1.959964 * error, rel=1e-9, abs=1e-7)
    assert found[0] - 1e-12 <= rate <= found[1] + 1e-12
    assert found[0] < found[1]


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_interval_holds_the_rate(hits, misses):
    low, high = wilson(hits, hits + misses)
    rate = 100 * hits / (hits + misses) if hits + misses else 50.0
    assert -1e-9 <= low - 1e-9 <= rate <= high + 1e-9 <= 100 + 1e-8
