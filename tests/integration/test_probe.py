"""Probes end to end: readers on other threads, the verbs, a run's own folder, and what it costs."""

import json
import re
import time

import pytest
import torch

from integration.lessons import WRITERS, config_of
from unit.models.probed import edit, folder_of
from zoo.checkpoint import CheckpointError
from zoo.cli import main
from zoo.models import GPT2, MODELS, GPT2Config, check_probe, load
from zoo.models.convert import convert
from zoo.train.run import train

READERS = """
    import sys, torch
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_float32_matmul_precision(sys.argv[2])
    from zoo import load
    for folder in sys.argv[3:]:
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
            load(folder, dtype=dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            load(folder)
    print(torch.get_num_threads(), torch.get_float32_matmul_precision())
"""


@pytest.mark.thinned(3)
@pytest.mark.subproc
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_readers_on_other_threads_give_the_same_answers(
    tmp_path, tmp_path_factory, run_python, threads, precision
):
    folders = []
    for family in MODELS:
        (tmp_path / family).mkdir()
        folders.append(str(folder_of(tmp_path / family, tmp_path_factory, family)))
    settings = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    said = run_python(READERS, threads, precision, *folders, **settings)
    assert said.split() == [threads, precision]


@pytest.mark.parametrize("family", sorted(MODELS))
def test_a_conversion_has_a_probe_of_all_that_went_along(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    convert(folder, tmp_path / "to", verify=True)
    assert check_probe(tmp_path / "to") == check_probe(folder)


def test_what_no_longer_answers_is_not_converted(tmp_path, tmp_path_factory):
    folder = folder_of(tmp_path, tmp_path_factory, "bert")
    edit("config.json", num_attention_heads=2)(folder)
    with pytest.raises(CheckpointError, match="num_attention_heads is 2, the probe was made with"):
        convert(folder, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_probe_of_an_older_layout_does_not_outlive_it(tmp_path, tmp_path_factory):
    folder = folder_of(tmp_path, tmp_path_factory, "gpt2")
    convert(folder, tmp_path / "to")
    assert (tmp_path / "to" / "probe.json").exists()
    convert(folder, tmp_path / "to", to="openai")
    assert not (tmp_path / "to" / "probe.json").exists()
    load(tmp_path / "to")


def test_the_verbs_write_a_probe_and_say_whether_it_holds(tmp_path, tmp_path_factory, capsys):
    folder = folder_of(tmp_path, tmp_path_factory, "clip")
    (folder / "probe.json").unlink()
    assert main(["info", str(folder)]) == 0
    line = f"  probe       none: zoo convert --probe {folder} makes one\n"
    assert line in capsys.readouterr().out
    assert main(["convert", "--probe", str(folder)]) == 0
    parts = "config, weights, tokenizer, pixels, answers"
    assert capsys.readouterr().out == f"{folder / 'probe.json'}: a probe of {parts}\n"
    assert main(["info", str(folder)]) == 0
    assert f"  probe       holds, of {parts}\n" in capsys.readouterr().out
    edit("preprocessor_config.json", resample=1)(folder)
    assert main(["info", str(folder)]) == 0
    assert "  probe       does not hold: " in capsys.readouterr().out
    assert main(["convert", str(folder), str(tmp_path / "to")]) == 2
    assert "resample is 1, the probe was made with 3" in capsys.readouterr().err
    assert main(["convert", "--probe", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["of"] == parts.split(", ")
    assert main(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["probe"] == f"holds, of {parts}"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["convert", "--probe", "{}", "there"], "--probe writes into .* itself; leave there out"),
        (["convert", "{}"], "convert needs SRC and DST; convert --probe needs SRC alone"),
        (["convert", "--probe", "{}/nothing"], "does not exist"),
    ],
    ids=["two-folders", "one-folder", "no-folder"],
)
def test_what_the_verb_cannot_do_is_said(tmp_path, capsys, line, sentence):
    assert main([word.format(tmp_path) for word in line]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert re.search(sentence, captured.err)


def test_a_run_leaves_a_folder_with_a_probe_of_all_of_it(tmp_path):
    WRITERS["clip"](tmp_path / "pairs")
    train(config_of("clip", tmp_path / "pairs", steps=4, every=2), tmp_path / "run")
    parts = ("config", "weights", "tokenizer", "pixels", "answers")
    assert check_probe(tmp_path / "run" / "model") == parts


def seconds(act):
    """Give the processor's time for one call, and what it gave."""
    start = time.process_time()
    result = act()
    return time.process_time() - start, result


def cost(folder, **sizes):
    """Say what a check costs beyond reading: the smaller of two differences."""
    torch.manual_seed(0)
    GPT2(GPT2Config(**sizes)).save_pretrained(folder)
    found = []
    for _ in range(2):
        without, _ = seconds(lambda: load(folder, probe=False))
        checked, _ = seconds(lambda: load(folder))
        found.append(checked - without)
    return min(found)


def test_a_check_of_a_model_of_ten_million_takes_a_fraction_of_a_second(tmp_path):
    assert cost(tmp_path, vocab=8000, context=256, width=256, depth=8, heads=8) < 0.5


@pytest.mark.scheduled
def test_a_check_of_gpt2_takes_less_than_a_second(tmp_path):
    assert cost(tmp_path) < 1.0
