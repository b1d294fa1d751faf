"""Reading a folder: every fault by its words, what a report says, and what a kit is promised."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError, read_folder
from zoo.models import GPT2, MODELS, promises
from zoo.models.base import Faults, LoadReport, listed


def fault(function, *arguments, kind=CheckpointError, **options):
    with pytest.raises(kind) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of a token classifier that tests only read, and its model."""
    place = tmp_path_factory.mktemp("base") / "folder"
    model = tiny("gpt2", "token", depth=1).float().eval()
    model.save_pretrained(place)
    (place / "probe.json").unlink()
    return place, model


def changed(saved, target, change=lambda state: None, **config):
    """Write the folder anew with other tensors or another config, as others write one."""
    target.mkdir(exist_ok=True)
    state = load_file(saved[0] / "model.safetensors")
    change(state)
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    found = json.loads((saved[0] / "config.json").read_text()) | config
    (target / "config.json").write_text(json.dumps(found))
    return target


def test_names_are_listed_twelve_at_most():
    names = [f"n{i}" for i in range(14)]
    assert listed(names[:12]) == ", ".join(names[:12])
    assert listed(names[:13]) == ", ".join(names[:12]) + " and 1 more"
    assert listed(names, 2) == "n0, n1 and 12 more"
    every = Faults(missing=["a"], unexpected=["b", "c"], shapes=["d"], ties=["e"])
    assert every.sentence() == (
        "missing: a; unexpected: b, c; wrong shape: d; "
        "tied in the config but different in the file: e"
    )
    assert Faults(shapes=["d"]).sentence() == "wrong shape: d"
    assert Faults().sentence() == ""


def test_a_report_says_what_was_read(saved, tmp_path):
    place, model = saved
    count = len(model.published_state())
    found = GPT2.from_pretrained(str(place))
    assert found.report == LoadReport(str(place), count, ("float32",))
    assert not found.training and all(p.requires_grad for p in found.parameters())
    bare = GPT2.from_pretrained(place, head=None, dtype=torch.float64)
    unread = ("classifier.bias", "classifier.weight")
    report = LoadReport(str(place), count - 2, ("float32",), unread=unread)
    assert tuple(sorted(bare.report.unread)) == unread
    assert (bare.report.read, bare.report.fresh) == (report.read, ())
    assert {p.dtype for p in bare.parameters()} == {torch.float64}

    def more(state):
        state["extra.weight"] = torch.ones(2)
        state["transformer.ln_f.bias"] = state["transformer.ln_f.bias"].half()

    folder = changed(saved, tmp_path / "more", more)
    assert fault(GPT2.from_pretrained, folder) == (
        f"{folder} does not fit GPT2 with head 'token': unexpected: extra.weight"
    )
    loose = GPT2.from_pretrained(folder, strict=False)
    kinds = ("float16", "float32")
    assert loose.report == LoadReport(str(folder), count, kinds, ignored=("extra.weight",))


def test_every_tensor_that_does_not_fit_is_named(saved, tmp_path):
    def change(state):
        del state["classifier.bias"], state["transformer.h.0.ln_1.weight"]
        state["transformer.wpe.weight"] = torch.zeros(3, 20)
        state["x"] = torch.ones(1)

    folder = changed(saved, tmp_path / "x", change)
    assert fault(GPT2.from_pretrained, folder) == (
        f"{folder} does not fit GPT2 with head 'token': missing: classifier.bias (our "
        "head.linear.bias), transformer.h.0.ln_1.weight (our blocks.0.norm1.weight); unexpected: "
        "x; wrong shape: transformer.wpe.weight (3, 20) where positions.weight needs (24, 20); "
        "fresh=[...] of our names starts them anew"
    )


def test_a_fresh_head_is_of_the_classes_that_are_asked_for(saved, tmp_path):
    place, model = saved

    def without(state):
        del state["classifier.weight"], state["classifier.bias"]

    folder = changed(saved, tmp_path / "bare", without)
    torch.manual_seed(3)
    found = GPT2.from_pretrained(folder, fresh=("head.*",), classes=5)
    assert found.report.fresh == ("head.linear.bias", "head.linear.weight")
    assert found.head.linear.weight.shape == (5, 20) and found.config.classes == 5
    assert torch.equal(found.tokens.weight, model.tokens.weight)
    assert found.head.linear.weight.std() > 0
    said = fault(GPT2.from_pretrained, folder, fresh=("head.linear.weight",))
    assert "missing: classifier.bias (our head.linear.bias); fresh=[...]" in said
    said = fault(GPT2.from_pretrained, place, classes=5)
    assert "classifier.weight (3, 20) where head.linear.weight needs (5, 20)" in said


def test_depth_and_kinds_of_numbers_are_told_before_a_model_is_built(saved, tmp_path):
    folder = changed(saved, tmp_path / "deep", n_layer=2)
    said = f"{folder}: config.json says 2 blocks, the weights hold 1"
    assert fault(GPT2.from_pretrained, folder) == said

    def whole(state):
        state["transformer.ln_f.bias"] = torch.zeros(20, dtype=torch.int8)

    folder = changed(saved, tmp_path / "whole", whole)
    assert fault(GPT2.from_pretrained, folder) == (
        f"{folder}: transformer.ln_f.bias is torch.int8; expected a floating point type "
        "(quantised checkpoints are not supported)"
    )
    said = "dtype torch.int64 is not a floating point type"
    assert fault(GPT2.from_pretrained, saved[0], dtype=torch.int64, kind=ValueError) == said
    folder = changed(saved, tmp_path / "config", n_embd="20")
    said = fault(GPT2.from_pretrained, folder)
    assert said.startswith(f"{folder}: config.json: ")


HEADS = {
    "none": ({}, None),
    "empty": ({"architectures": []}, None),
    "null": ({"architectures": None}, None),
    "one": ({"architectures": ["GPT2ForTokenClassification"]}, "token"),
    "the first that is known": ({"architectures": ["X", "GPT2LMHeadModel", "GPT2Model"]}, "lm"),
    "bare": ({"architectures": ["GPT2Model"]}, None),
}


@pytest.mark.parametrize("row", HEADS)
def test_a_head_is_told_by_architectures(row):
    config, head = HEADS[row]
    assert GPT2.head_of(config) == head


def test_architectures_that_name_no_head_are_refused():
    for names in ("GPT2Model", [7], {"a": 1}):
        said = f"config.json: architectures is {names!r}, not a list of names"
        assert fault(GPT2.head_of, {"architectures": names}) == said
    assert fault(GPT2.head_of, {"architectures": ["X"]}) == (
        "config.json: architectures ['X'] is none of ['GPT2ForSequenceClassification', "
        "'GPT2ForTokenClassification', 'GPT2LMHeadModel', 'GPT2Model']; "
        "name the head yourself with head=..."
    )


def test_a_tied_tensor_is_the_same_under_both_names(tmp_path):
    place = tmp_path / "from"
    model = tiny("gpt2", "lm", depth=1).float()
    model.save_pretrained(place)
    (place / "probe.json").unlink()
    pair = (place, model)

    def again(share):
        def change(state):
            state["lm_head.weight"] = state["transformer.wte.weight"] + share

        return change

    assert GPT2.from_pretrained(changed(pair, tmp_path / "same", again(0))).head_name == "lm"
    folder = changed(pair, tmp_path / "other", again(1))
    assert fault(GPT2.from_pretrained, folder) == (
        f"{folder}: tied in the config but different in the file: lm_head.weight is not "
        "tokens.weight; if they are meant to differ, config.json needs "
        '"tie_word_embeddings": false'
    )
    assert GPT2.from_pretrained(folder, head=None).head_name is None

    def cut(state):
        state["lm_head.weight"] = state["transformer.wte.weight"][:5].clone()

    said = fault(GPT2.from_pretrained, changed(pair, tmp_path / "cut", cut))
    assert "lm_head.weight is not tokens.weight" in said


def test_what_is_written_says_its_dtype_and_is_cut_into_shards(tmp_path):
    model = tiny("gpt2", "lm", depth=1).to(torch.bfloat16)
    assert model.published_config()["dtype"] == "bfloat16"
    assert all(t.is_contiguous() and not t.requires_grad for t in model.published_state().values())
    model.save_pretrained(str(tmp_path), max_shard_bytes=2000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert read_folder(tmp_path).metadata.keys() == {"format", "zoo.probe"}
    assert model.parameter_count() == sum(p.numel() for p in model.parameters())


def test_a_kit_is_given_batches_with_labels_of_its_own():
    torch.manual_seed(0)
    for name, spec in MODELS.items():
        made = getattr(promises, name)
        config = made.batch.args[1]
        assert config.eps == 1e-5 and made.name == f"{name}-tiny" and made.family == name
        batch = made.batch(3)
        assert {len(x) for x in batch.values()} == {3}
        if name == "vit":
            assert batch["labels"].shape == (3,) and (batch["labels"] < config.classes).all()
        elif name in ("gpt2", "bert"):
            assert batch["attention_mask"].all() and (batch["labels"] != -100)[:, 0].all()
        assert promises.refused(spec).keys() == spec.refuses.keys()
    many = promises.bert.batch(200)
    asked = many["labels"] != -100
    assert torch.equal(many["labels"][asked], many["input_ids"][asked])
    assert abs(float(asked[:, 1:].double().mean()) - 0.15) < 0.05  # five sigmas of 2,000 draws


def test_losses_are_cross_entropy_of_what_each_family_predicts():
    output = torch.randn(2, 4, 5, dtype=torch.float64)
    ids = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 1]])
    pairs = [(0, 0, 2), (0, 1, 3), (0, 2, 4), (1, 0, 3)]
    logits = torch.stack([output[row, at] for row, at, _ in pairs])
    expected = functional.cross_entropy(logits, torch.tensor([label for *_, label in pairs]))
    batch = {"labels": ids, "attention_mask": mask}
    torch.testing.assert_close(promises.next_token_loss(output, batch), expected)
    labels = torch.tensor([[1, -100, 2, -100], [-100, 4, 0, -100]])
    expected = functional.cross_entropy(output.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(promises.label_loss(output, {"labels": labels}), expected)
    square = torch.randn(3, 3, dtype=torch.float64)
    own = torch.arange(3)
    both = functional.cross_entropy(square, own) + functional.cross_entropy(square.T, own)
    torch.testing.assert_close(promises.pair_loss(square, {}), both / 2)


def test_a_cached_step_goes_on_where_the_last_one_ended():
    model = promises.gpt2.build().double().eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        expected = model(**whole)
        cache, found = None, []
        for at in range(4):
            piece = {name: x[:, at : at + 1] for name, x in whole.items()} | {"labels": ids}
            output, cache = promises.cached_step(model, piece, cache)
            found.append(output)
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-11, atol=1e-11)


def test_an_example_of_gpt2_has_every_id_but_the_first():
    spec = MODELS["gpt2"]
    config = replace(spec.presets["gpt2-tiny"], vocab=3)
    assert set(spec.example(config, 0, batch=9)["input_ids"].flatten().tolist()) == {1, 2}
