"""A small golden folder: a run that has ended, the checkpoint made of it, and rows put to it."""

import json

import torch

from unit.evaluate.subjects import LABELS, sorter
from zoo.evaluate import judges
from zoo.evaluate.accept import accept
from zoo.evaluate.outcome import Row
from zoo.evaluate.subject import Subject

WORDS = "cat dog house garden sun rain".split()
TEXTS = [f"the {a} and the {b} in the {c}" for a in WORDS for b in WORDS for c in WORDS][:60]
WRONG = 3  # rows that the model does not answer as labelled
GATE = """
[guard]
drop = 0.2
power = 0.8
alarm = 0.05
churn = 0.02
[[metric]]
name = "accuracy"
at_least = 0.7
drop = 0.15
"""
WHY = "the first of its kind"


def make_run(place, seed=0, sign=1):
    """Write what a run leaves: run.json and its model, a classifier of texts.

    With the sign -1 its logits are negated: what it held most likely is least so.
    """
    made = sorter()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        for weight in made.model.head.parameters():
            weight *= sign
    made.model.float().save_pretrained(place / "model")
    made.tokenizer.save(place / "model")
    versions = {"zoo": "0.1", "torch": torch.__version__, "machine": "abacus", "threads": 1}
    run = {"config": {"name": "tiny"}, "data": {"version": "sha256:0"}, "versions": versions}
    (place / "run.json").write_text(json.dumps(run))
    return place


def make_rows(folder, model, texts=TEXTS, gate=GATE):
    """Write rows whose labels are the model's own answers, but for a few, and a gate."""
    folder.mkdir(parents=True)
    rows = [
        Row(id=f"mail-{i:03}", task="label", fields={"text": text, "label": "ham"})
        for i, text in enumerate(texts)
    ]
    answers = [outcome.answer for outcome in judges.judge(rows, Subject.open(model), folder)]
    lines = []
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        label = answer if number >= WRONG else next(name for name in LABELS if name != answer)
        segment = "cats" if "cat" in row.fields["text"] else "others"
        lines.append(
            {"id": row.id, "task": "label", "text": row.fields["text"], "label": label}
            | {"segments": [segment]}
        )
    write_lines(folder, lines)
    (folder / "gate.toml").write_text(gate)
    return folder


def write_lines(folder, lines):
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def lines_of(folder, name="rows.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def make_world(place):
    """Make a root with a checkpoint `tiny` and rows `mails` of it, both accepted."""
    root = place / "golden"
    run = make_run(place / "run")
    accept(root / "tiny", WHY, source=run)
    accept(make_rows(root / "mails", root / "tiny"), WHY, subject="tiny")
    return root


def snapshot(folder):
    """Give every file's bytes, to see that nothing changed."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
