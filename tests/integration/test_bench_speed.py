"""Every item of `zoo bench speed` in its tiny form, end to end, and that sides do the same work."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed import costs, work  # noqa: E402
from benchmarks.speed.embedding import embedding  # noqa: E402
from benchmarks.speed.families import FAMILIES, Pair, Sizes, lengths_of, quiet  # noqa: E402
from benchmarks.speed.generating import generation  # noqa: E402
from benchmarks.speed.items import ITEMS, TABLE  # noqa: E402
from benchmarks.speed.job import difference  # noqa: E402
from benchmarks.speed.measure import How, measure  # noqa: E402
from benchmarks.speed.models import extra, forward, training  # noqa: E402

from zoo.cli import main  # noqa: E402
from zoo.generate import Sampling, generate  # noqa: E402

# one item of each kind of work; those of a curve differ in size alone
KINDS = [item for item in TABLE if item.group != "scaling"] + [ITEMS["vit-forward-96px"]]
COMPUTED = [item for item in KINDS if item.make in (training, forward, generation, embedding)]
ALIKE = [item for item in COMPUTED if item.sizes.compute == "float32"]

# Hugging Face takes the loss of a language model in float32, whatever the weights are in
LOSS = 4 * torch.finfo(torch.float32).eps
EXACT = 1e-12


def named(items):
    return pytest.mark.parametrize("item", items, ids=lambda item: item.name)


@named(KINDS)
def test_each_item_is_measured_and_both_sides_agree(item):
    how = How(tiny=True, rss=False, rounds=1, against=("hf",))
    record = measure(item, how)
    assert {"zoo", "hf"} <= set(record["sides"])
    assert all("absent" not in side for side in record["sides"].values())
    for pair in record["pairs"]:
        told = {name: pair.get(name) for name in ("ours", "same", "difference", "bound")}
        assert not pair.get("fault"), told
        exact = pair["ours"] != "zoo-int8" and item.make is not costs.importing
        assert pair["same"] or not exact, told
    if item in COMPUTED:
        assert all(0 < side["of_limit"] <= 1 for side in record["sides"].values())
        assert all(side["live"] > 0 for side in record["sides"].values())


@named(ALIKE)
def test_in_float64_both_sides_compute_the_same(item):
    """What rounding could hide in float32 shows here: another shift, another mean, another mask."""
    sizes = replace(item.sizes.small(), dtype="float64")
    job = item.make(sizes)
    with quiet():
        ours, theirs = (job.sides[name]().answer() for name in ("zoo", "hf"))
    lm = item.make is training and sizes.family != "clip"
    assert difference(ours, theirs) < (LOSS if lm else EXACT)


@pytest.mark.parametrize("attention", ["hf-eager", "nanogpt"])
def test_the_other_peers_of_a_training_step_take_the_same_step(attention):
    job = training(replace(ITEMS["gpt2-train-512"].sizes.small(), dtype="float64"))
    one, other = (job.sides[name]().answer() for name in ("zoo", attention))
    assert difference(one, other) < LOSS


@pytest.mark.parametrize("family", ["gpt2", "bert", "vit", "clip"])
def test_onnxruntime_gives_the_same_numbers(family):
    pytest.importorskip("onnxruntime", reason="waits for onnxruntime: pip install -e .[bench]")
    job = forward(Sizes(family=family, rows=2, tokens=24 if family != "vit" else 0).small())
    one, other = (job.sides[name]().answer() for name in ("zoo", "onnxruntime"))
    assert difference(one, other) < job.bound("float32")


def test_ctranslate2_writes_the_same_tokens():
    pytest.importorskip("ctranslate2", reason="waits for ctranslate2: pip install -e .[bench]")
    job = generation(ITEMS["gpt2-generate-8"].sizes.small())
    one, other = (job.sides[name]().answer()["tokens"] for name in ("zoo", "ctranslate2"))
    assert torch.equal(one, other)


def test_generated_texts_wander():
    """With the weights of a fresh model the token that was read last comes again and again."""
    sizes = ITEMS["gpt2-generate-8"].sizes.small()
    tokens = generation(sizes).sides["zoo"]().answer()["tokens"]
    assert all(len({*row}) > 2 for row in tokens.tolist())
    pair = Pair(sizes)
    torch.nn.init.ones_(pair.ours.norm.weight)
    found = generate(pair.ours, pair.batch["input_ids"].tolist(), Sampling(max_new_tokens=7))
    assert any(len({*row.ids}) <= 2 for row in found)


def test_another_token_would_be_seen():
    """The comparisons above can fail: a single other id moves the answer by more than rounding."""
    pair = Pair(ITEMS["bert-forward-8x128"].sizes.small())
    model, ids = pair.ours.eval(), pair.batch["input_ids"].clone()
    ids[0, 0] += 1
    with torch.no_grad():
        one, other = ({"output": model(x)} for x in (pair.batch["input_ids"], ids))
    assert difference(one, other) > pair.bound("float32")


def all_look_at_all(family, pair):
    """Give the phase as torch's counter sees eager attention: the part above the diagonal too."""
    c, s = pair.config, pair.sizes
    if family == "gpt2":
        return work.gpt2(c, lengths_of(s), causal=False)
    if family == "clip":
        return work.clip(c, s.rows, s.tokens, causal=False)
    return FAMILIES[family].forward(c, s, None)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_formula_is_what_torch_counts_in_hugging_faces_model(family):
    pair = Pair(Sizes(family=family, rows=2, tokens=0 if family == "vit" else 20).small())
    model = pair.theirs("eager").train()
    more = extra(pair.sizes, training=False)
    phase = all_look_at_all(family, pair)
    with FlopCounterMode(display=False) as counter, quiet():
        output = model(**pair.batch, **more)
    assert counter.get_total_flops() == phase.flop
    with FlopCounterMode(display=False) as counter, quiet():
        output = model(**pair.batch, **more)
        (output.logits_per_image if family == "clip" else output.logits).sum().backward()
    # pixels want no gradient: the patches have no dx
    pixels = phase.products[0].flop if family in ("vit", "clip") else 0
    assert counter.get_total_flops() == work.trained(phase).flop - pixels


def test_a_side_runs_in_a_process_of_its_own():
    how = How(tiny=True, rss=True, rounds=1, against=())
    rss = measure(ITEMS["vit-forward-8"], replace(how, modes=("zoo",)))["sides"]["zoo"]["rss"]
    assert 50 << 20 < rss < 4 << 30  # bytes: an interpreter with torch, and no checkpoint


LONELY = """
import sys
for name in ("transformers", "ctranslate2", "onnxruntime", "matplotlib", "PIL"):
    sys.modules[name] = None  # as if it were not installed
from zoo.cli import main
words = "bench speed --size tiny --rounds 1 --modes zoo --against hf,onnxruntime,ctranslate2"
sys.exit(main([*words.split(), "--items", *sys.argv[2:], "--out", sys.argv[1]]))
"""


def test_without_any_peer_zoo_is_measured_and_each_row_says_what_to_install(tmp_path):
    items = ["gpt2-generate-1", "vit-forward-8", "tokenise", "pictures", "import"]
    done = subprocess.run(
        [sys.executable, "-c", LONELY, str(tmp_path), *items],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr
    for peer in ("transformers", "ctranslate2", "onnxruntime", "pillow"):
        assert f"| not installed: pip install {peer} |" in done.stdout
    assert "no pictures: matplotlib is not installed" in done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {13}
    assert sum("| zoo |  |" in row and "not installed" not in row for row in rows) == 4


def test_the_verb_writes_results_a_table_pictures_and_a_trend(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    out, history = tmp_path / "out", tmp_path / "trend.jsonl"
    words = ["--size", "tiny", "--rounds", "2", "--items", "vit-forward-8", "vit-forward-*px"]
    words += ["--against", "hf", "--modes", "zoo", "--out", str(out), "--trend", str(history)]
    assert main(["bench", "speed", *words]) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "table.md").read_text()
    assert printed.count("| zoo | hf |") == 6
    result = json.loads((out / "results.json").read_text())
    assert result["items"][0]["item"] == "vit-forward-8"
    drawn = {file.name for file in out.glob("*.png")}
    assert drawn == {f"{record['item']}.png" for record in result["items"]} | {"curve-1.png"}
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in out.glob("*.png"))
    assert len(history.read_text().splitlines()) == 6
    both = [str(out / "results.json")] * 2
    assert main(["bench", "compare", *both]) == 0
    assert capsys.readouterr().out.count("| within noise |") == 6
    assert main(["bench", "trend", str(history), "--out", str(tmp_path / "drawn")]) == 0
    assert (tmp_path / "drawn" / "trend.png").read_bytes().startswith(b"\x89PNG")
