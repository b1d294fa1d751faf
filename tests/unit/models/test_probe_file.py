"""probe.json: its form, how it is written and read, and what a folder is refused for."""

import copy
import json
import math
import os

import pytest
import torch

from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError, read_folder
from zoo.images import ImageProcessor
from zoo.models import check_probe, load, probe_check, probe_file, probe_files, write_probe
from zoo.models.gpt2 import GPT2
from zoo.models.probe_file import FORMS

WAY_OUT = "write_probe(folder) writes a new one, load(..., probe=False) reads without"


def fault(function, *arguments, **options):
    with pytest.raises(CheckpointError) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder that tests only read, its model, and what its probe says."""
    place = tmp_path_factory.mktemp("probe") / "folder"
    model = tiny("gpt2", "lm", depth=1).float().eval()
    model.save_pretrained(place)
    return place, model, json.loads((place / "probe.json").read_text())


def link(place, target, *names):
    """Put files of a folder into another one."""
    target.mkdir(exist_ok=True)
    for name in names or [p.name for p in place.iterdir()]:
        (target / name).hardlink_to(place / name)
    return target


def put(folder, facts):
    (folder / "probe.json").unlink(missing_ok=True)
    (folder / "probe.json").write_text(json.dumps(facts))


def test_a_probe_keeps_what_the_folder_answers(saved):
    place, model, facts = saved
    assert [*facts] == [
        *("format", "about", "family", "head", "config", "tokenizer", "pixels", "inputs"),
        *("answers", "tensors"),
    ]
    assert (facts["format"], facts["family"], facts["head"]) == ("zoo probe 1", "gpt2", "lm")
    assert facts["about"] == "what this model answered when it was saved; zoo compares when it " + (
        "is loaded"
    )
    assert facts["config"] == probe_files.config_facts(model.spec, model.config)
    assert facts["tokenizer"] is None and facts["pixels"] is None
    assert facts["inputs"] == probe_file.inputs_kept(model)
    assert facts["answers"].keys() == {"exact", "float16", "bfloat16"}
    assert facts["tensors"] == probe_files.tensor_marks(read_folder(place).tensors)
    assert probe_file.read(place) == facts
    assert check_probe(place) == check_probe(place, model) == ("config", "weights", "answers")
    assert not (place / "probe.json.partial").exists()


def test_inputs_are_kept_as_ids_or_as_a_shape():
    kept = probe_file.inputs_kept(tiny("clip", "match"))
    assert kept.keys() == {"input_ids", "attention_mask", "pixel_values"}
    assert kept["pixel_values"] == [1, 3, 12, 10]
    assert [len(row) for row in kept["input_ids"]] == [9, 9]
    assert kept["attention_mask"] == [[1] * 9, [1] * 6 + [0] * 3]


HOLD = {
    "the same": ({"float32"}, "float32", True),
    "wider": ({"float16", "bfloat16"}, "float32", True),
    "narrower": ({"float32"}, "float16", False),
    "one of two narrower": ({"float16", "float32"}, "float16", False),
    "neither of two": ({"bfloat16"}, "float16", False),
    "nothing": (set(), "float16", True),
}


@pytest.mark.parametrize("row", HOLD)
def test_a_dtype_holds_what_it_need_not_round(row):
    stored, dtype, held = HOLD[row]
    assert probe_file.holds({getattr(torch, n) for n in stored}, getattr(torch, dtype)) is held


def test_a_table_is_laid_out_a_line_an_entry():
    facts = {"a": {"x": [1, 2], "y": {"é": None}}, "b": {}, "c": "é"}
    assert probe_file.laid_out(facts) == (
        '{\n "a": {\n  "x": [1, 2],\n  "y": {"\\u00e9": null}\n },\n "b": {},\n "c": "\\u00e9"\n}\n'
    )
    with pytest.raises(ValueError, match="Out of range float values"):
        probe_file.plain(math.nan)


def test_parts_are_those_that_are_kept():
    facts = {"tokenizer": {"a": 1}, "pixels": None, "answers": {}}
    assert probe_file.parts_of(facts) == ("config", "weights", "tokenizer")
    facts = {"tokenizer": None, "pixels": {"a": 1}, "answers": {"exact": 1}}
    assert probe_file.parts_of(facts) == ("config", "weights", "pixels", "answers")


def test_a_part_that_is_missing_or_strange_is_named(saved):
    facts = saved[2]
    probe_file.check(facts, "x")
    for name in FORMS:
        if name != "format":
            without = {key: value for key, value in facts.items() if key != name}
            assert fault(probe_file.check, without, "x") == f"x has no {name}"
            said = f"x: {name} is not what a probe keeps there"
            assert fault(probe_file.check, facts | {name: [[[]]]}, "x") == said
    said = "x: format is {!r}; known is 'zoo probe 1'"
    assert fault(probe_file.check, {}, "x") == said.format("None")
    assert fault(probe_file.check, facts | {"format": "y" * 99}, "x") == said.format("y" * 40)


def test_a_file_that_is_no_probe_says_the_way_out(tmp_path, saved):
    assert probe_file.read(tmp_path) is None
    place = tmp_path / "probe.json"
    place.write_text("[]")
    said = f"{place} holds a list, not a JSON object; {WAY_OUT}"
    assert fault(probe_file.read, tmp_path) == said
    place.write_text('{"format": 2}')
    said = f"{place}: format is '2'; known is 'zoo probe 1'; {WAY_OUT}"
    assert fault(probe_file.read, tmp_path) == said
    with open(place, "r+b") as file:
        file.truncate(8 * 2**20 + 1)
    assert fault(probe_file.read, tmp_path) == f"{place} is larger than 8388608 bytes; {WAY_OUT}"
    place.write_text(json.dumps(saved[2]) + " " * (8 * 2**20 - len(json.dumps(saved[2]))))
    assert probe_file.read(tmp_path) == saved[2]
    place.unlink()
    place.symlink_to("nowhere")
    assert WAY_OUT in fault(probe_file.read, tmp_path)


def test_a_probe_is_forgotten_wherever_it_may_be(tmp_path):
    (tmp_path / "probe.json").write_text("x")
    for _ in range(2):
        probe_file.forget(tmp_path)
        assert not (tmp_path / "probe.json").exists()
    (tmp_path / "file").write_text("x")
    probe_file.forget(tmp_path / "file")
    probe_file.forget(tmp_path / "none")
    (tmp_path / "probe.json").mkdir()
    said = fault(probe_file.forget, tmp_path)
    assert said == f"{tmp_path / 'probe.json'}: Is a directory"


def test_a_probe_that_cannot_be_written_leaves_no_draft(tmp_path, saved):
    place, model, _ = saved
    link(place, tmp_path, "config.json", "model.safetensors")
    (tmp_path / "probe.json").mkdir()
    said = fault(probe_file.write, tmp_path, model, assets=False)
    assert said == f"cannot write {tmp_path / 'probe.json'}: Is a directory"
    assert not (tmp_path / "probe.json.partial").exists()
    (tmp_path / "probe.json").rmdir()
    (tmp_path / "probe.json.partial").write_text("left there")
    assert probe_file.write(tmp_path, model, assets=False) == ("config", "weights", "answers")
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors", "probe.json"]


def test_a_probe_of_all_has_what_can_be_read(tmp_path):
    model = tiny("vit", "image", depth=1).half()
    model.save_pretrained(tmp_path)
    ImageProcessor.vit((12, 10)).save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    assert probe_file.read(tmp_path)["pixels"] is None
    assert write_probe(str(tmp_path)) == ("config", "weights", "pixels", "answers")
    facts = probe_file.read(tmp_path)
    assert facts["pixels"] == json.loads(json.dumps(probe_files.pixel_facts(tmp_path)))
    assert facts["tokenizer"] is None
    assert facts["answers"].keys() == {"exact", "bfloat16"}  # half precision is what is stored
    assert {p.dtype for p in load(tmp_path, dtype=torch.float16).parameters()} == {torch.float16}
    edited = facts["pixels"]["settings"]["resample"]
    facts["pixels"]["settings"]["resample"] = 9
    put(tmp_path, facts)
    assert f"preprocessor_config.json: resample is {edited}, the probe was made with 9" in fault(
        check_probe, tmp_path
    )


def test_a_folder_without_a_probe_is_told_how_to_make_one(tmp_path, saved):
    link(saved[0], tmp_path, "config.json", "model.safetensors")
    said = f"{tmp_path} holds no probe.json; write_probe makes one"
    assert fault(check_probe, str(tmp_path)) == said
    assert fault(check_probe, tmp_path, saved[1]) == said


REFUSED = (
    "{place} does not answer as it did when its probe was made: {faults}. load(..., probe=False) "
    "reads it all the same; zoo convert --probe {place}, or write_probe(folder), accepts it as it "
    "is"
)
# name -> (what was kept otherwise, what is said)
CHANGED = {
    "another family": (
        {"family": "bert"},
        "config.json: model_type means gpt2, the probe is of bert",
    ),
    "another head": (
        {"head": "token"},
        "config.json: architectures means head 'lm', the probe was made with 'token'",
    ),
    "another family and head": (
        {"family": "bert", "head": "token"},
        "config.json: model_type means gpt2, the probe is of bert",
    ),
    "a setting": (
        {"config": {"n_head": 2}},
        "config.json: n_head is 4, the probe was made with 2",
    ),
    "a tensor": (
        {"tensors": {"transformer.ln_f.bias": "F32 20 00000000"}},
        "model.safetensors: transformer.ln_f.bias is not the tensor it was",
    ),
}


@pytest.mark.parametrize("row", CHANGED)
def test_what_changed_is_named_with_the_way_out(tmp_path, saved, row):
    place, model, facts = saved
    link(place, tmp_path, "config.json", "model.safetensors")
    changes, said = CHANGED[row]
    kept = copy.deepcopy(facts)
    for name, value in changes.items():
        kept[name] = kept[name] | value if isinstance(value, dict) else value
    put(tmp_path, kept)
    expected = REFUSED.format(place=tmp_path, faults=said)
    assert fault(load, tmp_path) == expected
    assert fault(check_probe, tmp_path) == expected
    assert fault(check_probe, tmp_path, model) == expected
    load(tmp_path, probe=False)


def test_every_fault_of_the_files_is_named(saved):
    folder = read_folder(saved[0])
    kept = copy.deepcopy(saved[2])
    kept["family"] = "bert"
    kept["config"] |= {"n_head": 2, "id2label": ["a", "b", "c"]}
    kept["tokenizer"], kept["pixels"] = {"files": {}, "texts": []}, {}
    labels = "id2label[0] is 'LABEL_0', the probe was made with 'a'"
    heads = "n_head is 4, the probe was made with 2"
    first = "config.json: model_type means gpt2, the probe is of bert; config.json: "
    for options, faults in (
        ({"head": "auto", "classes": None}, f"{heads}; config.json: {labels}"),
        ({"head": "lm", "classes": None}, f"{heads}; config.json: {labels}"),
        ({"head": "token", "classes": None}, heads),
        ({"head": None, "classes": None}, heads),
        ({"head": "auto", "classes": 3}, heads),
    ):
        said = fault(probe_check.check_files, folder, kept, GPT2, **options)
        assert said == REFUSED.format(place=folder.path, faults=first + faults)
    kept |= {"family": "gpt2", "head": "token"}
    kept["config"] = saved[2]["config"]
    probe_check.check_files(folder, kept, GPT2, head="lm", classes=None)


def test_numbers_are_compared_of_what_the_head_and_dtype_tell(saved):
    place, model, facts = saved
    folder = read_folder(place)
    marks = facts["tensors"]
    kept = copy.deepcopy(facts)
    kept["answers"]["exact"]["output"]["rms"] *= 2
    said = REFUSED.format(
        place=place,
        faults="all files are as they were, and the library computes other numbers: the blocks are "
        "as they were, what the head gives differs by 0.5 of its size",
    )
    check = probe_check.check_model
    assert fault(check, folder, kept, model, marks) == said
    check(folder, kept, model, marks, ("head.weight",))  # of which only the blocks count
    check(folder, kept | {"head": "token"}, model, marks)
    check(folder, kept, copy.deepcopy(model).bfloat16(), marks)  # answers of their own
    kept["answers"]["exact"]["stacks"]["blocks"][0]["rms"] *= 2
    said = fault(check, folder, kept, model, marks, ("head.weight", "logit_scale"))
    assert "other numbers: blocks.0 is the first that differs, by 0.5 of its size" in said
    check(folder, kept, model, marks, ("head.weight", "blocks.0.norm1.weight"))
    del kept["answers"]["exact"]
    check(folder, kept, model, marks)
    kept = copy.deepcopy(facts)
    kept["inputs"]["input_ids"][0][0] += 1
    said = f"{place / 'probe.json'}: inputs is not what its format says; {WAY_OUT}"
    assert fault(check, folder, kept, model, marks) == said
    check(folder, kept | {"head": "token"}, model, marks)


def test_answers_are_those_of_the_dtype_that_is_read(saved):
    folder = read_folder(saved[0])
    kept = {"answers": {"exact": 1, "float16": 2, "bfloat16": 3}}
    for dtype, number in (("float32", 1), ("float64", 1), ("float16", 2), ("bfloat16", 3)):
        assert probe_check.numbers_for(folder, kept, getattr(torch, dtype)) == number
    assert probe_check.numbers_for(folder, {"answers": {}}, torch.float32) is None


def test_a_reader_computes_in_float32_at_least():
    expected = {"float16": "float32", "float32": "float32", "float64": "float64"}
    assert torch.get_float32_matmul_precision() == "highest"
    for dtype, wide in expected.items():
        assert probe_check.arithmetic(getattr(torch, dtype)) == getattr(torch, wide)
    try:
        torch.set_float32_matmul_precision("medium")
        assert probe_check.arithmetic(torch.float32) == torch.float64
    finally:
        torch.set_float32_matmul_precision("highest")
