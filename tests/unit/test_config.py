"""Published configs: read, refused, written."""

import dataclasses
import json

import pytest

from zoo.config import ConfigError, from_theirs, to_theirs
from zoo.models import MODELS, BERTConfig, GPT2Config

TABLES = {name: spec.config_keys for name, spec in MODELS.items()}
CONFIGS = {name: spec.config for name, spec in MODELS.items()}


def read(family, theirs, **options):
    return from_theirs(TABLES[family], CONFIGS[family], theirs, **options)


CHANGES = (
    {},
    {"dropout": 0.25, "attention_dropout": 0.5, "head_dropout": 0.0},
    {"dropout": 0.25, "drop_path": 0.5},
    {"attention_dropout": 0.5},
    {"gelu": "quick"},
    {"pad": None},
    {"pad": 5},
    {"tied": False},
    {"classes": 3},
    {"classes": 3, "labels": ("a", "b", "c")},
    {"eps": 1e-3},
    {"image": (672, 1120), "channels": 1},
    {"image": (64, 64), "patch": (4, 8), "antialias": False},
    {"registers": 3, "prefix_positions": 0, "layer_scale": 0.5, "qkv_bias": False},
    {"class_token": False, "prefix_positions": 0, "pooling": "mean", "pooled_norm": True},
    {"end": 3, "scale": 1.5, "bias": -10.0},
)
FIELDS = {name: {f.name for f in dataclasses.fields(kind)} for name, kind in CONFIGS.items()}


@pytest.mark.parametrize(
    ("family", "changes"),
    [(f, changes) for f in sorted(MODELS) for changes in CHANGES if changes.keys() <= FIELDS[f]],
    ids=str,
)
def test_a_config_comes_back_from_its_published_form(family, changes):
    for config in MODELS[family].presets.values():
        changed = dataclasses.replace(config, **changes)
        theirs = to_theirs(TABLES[family], changed, "X")
        assert read(family, json.loads(json.dumps(theirs))) == changed


@pytest.mark.parametrize(
    ("family", "theirs", "field", "value"),
    [
        ("gpt2", {"n_inner": None, "n_embd": 24}, "hidden", 96),
        ("gpt2", {"n_ctx": 1024, "summary_type": "cls_index", "n_head": 6}, "heads", 6),
        ("gpt2", {"hidden_size": 24, "n_embd": 24}, "width", 24),
        ("gpt2", {"task_specific_params": {"text-generation": {"max_length": 50}}}, "depth", 12),
        ("gpt2", {"some_note": "hello", "off": False, "none": None, "empty": []}, "depth", 12),
        ("gpt2", {"activation_function": "gelu"}, "gelu", "erf"),
        ("bert", {"gradient_checkpointing": False, "pooler_type": "first"}, "gelu", "erf"),
        ("bert", {"pad_token_id": None}, "pad", None),
        ("bert", {"id2label": {"0": "ham", "1": "spam"}}, "labels", ("ham", "spam")),
        ("bert", {"id2label": {"0": "LABEL_0"}}, "classes", 1),
        ("bert", {"num_labels": 7}, "classes", 7),
        ("vit", {"image_size": 32, "patch_size": [8, 4]}, "image", (32, 32)),
        ("vit", {"image_size": 32, "patch_size": [8, 4]}, "patch", (8, 4)),
        ("clip", {"vision_config": {"hidden_size": 24, "dropout": 0.0}}, "image_width", 24),
        ("clip", {"text_config": {"hidden_size": 16}}, "text_width", 16),
        ("clip", {"text_config_dict": {"hidden_size": 16}}, "text_width", 16),
        ("clip", {"text_config": None, "vision_config_dict": None}, "text_width", 512),
        ("clip", {"text_config": {"projection_dim": 9}, "projection_dim": 24}, "embed", 24),
        ("bert", {"classifier_dropout": None, "hidden_dropout_prob": 0.3}, "head_dropout", 0.3),
    ],
    ids=repr,
)
def test_what_real_files_hold_is_read(family, theirs, field, value):
    assert getattr(read(family, theirs), field) == value


HOSTILE = [0, -1, 2**31, 10**9, 2**63, 10**400, 1.5, float("nan"), True, None, "768", [], {}, [768]]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: repr(v)[:12])
@pytest.mark.parametrize("key", ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head"])
def test_a_hostile_number_is_one_clear_error(key, value):
    with pytest.raises(ConfigError, match=r"expected|multiple|parameters"):
        read("gpt2", {key: value})


@pytest.mark.parametrize(
    ("family", "theirs", "sentence"),
    [
        ("gpt2", {"model_type": "llama"}, "model_type is 'llama', not 'gpt2'"),
        ("gpt2", {"activation_function": "relu"}, "activation_function = 'relu' is not supported"),
        ("gpt2", {"activation_function": ["gelu"]}, "is not supported"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "is not supported; only False is"),
        ("gpt2", {"add_cross_attention": True}, "is not supported"),
        ("gpt2", {"n_head": 7}, "width 768 is not a multiple of heads 7"),
        ("gpt2", {"resid_pdrop": 0.1, "embd_pdrop": 0.0}, "differ; one number serves both"),
        ("gpt2", {"attn_pdrop": 1.0}, "attention_dropout is 1.0; expected at least 0 and below 1"),
        ("gpt2", {"attn_pdrop": float("nan")}, "expected at least 0"),
        ("gpt2", {"attn_pdrop": "0.1"}, "attention_dropout is '0.1'; expected float"),
        ("gpt2", {"layer_norm_epsilon": 0}, "eps is 0.0; expected a positive number"),
        ("gpt2", {"layer_norm_epsilon": float("inf")}, "eps is inf"),
        ("gpt2", {"layer_norm_epsilon": None}, "eps is 'None'; expected float"),
        ("gpt2", {"rotary_dim": 64}, "no knowledge of {'rotary_dim': 64}"),
        ("gpt2", {"use_layerscale": True}, "no knowledge of"),
        ("gpt2", {"n_embd": 2**21, "n_head": 1, "n_layer": 4096}, "parameters"),
        ("gpt2", {"pad_token_id": "x"}, "pad is 'x'; expected NoneType or int"),
        ("gpt2", {"tie_word_embeddings": 1}, "tied is '1'; expected bool"),
        ("bert", {"position_embedding_type": "relative_key"}, "is not supported"),
        ("bert", {"is_decoder": True}, "is not supported"),
        ("bert", {"id2label": ["a"]}, "id2label is"),
        ("bert", {"id2label": {"0": 1}}, "id2label is"),
        ("bert", {"id2label": {"0": "a", "2": "b"}}, "id2label has no entry '1'"),
        ("bert", {"id2label": {"0": "a"}, "num_labels": 2}, "num_labels = 2 but id2label names 1"),
        ("bert", {"num_labels": 0}, "classes is 0"),
    ],
    ids=repr,
)
def test_what_is_not_supported_is_refused(family, theirs, sentence):
    with pytest.raises(ConfigError, match=sentence.replace("{", r"\{").replace("[", r"\[")):
        read(family, theirs)


def test_an_unknown_number_passes_only_when_not_strict():
    assert read("gpt2", {"rotary_dim": 64}, strict=False) == GPT2Config()


def test_labels_must_be_as_many_as_classes():
    with pytest.raises(ValueError, match="3 labels for 2 classes"):
        BERTConfig(labels=("a", "b", "c"))
