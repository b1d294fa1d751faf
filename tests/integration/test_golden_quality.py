"""Quality sets: who is asked, what, and what is said of answers that changed."""

import json
import shutil

import pytest
from PIL import Image

from unit.evaluate.golden_world import GATE, TEXTS, WHY, lines_of, make_rows, make_run, write_lines
from zoo.evaluate import drafts
from zoo.evaluate.accept import accept
from zoo.evaluate.golden import GoldenError, Report, compare, open_set
from zoo.evaluate.golden_quality import (
    Answered,
    ask,
    asked,
    compare_checkpoint,
    metrics_of,
    subject_of,
    told,
    verdict_of,
)
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.sets import GoldenRows, files_of
from zoo.evaluate.subject import Subject

ROWS = 5
LOOSE = GATE.replace("drop = 0.2", "drop = 0.9").replace("0.7", "0.2").replace("0.15", "0.9")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    root = place / "golden"
    accept(root / "tiny", WHY, source=make_run(place / "run"))
    make_rows(root / "mails", root / "tiny", TEXTS[:ROWS], LOOSE)
    (root / "mails" / "draft.json").write_text('{"perturbations": ["upper"]}')
    lines = lines_of(root / "mails")
    write_lines(root / "mails", [lines[0] | {"flags": ["robust"]}, *lines[1:]])
    accept(root / "mails", WHY, subject="tiny")
    return root


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made, tmp_path / "golden")
    return tmp_path / "golden"


def record(folder, **changes):
    """Write the manifest of what lies there."""
    table = json.loads((folder / "manifest.json").read_text())
    table |= {"files": files_of(folder)} | changes
    (folder / "manifest.json").write_text(json.dumps(table))


def test_a_model_is_asked_all_rows_and_their_twins(made):
    held = GoldenRows.open(made / "mails")
    rows = asked(held)
    assert [row.id for row in rows] == [row.id for row in held.rows] + ["mail-000@upper"]
    assert (rows[-1].of, rows[-1].under) == ("mail-000", "upper")
    found = ask(held)
    assert found.rows == rows
    assert [outcome.id for outcome in found.outcomes] == [row.id for row in rows]
    assert found.by_id() == {outcome.id: outcome for outcome in found.outcomes}
    opened = Subject.open(made / "tiny")
    assert ask(held, opened) == ask(held, made / "tiny") == found


def test_the_same_answers_are_as_recorded_and_have_a_verdict(made):
    report = compare(open_set(made / "mails"))
    assert (report.faults, report.changes, report.compared) == ([], [], ROWS + 1)
    assert report.verdict.ok and report.verdict.metrics["accuracy"].rows == ROWS
    assert str(report) == f"mails: {ROWS + 1} comparisons, all as recorded"


def test_another_model_is_held_against_what_was_accepted(root):
    """A gate that asks for more, and the contrary of what was answered."""
    gate = (root / "mails" / "gate.toml").read_text().replace("at_least = 0.2", "at_least = 0.9")
    (root / "mails" / "gate.toml").write_text(gate)
    record(root / "mails")
    run = make_run(root.parent / "later", sign=-1)
    report = compare(open_set(root / "mails"), run / "model")
    assert report.compared == ROWS + 1
    before = {line["id"]: line["answer"] for line in lines_of(root / "mails", "accepted.jsonl")}
    now = ask(GoldenRows.open(root / "mails"), run / "model").by_id()
    assert [change.split(",")[0] for change in report.changes] == [
        f"{name} answers {now[name].answer!r}" for name in before
    ]
    assert {c.id: c.before.answer for c in report.verdict.changes} == before
    assert report.faults == list(report.verdict.sentences)
    assert report.faults[0].startswith("tiny is not good enough at accuracy: ")


def test_a_set_without_answers_has_no_verdict(root):
    held = GoldenRows.open(root / "mails")
    (root / "mails" / "accepted.jsonl").unlink()
    with pytest.raises(GoldenError, match=r"^mails has no accepted answers; record them: zoo gold"):
        verdict_of(held, Answered((), ()))


def test_a_checkpoint_is_asked_for_the_answers_of_its_probe(made):
    golden = open_set(made / "tiny")
    report = Report("tiny")
    compare_checkpoint(golden, None, report)
    assert (report.ok, report.compared) == (True, 4)
    other = Subject.open(made / "tiny").model
    (*_, last) = other.parameters()
    last.data[0] += 1.0
    changed = Report("tiny")
    compare_checkpoint(golden, other, changed)
    assert changed.compared == 0
    (fault,) = changed.faults
    assert "does not answer as it did" in fault


def test_a_golden_subject_is_verified_and_others_are_a_packages(root):
    assert subject_of(root, "tiny").folder == root / "tiny"
    with pytest.raises(GoldenError, match=r"^lion is no golden checkpoint of .*packages carry"):
        subject_of(root, "lion")
    (root / "tiny" / "more.txt").write_text("")
    with pytest.raises(GoldenError, match=r"too many are \['more.txt'\]"):
        subject_of(root, "tiny")


def test_a_set_of_no_known_kind_is_not_compared(root):
    record(root / "mails", kind="music")
    with pytest.raises(GoldenError, match=r"^mails is of kind 'music'; known are \['checkpoint'"):
        compare(open_set(root / "mails"))


def outcome(answer="a", value=1.0, passed=None):
    return Outcome(id="r", answer=answer, value=value, passed=passed)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (None, outcome(), "r is new"),
        (outcome(), None, "r is gone"),
        (None, None, "r is new"),
        (outcome("a"), outcome("b"), "r answers 'b', before 'a'"),
        (outcome("a", passed=True), outcome("b", passed=True), "r answers 'b', before 'a'"),
        (outcome("a", passed=True), outcome("b", passed=False), "r answers 'b', before 'a': broke"),
        (
            outcome("a", passed=False),
            outcome("b", passed=True),
            "r answers 'b', before 'a': mended",
        ),
        (
            outcome("a", passed=True),
            outcome("b", passed=None),
            "r answers 'b', before 'a': no verdict any more",
        ),
        (outcome(value=1.25), outcome(value=2 / 3), "r has 0.6667, before 1.25"),
        (
            outcome(value=1.0, passed=True),
            outcome(value=12345.6, passed=False),
            "r has 1.235e+04, before 1: broke",
        ),
    ],
    ids=range(10),
)
def test_how_a_row_changed_is_told(old, new, said):
    assert told("r", old, new) == said


def test_metrics_of_a_history_have_six_decimals():
    rows = [Row(id=f"r{i}", task="choice", fields={}) for i in range(3)]
    made = [Outcome(id=f"r{i}", answer="a", value=1.0, passed=i == 0) for i in range(3)]
    assert metrics_of(rows, made) == {"accuracy": 0.333333}


BASE = {
    "schema": 1,
    "name": "mails",
    "kind": "rows",
    "version": 0,
    "history": [],
    "source": {},
    "files": {},
}


@pytest.mark.parametrize(
    ("draft", "subject", "wanted"),
    [
        ({"subject": "tiny"}, None, {"subject": "tiny"}),
        ({"subject": "tiny"}, "lion", {"subject": "lion"}),
        (None, "lion", {"subject": "lion"}),
        (
            {"subject": "a", "sheets": {"b": 3}, "source": {"by": "c"}},
            None,
            {"subject": "a", "sheets": {"b": 3}, "source": {"by": "c"}},
        ),
    ],
    ids=["draft", "argument-first", "argument", "all"],
)
def test_a_draft_has_the_manifest_of_version_0(tmp_path, draft, subject, wanted):
    place = tmp_path / "mails"
    place.mkdir()
    if draft is not None:
        (place / "draft.json").write_text(json.dumps(draft))
    assert drafts.manifest_of(place, subject) == BASE | wanted
    assert [*drafts.manifest_of(place, subject)][:3] == ["schema", "name", "kind"]


def test_a_manifest_that_is_there_is_the_one(root):
    table = json.loads((root / "mails" / "manifest.json").read_text())
    assert drafts.manifest_of(root / "mails") == table
    assert drafts.manifest_of(root / "mails", "lion") == table | {"subject": "lion"}


@pytest.mark.parametrize("draft", ["{}", '{"subject": 7}'])
def test_a_draft_without_a_model_is_refused(tmp_path, draft):
    (tmp_path / "draft.json").write_text(draft)
    with pytest.raises(GoldenError, match=f"^{tmp_path.name} was never accepted: name the model"):
        drafts.manifest_of(tmp_path)


def test_a_set_is_opened_where_it_lies_or_as_it_would_be(root):
    """What reads of sheets reads the manifest: a changed one is put beside a copy of the rows."""
    place = root / "mails"
    table = json.loads((place / "manifest.json").read_text())
    before = (place / "manifest.json").read_bytes()
    with drafts.opened(place, table) as held:
        assert (held.folder, held.golden.manifest, len(held.rows)) == (place, table, ROWS)
    Image.new("L", (9, 6)).save(place / "a.png")
    other = table | {"subject": "lion", "sheets": {"a.png": 3}}
    with drafts.opened(place, other) as held:
        staged = held.folder
        assert staged != place and staged.name == "mails"
        assert held.golden.manifest == other == open_set(staged).manifest
        assert [row.id for row in held.rows] == [line["id"] for line in lines_of(staged)]
        assert {p.name for p in staged.iterdir()} == {p.name for p in place.iterdir()}
    assert not staged.exists()
    assert (place / "manifest.json").read_bytes() == before
