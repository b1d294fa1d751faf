"""A report word by word: in the terminal, as data, and as a page; who explains whom."""

import itertools
import json

import pytest

from unit.testing.records import hold
from zoo.testing.finding import KINDS, Finding
from zoo.testing.folding import (
    EXPLAINS,
    also,
    explains,
    followers,
    marked,
    repeats,
    same_elsewhere,
    siblings,
    title,
)
from zoo.testing.page import LETTERS, matrix_html, page, verdict, write_page
from zoo.testing.report import Outcome, Report, as_data, by_reason, rank, sorted_findings


def finding(kind="crash", severity="fail", where="a.b", **more):
    said = {"evidence": f"seen <{kind}>", "explanation": f"why {kind}", "fix": f"do {kind}"}
    return Finding(kind=kind, severity=severity, where=where, **(said | more))


MATRIX = {"matrix": [[1.0, 0.0, -0.25], [0.5, 4.0]], "rows": "out <t>", "columns": "in"}
FOUND = (
    finding("init", where="blocks.0", check="init", fix="scale by 0.5"),
    finding("init", where="blocks.1", check="init", fix="scale by 0.25"),
    finding("init", where="blocks.12", check="init", fix="scale by 1e-2"),
    finding("eval-noise", where="", check="modes", line="m.py:3 x & y", repro="one\ntwo\nthree"),
    finding("batch-leak", where="c", check="batches"),
    finding("batch-leak", where="", check="batches", severity="warn"),
    finding("cache", where="d", check="cache"),
    finding("mask", where="", severity="info", check="mask", data=MATRIX),
)


def report():
    outcomes = (
        *(Outcome(check=f.check, status="found", findings=(f,), seconds=0.125) for f in FOUND),
        Outcome(check="causality", status="skipped", reason="no <input> is causal", seconds=1.0),
        Outcome(check="positions", status="skipped", reason="no <input> is causal"),
        Outcome(check="devices", status="skipped", reason="one device"),
        Outcome(check="saving", status="error", reason="OSError: full", seconds=2.345),
        Outcome(check="forward", status="passed", seconds=0.015625),
    )
    return Report(name="N & t", outcomes=outcomes, seconds=12.34, parameters=1234567)


REPORTS = {
    "much": report(),
    "nothing": Report(name="Net", outcomes=()),
    "one pass": Report(name="Net", outcomes=(Outcome(check="a", status="passed"),)),
    "one that follows": Report(
        name="Net",
        outcomes=tuple(
            Outcome(check=f.check, status="found", findings=(f,)) for f in (FOUND[3], FOUND[4])
        ),
    ),
    "warnings": Report(
        name="Net",
        outcomes=(Outcome(check="a", status="found", findings=FOUND[5:6]),),
    ),
}


@pytest.mark.parametrize("made", REPORTS.values(), ids=REPORTS)
def test_a_report_in_words_as_data_and_as_a_page(made):
    hold(str(made).splitlines())
    hold(json.dumps(made.to_json(), indent=0).splitlines())
    hold(page([made]).replace("><", ">\n<").splitlines())
    hold([verdict(made), str(made.ok), str([title(f) for f in made.failures])])


def test_several_reports_are_on_one_page_and_in_one_file(tmp_path):
    made = [REPORTS["warnings"], REPORTS["one pass"]]
    (tmp_path / "page.html").write_text("old")
    write_page(made, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page(made)
    assert [x.name for x in tmp_path.iterdir()] == ["page.html"]
    assert "<title>Net, Net: checks</title>" in page(made)
    with pytest.raises(IsADirectoryError):
        write_page(made, tmp_path)
    with pytest.raises(FileNotFoundError):
        write_page(made, tmp_path / "none" / "page.html")
    assert [x.name for x in tmp_path.iterdir()] == ["page.html"]


MATRICES = {
    "two by three": {"matrix": [[1.0, 0.0, -0.25], [0.5, 4.0]]},
    "with names": MATRIX,
    "zeros": {"matrix": [[0.0, 0.0]]},
    "rows without numbers": {"matrix": [[], []]},
    "larger than all": {"matrix": [[2.0, -8.0]], "rows": "r"},
}


@pytest.mark.parametrize("data", MATRICES.values(), ids=MATRICES)
def test_a_matrix_is_drawn_cell_by_cell(data):
    hold(matrix_html(data).replace("><", ">\n<").splitlines())


def test_every_severity_has_words_of_its_own():
    assert list(LETTERS) == ["fail", "warn", "info"]
    made = Report(
        name="N",
        outcomes=(
            Outcome(
                check="a",
                status="found",
                findings=tuple(finding("mask", s, where=s) for s in LETTERS),
            ),
        ),
    )
    hold([verdict(made), str(made).splitlines()[0]])


def test_kinds_come_from_causes_to_symptoms():
    hold(sorted(KINDS, key=rank))
    assert sorted(map(rank, KINDS)) == sorted({rank(k) for k in KINDS})
    assert rank("bad-input-data") == 0 and rank("formula") == 1000
    assert rank("non-finite") == 100 + list(KINDS).index("non-finite")


def test_findings_are_sorted_by_severity_first():
    every = [finding(k, s) for s in ("info", "warn", "fail") for k in ("init", "mask", "shape")]
    made = sorted_findings((Outcome(check="a", status="found", findings=tuple(every)),))
    assert [(f.severity, f.kind) for f in made] == [
        (s, k) for s in ("fail", "warn", "info") for k in ("shape", "mask", "init")
    ]


def test_reasons_are_told_once():
    made = [Outcome(check=c, status="skipped", reason=r) for c, r in ("ax", "by", "cx")]
    assert by_reason(made) == ["  a, c: x", "  b: y"]
    assert by_reason([]) == []


def test_which_kinds_explain_which():
    hold([f"{kind}: {', '.join(kinds)}" for kind, kinds in EXPLAINS.items()])


PLACES = {
    "the same place": ("a.b", "a.b", True),
    "the whole model": ("a.b", "", True),
    "a module without a path": ("a.b", "(unregistered Norm)", True),
    "a module inside": ("a.b", "a.b.c", True),
    "the module around": ("a.b", "a", True),
    "another module": ("a.b", "a.c", False),
    "one that begins alike": ("a.b", "a.bc", False),
    "one whose name it begins": ("a.bc", "a.b", False),
    "a module, from the whole model": ("", "a", False),
}


@pytest.mark.parametrize(("cause", "place", "said"), PLACES.values(), ids=PLACES)
def test_what_is_explained_stands_in_the_same_part(cause, place, said):
    told = finding("unregistered", where=cause, check="x")
    assert explains(told, finding("dtype", where=place, check="y")) is said
    noise = finding("eval-noise", where=cause, check="x")
    assert explains(noise, finding("cache", where=place, check="y"))
    assert not explains(told, finding("causal-leak", where=place, check="y"))
    assert not explains(finding("shape", where=cause), finding("dtype", where=place))
    warned = finding("unregistered", "warn", where=cause, check="x")
    assert not explains(warned, finding("dtype", where=place, check="y"))


def test_one_check_tells_two_things_of_one_kind_apart():
    one = finding("unregistered", check="x")
    assert not explains(one, finding("unregistered", check="x"))
    assert explains(one, finding("unregistered", check="y"))
    assert explains(one, finding("dtype", check="x"))


SAME = {
    "severity": "warn",
    "kind": "mask",
    "line": "m.py:1",
    "where": "h.1",
    "check": "other",
    "fix": "do 3 of 4",
}


def test_what_repeats_what():
    lines = []
    base = {"kind": "init", "line": "m.py:9", "where": "h.0", "check": "x", "fix": "do 1 of 2"}
    changes = [c for n in range(4) for c in itertools.combinations(SAME, n)]
    for change in changes:
        one = finding(**base)
        other = finding(**(base | {k: SAME[k] for k in change}))
        if repeats(one, other):
            lines.append(f"{', '.join(change)}: {same_elsewhere(one, other)}")
    hold(lines)
    bare = base | {"line": ""}
    assert not repeats(finding(**bare), finding(**(bare | {"check": "y"})))
    assert repeats(finding(**bare), finding(**(bare | {"where": "h.3"})))


NUMBERED = {
    ("h.0", "h.12"): True,
    ("h.0.fc1", "h.1.fc2"): True,
    ("h.0", "g.0"): False,
    ("h", "h"): True,
    ("h.0", "h"): False,
}


@pytest.mark.parametrize(("places", "said"), NUMBERED.items(), ids=map(str, NUMBERED))
def test_numbered_siblings(places, said):
    one, other = (finding("init", where=x, fix="by 1.5e-3") for x in places)
    assert siblings(one, other) is said
    assert not siblings(one, finding("init", where=places[1], fix="by hand"))


def test_what_follows_is_marked_with_the_first_cause_and_told_by_it():
    made = marked(FOUND)
    hold([f"{title(f)} {f.severity}: {f.because}" for f in made])
    hold([f"{cause}: {said}" for cause, said in followers(made).items()])
    hold([f"{title(f)}: {also(f, made)}" for f in made])
    assert title(finding(where="")) == "crash"
    assert followers([finding(because="mask at x", check=""), finding(because="mask at x")]) == {
        "mask at x": ["crash at a.b"]
    }


def test_data_is_plain_for_a_report_of_nothing():
    assert as_data(REPORTS["nothing"]) == {
        "name": "Net",
        "ok": True,
        "seconds": 0.0,
        "parameters": 0,
        "findings": [],
        "checks": [],
    }
