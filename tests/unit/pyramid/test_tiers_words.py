"""zoo pyramid: what is written, and that it fits a terminal."""

import json

import pytest

from zoo.cli import UsageError, pyramid, verb_parser
from zoo.pyramid.tally_extra import wilson
from zoo.pyramid.tally_words import as_markdown, as_text


def record(**changes):
    tier = {
        "tests": 1234,
        "cases": 56789,
        "failed": 0,
        "skipped": 20,
        "seconds": 99.4,
        "cpu": 120.0,
        "budget": 90.0,
        "share": 1.1044,
        "power": [{"tier": "unit", "what": "mutants, 7 rooms", "killed": 970, "of": 1000}],
    }
    long = (
        "tests/integration/test_compile.py::test_a_compiled_op_gives_the_same_value_and_gradients"
    )
    blank = {"tests": 3, "cases": None, "failed": 0, "skipped": 0, "seconds": None, "cpu": None}
    return {
        "when": "2026-11-21T12:35:51.799083+00:00",
        "first": "2026-11-21T11:35:51.799083+00:00",
        "tiers": {"integration": tier, "e2e": blank | {"budget": None, "share": None, "power": []}},
        "other_power": [],
        "waiting": [{"tier": "e2e", "reason": "waits for a browser " * 6, "cases": 20}],
        "functions": {
            long: {"tier": "unit", "cases": 164, "seconds": 61.4, "cpu": 50.0},
            "b.py::test": {"tier": "unit", "cases": 1, "seconds": 1.0, "cpu": None},
        },
        "flakes": [
            {"test": "b.py::test", "verdict": "clean"},
            {"test": "c.py::test", "verdict": "flaky", "factors": ["order", "seed"]},
        ],
        "coverage": {"lines": 98, "lines_of": 100, "branches": 0, "branches_of": 0},
    } | changes


def test_the_table_for_a_terminal():
    assert as_text(record(), 1).splitlines() == [
        "tier         tests   cases  skipped  wall    cpu  budget  share   power",
        "integration  1,234  56,789       20  99 s  120 s    90 s  110 %  97.0 %",
        "e2e              3       -        0     -      -       -      -       -",
        "",
        "1,237 tests, 56,789 cases, 99 s; run at 2026-11-21 12:35",
        "",
        "power: what the tests catch",
        "  unit: 970 of 1,000 caught, 97.0 % [95.7, 97.9] (mutants, 7 rooms)",
        "",
        "slowest tests",
        "  61.40 s, 50.00 s cpu in 164 cases",
        "      tests/integration/test_compile.py"
        "::test_a_compiled_op_gives_the_same_value_and_gradients",
        "",
        "skipped, and what they wait for",
        "  20 in e2e: waits for a browser waits for a browser waits for a browser waits",
        "      for a browser waits for a browser waits for a browser",
        "",
        "flakes",
        "  1 clean, 1 flaky",
        "  flaky: c.py::test (order, seed)",
        "",
        "coverage",
        "  lines: 98 of 100, 98.00 %",
    ]


def test_a_line_is_wider_than_a_terminal_only_for_a_name():
    wide = [line for line in as_text(record(), 5).splitlines() if len(line) > 80]
    assert [line.split()[0].partition("::")[0] for line in wide] == [
        "tests/integration/test_compile.py"
    ]


def test_what_is_not_known_takes_no_place():
    text = as_text(record(waiting=[], flakes=[], coverage=None, functions={}), 5)
    assert [
        line for line in text.splitlines() if line.startswith(("skip", "fl", "cov", "slow"))
    ] == []


def test_an_old_report_is_seen_by_its_date():
    text = as_text(record(first="2026-10-01T01:02:03"), 0)
    assert "; runs from 2026-10-01 01:02 to 2026-11-21 12:35\n" in text


def test_no_report_says_how_to_make_one():
    assert "--junitxml build/report/unit.xml" in as_text(record(when=None), 5)


TREND = {
    "before": "2026-11-20",
    "added": 2,
    "gone": 1,
    "tiers": [
        {"tier": "unit", "what": "seconds", "before": 90.0, "now": 99.0},
        {"tier": "unit", "what": "cases", "before": 1000, "now": 1100},
        {"tier": "unit", "what": "tests", "before": 7, "now": 7},
        {"tier": "e2e", "what": "cases", "before": None, "now": 7},
    ],
    "slower": [
        {"test": f"a.py::test_{n}", "what": "cpu", "before": 1.0, "now": 3.0} for n in range(3)
    ],
}


def test_the_trend_is_told_in_lines():
    lines = as_text(record(trend=TREND), 2).splitlines()
    assert lines[lines.index("since then") :] == [
        "since then",
        "  before: 2026-11-20; 2 new, 1 gone",
        "  unit: seconds 90 s -> 99 s",
        "  unit: cases 1,000 -> 1,100",
        "  slower: a.py::test_0  1.00 s -> 3.00 s of the processor",
        "  slower: a.py::test_1  1.00 s -> 3.00 s of the processor",
        "  and 1 slower tests more",
    ]


def test_the_page_has_a_table_and_folds_the_rest():
    lines = as_markdown(record(), 1).splitlines()
    assert lines[:2] == [
        "| tier | tests | cases | skipped | wall | cpu | budget | share | power |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    assert lines.count("</details>") == sum(line.startswith("<details>") for line in lines) == 5


def test_a_hunt_says_how_many_tests_it_saw():
    hunt = {"suite": True, "tests": 1200, "clean": 1000, "flaky": 1, "open": 199, "broken": 0}
    rows = [{"test": "a", "verdict": "flaky"}, {"test": "b", "verdict": "open"}]
    lines = as_text(record(flakes=[hunt, *rows]), 0).splitlines()
    at = lines.index("flakes")
    assert lines[at + 1 : at + 4] == [
        "  1,200 tests hunted: 1,000 clean, 1 flaky, 199 open",
        "  flaky: a",
        "",
    ]


def test_the_table_shows_a_tiers_weakest_measurement():
    some = [{"tier": "unit", "what": "w", "killed": k, "of": of} for k, of in ((9, 10), (8, 10))]
    tier = record()["tiers"]["integration"] | {"power": [*some, some[0] | {"killed": 0, "of": 0}]}
    assert as_text(record(tiers={"unit": tier}), 0).splitlines()[1].endswith(" 80.0 %")


def test_nothing_caught_of_nothing_is_no_share():
    nothing = [{"tier": "x", "what": "w", "killed": 0, "of": 0}]
    assert "x: nothing to catch in w" in as_text(record(other_power=nothing), 0)


# killed, of; bounds of R's prop.test without continuity correction, to four digits
INTERVALS = [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (0, 0, 0.0, 1.0)]


@pytest.mark.parametrize(("killed", "of", "low", "high"), INTERVALS)
def test_the_interval_is_wilsons(killed, of, low, high):
    assert wilson(killed, of) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def call(*arguments):
    return pyramid.run(verb_parser("pyramid", pyramid).parse_args([*map(str, arguments)]))


@pytest.fixture
def project(tmp_path):
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_a.py").write_text("def test_a(): ...\n")
    return tmp_path


def test_the_verb_writes_what_it_can_read_again(project, capsys):
    assert call("--root", project, "--json") == 0
    text = capsys.readouterr().out
    assert json.loads(text)["tiers"]["unit"]["tests"] == 1
    (project / "old.json").write_text(text)
    assert call("--root", project, "--since", project / "old.json", "--markdown") == 0
    assert "before: no run; 0 new, 0 gone" in capsys.readouterr().out


REFUSED = {
    "root": (["--root", "{root}/nowhere"], "there is no such folder"),
    "slowest": (["--root", "{root}", "--slowest", "-1"], "--slowest -1; expected 0 or more"),
    "since": (["--root", "{root}", "--since", "{root}/no.json"], "there is no such file"),
    "no json": (["--root", "{root}", "--since", "{root}/tests/unit/test_a.py"], "is no JSON"),
    "a list": (["--root", "{root}", "--since", "{root}/list.json"], "expected what zoo pyramid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_verb_refuses(project, name):
    arguments, said = REFUSED[name]
    (project / "list.json").write_text("[]")
    with pytest.raises(UsageError, match=said):
        call(*(text.format(root=project) for text in arguments))
