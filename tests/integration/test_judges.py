"""Judging whole folders: rows are read, twins are made, a model answers, metrics are counted."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unit.evaluate.subjects import EYE, TOKENIZERS, noise
from zoo.evaluate.judges import judge
from zoo.evaluate.outcome import Row
from zoo.evaluate.perturb import PERTURBATIONS, perturbed
from zoo.evaluate.rows import read_rows
from zoo.evaluate.subject import Subject
from zoo.evaluate.tally import tally
from zoo.images import ImageProcessor
from zoo.models import GPT2, GPT2Config, ViT, ViTConfig

GOLDEN = Path(__file__).parents[2] / "golden"
WORDS = "the cat sat under the house a dog ran in the garden rain and sun".split()
IMAGE = [name for name, p in PERTURBATIONS.items() if p.kind == "image"]


def loud(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def scans(tmp_path):
    """Hold a set of twenty pictures on a sheet, with labels."""
    tiles = np.concatenate([noise(i, *(EYE[0], EYE[0])) for i in range(20)], 1)
    Image.fromarray(tiles).save(tmp_path / "scans.png")
    lines = [
        {
            "id": f"scan-{i}",
            "task": "label",
            "image": f"scans.png#{i}",
            "label": str(i % 3),
            "flags": ["robust"],
        }
        for i in range(20)
    ]
    lines.append(
        {"id": "same", "task": "label", "test": "inv", "of": "scan-1", "expect": "same"}
        | {"image": "scans.png#2"}
    )
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "manifest.json").write_text(json.dumps({"sheets": {"scans.png": EYE[0]}}))
    return tmp_path


@pytest.fixture
def seer(tmp_path_factory):
    """Write a ViT with its processor, and open it."""
    config = ViTConfig(
        image=EYE,
        patch=(3, 5),
        width=20,
        depth=2,
        heads=4,
        hidden=36,
        classes=3,
        labels=("0", "1", "2"),
    )
    folder = tmp_path_factory.mktemp("seer")
    loud(ViT(config)).save_pretrained(folder)
    ImageProcessor.vit(size=EYE).save(folder)
    return Subject.open(folder)


def test_a_set_of_pictures_is_judged_with_its_twins(scans, seer):
    rows = read_rows(scans)
    twins = perturbed(rows, IMAGE, scans)
    assert len(twins) == 20 * len(IMAGE)
    found = judge([*rows, *twins], seer, scans)
    metrics = tally([*rows, *twins], found)
    assert {f"accuracy[under:{name}]" for name in IMAGE} < metrics.keys()
    for name in IMAGE:
        share = [o.passed for o, r in zip(found, [*rows, *twins], strict=True) if r.under == name]
        assert metrics[f"accuracy[under:{name}]"].value == pytest.approx(sum(share) / 20)
    # a model asked twice, or for the rows alone, gives the same to the last bit or nearly
    for one, other in zip(judge(rows, seer, scans), found, strict=False):
        assert (one.id, one.answer, one.passed) == (other.id, other.answer, other.passed)
        assert one.value == pytest.approx(other.value, abs=1e-6)


def test_narrow_and_wide_numbers_give_the_same_answers(scans, seer):
    rows = read_rows(scans)
    wide = Subject.open(seer.folder, torch.float64)
    for one, other in zip(judge(rows, seer, scans), judge(rows, wide, scans), strict=True):
        assert (one.answer, one.passed) == (other.answer, other.passed)
        assert one.value == pytest.approx(other.value, abs=1e-5)


@pytest.fixture
def speaker(tmp_path):
    """Write a GPT-2 of the size of a golden one with its tokenizer, and open it."""
    tokenizer = TOKENIZERS["bpe"]
    config = GPT2Config(vocab=2048, context=256, width=160, depth=5, heads=5, hidden=640)
    loud(GPT2(config)).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    return Subject.open(tmp_path)


def test_250_rows_of_text_take_seconds(speaker):
    """Counted in the process's own time on one thread, which other work does not stretch."""
    sizes = [5 + 3 * i % 20 for i in range(250)]
    rows = [
        Row(
            id=f"r{i}",
            task="choice",
            fields={
                "prompt": " ".join((WORDS * 4)[i % 14 :][:size]),
                "choices": [" sun", " rain", " cat"],
                "answer": " sun",
            },
        )
        for i, size in enumerate(sizes)
    ]
    before = time.process_time()
    assert len(judge(rows, speaker, ".")) == 250
    assert time.process_time() - before < 20.0


@pytest.mark.parametrize("name", ["gpt2-tiny", "bert-tiny", "vit-tiny", "clip-tiny"])
def test_a_recorded_model_is_a_subject_without_what_its_folder_lacks(name):
    subject = Subject.open(GOLDEN / name, torch.float64)
    assert subject.model.spec.name == name.partition("-")[0]
    assert (subject.tokenizer, subject.processor) == (None, None)
