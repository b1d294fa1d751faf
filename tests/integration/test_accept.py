"""Accepting: for a reason alone, whole or not at all; what changed is told."""

import json
import shutil

import pytest
import torch

from unit.evaluate.golden_world import (
    WHY,
    WRONG,
    lines_of,
    make_run,
    make_world,
    snapshot,
    write_lines,
)
from zoo.checkpoint import CheckpointError
from zoo.evaluate.accept import Moved, accept, reason
from zoo.evaluate.accept_checkpoint import machine
from zoo.evaluate.gate import GateError
from zoo.evaluate.golden import GoldenError, compare, open_set, verify
from zoo.evaluate.sets import GoldenRows
from zoo.models import load

BECAUSE = "a label was wrong before"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made, tmp_path / "golden")
    return tmp_path / "golden"


def relabel(folder, number, label):
    lines = lines_of(folder)
    lines[number]["label"] = label
    write_lines(folder, lines)


def test_the_first_accept_records_answers_metrics_and_what_they_rest_on(root):
    held = GoldenRows.open(root / "mails")
    verify(held.golden)
    assert held.accepted().keys() == {row.id for row in held.rows}
    assert sum(bool(outcome.passed) for outcome in held.accepted().values()) == 57
    (line,) = held.history()
    assert (line["version"], line["why"], line["metrics"]["accuracy"]) == (1, WHY, 0.95)
    files = held.golden.manifest["files"]
    assert line["rows"] == files["rows.jsonl"]["sha256"]
    weights = open_set(root / "tiny").manifest["files"]["model.safetensors"]
    assert line["checkpoint"] == weights["sha256"]


def test_the_same_model_passes(root):
    reports = [compare(open_set(root / name)) for name in ("mails", "tiny")]
    assert [str(report) for report in reports] == [
        "mails: 60 comparisons, all as recorded",
        "tiny: 4 comparisons, all as recorded",
    ]
    assert reports[0].changes == []


@pytest.mark.parametrize("name", ["mails", "tiny"])
def test_accepting_what_has_not_changed_changes_nothing(root, name):
    before = snapshot(root)
    done = accept(root / name, BECAUSE)
    assert (done.changed, done.version) == (False, 1)
    assert done.says == f"{name}: nothing changed; it stays at version 1"
    assert snapshot(root) == before


def test_a_corrected_label_is_accepted_and_told(root):
    right = lines_of(root / "mails", "accepted.jsonl")[0]["answer"]
    relabel(root / "mails", 0, right)
    done = accept(root / "mails", BECAUSE)
    assert (done.changed, done.version) == (True, 2)
    assert done.rows[0].startswith("mail-000 has ")
    assert done.rows[0].endswith(": mended")
    assert len(done.rows) == 1
    moved = {m.name: m for m in done.metrics}
    assert (moved["accuracy"].before, moved["accuracy"].after) == (0.95, pytest.approx(58 / 60))
    assert moved["accuracy"].low <= 1 / 60 <= moved["accuracy"].high
    assert str(moved["accuracy"]).startswith("accuracy 0.9500 to 0.9667 (95 % interval of the ")
    held = GoldenRows.open(root / "mails")
    assert [line["version"] for line in held.history()] == [1, 2]
    assert [entry["why"] for entry in held.golden.manifest["history"]] == [BECAUSE, WHY]
    assert compare(held.golden).ok


def test_rows_that_come_and_go_are_told(root):
    lines = lines_of(root / "mails")
    write_lines(root / "mails", [*lines[:-1], lines[-1] | {"id": "mail-100"}])
    with pytest.raises(GoldenError, match="is not the file that was recorded"):
        compare(open_set(root / "mails"))
    assert accept(root / "mails", BECAUSE).rows == ("mail-100 is new", "mail-059 is gone")


def test_a_new_gate_is_a_change(root):
    text = (root / "mails" / "gate.toml").read_text().replace("0.7\n", "0.75\n")
    (root / "mails" / "gate.toml").write_text(text)
    done = accept(root / "mails", "the bound is tighter now")
    assert (done.version, done.metrics, done.rows) == (2, (), ())


@pytest.mark.parametrize(
    ("because", "first", "good"),
    [
        ("", True, False),
        ("  \n", False, False),
        ("fix", True, False),
        ("first", True, True),
        ("first", False, False),
        ("labels fixed", False, False),
        ("1 2 3 4 5 6", True, False),
        ("... --- ...", False, False),
        ("a b c", False, False),
        ("a label was wrong", False, True),
        ("ein Etikett war falsch", False, True),
    ],
    ids=range(11),
)
def test_a_reason_must_tell_a_reader_something(because, first, good):
    refused = pytest.raises(GoldenError, match="says too little; tell a reader in 3 words")
    if good:
        assert reason(because, first=first) == because
    else:
        with refused:
            reason(because, first=first)


def test_a_reason_is_one_line():
    assert reason(" a label\n was\twrong ") == "a label was wrong"


def worse(root):
    """Make all labels wrong, so that the gate refuses what would be accepted."""
    answers = {line["id"]: line["answer"] for line in lines_of(root / "mails", "accepted.jsonl")}
    lines = lines_of(root / "mails")
    for line in lines:
        line["label"] = "spam" if answers[line["id"]] != "spam" else "ham"
    write_lines(root / "mails", lines)


def without_tokenizer(root):
    run = root.parent / "later"
    make_run(run, seed=1)
    (run / "model" / "tokenizer.json").unlink()
    return {"source": run}


def damaged(root):
    run = root.parent / "later"
    make_run(run, seed=1)
    config = json.loads((run / "model" / "config.json").read_text())
    config["num_attention_heads"] = 2 if config["num_attention_heads"] != 2 else 1
    (run / "model" / "config.json").write_text(json.dumps(config))
    return {"source": run}


def unended(root):
    run = make_run(root.parent / "later", seed=1)
    shutil.rmtree(run / "model")
    return {"source": run}


def unsaid(root):
    run = make_run(root.parent / "later", seed=1)
    (run / "run.json").write_text('{"config": {"name": "a"}, "data": null}')
    return {"source": run}


def edited(root):
    path = root / "tiny" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def label_of_no_class(root):
    relabel(root / "mails", 5, "eggs")


def no_gate(root):
    (root / "mails" / "gate.toml").unlink()


def small(root):
    """Keep twelve rows, all passed: two may be lost, and a fall by 0.2 is not told surely."""
    lines = lines_of(root / "mails")
    write_lines(root / "mails", lines[WRONG : WRONG + 12])


def broken_row(root):
    relabel(root / "mails", 5, " ")


def no_subject(root):
    shutil.rmtree(root / "tiny")


REFUSED = {
    "the gate refuses it": ("mails", worse, GoldenError, "its gate refuses these answers"),
    "a set that is too small": ("mails", small, GoldenError, "the set is too small"),
    "evaluation fails": ("mails", label_of_no_class, ValueError, "eggs"),
    "a broken row": ("mails", broken_row, GoldenError, r"rows.jsonl:6 \(mail-005\): label is"),
    "no gate": ("mails", no_gate, GateError, "gate.toml"),
    "no subject": ("mails", no_subject, GoldenError, "tiny is no golden checkpoint of"),
    "weights of nowhere": ("tiny", edited, GoldenError, "weights of tiny changed: name their run"),
    "weights that were edited under rows": ("mails", edited, GoldenError, "is not the file that"),
    "a run that has not ended": ("tiny", unended, GoldenError, "has no model: the run has not"),
    "a run that says too little": ("tiny", unsaid, GoldenError, "does not say how its model was"),
    "a run of rows": (
        "mails",
        lambda root: {"source": root},
        GoldenError,
        "a run is taken over by a checkpoint's",
    ),
    "no run": ("tiny", lambda root: {"source": root}, GoldenError, "is no run and no run's model"),
    "a damaged model": ("tiny", damaged, CheckpointError, "num_attention_heads|heads"),
    "a model without its tokenizer": ("tiny", without_tokenizer, ValueError, "tokenizer"),
}


@pytest.mark.parametrize(
    ("name", "spoil", "error", "sentence"), REFUSED.values(), ids=REFUSED.keys()
)
def test_what_is_refused_changes_nothing(root, name, spoil, error, sentence):
    options = spoil(root) or {}
    before = snapshot(root)
    with pytest.raises(error, match=sentence):
        accept(root / name, BECAUSE, **options)
    assert snapshot(root) == before
    assert not [p.name for p in root.iterdir() if p.name.startswith(".")]


def test_a_parity_set_is_recorded_elsewhere(root):
    manifest = json.loads((root / "mails" / "manifest.json").read_text())
    (root / "mails" / "manifest.json").write_text(json.dumps(manifest | {"kind": "tokenizer"}))
    with pytest.raises(GoldenError, match=r"of kind tokenizer: tools/record_golden.py"):
        accept(root / "mails", BECAUSE)


def test_an_empty_folder_is_nothing_to_accept(tmp_path):
    with pytest.raises(GoldenError, match=r"holds no rows.jsonl; write rows"):
        accept(tmp_path, BECAUSE)


def test_rows_name_their_model_the_first_time(root):
    (root / "mails" / "manifest.json").unlink()
    with pytest.raises(GoldenError, match="name the model that its rows are put to"):
        accept(root / "mails", BECAUSE)


@pytest.mark.parametrize("how", ["draft", "manifest"])
def test_a_draft_is_accepted_as_version_one(root, how):
    """What the draft says is in the manifest then, and the draft is gone."""
    place = root / "mails"
    for name in ("manifest.json", "accepted.jsonl", "metrics.jsonl"):
        (place / name).unlink()
    said = {"subject": "tiny", "source": {"by": "hand"}}
    if how == "draft":
        (place / "draft.json").write_text(json.dumps(said))
    else:
        base = {"schema": 1, "name": "mails", "kind": "rows", "version": 0, "history": []}
        (place / "manifest.json").write_text(json.dumps(base | said | {"files": {}}))
    assert accept(place, "first").version == 1
    golden = open_set(place)
    verify(golden)
    assert (golden.manifest["subject"], golden.manifest["source"]) == ("tiny", {"by": "hand"})
    assert golden.manifest["history"][0]["why"] == "first"
    assert compare(golden).ok


def test_a_crash_between_files_is_mended_by_accepting_again(root):
    """The manifest is written last: without it the set is refused, and nothing is counted twice."""
    relabel(root / "mails", 0, lines_of(root / "mails", "accepted.jsonl")[0]["answer"])
    manifest = (root / "mails" / "manifest.json").read_bytes()
    accept(root / "mails", BECAUSE)
    (root / "mails" / "manifest.json").write_bytes(manifest)
    with pytest.raises(GoldenError, match="is not the file that was recorded"):
        verify(open_set(root / "mails"))
    assert accept(root / "mails", BECAUSE).version == 2
    assert [line["version"] for line in GoldenRows.open(root / "mails").history()] == [1, 2]
    assert compare(open_set(root / "mails")).ok


@pytest.mark.parametrize("named", ["", "model"], ids=["run", "model"])
def test_a_checkpoint_is_taken_over_with_what_made_it(root, tmp_path, named):
    run = make_run(tmp_path / "later", sign=-1)
    done = accept(root / "tiny", "trained to say the contrary", source=run / named)
    assert (done.changed, done.version) == (True, 2)
    assert "model.safetensors changed" in done.rows
    manifest = open_set(root / "tiny").manifest
    assert (manifest["recipe"], manifest["data"]) == ("tiny", "sha256:0")
    assert manifest["machine"]["threads"] == 1
    assert manifest["config"] == {"name": "tiny"}
    assert load(root / "tiny").head_name == "sequence"
    report = compare(open_set(root / "mails"))
    assert not report.ok
    assert report.faults[0].startswith("tiny is not good enough at accuracy: ")
    assert len(report.changes) == 60


def test_another_text_of_the_same_checkpoint_is_recorded(root):
    (root / "tiny" / "README.md").write_text("a card")
    done = accept(root / "tiny", "a card was written")
    assert (done.version, done.rows) == (2, ("README.md is new",))
    assert compare(open_set(root / "tiny")).ok


def test_a_machine_is_told_by_what_its_bits_depend_on():
    found = machine()
    assert found["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert found["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("moved", "text"),
    [
        (Moved("ece", None, 0.25), "ece - to 0.2500"),
        (Moved("ece", 0.5, None), "ece 0.5000 to -"),
        (
            Moved("ece", 0.5, 0.25, -0.5, 0.125),
            "ece 0.5000 to 0.2500 (95 % interval of the change: -0.5000 to +0.1250)",
        ),
    ],
    ids=["new", "gone", "moved"],
)
def test_a_metric_that_moved_says_how_far(moved, text):
    assert str(moved) == text
