"""Scores with their interval, sentences, and what is known from an earlier run."""

import json

import pytest

from zoo.pyramid.mutate import MutateError, Result, mutants_of, score
from zoo.pyramid.mutate.clean import Clean, by_child, extra_args, first_few, preloaded
from zoo.pyramid.mutate.clean import Test as Seen  # pytest would collect a Test
from zoo.pyramid.mutate.command import read_command
from zoo.pyramid.mutate.mutant import source_hash
from zoo.pyramid.mutate.results import again, held, wilson

CODE = """\
LIMIT = 3 < 4


class A:
    def __init__(self, a):
        self.b = a < 1

    def forward(self, x):
        y = x[:, 1:]
        return y


def other(a, b):
    return a < b
"""


@pytest.fixture
def mutants(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(CODE)
    return mutants_of(path)


# Newcombe 1998, table I, method 3 (without correction of continuity)
@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(hits, total, low, high):
    assert wilson(hits, total) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(total - hits, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_of_nothing_nothing_is_known():
    assert wilson(0, 0) == (0.0, 1.0)
    assert score([]).share is None
    assert score([]).text() == "no mutant was decided"


def test_what_was_not_decided_is_no_kill_and_not_counted(mutants):
    verdicts = ["killed", "killed", "survived", "broken", "timeout", "error"]
    many = (mutants * 6)[:6]
    found = score([Result(mutant=m, verdict=v) for m, v in zip(many, verdicts, strict=True)])
    assert (found.killed, found.decided) == (2, 3)
    assert found.text().startswith("2 of 3 mutants killed: 66.7 % (95 % interval 20.8 % to 93.9 %)")
    assert found.text().endswith("; apart from these: 1 broken, 1 timeout, 1 error")


def test_a_survivor_is_said_in_words(mutants):
    made = next(m for m in mutants if m.function == "A.forward")
    said = Result(mutant=made, verdict="survived", tests=3, reached=2).words()
    assert "`A.forward`" in said and "line 9" in said
    assert made.says in said and made.seen in said and made.replays in said
    assert "no test of the 3 that run it noticed" in said
    assert "no test reaches it" in Result(mutant=made, verdict="survived", reached=0).words()
    assert "the one test that runs it" in Result(mutant=made, verdict="survived", tests=1).words()
    assert "the command passes" in Result(mutant=made, verdict="survived").words()


def test_what_was_decided_is_not_run_again(mutants, tmp_path):
    out = tmp_path / "out.jsonl"
    results = [
        Result(mutant=mutants[0], verdict="killed", test="t"),
        Result(mutant=mutants[1], verdict="timeout"),
        Result(mutant=mutants[2], verdict="survived", tests=4, reached=2, cpu=0.5),
    ]
    extra = {"key": "k", "source": source_hash(mutants[0].path)}
    lines = [json.dumps(r.record() | extra) for r in results]
    out.write_text("\n".join(lines) + '\n{"id": "half a li')
    known = held(out, mutants, "k")
    assert list(known) == [mutants[0].id, mutants[2].id]
    resumed = again(mutants[2], known[mutants[2].id])
    assert (resumed.verdict, resumed.tests, resumed.reached, resumed.resumed) == (
        "survived", 4, 2, True,
    )  # fmt: skip
    assert held(out, mutants, "other tests") == {}
    mutants[0].path.write_text(CODE + "\n")
    assert held(out, mutants, "k") == {}
    assert held(tmp_path / "absent", mutants, "k") == {}


def clean_of(path, **lines):
    tests = {}
    for place, (name, touched) in enumerate(lines.items()):
        seen = {str(path): set(touched)} if touched else {}
        tests[name] = Seen(id=name, path="t.py", cpu=1.0 + place, lines=seen)
    early = {str(path): {1, 4, 5, 8, 13}}  # what runs while the module is imported
    return Clean(cpu=1.0, wall=1.0, imported={path}, tests=tests, early=early)


def at(mutants, function):
    return next(m for m in mutants if m.function == function)


def test_tests_are_chosen_by_the_lines_that_they_execute(mutants):
    path = mutants[0].path
    clean = clean_of(path, builds=[6], uses=[9, 10], other=[14], apart=[])
    assert clean.reaching(at(mutants, "other")) == ["other"]
    assert clean.around(at(mutants, "other"), None) == ["other"]
    forward = at(mutants, "A.forward")
    assert clean.around(forward, (4, 10)) == ["uses"]
    # an object that one test builds may be used by the others
    assert clean.reaching(at(mutants, "A.__init__")) == ["builds"]
    assert clean.around(at(mutants, "A.__init__"), (4, 10)) == ["builds", "uses"]


def test_what_runs_at_import_concerns_every_test(mutants):
    clean = clean_of(mutants[0].path, apart=[], uses=[9, 10])
    top = at(mutants, "<module>")
    assert clean.at_import(top)
    assert clean.around(top, None) == ["uses", "apart"]
    assert not clean.at_import(at(mutants, "other"))


def test_killers_of_neighbours_come_first_and_one_row_of_each_table():
    ids = ["a[0]", "a[1]", "a[2]", "b", "c"]
    tests = {i: Seen(id=i, path="t.py", cpu=0.5, lines={}) for i in ids}
    clean = Clean(cpu=1.0, wall=1.0, imported=set(), tests=tests)
    assert first_few(clean, ids, {}) == ["a[0]", "b", "c", "a[1]"]
    assert first_few(clean, ids, {"a[2]": 3}) == ["a[2]", "b", "c", "a[0]"]
    tests["b"].cpu = 9.0
    assert first_few(clean, ["b"], {}) == ["b"]  # a slow one alone is asked all the same


COMMANDS = {
    "pytest -x tests": (("-x", "tests"), {}, False),
    "A=1 B='2 3' pytest tests": (("tests",), {"A": "1", "B": "2 3"}, False),
    "python -m pytest tests": (("tests",), {}, True),
    "python -c pass": ((), {}, False),
}


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_is_taken_apart(text):
    args, extra, here = COMMANDS[text]
    made = read_command(text)
    assert (made.args, made.extra, made.here) == (args, extra, here)
    assert bool(made.python) == ("pytest" in text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("A=1", "is empty"),
        ("no-such-program tests", "there is no 'no-such-program'"),
        ("pytest a && pytest b", "only a shell understands"),
        ("pytest 'a", "No closing quotation"),
    ],
)
def test_a_command_that_cannot_start_is_refused(text, said):
    with pytest.raises(MutateError, match=said):
        read_command(text)


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("torch.nn", "/v/lib/python3.11/site-packages/torch/nn/__init__.py", True),
        ("json", "/usr/lib/python3.11/json/__init__.py", True),
        ("itertools", "", True),
        ("mine.part", "/v/lib/python3.11/site-packages/mine/part.py", False),
        ("conftest", "/home/project/conftest.py", False),
        ("helpers", "/elsewhere/helpers.py", False),
        ("__main__", "", False),
    ],
)
def test_only_what_is_not_ones_own_is_loaded_once(tmp_path, name, file, expected):
    assert preloaded(name, file, {"mine"}, tmp_path) is expected


@pytest.mark.parametrize(
    ("args", "added", "kept"),
    [("--lf", False, False), ("--cov=x", True, True), ("-q", True, False)],
)
def test_arguments_of_plugins_stay_usable(args, added, kept):
    extra = extra_args(read_command(f"pytest {args}"))
    assert ("no:cacheprovider" in extra) is added
    assert ("--no-cov" in extra) is kept


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("one (call)", ["one"]),
        ("one (setup)", ["one", "two"]),  # of a fixture that the other one may use too
        ("", ["one", "two", "far"]),
        ("one[a (b] (call)", ["one", "two", "far"]),  # a test that is not known
    ],
)
def test_what_a_child_process_imports_its_tests_execute(mutants, said, expected):
    path = mutants[0].path
    clean = clean_of(path, one=[], two=[], far=[])
    clean.tests["far"].path = "another.py"
    by_child(clean, str(path), said)
    assert clean.reaching(at(mutants, "other")) == expected
