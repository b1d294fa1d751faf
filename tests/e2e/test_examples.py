"""The examples run as they stand, and what they write is read by the library people know."""

import csv
import random
import re
import subprocess
import sys

import pytest
import torch
import transformers

from e2e.door import ROOT, SECONDS, environment

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
WORDS = {"indoors": "house hello of".split(), "outdoors": "garden rain sun".split()}


@pytest.fixture
def rows(tmp_path):
    """Write texts of two kinds, which a word tells apart."""
    dice = random.Random(3)
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for number in range(150):
            label = ("indoors", "outdoors")[number % 2]
            filler = [dice.choice("the a cat dog red green is in and".split()) for _ in range(6)]
            filler.insert(dice.randrange(7), dice.choice(WORDS[label]))
            table.writerow([" ".join(filler), label])
    return path


def run(name, *words):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_is_and_fits_on_a_page(path):
    assert path.stem in run(path.name, "--help")
    text = path.read_text(encoding="utf-8")
    assert f"python examples/{path.name}" in text
    assert len(text.splitlines()) <= 70


def test_finetuning_by_hand_learns_and_transformers_reads_what_it_wrote(models, rows, tmp_path):
    out = tmp_path / "out"
    words = (rows, "--model", models / "bert", "--out", out, "--steps", 150, "--rate", 3e-3)
    said = run("finetune.py", *words)
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", said)]
    assert len(losses) == 150
    assert sum(losses[-10:]) < sum(losses[:10]) / 2
    right, of = map(int, re.search(r"(\d+) of (\d+) rows kept back are right", said).groups())
    assert of > 5 and right >= 0.9 * of
    model = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    texts = ["the cat is in the house", "the rain is in the garden"]
    with torch.no_grad():
        chosen = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits.argmax(-1)
    assert [model.config.id2label[int(i)] for i in chosen] == ["indoors", "outdoors"]


def test_the_same_call_writes_the_same_weights(models, rows, tmp_path):
    for name in ("one", "two"):
        run("finetune.py", rows, "--model", models / "bert", "--out", tmp_path / name, "--steps", 3)
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
