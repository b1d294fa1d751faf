"""A small root of golden sets, written without zoo: tiny checkpoints, and rows that ask each.

What the models answer is chance. One text is hostile: it must be shown, and never run.
"""

import json
import shutil

from PIL import Image, ImageDraw

HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=alert(1)>"
HISTORY = [{"version": 1, "date": "2026-11-21", "why": "the first of its kind"}]
CHECKPOINTS = {"gpt2": "gpt2", "masked": "bert", "vit": "vit", "clip": "clip"}
PLACES, WORDS = ("house", "garden", "sun", "rain"), ("red", "green", "of")
GATE = """
[guard]
drop = 0.2
[[metric]]
name = "accuracy"
at_least = 0.99
drop = 0.1
"""


def write(path, value):
    path.write_text(json.dumps(value))


def manifest(name, kind, **more):
    common = {"schema": 1, "name": name, "kind": kind, "version": 1, "history": HISTORY}
    return common | {"source": {}, "files": {}} | more


def choices():
    asked = [
        {"id": f"next-{a}-{b}", "task": "choice", "prompt": f"the cat is in the {a}",
         "choices": [f" {a}", f" {b}"], "answer": f" {b}", "segments": [a], "flags": ["robust"]}
        for a in PLACES for b in PLACES if a != b
    ]  # fmt: skip
    read = [
        {"id": f"read-{i}", "task": "text", "text": f"the {PLACES[i % 4]} is {WORDS[i // 4]}",
         "segments": [f"half-{i % 2}"]}
        for i in range(12)
    ]  # fmt: skip
    return asked + read


def fills():
    rows = [
        {"id": f"fill-{i}", "task": "fill", "text": f"the {place} is in the [MASK]",
         "answers": ["house", "garden"], "choices": ["house", "garden", "dog"]}
        for i, place in enumerate(PLACES)
    ]  # fmt: skip
    hostile = {"id": "hostile", "task": "fill", "text": f"{HOSTILE} [MASK]", "answers": ["red"]}
    return [*rows, hostile]


def scans():
    names = ("circle", "square", "cross")
    return [
        {"id": f"scan-{i:02}", "task": "label", "image": f"sheet.png#{i}", "label": names[i % 3],
         "segments": ["even" if i % 2 else "odd"], "flags": ["robust"]}
        for i in range(12)
    ]  # fmt: skip


def drawings():
    return [
        {"id": f"find-{i:02}", "task": "retrieve", "image": f"sheet.png#{i}", "group": "all",
         "caption": f"a {PLACES[i % 4]} in the {PLACES[i // 4]}"}
        for i in range(12)
    ]  # fmt: skip


def sheet(path):
    """Draw twelve tiles of 16 pixels that are all different."""
    image = Image.new("RGB", (64, 48), "white")
    draw = ImageDraw.Draw(image)
    for i in range(12):
        x, y = 16 * (i % 4), 16 * (i // 4)
        draw.ellipse((x + 2, y + 2, x + 5 + i % 8, y + 13), fill=(20 * i, 90, 250 - 20 * i))
    image.save(path)


SETS = {
    "next": ("gpt2", choices, ["typos"]),
    "fill": ("masked", fills, []),
    "scans": ("vit", scans, ["blur"]),
    "drawings": ("clip", drawings, []),
}


def write_root(models, root):
    """Write golden checkpoints of tiny models and a set of rows for each; one set is accepted."""
    root.mkdir()
    for name, folder in CHECKPOINTS.items():
        shutil.copytree(models / name, root / name)
        about = {"recipe": folder, "config": {}, "data": None, "machine": {}}
        write(root / name / "manifest.json", manifest(name, "checkpoint", **about))
    for name, (subject, rows, perturbations) in SETS.items():
        (root / name).mkdir()
        lines = rows()
        (root / name / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
        more = {"subject": subject, "perturbations": perturbations}
        if any("image" in row for row in lines):
            sheet(root / name / "sheet.png")
            more["sheets"] = {"sheet.png": 16}
        write(root / name / "manifest.json", manifest(name, "rows", **more))
    accept(root / "scans", scans())
    return root


def accept(folder, rows):
    """Write what a model that errs on nothing would have answered, so that many rows broke."""
    twins = [row | {"id": f"{row['id']}@blur"} for row in rows]
    lines = [
        {"id": row["id"], "answer": row["label"], "value": 0.9, "passed": True, "right": True,
         "confidence": 0.9}
        for row in [*rows, *twins]
    ]  # fmt: skip
    (folder / "accepted.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "gate.toml").write_text(GATE)
    history = HISTORY[0] | {"checkpoint": "", "rows": "", "metrics": {"accuracy": 1.0, "ece": 0.1}}
    (folder / "metrics.jsonl").write_text(json.dumps(history) + "\n")
