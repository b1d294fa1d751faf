"""From a root of golden sets to the page: tiny models of every family, judged and shown."""

import json
import shutil

import pytest
import torch
from PIL import Image

from e2e.models import write_all
from e2e.report_files import HOSTILE, write_root
from zoo.evaluate.golden import GoldenError
from zoo.evaluate.subject import Subject
from zoo.report import gather, render
from zoo.report.attention import patch_heat, token_heat
from zoo.tasks import Explainer


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    (place / "models").mkdir()
    write_all(place / "models")
    return write_root(place / "models", place / "root")


@pytest.fixture(scope="module")
def page(root):
    return gather(root, made="2026-11-21")


SECTIONS = {
    "clip": ["drawings-scores", "drawings-captions", "drawings-pictures",
             "drawings-attention"],
    "gpt2": ["next-scores", "next-bits_per_byte-slices", "next-robustness",
             "next-reliability", "next-choices", "gpt2-texts"],
    "masked": ["fill-scores", "fill-reliability", "fill-fills", "fill-attention"],
    "vit": ["scans-scores", "scans-accuracy-slices", "scans-robustness", "scans-reliability",
            "scans-confusion", "scans-changes", "scans-mistakes", "scans-attention"],
}  # fmt: skip


def test_every_model_has_its_figures(page):
    found = {part.name: [figure.id for figure in part.figures] for part in page.parts}
    assert found == SECTIONS


def test_what_was_accepted_is_compared_and_what_was_not_is_said(page):
    verdicts = {part.name: part.verdict for part in page.parts}
    assert verdicts == {"clip": "none", "gpt2": "none", "masked": "none", "vit": "worse"}
    vit = page.parts[-1]
    assert vit.accepted == "version 1"
    assert ("accepted 2026-11-21", "version 1: the first of its kind") in vit.facts
    assert any(said.startswith("vit is not good enough at accuracy") for said in vit.sentences)
    changes = next(figure for figure in vit.figures if figure.id == "scans-changes")
    assert {change.kind for change in changes.data} >= {"broke"}
    gpt2 = page.parts[1]
    assert gpt2.sentences[0] == "It has no gate yet."


def test_the_scores_of_the_page_have_the_history_of_the_file(page):
    scores = {score.name: score for score in page.parts[-1].figures[0].data}
    assert scores["accuracy"].history == (("version 1", 1.0),)
    assert scores["ece"].history == (("version 1", 0.1),)
    assert scores["macro_f1"].history == ()
    assert scores["accuracy"].bound == "at least 99.0 %, may fall by 10 points"


def test_the_same_root_gives_the_same_page(root, page):
    assert render(gather(root, made="2026-11-21")) == render(page)


def test_the_page_tells_no_path_and_runs_no_row(root, page):
    text = render(page)
    assert str(root.parent) not in text
    assert HOSTILE not in text
    assert "&lt;script&gt;document.title" in text


def test_attention_is_that_of_zoo_explain(root):
    """Two ways to it: the figure's own, and the task's, which draws a file or a text."""
    for name in ("vit", "clip"):
        subject, task = Subject.open(root / name), Explainer.from_folder(root / name)
        image = Image.open(root / "scans" / "sheet.png").convert("RGB").crop((0, 0, 16, 16))
        shares = task.picture(image).shares
        scaled = (shares - shares.min()) / (shares.max() - shares.min())
        torch.testing.assert_close(patch_heat(subject, image), scaled, rtol=1e-4, atol=1e-5)
    subject, task = Subject.open(root / "masked"), Explainer.from_folder(root / "masked")
    text = "the cat is in the [MASK]"
    mask = subject.tokenizer.encode(text).index(subject.tokenizer.mask_id)
    for said, token in ((text, mask), ("the cat is red", 0)):
        found = [each.share for each in token_heat(subject, said, "").tokens]
        wanted = task.text(said, token=token)
        assert found == pytest.approx(wanted.shares.tolist(), abs=1e-6)
        assert [each.text for each in token_heat(subject, said, "").tokens] == [*wanted.tokens]


ONLY = {
    "a model": (["vit"], ["vit"]),
    "a set": (["fill"], ["masked"]),
    "both": (["fill", "clip"], ["clip", "masked"]),
}


@pytest.mark.parametrize(("only", "names"), ONLY.values(), ids=ONLY)
def test_only_some_are_judged(root, only, names):
    assert [part.name for part in gather(root, only=only).parts] == names


def test_a_name_that_is_none_is_refused_with_those_that_there_are(root):
    with pytest.raises(ValueError, match=r"--only 'vti'; there are clip, drawings, fill, gpt2"):
        gather(root, only=["vti"])


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "root")


def test_a_checkpoint_without_rows_says_so(copy):
    shutil.rmtree(copy / "fill")
    (part,) = gather(copy, only=["masked"]).parts
    assert (part.verdict, part.accepted, part.figures) == ("none", "no rows yet", ())
    assert part.sentences == ("No golden rows ask this model yet.",)


def test_rows_whose_model_is_not_here_are_a_line_and_the_rest_is_shown(copy):
    shutil.rmtree(copy / "clip")
    page = gather(copy, only=["drawings", "masked"])
    assert [part.name for part in page.parts] == ["masked"]
    assert page.missing == ("drawings: not shown, as clip is needed; it is not here.",)
    assert "drawings: not shown" in render(page)


def test_a_checkpoint_that_is_damaged_is_no_line_but_an_error(copy):
    (copy / "masked" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        gather(copy, only=["masked"])


def test_an_empty_root_is_refused(tmp_path):
    with pytest.raises(GoldenError, match="no golden checkpoint and no golden rows"):
        gather(tmp_path)


def test_a_root_of_other_sets_alone_is_refused(tmp_path):
    about = {"schema": 1, "name": "x", "kind": "model", "version": 0, "history": []}
    (tmp_path / "x").mkdir()
    text = json.dumps(about | {"source": {}, "files": {}})
    (tmp_path / "x" / "manifest.json").write_text(text)
    with pytest.raises(GoldenError, match="give --root"):
        gather(tmp_path)
