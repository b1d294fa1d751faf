"""Parity sets: what is compared, how far it may differ, and what is said of the first difference.

The sets here are made of our own numbers: what is tested is the comparison, both ways.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unit.evaluate.subjects import TOKENIZERS
from unit.models.tiny import example, tiny
from zoo import keymap
from zoo.evaluate.golden import GoldenSet, Report
from zoo.evaluate.golden_parity import (
    FILES,
    KEYS,
    compare_layout,
    compare_model,
    compare_tokenizer,
    direction,
    outputs_of,
    unflatten,
)
from zoo.generate import Sampling, generate
from zoo.models.layouts import openai_clip, timm
from zoo.objectives import OBJECTIVES, inputs_of
from zoo.testing.trace import trace

EXACT = {"rtol": 1e-9, "atol": 1e-9}
PROMPTS = ([11], [57, 26])


def report_of(compare, folder, facts, subject=None):
    report = Report("set")
    compare(GoldenSet(folder, {"name": "set", **facts}), subject, report)
    return report


def answers(model, batch):
    """Give what a model set holds of a batch: outputs by submodule, loss, norms of gradients."""
    with torch.no_grad():
        found = trace(model, **inputs_of(batch))
    found["logits"] = found.pop("")
    model.zero_grad()
    loss = OBJECTIVES[model.head_name](model, batch)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    theirs = keymap.to_theirs(model.spec.keys(model.config), model.head_name, gradients)
    return found | {f"gradient:{n}": g.norm() for n, g in theirs.items()} | {"loss": loss.detach()}


def batches(model):
    whole = example("gpt2", "lm", model)
    left = example("gpt2", "lm", model, seed=1)
    mask = torch.ones_like(left["input_ids"])
    mask[:2, :3] = 0
    return {
        name: {n: x for n, x in batch.items() if n == "input_ids"} | more
        for name, batch, more in (
            ("whole", whole, {"labels": whole["input_ids"]}),
            ("left", left, {"labels": left["input_ids"], "attention_mask": mask}),
        )
    }


def write_flat(path, tables):
    flat = {f"{batch}/{n}": x.clone() for batch, t in tables.items() for n, x in t.items()}
    save_file(flat, path)


@pytest.fixture(scope="module")
def model():
    return tiny("gpt2", "lm", depth=2).eval()


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    model.save_pretrained(folder)
    inputs = batches(model)
    write_flat(folder / "inputs.safetensors", inputs)
    expected = {name: answers(model, batch) for name, batch in inputs.items()}
    write_flat(folder / "expected.safetensors", expected)
    options = Sampling(max_new_tokens=3, stop_tokens=())
    lines = [{"prompt": p, "tokens": generate(model, [p], options)[0].ids} for p in PROMPTS]
    (folder / "generation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "set"))


def spoil(folder, **changes):
    """Add to numbers of `expected`, by their names with batch."""
    tensors = load_file(folder / "expected.safetensors")
    for name, change in changes.items():
        tensors[name] = change(tensors[name].clone())
    save_file(tensors, folder / "expected.safetensors")


def every(size):
    return lambda x: x + size


def test_a_set_of_our_own_numbers_is_as_recorded(made, model):
    """Read from the folder, or of a model that is given, whose gradients are not of before."""
    count = len(load_file(made / "expected.safetensors")) + len(PROMPTS)
    for subject in (None, model, model):
        report = report_of(compare_model, made, {"compare": EXACT}, subject)
        assert (report.faults, report.compared) == ([], count)
    assert str(report) == f"set: {count} comparisons, all as recorded"


NORM, BIAS = "transformer.h.0.ln_1.bias", "transformer.h.1.mlp.c_fc.bias"
SPOILT = {
    "an output": (
        {"left/blocks.1.mlp": every(1.0)},
        ["set/left first differs at blocks.1.mlp by 1 (allowed: "],
    ),
    "two outputs of both": (
        {"whole/blocks.1": every(2.0), "whole/logits": every(3.0), "left/drop": every(1.0)},
        ["set/left first differs at drop by 1 (", "set/whole first differs at blocks.1 by 2 ("],
    ),
    "the loss and a gradient": (
        {"whole/loss": every(0.5), f"whole/gradient:{NORM}": every(0.25)},
        [f"set/whole: gradient:{NORM} differs by 0.25 (allowed: "],
    ),
    "the loss": ({"whole/loss": every(0.5)}, ["set/whole: loss differs by 0.5 (allowed: "]),
    "gradients": (
        {f"left/gradient:{BIAS}": every(0.5), f"left/gradient:{NORM}": every(0.25)},
        [f"set/left: gradient:{NORM} differs by 0.25 (allowed: "],
    ),
    "a padded place": (
        {"left/blocks.0": lambda x: x.index_fill(1, torch.tensor([9]), 7.0)},
        ["set/left first differs at blocks.0 by "],
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_the_first_difference_of_a_batch_is_told_and_nothing_is_generated(folder, model, what):
    changes, starts = SPOILT[what]
    spoil(folder, **changes)
    (folder / "generation.jsonl").write_text('{"prompt": [11], "tokens": [0]}\n')
    faults = report_of(compare_model, folder, {"compare": EXACT}, model).faults
    assert [fault[: len(start)] for fault, start in zip(faults, starts, strict=True)] == starts


def test_what_stands_at_padding_is_not_compared(folder, model):
    mask = load_file(folder / "inputs.safetensors")["left/attention_mask"].bool()
    spoil(folder, **{"left/blocks.0": lambda x: x.masked_fill(~mask[..., None], 7.0)})
    assert report_of(compare_model, folder, {"compare": EXACT}, model).ok


def test_an_output_that_the_model_has_not_is_told(folder, model):
    tensors = load_file(folder / "expected.safetensors")
    tensors |= {"left/blocks.9": torch.ones(1), "left/blocks.8": torch.ones(1)}
    save_file(tensors, folder / "expected.safetensors")
    report = report_of(compare_model, folder, {"compare": EXACT}, model)
    assert report.faults == ["set/left: the model has no ['blocks.8', 'blocks.9']"]


@pytest.mark.parametrize("name", ["left/blocks.1.mlp", "left/loss", f"whole/gradient:{BIAS}"])
@pytest.mark.parametrize(
    ("bounds", "ok"),
    [
        ({"rtol": 0.0, "atol": 0.02}, True),
        ({"rtol": 0.0, "atol": 0.005}, False),
        ({"rtol": 0.02, "atol": 0.02}, True),
        ({"rtol": 0.02, "atol": 0.0}, None),
    ],
)
def test_a_number_may_differ_by_the_bounds_of_the_set(folder, model, name, bounds, ok):
    """The last bound is of the number alone: what is changed by a hundredth of itself passes."""
    (folder / "generation.jsonl").unlink()
    spoil(folder, **{name: (lambda x: 1.01 * x) if ok is None else every(0.01)})
    report = report_of(compare_model, folder, {"compare": bounds}, model)
    assert report.ok is (ok is not False)


def test_a_text_that_goes_on_otherwise_is_told(folder, model):
    lines = [json.loads(line) for line in (folder / "generation.jsonl").read_text().splitlines()]
    wrong = {"prompt": [3], "tokens": [1, 2, 3, 4]}
    (folder / "generation.jsonl").write_text("\n".join(map(json.dumps, [lines[0], wrong])))
    options = Sampling(max_new_tokens=4, stop_tokens=())
    found = generate(model, [[3]], options)[0].ids
    report = report_of(compare_model, folder, {"compare": EXACT}, model)
    assert report.faults == [f"[3] goes on {found}, not [1, 2, 3, 4]"]
    (folder / "generation.jsonl").unlink()
    less = report_of(compare_model, folder, {"compare": EXACT}, model)
    assert (less.faults, less.compared) == ([], report.compared - 2)


def test_names_are_grouped_by_what_stands_before_the_first_slash():
    x = [torch.ones(i) for i in range(3)]
    assert unflatten({"a/b": x[0], "c/b/d": x[1], "a/e": x[2]}) == {
        "a": {"b": x[0], "e": x[2]},
        "c": {"b/d": x[1]},
    }


def test_a_tokenizer_is_compared_both_ways(tmp_path):
    tokenizer = TOKENIZERS["wordpiece"]
    tokenizer.save(tmp_path)
    ids = tokenizer.encode("the cat")
    spoken = tokenizer.decode(ids)
    cases = [
        {"text": "the cat", "ids": ids, "decoded": spoken},
        {"text": "the cat", "ids": ids[:1], "decoded": spoken},
        {"text": "the cat", "ids": ids, "decoded": "é"},
    ]
    text = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
    (tmp_path / "cases.jsonl").write_text(text, encoding="utf-8")
    for subject in (None, tokenizer):
        report = report_of(compare_tokenizer, tmp_path, {}, subject)
        assert report.compared == 3
        assert report.faults == [
            f"'the cat' gives {ids}, not {ids[:1]}",
            f"{ids} reads {spoken!r}, not 'é'",
        ]
    other = report_of(compare_tokenizer, tmp_path, {}, TOKENIZERS["bpe"])
    assert other.faults[0].startswith("'the cat' gives ")


def layout_set(folder, layout):
    """Write two cases in another library's layout, with what the model gives and its gradients."""
    made, changes = {
        "timm": (("vit", "image"), {"patch": (3, 5), "image": (12, 10), "eps": 1e-6}),
        "open_clip": (("clip", "match"), {"patch": (3, 3), "image": (12, 9), "eps": 1e-5}),
    }[layout]
    model = tiny(*made, **changes).eval()
    inputs = {n: x for n, x in example(*made, model).items() if n != "attention_mask"}
    beside = folder / "beside"
    if layout == "timm":
        timm.write(model, beside, {}, approximate=False)
    else:
        openai_clip.write_open_clip(model, beside, {})
    config, weights = FILES[layout]
    for case in ("one", "two"):
        shutil.copy(beside / config, folder / f"{case}.json")
        shutil.copy(beside / weights, folder / f"{case}.weights.safetensors")
        save_file(inputs, folder / f"{case}.in.safetensors")
    found = outputs_of(model, inputs)
    output = found["output"]
    weighed = torch.tensor([float(i) for i in range(output.numel())]).double().cos()
    (output.flatten() * weighed).sum().backward()
    gradients = {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()
    }
    theirs = keymap.to_theirs(KEYS[layout](model.config), model.head_name, gradients)
    held = {n: x.detach() for n, x in found.items()}
    held |= {f"gradient:{n}": g.contiguous() for n, g in theirs.items()}
    for case in ("one", "two"):
        save_file(held, folder / f"{case}.out.safetensors")
    return model, held


@pytest.mark.parametrize(
    ("layout", "outputs"), [("timm", ["hidden"]), ("open_clip", ["images", "texts"])]
)
def test_a_layout_is_read_as_its_library_would_and_compared_with_all_gradients(
    tmp_path, layout, outputs
):
    _, held = layout_set(tmp_path, layout)
    assert {*outputs, "output"} == {n for n in held if not n.startswith("gradient:")}
    facts = {"layout": layout, "cases": ["one", "two"], "compare": EXACT}
    report = report_of(compare_layout, tmp_path, facts)
    assert (report.faults, report.compared) == ([], 2 * len(held))
    name = next(n for n in held if n.startswith("gradient:"))
    spoilt = held | {outputs[0]: held[outputs[0]] + 0.5, name: held[name] + 0.25}
    save_file(spoilt, tmp_path / "two.out.safetensors")
    save_file(
        {n: x for n, x in held.items() if n not in ("output", name)},
        tmp_path / "one.out.safetensors",
    )
    report = report_of(compare_layout, tmp_path, facts)
    assert report.faults[0] == f"set/one: {[name, 'output']} are not in both"
    starts = [f"set/two: {outputs[0]} differs by 0.5 (", f"set/two: {name} differs by 0.25 ("]
    assert sorted(fault.partition("allowed")[0] for fault in report.faults[1:]) == sorted(starts)
    assert report.compared == len(held)
    loose = facts | {"cases": ["two"], "compare": {"rtol": 0.0, "atol": 0.4}}
    assert [f.split()[1] for f in report_of(compare_layout, tmp_path, loose).faults] == outputs[:1]


def test_an_output_is_weighed_by_the_cosines_of_its_places():
    found = direction(torch.ones(2, 3, dtype=torch.float64))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.arange(6, dtype=torch.float64).cos().view(2, 3))
