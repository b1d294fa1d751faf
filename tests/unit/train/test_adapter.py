"""Adapters in PEFT's format; that PEFT agrees is tested in tests/integration/test_peft.py."""

import json
import math
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from unit.models.tiny import HEADS, example, tiny
from zoo.checkpoint import CheckpointError
from zoo.models import MODELS
from zoo.train.adapter import save_adapter
from zoo.train.adapter_read import load_adapter
from zoo.train.lora import adapters_of, add_lora, lora_state

TARGETS = ["*.attn.qkv", "*.mlp.up"]
STEM = "base_model.model."

# (family, head) -> what its first block's layers are called in Hugging Face's model
NAMES = {
    ("gpt2", "lm"): ["transformer.h.0.attn.c_attn", "transformer.h.0.mlp.c_fc"],
    ("gpt2", None): ["h.0.attn.c_attn", "h.0.mlp.c_fc"],
    ("bert", "token"): [
        *(f"bert.encoder.layer.0.attention.self.{part}" for part in ("query", "key", "value")),
        "bert.encoder.layer.0.intermediate.dense",
    ],
    ("bert", None): [
        *(f"encoder.layer.0.attention.self.{part}" for part in ("query", "key", "value")),
        "encoder.layer.0.intermediate.dense",
    ],
    ("vit", "image"): [
        *(f"vit.layers.0.attention.{part}_proj" for part in "qkv"),
        "vit.layers.0.mlp.fc1",
    ],
    ("vit", None): [
        *(f"layers.0.attention.{part}_proj" for part in "qkv"),
        "layers.0.mlp.fc1",
    ],
    ("clip", "match"): [
        *(f"text_model.encoder.layers.0.self_attn.{part}_proj" for part in "qkv"),
        "text_model.encoder.layers.0.mlp.fc1",
        *(f"vision_model.encoder.layers.0.self_attn.{part}_proj" for part in "qkv"),
        "vision_model.encoder.layers.0.mlp.fc1",
    ],
    ("clip", "text_hidden"): [
        *(f"encoder.layers.0.self_attn.{part}_proj" for part in "qkv"),
        "encoder.layers.0.mlp.fc1",
    ],
}


def adapted(family, head, **options):
    model = tiny(family, head).eval()
    add_lora(model, **{"rank": 2, "alpha": 3.0, "targets": TARGETS} | options)
    with torch.no_grad():
        for layer in adapters_of(model).values():
            layer.up.normal_()
    return model


def files(folder):
    config = json.loads((folder / "adapter_config.json").read_text())
    return config, load_file(folder / "adapter_model.safetensors")


def rewrite(folder, config=None, tensors=None):
    """Change a written adapter: settings, and tensors (None takes one away)."""
    held_config, held = files(folder)
    held_config |= config or {}
    held = {n: t for n, t in (held | (tensors or {})).items() if t is not None}
    (folder / "adapter_config.json").write_text(json.dumps(held_config))
    save_file(held, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(("where", "names"), NAMES.items(), ids=[f"{f}-{h}" for f, h in NAMES])
def test_layers_are_called_as_in_their_model(tmp_path, where, names):
    model = adapted(*where)
    save_adapter(model, tmp_path)
    config, tensors = files(tmp_path)
    first = {name for name in config["target_modules"] if ".0." in name}
    assert first == {*names}
    halves = {f"{STEM}{n}.lora_{half}.weight" for n in config["target_modules"] for half in "AB"}
    assert tensors.keys() == halves


def test_what_is_fused_here_has_one_a_and_its_own_b_there(tmp_path):
    model = adapted("bert", "token")
    save_adapter(model, tmp_path)
    _, tensors = files(tmp_path)
    layer = model.blocks[1].attn.qkv
    stem = f"{STEM}bert.encoder.layer.1.attention.self."
    for i, part in enumerate(("query", "key", "value")):
        assert torch.equal(tensors[f"{stem}{part}.lora_A.weight"], layer.down)
        assert torch.equal(tensors[f"{stem}{part}.lora_B.weight"], layer.up[20 * i : 20 * i + 20])


def test_the_settings_say_what_was_learnt(tmp_path):
    save_adapter(adapted("gpt2", "lm", rank=3, alpha=6.0, rate=0.25), tmp_path, base="openai/gpt2")
    config, _ = files(tmp_path)
    wanted = {
        "peft_type": "LORA",
        "r": 3,
        "lora_alpha": 6,
        "lora_dropout": 0.25,
        "fan_in_fan_out": True,  # GPT-2's weights stand the other way round
        "bias": "none",
        "modules_to_save": None,
        "base_model_name_or_path": "openai/gpt2",
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    assert wanted.items() <= config.items()
    save_adapter(adapted("bert", "token", alpha=2.5), tmp_path)
    config, _ = files(tmp_path)
    assert (config["fan_in_fan_out"], config["lora_alpha"]) == (False, 2.5)
    save_adapter(adapted("gpt2", "token", targets=["*.mlp.up", "head.linear"]), tmp_path)
    assert files(tmp_path)[0]["fan_in_fan_out"]  # of some, at least
    assert sorted(os.listdir(tmp_path)) == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.parametrize(("family", "head"), HEADS)
def test_what_is_saved_is_read_to_the_same_bits(tmp_path, family, head):
    model = adapted(family, head, rate=0.25)
    save_adapter(model, tmp_path)
    other = tiny(family, head).eval()
    names = load_adapter(other, tmp_path)
    assert sorted(names) == sorted(adapters_of(model))
    batch = example(family, head, model)
    assert torch.equal(other(**batch), model(**batch))
    assert all(torch.equal(t, lora_state(other)[name]) for name, t in lora_state(model).items())
    assert {n for n, p in other.named_parameters() if p.requires_grad} == {*lora_state(model)}
    assert all(layer.drop.rate == 0.25 for layer in adapters_of(other).values())


def split(tmp_path, parts):
    """Write an adapter of a BERT's queries, keys and values with an A each; give the change."""
    model = adapted("bert", "token", targets=["blocks.0.attn.qkv"])
    save_adapter(model, tmp_path)
    stem = f"{STEM}bert.encoder.layer.0.attention.self."
    change, tensors = torch.zeros(60, 20, dtype=torch.float64), {}
    for i, part in enumerate(("query", "key", "value")):
        a, b = torch.randn(2, 20).double(), torch.randn(20, 2).double()
        tensors[f"{stem}{part}.lora_A.weight"] = a if part in parts else None
        tensors[f"{stem}{part}.lora_B.weight"] = b if part in parts else None
        if part in parts:
            change[20 * i : 20 * i + 20] = 1.5 * b @ a
    rewrite(tmp_path, tensors=tensors)
    return change


@pytest.mark.parametrize(
    "parts",
    [("query", "key", "value"), ("query", "value"), ("key",), ("value",)],
    ids="-".join,
)
def test_layers_with_an_a_of_their_own_become_one_of_the_ranks_sum(tmp_path, parts):
    change = split(tmp_path, parts)
    model = tiny("bert", "token")
    assert load_adapter(model, tmp_path) == ["blocks.0.attn.qkv"]
    layer = model.blocks[0].attn.qkv
    assert (layer.rank, layer.scale) == (2 * len(parts), 1.5)
    torch.testing.assert_close(layer.change(), change, rtol=1e-12, atol=1e-12)
    # and it goes out again as what they can read
    save_adapter(model, tmp_path / "again")
    other = tiny("bert", "token")
    load_adapter(other, tmp_path / "again")
    assert other.blocks[0].attn.qkv.rank == layer.rank
    torch.testing.assert_close(other.blocks[0].attn.qkv.change(), change, rtol=1e-12, atol=1e-12)


def test_rank_stabilised_scales_are_read(tmp_path):
    save_adapter(adapted("gpt2", "lm", rank=4, alpha=3.0), tmp_path)
    rewrite(tmp_path, {"use_rslora": True})
    model = tiny("gpt2", "lm")
    load_adapter(model, tmp_path)
    assert {layer.scale for layer in adapters_of(model).values()} == {3.0 / math.sqrt(4)}


def test_layers_of_other_ranks_and_scales_are_written_and_read(tmp_path):
    model = adapted("gpt2", "lm", targets=["*.mlp.up"])
    odd = adapted("gpt2", "lm", targets=["blocks.1.mlp.up"], rank=3, alpha=7.5)
    model.blocks[1].mlp.up = odd.blocks[1].mlp.up
    save_adapter(model, tmp_path)
    config, _ = files(tmp_path)
    assert config["rank_pattern"] == {"transformer.h.1.mlp.c_fc": 3}
    assert config["alpha_pattern"] == {"transformer.h.1.mlp.c_fc": 7.5}
    other = tiny("gpt2", "lm")
    load_adapter(other, tmp_path)
    assert [block.mlp.up.rank for block in other.blocks] == [2, 3, 2]
    assert [block.mlp.up.scale for block in other.blocks] == [1.5, 2.5, 1.5]


@pytest.mark.parametrize(
    ("pattern", "ranks"),
    [
        ({"c_fc": 2}, True),
        ({"mlp.c_fc": 2}, True),
        ({"^transformer.h.0.mlp.c_fc$": 2, "c_fc": 2}, True),
        ({"fc": 2}, False),  # the end of a word is no name
        ({"^c_fc": 2}, False),
    ],
    ids=["end", "longer-end", "whole", "part-of-a-word", "beginning"],
)
def test_a_pattern_is_a_name_or_its_end(tmp_path, pattern, ranks):
    save_adapter(adapted("gpt2", "lm", targets=["*.mlp.up"]), tmp_path)
    rewrite(tmp_path, {"r": 7, "rank_pattern": pattern})
    if ranks:
        assert len(load_adapter(tiny("gpt2", "lm"), tmp_path)) == 3
    else:
        with pytest.raises(CheckpointError, match=r"has rank 2; the config says 7"):
            load_adapter(tiny("gpt2", "lm"), tmp_path)


WHOLE = [
    ("gpt2", "sequence", ["head.*"], ["score"]),
    ("bert", "sequence", ["head.*", "pooler.*"], ["bert.pooler.dense", "classifier"]),
    ("bert", "masked_lm", ["head.transform.bias"], ["cls.predictions.transform.dense"]),
    ("vit", "image", ["blocks.1.norm1.*"], ["vit.layers.1.layernorm_before"]),
    ("vit", "masked_image", ["head.*"], ["decoder.0"]),
    ("clip", "match", ["text_projection.*"], ["text_projection"]),
]


@pytest.mark.parametrize(("family", "head", "trained", "layers"), WHOLE)
def test_layers_that_are_trained_go_along_whole(tmp_path, family, head, trained, layers):
    model = adapted(family, head, trained=trained)
    own = [n for n, p in model.named_parameters() if p.requires_grad and n not in lora_state(model)]
    with torch.no_grad():
        for name in own:
            model.get_parameter(name).add_(1.0)
    save_adapter(model, tmp_path)
    assert files(tmp_path)[0]["modules_to_save"] == layers
    other = tiny(family, head).eval()
    load_adapter(other, tmp_path)
    for name in own:
        assert torch.equal(other.get_parameter(name), model.get_parameter(name))
        assert other.get_parameter(name).requires_grad
    batch = example(family, head, model)
    assert torch.equal(other(**batch), model(**batch))


@pytest.mark.parametrize(
    ("family", "head", "trained"),
    [
        ("vit", "image", ["class_token"]),
        ("bert", "masked_lm", ["head.bias"]),
        ("clip", "match", ["logit_scale"]),
        ("gpt2", "lm", ["tokens.weight"]),
        ("gpt2", "lm", ["blocks.0.mlp.up.bias"]),
    ],
    ids=["token", "bias-beside-others", "number", "tied", "bias-of-an-adapted-layer"],
)
def test_less_than_a_whole_layer_is_refused(tmp_path, family, head, trained):
    model = adapted(family, head, trained=trained)
    with pytest.raises(ValueError, match=rf"{trained[0]} are trained .* PEFT saves whole layers"):
        save_adapter(model, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


A = f"{STEM}transformer.h.0.mlp.c_fc.lora_A.weight"
B = A.replace("lora_A", "lora_B")
FAULTS = [
    ("another method", {"peft_type": "IA3"}, {}, r"peft_type is 'IA3'; .* when it is 'LORA'"),
    ("biases", {"bias": "lora_only"}, {}, r"bias is 'lora_only'"),
    ("dora", {"use_dora": True}, {}, r"use_dora is 'True'"),
    ("other weights below", {"init_lora_weights": "olora"}, {}, r"init_lora_weights is 'olora'"),
    ("no rank", {"r": 0}, {}, r"r is 0; expected a positive number"),
    ("a text for alpha", {"lora_alpha": "8"}, {}, r"lora_alpha is '8'; expected a positive"),
    ("dropout of all", {"lora_dropout": 1.0}, {}, r"lora_dropout is 1.0"),
    ("patterns in a list", {"rank_pattern": ["c_fc"]}, {}, r"rank_pattern is .*; expected a table"),
    ("an expression", {"alpha_pattern": {"h.[0-5].mlp.c_fc": 4}}, {}, r"expected names of layers"),
    ("another rank", {"r": 3}, {}, r"c_attn has rank 2; the config says 3"),
    ("half a layer", {}, {B: None}, r"transformer.h.0.mlp.c_fc has lora_A only"),
    ("a wide A", {}, {A: torch.ones(2, 21)}, r"has A \(2, 21\) .*; the model's needs \(2, 20\)"),
    ("a short B", {}, {B: torch.ones(35, 2)}, r"B \(35, 2\); the model's needs .* \(36, 2\)"),
    ("a number for A", {}, {A: torch.ones(())}, r"has rank 0; the config says 2"),
    ("a block too many", {}, {A.replace("h.0", "h.7"): torch.ones(2, 20),
                              B.replace("h.0", "h.7"): torch.ones(36, 2)},
     r"no linear layer blocks.7.mlp.up"),
    ("a norm", {}, {A.replace("mlp.c_fc", "ln_1"): torch.ones(2, 20),
                    B.replace("mlp.c_fc", "ln_1"): torch.ones(20, 2)},
     r"no linear layer blocks.0.norm1"),
    ("a layer of others", {}, {f"{STEM}x.lora_A.weight": torch.ones(2, 20)}, r"has no 'x.weight'"),
    ("a tensor of others", {}, {f"{STEM}x.weight": torch.ones(2)},
     r"^/.+: GPT2 with head 'lm' has no 'x.weight'"),
    ("a magnitude", {}, {f"{STEM}transformer.h.0.mlp.c_fc.lora_magnitude_vector": torch.ones(36)},
     r"GPT2 with head 'lm' has no '.*lora_magnitude_vector'"),
    ("a norm of another width", {}, {f"{STEM}transformer.ln_f.weight": torch.ones(21)},
     r"what it holds for norm.weight does not fit"),
    ("a layer twice", {}, {f"{STEM}transformer.h.0.mlp.c_fc.weight": torch.ones(20, 36)},
     r"blocks.0.mlp.up.weight is trained and adapted"),
    ("a tied table", {}, {f"{STEM}transformer.wte.weight": torch.ones(97, 20)},
     r"tokens.weight is tied to another here"),
    ("the table's second name", {}, {f"{STEM}lm_head.weight": torch.ones(97, 20)},
     r"lm_head.weight is tied to tokens.weight here"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "tensors", "sentence"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_what_cannot_be_read_is_refused_and_nothing_changes(tmp_path, config, tensors, sentence):
    save_adapter(adapted("gpt2", "lm"), tmp_path)
    rewrite(tmp_path, config, tensors)
    model = tiny("gpt2", "lm")
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(CheckpointError, match=sentence):
        load_adapter(model, tmp_path)
    assert not adapters_of(model)
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_parts_of_one_layer_with_other_scales_are_refused(tmp_path):
    split(tmp_path, ("query", "value"))
    rewrite(tmp_path, {"alpha_pattern": {"query": 8}})
    with pytest.raises(CheckpointError, match=r"have scales \[1.5, 4.0\]; one adapter has one"):
        load_adapter(tiny("bert", "token"), tmp_path)


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"adapter_config.json"):
        load_adapter(tiny("gpt2", "lm"), tmp_path)
    save_adapter(adapted("gpt2", "lm"), tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors"):
        load_adapter(tiny("gpt2", "lm"), tmp_path)
    save_file({}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="holds no adapter"):
        load_adapter(tiny("gpt2", "lm"), tmp_path)


def test_a_model_must_have_adapters_to_save_and_none_to_load(tmp_path):
    with pytest.raises(ValueError, match="no adapters to save"):
        save_adapter(tiny("gpt2", "lm"), tmp_path)
    save_adapter(adapted("gpt2", "lm"), tmp_path)
    with pytest.raises(ValueError, match="has adapters already"):
        load_adapter(adapted("gpt2", "lm"), tmp_path)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    save_adapter(adapted("gpt2", "lm"), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "adapter_config.json.partial").mkdir()
    with pytest.raises(CheckpointError, match="cannot write to"):
        save_adapter(adapted("gpt2", "lm", rank=3), tmp_path)
    (tmp_path / "adapter_config.json.partial").rmdir()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_every_family_has_names():
    assert {family for family, _ in NAMES} == set(MODELS)
