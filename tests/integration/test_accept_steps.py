"""Accepting rows: all that is written and said of it, or a refusal that changes nothing."""

import hashlib
import json
import shutil
from datetime import date

import pytest

from unit.evaluate.golden_world import (
    GATE,
    LABELS,
    TEXTS,
    WHY,
    WRONG,
    lines_of,
    make_rows,
    make_run,
    snapshot,
    write_lines,
)
from zoo.evaluate.accept import (
    Accepted,
    Moved,
    accept,
    today,
)
from zoo.evaluate.golden import GoldenError, compare, open_set
from zoo.evaluate.sets import GoldenRows, files_of

ROWS = 9
LOOSE = GATE.replace("drop = 0.2", "drop = 0.9").replace("0.7", "0.5").replace("0.15", "0.5")
BECAUSE = "a label was wrong before"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a root with a checkpoint and rows of it, and give what both accepts said."""
    place = tmp_path_factory.mktemp("made")
    root = place / "golden"
    said = [accept(root / "tiny", WHY, source=make_run(place / "run"))]
    rows = make_rows(root / "mails", root / "tiny", TEXTS[:ROWS], LOOSE)
    return root, (*said, accept(rows, WHY, subject="tiny"))


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "golden")
    return tmp_path / "golden"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def relabel(folder, number, label):
    lines = lines_of(folder)
    lines[number]["label"] = label
    write_lines(folder, lines)


def test_the_first_accept_says_each_metric_and_each_row(made):
    _, (_, said) = made
    known = (ROWS - WRONG) / ROWS
    metrics = {moved.name: moved for moved in said.metrics}
    assert metrics["accuracy"] == Moved("accuracy", None, known)
    assert {(m.before, m.low, m.high) for m in said.metrics} == {(None, None, None)}
    assert said == Accepted(
        "mails",
        1,
        True,
        f"mails: version 1, {ROWS} answers accepted: {WHY}",
        said.metrics,
        tuple(f"mail-{i:03} is new" for i in range(ROWS)),
    )


def test_the_first_accept_writes_a_line_of_history_and_a_manifest(made):
    root, (_, said) = made
    place = root / "mails"
    (line,) = lines_of(place, "metrics.jsonl")
    assert line == {
        "version": 1,
        "date": line["date"],
        "why": WHY,
        "checkpoint": sha256(root / "tiny" / "model.safetensors"),
        "rows": sha256(place / "rows.jsonl"),
        "metrics": {m.name: round(m.after, 6) for m in said.metrics},
    }
    assert date.fromisoformat(line["date"]) <= date.fromisoformat(today()) == date.today()
    assert manifest(place) == {
        "schema": 1,
        "name": "mails",
        "kind": "rows",
        "version": 1,
        "history": [{"version": 1, "date": line["date"], "why": WHY}],
        "source": {},
        "subject": "tiny",
        "files": files_of(place),
    }
    assert sorted(p.name for p in place.iterdir()) == [
        "accepted.jsonl", "gate.toml", "manifest.json", "metrics.jsonl", "rows.jsonl",
    ]  # fmt: skip
    held = GoldenRows.open(place)
    assert [*held.accepted()] == [row.id for row in held.rows]
    verdicts = [outcome.passed for outcome in held.accepted().values()]
    assert verdicts == [False] * WRONG + [True] * (ROWS - WRONG)


def test_what_has_not_changed_stays_as_it_is(root):
    before = snapshot(root)
    says = "mails: nothing changed; it stays at version 1"
    assert accept(root / "mails", BECAUSE) == Accepted("mails", 1, False, says)
    assert snapshot(root) == before


def test_a_corrected_label_is_a_version_that_says_what_moved(root):
    place = root / "mails"
    first = lines_of(place, "metrics.jsonl")
    kept = lines_of(place, "accepted.jsonl")[0]
    older = (place / "manifest.json").read_bytes()
    relabel(place, 0, kept["answer"])
    said = accept(place, f"  {BECAUSE}\n ")
    assert (said.name, said.version, said.changed) == ("mails", 2, True)
    assert said.says == f"mails: version 2, {ROWS} answers accepted: {BECAUSE}"
    (row,) = said.rows
    assert row.startswith("mail-000 has ") and row.endswith(": mended")
    found = {m.name: m for m in said.metrics}["accuracy"]
    assert (found.before, found.after) == ((ROWS - WRONG) / ROWS, (ROWS - WRONG + 1) / ROWS)
    assert 0 <= found.low <= found.after - found.before <= found.high
    lines = lines_of(place, "metrics.jsonl")
    assert lines[:1] == first
    assert {k: lines[1][k] for k in ("version", "why", "rows")} == {
        "version": 2, "why": BECAUSE, "rows": sha256(place / "rows.jsonl"),
    }  # fmt: skip
    assert [entry["why"] for entry in manifest(place)["history"]] == [BECAUSE, WHY]
    # a crash before the manifest was written: its line of history is not counted twice
    (place / "manifest.json").write_bytes(older)
    assert accept(place, BECAUSE).version == 2
    assert [line["version"] for line in lines_of(place, "metrics.jsonl")] == [1, 2]
    assert compare(open_set(place)).ok


def test_other_weights_with_the_same_answers_are_a_version(root):
    """The history names the weights that answered; the manifest of the checkpoint is redone."""
    path = root / "tiny" / "README.md"
    path.write_text("a card")
    accept(root / "tiny", "a card was written")
    says = "mails: nothing changed; it stays at version 1"
    assert accept(root / "mails", BECAUSE).says == says  # no weight changed
    lines = lines_of(root / "mails", "metrics.jsonl")
    older = [line | {"checkpoint": "0" * 64} for line in lines]
    text = "".join(json.dumps(line) + "\n" for line in older)
    (root / "mails" / "metrics.jsonl").write_text(text)
    table = manifest(root / "mails")
    table["files"] = files_of(root / "mails")
    (root / "mails" / "manifest.json").write_text(json.dumps(table))
    said = accept(root / "mails", "other weights answer the same")
    assert (said.version, said.changed, said.metrics, said.rows) == (2, True, (), ())


@pytest.mark.parametrize("how", ["draft", "manifest", "argument"])
def test_before_the_first_accept_one_word_is_a_reason(root, how):
    """What a draft says is in the manifest then, and the draft is gone."""
    place = root / "mails"
    for name in ("manifest.json", "accepted.jsonl", "metrics.jsonl"):
        (place / name).unlink()
    told = {"subject": "tiny", "source": {"by": "hand"}}
    if how == "manifest":
        base = {"schema": 1, "name": "mails", "kind": "rows", "version": 0, "history": []}
        (place / "manifest.json").write_text(json.dumps(base | told | {"files": {}}))
    else:
        (place / "draft.json").write_text(json.dumps(told if how == "draft" else {"source": {}}))
    assert accept(place, "first", subject="tiny" if how == "argument" else None).version == 1
    found = manifest(place)
    assert (found["subject"], found["history"][0]["why"]) == ("tiny", "first")
    assert found["source"] == ({} if how == "argument" else {"by": "hand"})
    assert not (place / "draft.json").exists()
    with pytest.raises(GoldenError, match="the reason 'first' says too little; tell a reader in 3"):
        accept(place, "first")


def all_wrong(root):
    answers = [line["answer"] for line in lines_of(root / "mails", "accepted.jsonl")]
    for number, answer in enumerate(answers):
        relabel(root / "mails", number, next(name for name in LABELS if name != answer))


def of_another_kind(root):
    table = json.dumps(manifest(root / "mails") | {"kind": "tokenizer"})
    (root / "mails" / "manifest.json").write_text(table)


REFUSED = {
    "an unsound answer": (
        all_wrong,
        {},
        "^mails: its gate refuses these answers, so nothing is accepted: tiny is not good enough "
        "at accuracy: 0 % of 9 rows",
    ),
    "of another kind": (
        of_another_kind, {}, "^mails is of kind tokenizer: tools/record_golden.py records it$",
    ),
    "a run of rows": (
        lambda root: None,
        {"source": "."},
        "^mails is of kind rows; a run is taken over by a checkpoint's$",
    ),
    "no rows": (
        lambda root: (root / "mails" / "rows.jsonl").unlink(),
        {},
        "mails holds no rows.jsonl; write rows, or give a run for a checkpoint$",
    ),
    "no model": (
        lambda root: shutil.rmtree(root / "tiny"), {}, "^tiny is no golden checkpoint of",
    ),
    "another model": (lambda root: None, {"subject": "lion"}, "^lion is no golden checkpoint of"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_changes_nothing(root, what):
    spoil, options, sentence = REFUSED[what]
    spoil(root)
    before = snapshot(root)
    with pytest.raises(GoldenError, match=sentence):
        accept(root / "mails", BECAUSE, **options)
    assert snapshot(root) == before
