"""Golden sets: ours equals what was recorded; damage is refused; a slip is named where it is.

What the checkpoints answer to their rows is e2e's: `zoo golden check`. Here their files are held
against each other, which needs no model.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from zoo import ops
from zoo.evaluate import GoldenError, compare, find_sets, open_set, verify
from zoo.evaluate.golden_quality import asked, metrics_of
from zoo.evaluate.sets import GoldenRows
from zoo.models import load
from zoo.nn import MLP, Attention, LayerNorm
from zoo.tokenizers import Tokenizer

ROOT = Path(__file__).parents[2] / "golden"
SETS = {golden.name: golden for golden in find_sets(ROOT)}
PARITY = [name for name in SETS if SETS[name].kind in ("layout", "model", "tokenizer")]
CHECKPOINTS = [name for name in SETS if SETS[name].kind == "checkpoint"]
ROWS = [name for name in SETS if SETS[name].kind == "rows"]
MIB = 2**20


@pytest.mark.parametrize("name", PARITY)
def test_we_compute_what_was_recorded(name):
    report = compare(SETS[name])
    assert report.ok, str(report)
    assert report.compared >= 20


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_whole_and_called_as_its_folder(name):
    verify(SETS[name])
    assert SETS[name].folder.name == name


@pytest.mark.parametrize("name", PARITY)
def test_numbers_of_a_parity_set_are_not_our_own(name):
    assert "zoo" not in SETS[name].manifest["source"]["implementation"]


def test_golden_rows_are_those_of_a_set_or_of_a_draft():
    drafts = {path.parent.name for path in ROOT.glob("*/draft.json")}
    assert {path.parent.name for path in ROOT.glob("*/rows.jsonl")} == {*ROWS} | drafts
    assert not {*ROWS} & drafts


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_small_and_says_what_made_it(name):
    golden = SETS[name]
    size = sum(about["bytes"] for about in golden.manifest["files"].values())
    assert size <= 8.5 * MIB
    assert {"README.md", "config.json", "model.safetensors", "probe.json"} <= golden.manifest[
        "files"
    ].keys()
    assert golden.manifest["recipe"] == golden.manifest["config"]["name"]
    assert golden.manifest["data"].startswith("sha256:")
    assert golden.manifest["machine"].keys() == {"machine", "cpu", "torch", "threads"}


def test_all_golden_sets_together_are_small():
    size = sum(p.stat().st_size for p in ROOT.rglob("*") if p.is_file())
    assert size <= 40 * MIB


@pytest.mark.parametrize("name", ROWS)
def test_a_history_is_that_of_what_lies_beside_it(name):
    """Its last line: these rows, these weights, and the metrics of the accepted answers."""
    held = GoldenRows.open(SETS[name].folder)
    last = held.history()[-1]
    assert [line["version"] for line in held.history()] == list(range(1, held.golden.version + 1))
    files = held.golden.manifest["files"]
    assert last["rows"] == files["rows.jsonl"]["sha256"]
    rows, accepted = asked(held), held.accepted()
    assert [row.id for row in rows] == [*accepted]
    assert metrics_of(rows, [*accepted.values()]) == last["metrics"]


@pytest.mark.parametrize("name", [name for name in ROWS if SETS[name].manifest["subject"] in SETS])
def test_answers_are_those_of_the_checkpoint_beside_them(name):
    """A checkpoint that was replaced leaves no rows behind that were put to the older one."""
    held = GoldenRows.open(SETS[name].folder)
    weights = SETS[held.subject].manifest["files"]["model.safetensors"]
    assert held.history()[-1]["checkpoint"] == weights["sha256"]


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


class OffByOne(Attention):
    """Attention whose mask lets a token look at the next one, or (BERT) not at the first."""

    def forward(self, x, padding=None, past=None):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        look = torch.ones(t, t, dtype=torch.bool)
        look = look.tril(1) if self.causal else look.triu(-1)
        y = ops.attention(q, k, v, look, padding=padding)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


# which part of a block is set how; a table says "what it was: what it is now"
SLIPS = {
    "eps-dropped": (LayerNorm, "eps", 1e-5),
    "eps-a-tenth-more": (LayerNorm, "eps", 1.1e-2),
    "gelu-form": (MLP, "gelu", {"tanh": "erf", "erf": "tanh"}),
    "heads-regrouped": (Attention, "heads", 5),
    "mask-dropped": (Attention, "causal", {True: False, False: True}),
    "mask-off-by-one": (Attention, "__class__", OffByOne),
}


BATCHES = {
    "gpt2-tiny": ("left", "right", "whole"),
    "bert-tiny": ("left", "right", "whole"),
    "vit-tiny": ("black", "noise"),
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("block", range(3))
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named_in_its_block(name, block, slip):
    """One wrong setting in one block: the first difference is there and nowhere before."""
    golden = SETS[name]
    model = load(golden.folder, dtype=torch.float64)
    kind, attribute, value = SLIPS[slip]
    part = next(m for m in model.blocks[block].modules() if type(m) is kind)
    setattr(part, attribute, value[getattr(part, attribute)] if isinstance(value, dict) else value)
    report = compare(golden, model)
    place = {LayerNorm: "norm1", MLP: "mlp", Attention: "attn"}[kind]
    named = [fault.partition(" by ")[0] for fault in report.faults if "first differs" in fault]
    assert named == [
        f"{name}/{batch} first differs at blocks.{block}.{place}" for batch in BATCHES[name]
    ], str(report)


def test_a_wrong_gradient_is_named():
    """Outputs as recorded, but a parameter's gradient is cut."""
    golden = SETS["gpt2-tiny"]
    model = load(golden.folder, dtype=torch.float64)
    model.blocks[1].mlp.up.bias.register_hook(lambda g: g * 1.001)
    report = compare(golden, model)
    assert len(report.faults) == 3
    assert "gradient:transformer.h.1.mlp.c_fc.bias differs by" in report.faults[0]


def test_a_wrong_word_is_named():
    golden = SETS["tokenizer-wordpiece"]
    report = compare(golden, Tokenizer.from_folder(SETS["tokenizer-bpe"].folder))
    assert "'Hello world' gives" in str(report)


def test_padding_that_is_read_shows_in_padded_batches_only():
    """Positions from columns: only the left-padded batch differs, from the start on."""
    golden = SETS["gpt2-tiny"]
    model = load(golden.folder, dtype=torch.float64)
    model.positions.register_forward_hook(
        lambda part, given, _: part.weight[torch.arange(given[0].shape[1])][None]
    )
    report = compare(golden, model)
    assert report.faults[0].startswith("gpt2-tiny/left first differs at drop by")
    assert not any("/whole" in fault or "/right" in fault for fault in report.faults)
