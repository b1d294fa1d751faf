"""Golden sets: ours equals what was recorded; damage is refused; a slip is named where it is."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from zoo.evaluate.golden import GoldenError, compare, find_sets, open_set, verify
from zoo.models import bert, gpt2
from zoo.nn import MLP, Attention, LayerNorm
from zoo.testing.trace import first_divergence, trace

ROOT = Path(__file__).parents[2] / "golden"
SETS = {golden.name: golden for golden in find_sets(ROOT)}


@pytest.mark.parametrize("name", SETS)
def test_we_compute_what_was_recorded(name):
    report = compare(SETS[name])
    assert report.ok, str(report)
    assert report.compared >= 20


@pytest.mark.parametrize("name", SETS)
def test_a_set_says_where_it_comes_from(name):
    manifest = SETS[name].manifest
    assert SETS[name].folder.name == name
    assert "zoo" not in manifest["source"]["implementation"]
    assert all(entry["why"] for entry in manifest["history"])


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "gpt2-tiny", tmp_path / "set")
    return tmp_path / "set"


def flip(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: flip(f, "expected.safetensors"), "is not the file that was recorded"),
        (lambda f: flip(f, "config.json"), "is not the file that was recorded"),
        (lambda f: (f / "generation.jsonl").unlink(), "the manifest names"),
        (lambda f: (f / "more.txt").write_text(""), "the manifest names"),
        (lambda f: edit(f, version=2), "version 2, but its history is of"),
        (lambda f: edit(f, schema=2), "has schema 2, not 1"),
        (lambda f: edit(f, kind="other"), "is of kind 'other'; known are"),
        (lambda f: (f / "manifest.json").write_text("{}"), "manifest.json needs"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json"),
    ],
    ids=["weights", "config", "gone", "more", "version", "schema", "kind", "empty", "broken"],
)
def test_a_damaged_set_is_refused(copy, damage, sentence):
    damage(copy)
    with pytest.raises(GoldenError, match=sentence):
        compare(open_set(copy))


def test_a_sound_copy_is_not_refused(copy):
    verify(open_set(copy))


SLIPS = {
    "eps-dropped": (LayerNorm, "eps", 1e-5),
    "eps-a-tenth-more": (LayerNorm, "eps", 1.1e-2),
    "gelu-form": (MLP, "gelu", {"tanh": "erf", "erf": "tanh"}),
    "heads-regrouped": (Attention, "heads", 5),
    "mask-dropped": (Attention, "causal", {True: False, False: True}),
}


@pytest.mark.parametrize("family", ["gpt2", "bert"])
@pytest.mark.parametrize("block", range(3))
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named_in_its_block(family, block, slip):
    """One wrong setting in one block: the first difference is there and nowhere before."""
    module = {"gpt2": gpt2, "bert": bert}[family]
    torch.manual_seed(block)
    config = module.PRESETS[f"{family}-tiny"]
    sound = module.SPEC.build(config).double().eval()
    with torch.no_grad():
        for parameter in sound.parameters():
            parameter.normal_(std=0.3)
    wrong = module.SPEC.build(config).double().eval()
    wrong.load_state_dict(sound.state_dict())
    kind, attribute, value = SLIPS[slip]
    part = next(m for m in wrong.blocks[block].modules() if isinstance(m, kind))
    setattr(part, attribute, value[getattr(part, attribute)] if isinstance(value, dict) else value)
    batch = module.example(config)
    with torch.no_grad():
        found = first_divergence(trace(wrong, **batch), trace(sound, **batch), rtol=1e-9, atol=1e-9)
    assert found is not None
    assert found.name.startswith(f"blocks.{block}."), str(found)
    assert str(found).startswith(f"first differs at blocks.{block}.")
