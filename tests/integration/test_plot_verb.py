"""zoo plot: where the picture goes, what is said of a run, and which pictures are refused."""

import json

import pytest

from zoo.cli import main
from zoo.train.log import Log


@pytest.fixture
def run(tmp_path):
    """Make a folder with a log of three steps."""

    def make(name, losses=(3.0, 2.0, 1.5), **valid):
        with Log(tmp_path / name) as log:
            for step, loss in enumerate(losses):
                log.write({"step": step, "loss": loss})
            if valid:
                log.write({"step": len(losses) - 1, "valid": valid})
        return str(tmp_path / name)

    return make


def test_one_run_has_its_picture_beside_its_log(run, tmp_path, capsys):
    assert main(["plot", run("a", loss=1.75, accuracy=0.5)]) == 0
    out, err = capsys.readouterr()
    assert (
        out == "a  step       2  loss 1.5000  validation accuracy 0.5000  validation loss 1.7500\n"
    )
    assert err == f"wrote {tmp_path / 'a' / 'curves.png'}\n"
    assert (tmp_path / "a" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_several_runs_are_a_record_each(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", run("a", loss=float("nan")), run("bb", losses=[4.0]), "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"run": "a", "step": 2, "loss": 1.5, "valid": {"loss": None}},
        {"run": "bb", "step": 0, "loss": 4.0, "valid": {}},
    ]
    assert (tmp_path / "curves.png").is_file()
    assert not (tmp_path / "a" / "curves.png").exists()


def test_a_loss_that_is_not_known_is_not_said(run, capsys):
    assert main(["plot", run("a", losses=[float("nan")])]) == 0
    assert capsys.readouterr().out == "a  step       0\n"


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("x.jpg", "expected a file that ends in .png"),
        ("no/such/x.png", "there is no folder no/such"),
        (".", "expected a file that ends in .png"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_anything_is_read(out, sentence, capsys):
    assert main(["plot", "no/such/run", "--out", out]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "sentence"),
    [(None, "has no log.jsonl; expected the folder"), ((), "not one step was logged yet")],
    ids=["no-log", "empty"],
)
def test_a_folder_that_is_no_run_is_refused(made, sentence, run, tmp_path, capsys):
    folder = tmp_path if made is None else run("a", losses=made)
    assert main(["plot", str(folder)]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.png"))
