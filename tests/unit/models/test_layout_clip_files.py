"""CLIP by OpenAI's names as files: what is written, word for word, and what comes back of it."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError, read_folder
from zoo.models.layouts import openai_clip

SQUARE = {"image": (12, 12), "patch": (4, 4), "eps": 1e-5}
OPENAI = SQUARE | {
    "gelu": "quick", "image_width": 128, "image_heads": 2, "text_width": 64, "text_heads": 1,
}  # fmt: skip


def clip(**changes):
    return tiny("clip", "match", **changes).float()


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_tensors_have_openais_names_and_shapes(tmp_path):
    model = clip(**OPENAI)
    openai_clip.write_openai(model, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    block = {
        "ln_1.weight": "d", "ln_1.bias": "d", "attn.in_proj_weight": "3d,d",
        "attn.in_proj_bias": "3d", "attn.out_proj.weight": "d,d", "attn.out_proj.bias": "d",
        "ln_2.weight": "d", "ln_2.bias": "d", "mlp.c_fc.weight": "m,d", "mlp.c_fc.bias": "m",
        "mlp.c_proj.weight": "d,m", "mlp.c_proj.bias": "d",
    }  # fmt: skip

    def blocks(prefix, depth, d, m):
        sizes = {"d": d, "3d": 3 * d, "m": m}
        return {
            f"{prefix}transformer.resblocks.{n}.{name}": tuple(sizes[s] for s in shape.split(","))
            for n in range(depth)
            for name, shape in block.items()
        }

    assert {name: tuple(t.shape) for name, t in state.items()} == {
        "visual.conv1.weight": (128, 3, 4, 4),
        "visual.class_embedding": (128,),
        "visual.positional_embedding": (10, 128),
        "visual.ln_pre.weight": (128,),
        "visual.ln_pre.bias": (128,),
        **blocks("visual.", 2, 128, 36),
        "visual.ln_post.weight": (128,),
        "visual.ln_post.bias": (128,),
        "visual.proj": (128, 14),
        "token_embedding.weight": (97, 64),
        "positional_embedding": (13, 64),
        **blocks("", 3, 64, 28),
        "ln_final.weight": (64,),
        "ln_final.bias": (64,),
        "text_projection": (64, 14),
        "logit_scale": (),
    }
    ours = model.state_dict()
    assert torch.equal(state["text_projection"], ours["text_projection.weight"].T)
    assert torch.equal(state["visual.conv1.weight"].view(128, 48), ours["image.patch.weight"])
    assert read_folder(tmp_path).config == model.published_config()
    back = openai_clip.read(tmp_path, None, state)
    assert same(back, model) and back.head_name == "match" and not back.training
    assert back.config == replace(model.config, classes=back.config.classes)


def test_what_archives_carry_beside_the_weights_is_left(tmp_path):
    model = clip(**OPENAI)
    more = {n: torch.tensor(1) for n in ("input_resolution", "context_length", "vocab_size")}
    tensors = openai_clip.published(model) | more | {"attn_mask": torch.zeros(13, 13)}
    assert all(t.is_contiguous() for t in tensors.values())
    assert same(openai_clip.read(tmp_path, None, tensors), model)


# name -> (how the model is another, what of the settings is another)
WRITTEN = {
    "plain": ({"gelu": "erf"}, {}),
    "quick": ({"gelu": "quick"}, {"quick_gelu": True}),
    "oblong": ({"gelu": "erf", "image": (12, 20)}, {"image_size": [12, 20]}),
    "biased": ({"gelu": "erf", "bias": -3.0}, {"init_logit_bias": -3.0}),
}
PIXELS = {"mean": [0.5], "resize_mode": "squash"}


@pytest.mark.parametrize("row", WRITTEN)
def test_what_is_written_for_open_clip_says_every_size_and_comes_back(tmp_path, row):
    changes, others = WRITTEN[row]
    model = clip(**SQUARE | changes)
    place = tmp_path / "deep" / "folder"
    openai_clip.write_open_clip(model, place, PIXELS)
    names = {"open_clip_config.json", "open_clip_model.safetensors"}
    assert {p.name for p in place.iterdir()} == names
    text = (place / "open_clip_config.json").read_text()
    expected = {
        "embed_dim": 14,
        "quick_gelu": others.get("quick_gelu", False),
        "vision_cfg": {
            "image_size": others.get("image_size", 12),
            "layers": 2,
            "width": 20,
            "head_width": 5,
            "patch_size": 4,
            "mlp_ratio": 1.8,
        },
        "text_cfg": {
            "context_length": 13,
            "vocab_size": 97,
            "width": 18,
            "heads": 3,
            "layers": 3,
            "mlp_ratio": 28 / 18,
        },
    }
    if "init_logit_bias" in others:
        expected["init_logit_bias"] = -3.0
    both = {"model_cfg": expected, "preprocess_cfg": PIXELS}
    assert text == json.dumps(both, indent=2) + "\n"
    with safe_open(place / "open_clip_model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"
    state = load_file(place / "open_clip_model.safetensors")
    back = openai_clip.read(place, openai_clip.read_about(place), state)
    assert same(back, model)
    left = {"classes": back.config.classes, "labels": back.config.labels}
    assert back.config == replace(model.config, **left)
    openai_clip.write_open_clip(model, place, {})  # over what is there
    assert json.loads((place / "open_clip_config.json").read_text())["preprocess_cfg"] == {}


def test_a_text_tower_of_its_own_is_refused(tmp_path):
    tensors = openai_clip.published(clip(**OPENAI))
    with pytest.raises(CheckpointError) as caught:
        openai_clip.read(tmp_path, None, tensors | {"text.x": torch.zeros(1)})
    assert str(caught.value) == (
        f"{tmp_path}: the names of its text tower begin with 'text.', as open_clip's custom ones "
        "do; only its plain CLIP is read here"
    )
    with pytest.raises(CheckpointError) as caught:
        openai_clip.read(tmp_path, None, tensors | {"x": torch.zeros(1)})
    assert str(caught.value) == f"{tmp_path}: x is unexpected"
    del tensors["positional_embedding"]
    with pytest.raises(CheckpointError) as caught:
        openai_clip.read(tmp_path, None, tensors)
    sentence = f"{tmp_path}: positional_embedding is missing, empty or has not 2 axes"
    assert str(caught.value) == sentence


WHOLE = "layout {layout!r} holds a whole CLIP only, not this {family}"
SAME = "layout {layout!r} has eps 1e-05 and square patches; here eps = {eps}, patch {patch}"
NAMED = (
    "layout 'openai' means the quick gelu, heads of 64, square images and no bias; this model's {} "
    "cannot be said there: take --to open_clip"
)
EITHER = {
    "another family": (lambda: tiny("vit", None), WHOLE, {"family": "vit"}),
    "a part": (lambda: tiny("clip", "image"), WHOLE, {"family": "clip"}),
    "eps": (
        lambda: clip(**SQUARE | {"eps": 1e-6}),
        SAME,
        {"eps": 1e-6, "patch": (4, 4)},
    ),
    "oblong patches": (
        lambda: clip(eps=1e-5),
        SAME,
        {"eps": 1e-5, "patch": (3, 5)},
    ),
    "another end": (
        lambda: clip(**SQUARE, end=95),
        "layout {layout!r} reads a text at its largest id; here end = 95 of 97",
        {},
    ),
}
# name -> (how a model that OpenAI's layout holds is another, what is named)
UNSAID = {
    "the gelu": ({"gelu": "erf"}, "gelu"),
    "heads of pictures": ({"image_heads": 4}, "heads"),
    "heads of texts": ({"text_heads": 2}, "heads"),
    "an oblong image": ({"image": (12, 16)}, "image"),
    "a bias": ({"bias": 0.0}, "bias"),
    "all": ({"gelu": "tanh", "image_heads": 4, "image": (12, 16), "bias": -1.0}, None),
}


def refused(tmp_path, write, *arguments):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        write(*arguments)
    assert not any(tmp_path.iterdir())
    return str(caught.value)


@pytest.mark.parametrize("row", EITHER)
def test_what_neither_library_holds_is_not_written(tmp_path, row):
    make, sentence, about = EITHER[row]
    model = make()
    said = refused(tmp_path, openai_clip.write_openai, model, tmp_path)
    assert said == sentence.format(layout="openai", **about)
    said = refused(tmp_path, openai_clip.write_open_clip, model, tmp_path, {})
    assert said == sentence.format(layout="open_clip", **about)


@pytest.mark.parametrize("row", UNSAID)
def test_what_openais_names_cannot_say_is_named(tmp_path, row):
    changes, named = UNSAID[row]
    said = refused(tmp_path, openai_clip.write_openai, clip(**OPENAI | changes), tmp_path)
    assert said == NAMED.format(named or "gelu, heads, image, bias")


def test_a_gelu_that_open_clip_has_not_is_not_written(tmp_path):
    model = clip(**SQUARE, gelu="tanh")
    said = refused(tmp_path, openai_clip.write_open_clip, model, tmp_path, {})
    assert said == "open_clip computes the quick or the exact gelu, not the tanh form"
