"""CLIP by OpenAI's names: a config told from shapes and open_clip's words, and what is written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoo.checkpoint import CheckpointError
from zoo.models.clip_config import CLIPConfig
from zoo.models.layouts import openai_clip

HERE = Path("some/folder")
VISION, TEXT = "visual.transformer.resblocks", "transformer.resblocks"
# every size another; 6 x 15 pixels of 3 x 5 patches are 2 x 3, and a class token
SHAPES = {
    "visual.conv1.weight": (128, 2, 3, 5),
    "visual.positional_embedding": (7, 128),
    "token_embedding.weight": (97, 192),
    "positional_embedding": (13, 192),
    "text_projection": (192, 14),
    f"{VISION}.0.ln_1.weight": (128,),
    f"{VISION}.0.mlp.c_fc.weight": (36, 128),
    f"{VISION}.1.ln_1.weight": (128,),
    f"{TEXT}.0.ln_1.weight": (192,),
    f"{TEXT}.0.mlp.c_fc.weight": (28, 192),
    f"{TEXT}.1.ln_1.weight": (192,),
    f"{TEXT}.2.ln_1.weight": (192,),
}
PLAIN = CLIPConfig(
    embed=14, image=(6, 15), patch=(3, 5), channels=2, image_width=128, image_depth=2,
    image_heads=2, image_hidden=36, text_width=192, text_depth=3, text_heads=3, text_hidden=28,
    vocab=97, context=13, end=96, eps=1e-5, gelu="erf",
)  # fmt: skip


def tensors_of(changes):
    shapes = {name: shape for name, shape in (SHAPES | changes).items() if shape is not None}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def said(vision=None, text=None, **more):
    return {"vision_cfg": {"image_size": [6, 15]} | (vision or {}), "text_cfg": text or {}} | more


SQUARE = {"visual.positional_embedding": (5, 128)}
BIASED = {"logit_bias": ()}
# name -> (open_clip's config or None, other shapes, what is other than in PLAIN)
READ = {
    "as it is": (said(), {}, {}),
    "said as it is": (
        said(
            {"layers": 2, "width": 128, "head_width": 64, "mlp_ratio": 9},
            {"context_length": 13, "vocab_size": 97, "width": 192, "layers": 3, "heads": None}
            | {"heads": 3},
            embed_dim=14,
            quick_gelu=False,
        ),
        {},
        {},
    ),
    "quick": (said(quick_gelu=True), {}, {"gelu": "quick"}),
    "no config": (None, SQUARE, {"gelu": "quick", "image": (6, 10)}),
    "no size": (said({"image_size": None}), SQUARE, {"image": (6, 10)}),
    "one number": (
        said({"image_size": 15}),
        {"visual.positional_embedding": (16, 128)},
        {"image": (15, 15)},
    ),
    "a size of others": (said({"image_size": [30, 30]}), SQUARE, {"image": (6, 10)}),
    "another size of as many": (said({"image_size": [3, 30]}), {}, {"image": (3, 30)}),
    "a size of texts": (said({"image_size": ["6", "15"]}), SQUARE, {"image": (6, 10)}),
    "a size of three": (said({"image_size": [6, 15, 3]}), SQUARE, {"image": (6, 10)}),
    "narrow heads": (said({"head_width": 32}), {}, {"image_heads": 4}),
    "heads of a text": (said(None, {"heads": 6}), {}, {"text_heads": 6}),
    "a bias": (said(), BIASED, {"bias": -10.0}),
    "a bias that is said": (said(init_logit_bias=-3.0), BIASED, {"bias": -3.0}),
    "a bias that is not there": (said(init_logit_bias=-3.0), {}, {}),
}


@pytest.mark.parametrize("row", READ)
def test_a_config_is_told_from_shapes_and_words(row):
    about, shapes, changes = READ[row]
    found = openai_clip.config_of(HERE, about, tensors_of(shapes))
    assert found == replace(PLAIN, **changes)


HEADS = "head_width {!r} should be a whole number from 1, and quick_gelu {!r} true or false"


def axes(name, count):
    return f"{name} is missing, empty or has not {count} axes"


REFUSED = {
    "no patches": (said(), {"visual.conv1.weight": None}, axes("visual.conv1.weight", 4)),
    "patches of no width": (
        said(),
        {"visual.conv1.weight": (128, 2, 3, 0)},
        axes("visual.conv1.weight", 4),
    ),
    "a size that is half": (
        said({"image_size": 5.5}),
        {},
        "'float' object is not iterable",
    ),
    "flat positions": (
        said(),
        {"visual.positional_embedding": (7,)},
        axes("visual.positional_embedding", 2),
    ),
    "no tokens": (
        said(),
        {"token_embedding.weight": None},
        axes("token_embedding.weight", 2),
    ),
    "no positions": (said(), {"positional_embedding": None}, axes("positional_embedding", 2)),
    "no projection": (said(), {"text_projection": None}, axes("text_projection", 2)),
    "no MLP of pictures": (
        said(),
        {f"{VISION}.0.mlp.c_fc.weight": None},
        axes(f"{VISION}.0.mlp.c_fc.weight", 2),
    ),
    "no MLP of texts": (
        said(),
        {f"{TEXT}.0.mlp.c_fc.weight": (28,)},
        axes(f"{TEXT}.0.mlp.c_fc.weight", 2),
    ),
    "a far block": (
        said(),
        {f"{TEXT}.9.ln_1.weight": (192,)},
        f"4 of {TEXT}.{{}}.ln_1.weight, and the last has number 9",
    ),
    "a far block of pictures": (
        said(),
        {f"{VISION}.9.ln_1.weight": (192,)},
        f"3 of {VISION}.{{}}.ln_1.weight, and the last has number 9",
    ),
    "another space": (said(embed_dim=15), {}, "the config says embed_dim 15, the weights hold 14"),
    "other pictures": (
        said({"layers": 3, "width": 127}),
        {},
        "the config says layers 3, the weights hold 2; width 127, the weights hold 128",
    ),
    "other texts": (
        said(None, {"layers": 2, "width": 1, "vocab_size": 2, "context_length": 3}),
        {},
        "the config says context_length 3, the weights hold 13; vocab_size 2, the weights hold "
        "97; width 1, the weights hold 192; layers 2, the weights hold 3",
    ),
    "no width of a head": (said({"head_width": 0}), {}, HEADS.format(0, None)),
    "half a width": (said({"head_width": 6.5}, quick_gelu=True), {}, HEADS.format(6.5, True)),
    "a truth for a width": (said({"head_width": True}), {}, HEADS.format(True, None)),
    "a word for a gelu": (said(quick_gelu="false"), {}, HEADS.format(64, "false")),
    "no gelu": (said(quick_gelu=None), {}, HEADS.format(64, None)),
    "heads": (said(None, {"heads": 5}), {}, "text_width 192 is not a multiple of text_heads 5"),
    "a bias in words": (
        said(init_logit_bias="low"),
        BIASED,
        "bias is 'low'; expected a number",
    ),
    "no square": (
        said({"image_size": [6, 10]}),
        {},
        "6 positions are no square grid; the config must say the image's size",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_no_clip_of_ours_is_refused(row):
    about, shapes, sentence = REFUSED[row]
    with pytest.raises(CheckpointError) as caught:
        openai_clip.config_of(HERE, about, tensors_of(shapes))
    assert str(caught.value) == f"{HERE}: {sentence}"


def test_one_wide_heads_are_the_narrowest():
    found = openai_clip.config_of(HERE, said({"head_width": 1}), tensors_of({}))
    assert found.image_heads == 128


def put(folder, **about):
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": about}))
    return folder


USUAL = {
    "embed_dim": 14,
    "vision_cfg": {"layers": 2, "timm_pool": "avg", "timm_proj": "linear", "patch_dropout": 0.5}
    | {"attn_pooler_queries": 256, "attn_pooler_heads": 8, "timm_model_name": None},
    "text_cfg": {"heads": 3, "pool_type": "tok", "proj_type": "linear", "eos_id": 2}
    | {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"a": 1}, "pos_embed_type": "learnable"},
    "quick_gelu": True,
    "init_logit_bias": -10,
    "init_logit_scale": 2.0,
    "custom_text": False,
    "multimodal_cfg": None,
}


def test_settings_that_change_nothing_may_be_spelt_out(tmp_path):
    found = openai_clip.read_about(put(tmp_path, **USUAL))
    assert found == USUAL and type(found) is dict
    plain = {"vision_cfg": {}, "text_cfg": {"pool_type": "argmax", "embed_cls": False}}
    assert openai_clip.read_about(put(tmp_path, **plain)) == plain


STRANGE = {
    "a text's own model": ("text_cfg", {"hf_model_name": "r"}, "{'hf_model_name': 'r'}"),
    "a picture's own model": ("vision_cfg", {"timm_model_name": "x"}, "{'timm_model_name': 'x'}"),
    "another pooling": ("text_cfg", {"pool_type": "eos"}, "{'pool_type': 'eos'}"),
    "another of two": (
        "text_cfg",
        {"pool_type": "last", "proj_type": "mlp"},
        "{'pool_type': 'last', 'proj_type': 'mlp'}",
    ),
    "another end": ("text_cfg", {"eos_id": 3}, "{'eos_id': 3}"),
    "what a picture has not": ("vision_cfg", {"vocab_size": 9}, "{'vocab_size': 9}"),
    "what a text has not": ("text_cfg", {"head_width": 9}, "{'head_width': 9}"),
    "a text of its own": (None, {"custom_text": True}, "{'custom_text': True}"),
    "a class token of texts": ("text_cfg", {"embed_cls": True}, "embed_cls"),
}


@pytest.mark.parametrize("row", STRANGE)
def test_an_architecture_that_is_not_ours_is_named(tmp_path, row):
    part, changes, named = STRANGE[row]
    about = dict(USUAL)
    about |= {part: USUAL[part] | changes} if part else changes
    with pytest.raises(CheckpointError) as caught:
        openai_clip.read_about(put(tmp_path, **about))
    place = tmp_path / "open_clip_config.json"
    assert str(caught.value) == f"{place}: no knowledge of {named}; it is no CLIP"


NO_CONFIGS = {
    "nothing": ("{}", "KeyError('model_cfg')"),
    "a list": (
        '{"model_cfg": []}',
        "TypeError('list indices must be integers or slices, not str')",
    ),
    "no pictures": ('{"model_cfg": {"text_cfg": {}}}', "KeyError('vision_cfg')"),
    "no texts": ('{"model_cfg": {"vision_cfg": {}}}', "KeyError('text_cfg')"),
    "a number": (
        '{"model_cfg": {"vision_cfg": 3, "text_cfg": {}}}',
        "TypeError(\"'int' object is not iterable\")",
    ),
    "a word": (
        '{"model_cfg": {"vision_cfg": {}, "text_cfg": "abc"}}',
        "ValueError('dictionary update sequence element #0 has length 1; 2 is required')",
    ),
}


@pytest.mark.parametrize("row", NO_CONFIGS)
def test_a_file_that_is_no_config_of_open_clips_is_refused(tmp_path, row):
    text, fault = NO_CONFIGS[row]
    place = tmp_path / "open_clip_config.json"
    place.write_text(text)
    with pytest.raises(CheckpointError) as caught:
        openai_clip.read_about(tmp_path)
    assert str(caught.value) == f"{place} is no config of open_clip's: {fault}"
