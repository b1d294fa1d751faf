"""Adapters there and back: PEFT on Hugging Face's models computes what ours compute."""

import json
import warnings

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import peft

from integration.published import (
    CLASSES,
    OURS,
    PLAIN,
    ours_forward,
    random_batch,
    random_model,
    theirs_forward,
)
from zoo.checkpoint import CheckpointError
from zoo.models import load
from zoo.train.adapter import save_adapter
from zoo.train.adapter_read import load_adapter
from zoo.train.lora import add_lora, lora_state, merge_lora

HEADS = pytest.mark.parametrize(("family", "head"), CLASSES, ids=lambda v: str(v))
pytestmark = [
    # Conv1D keeps its weight the other way round: peft sees to it, and says so
    pytest.mark.filterwarnings("ignore:.*fan_in_fan_out is set to:UserWarning"),
    # peft asks transformers by an old name
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
TARGETS = ["*.attn.qkv", "*.attn.out", "*.mlp.up", "*.mlp.down"]

# what of theirs is like ours: layers whose own A and B peft draws
THEIRS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "bert": ["query", "key", "value", "dense"],
    "vit": ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"],
    "clip": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
}
SOME = {"gpt2": ["c_attn"], "bert": ["query", "value"], "vit": ["q_proj", "v_proj"]}
SOME["clip"] = SOME["vit"]


def pair(folder, family, head, seed=0):
    """Make a model of theirs and the same one of ours."""
    theirs = random_model(family, head, seed)
    theirs.save_pretrained(folder)
    return theirs, OURS[family].from_pretrained(folder, dtype=torch.float64)


def shake(module, chosen):
    """Give parameters numbers of their own: a fresh adapter changes nothing."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in sorted(module.named_parameters()):
            if chosen(name):
                p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=generator) * 0.3)


def adapted(model, **options):
    found = add_lora(model, rank=3, alpha=7.5, **{"targets": TARGETS} | options)
    shake(model, lambda name: name.endswith((".down", ".up")))
    return found


def same(theirs, ours, family, head, config):
    batch = random_batch(family, head, config, 1, PLAIN)
    expected = theirs_forward(theirs, head, batch, PLAIN)
    torch.testing.assert_close(ours_forward(ours, batch, PLAIN), expected, **CLOSE)
    return expected


@HEADS
def test_peft_loads_what_we_save(tmp_path, family, head):
    theirs, ours = pair(tmp_path / "model", family, head)
    before = same(theirs, ours, family, head, theirs.config)
    adapted(ours.eval())
    save_adapter(ours, tmp_path / "adapter", base="a model")
    wrapped = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    after = same(wrapped.get_base_model(), ours, family, head, theirs.config)
    assert (after - before).abs().max() > 1e-3
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "a model"


@HEADS
def test_we_read_back_what_we_save(tmp_path, family, head):
    _, ours = pair(tmp_path / "model", family, head)
    names = adapted(ours, rate=0.25)
    save_adapter(ours, tmp_path / "adapter")
    again = load(tmp_path / "model", dtype=torch.float64)
    assert sorted(load_adapter(again, tmp_path / "adapter")) == sorted(names)
    first, second = lora_state(ours), lora_state(again)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    layer = again.get_submodule(names[0])
    assert (layer.rank, layer.alpha, layer.drop.rate) == (3, 7.5, 0.25)
    trained = {name for name, p in again.named_parameters() if p.requires_grad}
    assert trained == first.keys()


@pytest.mark.thinned(3)
@HEADS
@pytest.mark.parametrize("layers", [THEIRS, SOME], ids=["all", "queries-and-values"])
@pytest.mark.parametrize("rslora", [False, True], ids=["plain", "rank-stabilised"])
def test_we_read_what_peft_saves(tmp_path, family, head, layers, rslora):
    theirs, ours = pair(tmp_path / "model", family, head)
    config = peft.LoraConfig(r=2, lora_alpha=5, target_modules=layers[family], use_rslora=rslora)
    wrapped = peft.get_peft_model(theirs, config).eval()
    shake(wrapped, lambda name: "lora_" in name)
    wrapped.save_pretrained(tmp_path / "adapter")
    load_adapter(ours, tmp_path / "adapter")
    ours.eval()
    same(wrapped.get_base_model(), ours, family, head, theirs.config)
    merge_lora(ours)
    same(wrapped.get_base_model(), ours, family, head, theirs.config)


WHOLE = [
    ("gpt2", "sequence", ["head.weight"], ["score"]),
    ("gpt2", "token", ["head.*"], ["classifier"]),
    ("bert", "sequence", ["head.*", "pooler.*"], ["bert.pooler.dense", "classifier"]),
    ("bert", "span", ["head.weight"], ["qa_outputs"]),
    ("vit", "image", ["head.*", "norm.*"], ["classifier", "vit.layernorm"]),
    ("clip", "image", ["head.*"], ["classifier"]),
]


@pytest.mark.parametrize(("family", "head", "trained", "theirs_"), WHOLE)
def test_layers_that_are_trained_whole_go_along(tmp_path, family, head, trained, theirs_):
    theirs, ours = pair(tmp_path / "model", family, head)
    adapted(ours.eval(), trained=trained)
    names = [name for name, p in ours.named_parameters() if p.requires_grad]
    shake(ours, lambda name: name in names and not name.endswith((".down", ".up")))
    save_adapter(ours, tmp_path / "adapter")
    wrapped = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    same(wrapped.get_base_model(), ours, family, head, theirs.config)
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert saved["modules_to_save"] == theirs_
    wrapped.save_pretrained(tmp_path / "back")
    again = load(tmp_path / "model", dtype=torch.float64)
    load_adapter(again, tmp_path / "back")
    same(wrapped.get_base_model(), again.eval(), family, head, theirs.config)
    kept = {name for name, p in again.named_parameters() if p.requires_grad}
    assert {*names} <= kept


def test_layers_of_other_ranks_keep_theirs(tmp_path):
    theirs, ours = pair(tmp_path / "model", "bert", "token")
    config = peft.LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=["query", "value", "intermediate.dense"],
        rank_pattern={"intermediate.dense": 4},
        alpha_pattern={"intermediate.dense": 3},
    )
    wrapped = peft.get_peft_model(theirs, config).eval()
    shake(wrapped, lambda name: "lora_" in name)
    wrapped.save_pretrained(tmp_path / "adapter")
    load_adapter(ours, tmp_path / "adapter")
    expected = same(wrapped.get_base_model(), ours.eval(), "bert", "token", theirs.config)
    assert ours.blocks[0].attn.qkv.rank == 4  # two of 2, side by side
    save_adapter(ours, tmp_path / "again")
    fresh, _ = pair(tmp_path / "fresh", "bert", "token")
    back = peft.PeftModel.from_pretrained(fresh, tmp_path / "again").eval()
    batch = random_batch("bert", "token", theirs.config, 1, PLAIN)
    found = theirs_forward(back.get_base_model(), "token", batch, PLAIN)
    torch.testing.assert_close(found, expected, **CLOSE)


REFUSED = [
    ("dora", {"use_dora": True}, r"use_dora is 'True'; an adapter can be read when it is False"),
    ("biases", {"bias": "all"}, r"bias is 'all'; an adapter can be read when it is 'none'"),
    ("other base weights", {"init_lora_weights": "pissa"}, r"init_lora_weights is 'pissa'"),
]


@pytest.mark.parametrize(
    ("options", "sentence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_is_no_plain_product_is_refused(tmp_path, options, sentence):
    theirs, ours = pair(tmp_path / "model", "gpt2", "lm")
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], **options)
    wrapped = peft.get_peft_model(theirs.float(), config)
    wrapped.save_pretrained(tmp_path / "adapter")
    before = {name: p.requires_grad for name, p in ours.named_parameters()}
    with pytest.raises(CheckpointError, match=sentence):
        load_adapter(ours, tmp_path / "adapter")
    assert {name: p.requires_grad for name, p in ours.named_parameters()} == before


def test_an_adapter_of_another_model_is_refused(tmp_path):
    _, ours = pair(tmp_path / "bert", "bert", "token")
    _, other = pair(tmp_path / "gpt2", "gpt2", "lm")
    adapted(ours)
    save_adapter(ours, tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"GPT2 with head 'lm' has no 'bert.encoder"):
        load_adapter(other, tmp_path / "adapter")
    _, larger = pair(tmp_path / "larger", "bert", "token", seed=3)
    with pytest.raises(CheckpointError, match=r"the model's needs|has no linear layer"):
        load_adapter(larger, tmp_path / "adapter")
