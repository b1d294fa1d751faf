"""zoo pyramid: what is counted, in whose favour, and what is refused."""

import json

import pytest

from zoo.pyramid.tally import ReportError, read_reports, tier_of
from zoo.pyramid.tally_extra import read_coverage, read_flakes, read_power
from zoo.pyramid.tiers import SettingsError, gather, plan_of, trend

TABLE = """
[tool.zoo.pyramid.tiers]
unit = {tests = ["tests/unit"], budget = 10}
slow = {tests = ["tests/slow", "tests/unit/heavy"]}
"""
SOURCE = "def test_a(): ...\ndef helper(): ...\nclass TestB:\n    def test_c(self): ...\n"


def case(name, label="tests.unit.test_x", seconds=1.0, inside=""):
    return f'<testcase classname="{label}" name="{name}" time="{seconds}">{inside}</testcase>'


def suite(*cases, seconds=5.0, stamp="2026-01-02T03:04:05"):
    return (
        f'<testsuites><testsuite name="pytest" time="{seconds}" timestamp="{stamp}">'
        f"{''.join(cases)}</testsuite></testsuites>"
    )


@pytest.fixture
def project(tmp_path):
    """Give a function that writes files into a project: path -> text."""

    def write(**files):
        given = {"pyproject.toml": TABLE, "tests/unit/test_x.py": SOURCE} | files.pop("also", {})
        for name, text in given.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, text in files.items():
            path = tmp_path / "build/report" / f"{name}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_cases_and_functions_are_told_apart(project):
    report = suite(case("test_a[1]"), case("test_a[2]"), case("test_c", "tests.unit.test_x.TestB"))
    tier = gather(project(unit=report))["tiers"]["unit"]
    assert (tier["tests"], tier["cases"]) == (2, 3)


def test_functions_have_the_names_that_pytest_takes(project):
    report = suite(case("test_a[x::y]"), case("test_c", "tests.unit.test_x.TestB"))
    assert list(gather(project(unit=report))["functions"]) == [
        "tests/unit/test_x.py::TestB::test_c",
        "tests/unit/test_x.py::test_a",
    ]


def test_a_file_that_the_report_names_is_taken(project):
    item = '<testcase classname="x" file="tests/slow/test_y.py" name="test_a" time="1"/>'
    assert list(gather(project(unit=suite(item)))["functions"]) == ["tests/slow/test_y.py::test_a"]


def test_a_run_of_one_tier_gives_it_all_its_seconds(project):
    record = gather(project(unit=suite(case("test_a", seconds=2), seconds=12)))["tiers"]["unit"]
    assert (record["seconds"], record["share"], record["budget"]) == (12, 1.2, 10)


def test_a_run_of_two_tiers_is_split_by_the_seconds_of_their_cases(project):
    both = suite(
        case("test_a", seconds=3), case("test_z", "tests.slow.test_z", seconds=1), seconds=8
    )
    tiers = gather(project(rest=both))["tiers"]
    assert (tiers["unit"]["seconds"], tiers["slow"]["seconds"]) == (6, 2)


def test_a_run_in_which_nothing_took_time_is_split_by_the_number_of_cases(project):
    some = [case("test_a", seconds=0)] + [
        case(f"test_z[{n}]", "tests.slow.test_z", seconds=0) for n in range(3)
    ]
    tiers = gather(project(rest=suite(*some, seconds=8)))["tiers"]
    assert (tiers["unit"]["seconds"], tiers["slow"]["seconds"]) == (2, 6)


def test_a_case_in_two_reports_is_counted_once_as_the_newest_has_it(project):
    old = suite(case("test_a", seconds=9), seconds=9, stamp="2026-01-01T00:00:00")
    new = suite(case("test_a", seconds=2), seconds=3, stamp="2026-01-02T00:00:00")
    record = gather(project(a_new=new, b_old=old))
    assert record["when"] == "2026-01-02T00:00:00"
    assert (record["tiers"]["unit"]["cases"], record["tiers"]["unit"]["seconds"]) == (1, 12)
    assert record["functions"]["tests/unit/test_x.py::test_a"]["seconds"] == 2
    assert record["first"] == "2026-01-01T00:00:00"


def test_outcomes_are_counted_and_reasons_gathered(project):
    wait = '<skipped message="waits for a card"/>'
    report = suite(
        case("test_a[1]", inside=wait),
        case("test_a[2]", inside=wait),
        case("test_a[3]", inside='<failure message="no"/>'),
        case("test_a[4]", inside='<error message="no"/>'),
        case("test_a[5]", inside='<skipped message=""/>'),
    )
    record = gather(project(unit=report))
    assert (record["tiers"]["unit"]["skipped"], record["tiers"]["unit"]["failed"]) == (3, 2)
    assert record["waiting"] == [
        {"tier": "unit", "reason": "waits for a card", "cases": 2},
        {"tier": "unit", "reason": "", "cases": 1},
    ]


@pytest.mark.parametrize("name", ["cpu_s", "cpu"])
def test_processor_seconds_are_summed_where_a_suite_records_them(project, name):
    cpu = f'<properties><property name="{name}" value="0.25"/></properties>'
    report = suite(case("test_a[1]", inside=cpu), case("test_a[2]", inside=cpu), case("test_b"))
    record = gather(project(unit=report))
    assert record["tiers"]["unit"]["cpu"] == 0.5
    assert record["functions"]["tests/unit/test_x.py::test_a"]["cpu"] == 0.5
    assert record["functions"]["tests/unit/test_x.py::test_b"]["cpu"] is None


def test_the_slowest_function_comes_first_and_all_its_cases_count(project):
    report = suite(case("test_b", seconds=2), case("test_a[1]", seconds=1.5), case("test_a[2]"))
    found = gather(project(unit=report))["functions"]
    assert [(name[-6:], one["cases"], one["seconds"]) for name, one in found.items()] == [
        ("test_a", 2, 2.5),
        ("test_b", 1, 2.0),
    ]


def test_without_a_report_the_functions_are_counted_in_the_source(project):
    root = project(also={"tests/unit/broken/test_y.py": "def test_a(:", "tests/unit/x.py": SOURCE})
    tier = gather(root)["tiers"]["unit"]
    assert (tier["tests"], tier["cases"], tier["seconds"]) == (2, None, None)


def test_what_lies_in_no_tier_is_not_lost(project):
    tiers = gather(project(unit=suite(case("test_a", "more.test_a"))))["tiers"]
    assert tiers["elsewhere"]["cases"] == 1


FOLDERS = {"unit": ["tests/unit"], "slow": ["tests/slow", "tests/unit/heavy"], "all": ["tests"]}
PLACES = {
    "tests/unit/test_a.py::test_a": "unit",
    "tests/unit/heavy/test_a.py::test_a": "slow",
    "tests/unit_more/test_a.py::test_a": "all",
    "tests/test_a.py::test_a": "all",
    "bench/test_a.py::test_a": "none",
}


@pytest.mark.parametrize("path", PLACES)
def test_a_test_belongs_to_the_innermost_folder(path):
    assert tier_of(path, FOLDERS, "none") == PLACES[path]


GUESSES = {
    "folders": (["tests/unit/test_a.py", "tests/e2e/a_test.py"], ["e2e", "unit"]),
    "beside": (["tests/unit/test_a.py", "tests/test_b.py"], ["unit", "tests"]),
    "flat": (["tests/test_b.py", "tests/data/x.txt"], ["tests"]),
    "one": (["test/test_b.py"], ["test"]),
}


@pytest.mark.parametrize("name", GUESSES)
def test_without_a_table_each_folder_of_tests_is_a_tier(tmp_path, name):
    paths, expected = GUESSES[name]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(SOURCE)
    assert list(plan_of(tmp_path).folders) == expected


REFUSED = {
    "no tests": ({"pyproject.toml": ""}, "no folder tests/"),
    "no list": (
        {"pyproject.toml": '[tool.zoo.pyramid.tiers]\nunit = "tests"'},
        "unit = 'tests'; expected",
    ),
    "no toml": ({"pyproject.toml": "[tool"}, "pyproject.toml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, name):
    files, said = REFUSED[name]
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    with pytest.raises(SettingsError, match=said):
        gather(tmp_path)


def test_a_damaged_report_is_named(tmp_path):
    (tmp_path / "unit.xml").write_text("<testsuites><tests")
    with pytest.raises(ReportError, match=r"unit.xml is no JUnit report.*run the tests again"):
        read_reports([tmp_path / "unit.xml"], tmp_path)


def test_power_is_read_wherever_it_stands(tmp_path):
    one = {"tier": "unit", "what": "planted", "killed": 3, "of": 4}
    (tmp_path / "a.json").write_text(json.dumps({"date": "x", "deep": [one, {"other": 1}]}))
    (tmp_path / "b.jsonl").write_text(json.dumps(one) + "\n\n" + json.dumps(one | {"of": 5}))
    found = read_power([tmp_path / "a.json", tmp_path / "b.jsonl"], "unit")
    assert [(one.tier, one.what, one.killed, one.of) for one in found] == [
        ("unit", "planted", 3, 4),
        ("unit", "planted", 3, 4),
        ("unit", "planted", 3, 5),
    ]


def test_rooms_of_mutation_are_summed_without_what_no_test_could_kill(tmp_path):
    small = {"killed": 9, "survivors": 1, "equivalent": 0, "unknown": 0}
    rooms = {
        "ops": {"mutants": 100, "killed": 80, "survivors": 4, "equivalent": 6, "unknown": 10},
        "nn": {"mutants": 50, "killed": 40, "survivors": 2, "operators_and_numbers": small},
    }
    (tmp_path / "scores.json").write_text(json.dumps(rooms))
    found = read_power([tmp_path / "scores.json"], "unit")
    assert [(one.tier, one.what, one.killed, one.of) for one in found] == [
        ("unit", "mutants of 2 rooms", 120, 126),
        ("unit", "operators and numbers of 1 rooms", 9, 10),
    ]


def test_a_sample_is_said_to_be_one(tmp_path):
    room = {"mutants": 100, "killed": 10, "survivors": 0, "sampled": True}
    (tmp_path / "scores.json").write_text(json.dumps([room]))
    (found,) = read_power([tmp_path / "scores.json"], "unit")
    assert found.what == "mutants of 1 rooms (samples)"


def test_the_score_of_zoo_mutate_is_read(tmp_path):
    lines = [
        {"id": "a", "verdict": "survived"},
        {"kind": "score", "mutants": 9, "killed": 6, "decided": 8, "survivors": ["a", "b"]},
    ]
    (tmp_path / "power-models.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (found,) = read_power([tmp_path / "power-models.jsonl"], "unit")
    assert (found.tier, found.what, found.killed, found.of) == ("unit", "power-models", 6, 8)


BAD_POWER = {
    "more than all": ({"tier": "u", "what": "w", "killed": 5, "of": 4}, "5 killed of 4"),
    "no number": ({"tier": "u", "what": "w", "killed": "5", "of": 4}, "'5' killed of 4"),
    "no room": ({"mutants": 9, "survivors": "many", "killed": 4}, "'many'"),
}


@pytest.mark.parametrize("name", BAD_POWER)
def test_power_that_cannot_be_is_refused(tmp_path, name):
    record, said = BAD_POWER[name]
    (tmp_path / "power.json").write_text(json.dumps(record))
    with pytest.raises(ReportError, match=said):
        read_power([tmp_path / "power.json"], "unit")


def test_text_that_is_no_json_is_named_with_its_line(tmp_path):
    (tmp_path / "power.jsonl").write_text('{"a": 1}\n{"b": \n')
    with pytest.raises(ReportError, match=r"power.jsonl, line 2: no JSON"):
        read_power([tmp_path / "power.jsonl"], "unit")


SUITE = {"suite": True, "tests": 3}


def test_the_last_verdict_of_a_test_counts(tmp_path):
    lines = [{"test": "a", "verdict": "flaky"}, {"test": "a", "verdict": "open"}, {"run": 1}, SUITE]
    (tmp_path / "f.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read_flakes([tmp_path / "f.jsonl"]) == [SUITE, {"test": "a", "verdict": "open"}]


def test_coverage_is_read_from_its_totals(tmp_path):
    totals = {"covered_lines": 9, "num_statements": 10, "covered_branches": 3, "num_branches": 4}
    (tmp_path / "coverage.json").write_text(json.dumps({"files": {}, "totals": totals}))
    assert read_coverage(tmp_path / "coverage.json") == {
        "lines": 9,
        "lines_of": 10,
        "branches": 3,
        "branches_of": 4,
    }
    assert read_coverage(tmp_path / "nothing.json") is None


def test_coverage_without_totals_is_refused(tmp_path):
    (tmp_path / "coverage.json").write_text("{}")
    with pytest.raises(ReportError, match="holds no totals"):
        read_coverage(tmp_path / "coverage.json")


def table(**seconds):
    functions = {
        name: {"tier": "unit", "cases": 1, "seconds": wall, "cpu": cpu}
        for name, (wall, cpu) in seconds.items()
    }
    tier = {"tests": len(functions), "cases": 1, "seconds": sum(w for w, _ in seconds.values())}
    return {"when": "then", "tiers": {"unit": tier}, "functions": functions}


# name: seconds and processor seconds before, and now; by what it got slower
SPEEDS = {
    "slower": ((1.0, None), (2.0, None), "seconds"),
    "a little": ((1.0, None), (1.4, None), None),
    "short": ((0.1, None), (0.3, None), None),
    "quicker": ((2.0, None), (1.0, None), None),
    "busy machine": ((1.0, 1.0), (9.0, 1.1), None),
    "more work": ((1.0, 1.0), (1.0, 2.0), "cpu"),
    "recorded now": ((1.0, None), (3.0, 0.5), "seconds"),
}


@pytest.mark.parametrize("name", SPEEDS)
def test_a_test_got_slower_by_a_factor_and_by_moments(name):
    before, now, what = SPEEDS[name]
    found = trend(table(a=before), table(a=now))["slower"]
    assert [one["what"] for one in found] == ([what] if what else [])


def test_the_trend_names_what_is_new_and_what_is_gone():
    found = trend(table(a=(1.0, None), b=(1.0, None)), table(b=(5.0, None), c=(1.0, None)))
    assert (found["added"], found["gone"], found["before"]) == (1, 1, "then")
    assert {"tier": "unit", "what": "seconds", "before": 2.0, "now": 6.0} in found["tiers"]


def test_the_worst_comes_first():
    old = table(a=(1.0, None), b=(1.0, None), c=(1.0, None))
    found = trend(old, table(a=(2.0, None), b=(9.0, None), c=(3.0, None)))["slower"]
    assert [one["test"] for one in found] == ["b", "c", "a"]


def test_a_file_that_is_no_table_is_refused():
    with pytest.raises(ReportError, match="zoo pyramid --json"):
        trend({"when": 1}, table(a=(1.0, None)))
