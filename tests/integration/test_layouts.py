"""Layouts of other libraries: there and back with every bit, and what each cannot hold."""

import json
from contextlib import nullcontext

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError
from zoo.images import ImageProcessor
from zoo.models import CLIP, GPT2, ViT, load
from zoo.models.convert import convert, read

TIMM_EPS = 1e-6
VITS = {
    "plain": {},
    "rectangle": {"image": (24, 10)},
    "mean": {"pooling": "mean", "class_token": False, "prefix_positions": 0, "pooled_norm": True},
    "registers": {"registers": 2, "prefix_positions": 0, "layer_scale": 0.5},
    "no-bias": {"qkv_bias": False, "gelu": "quick"},
    "named": {"labels": ("a", "b", "c")},
}
SQUARE = {"image": (12, 12), "patch": (4, 4), "eps": 1e-5}
NARROW = SQUARE | {
    "image_width": 128, "image_heads": 2, "text_width": 64, "text_heads": 1,
}  # fmt: skip
CLIPS = {
    "openai": NARROW | {"gelu": "quick"},
    "open_clip": SQUARE | {"gelu": "erf", "image": (12, 20)},
    "quick": SQUARE | {"gelu": "quick"},
    "biased": SQUARE | {"gelu": "erf", "bias": -3.0},
}


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def round_trip(model, folder, layout, **options):
    """Save, convert there and back, both verified; give the config and model that come back."""
    model.eval().save_pretrained(folder / "from")
    there = convert(folder / "from", folder / "to", to=layout, verify=True, **options)
    assert (there.layout, there.difference) == (layout, 0.0)
    back = convert(folder / "to", folder / "back", verify=True)
    assert back.difference == 0.0
    return load(folder / "back", dtype=torch.float64)


@pytest.mark.parametrize("changes", VITS.values(), ids=VITS)
@pytest.mark.parametrize("head", ["image", None])
def test_a_vit_goes_to_timm_and_comes_back(tmp_path, changes, head):
    model = tiny("vit", head, eps=TIMM_EPS, **changes | ({} if head else {"pooler": False}))
    back = round_trip(model, tmp_path, "timm")
    assert same(model, back)
    mine, theirs = vars(model.config), vars(back.config)
    left = {"pooler", "layer_scale"} | (set() if head else {"classes", "labels"})
    assert {k: v for k, v in mine.items() if k not in left} == {
        k: v for k, v in theirs.items() if k not in left
    }


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_goes_there_and_comes_back(tmp_path, name):
    layout = "openai" if name == "openai" else "open_clip"
    model = tiny("clip", "match", **CLIPS[name])
    back = round_trip(model, tmp_path, layout)
    assert same(model, back)
    changed = {k for k, v in vars(model.config).items() if getattr(back.config, k) != v}
    assert changed <= {"classes", "scale"}  # which neither layout says


def test_openais_names_need_no_config(tmp_path):
    model = tiny("clip", "match", **CLIPS["openai"]).eval()
    model.save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to", to="openai")
    (tmp_path / "to" / "config.json").unlink()
    state = load_file(tmp_path / "to" / "model.safetensors")
    assert {"visual.conv1.weight", "text_projection", "ln_final.bias"} <= state.keys()
    assert same(read(tmp_path / "to", unpickle=False), model)
    sizes = {"input_resolution": 12, "context_length": 13, "vocab_size": 97}
    torch.save(state | {n: torch.tensor(v) for n, v in sizes.items()}, tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match=r"is a pickle.*--unpickle"):
        read(tmp_path / "clip.pt", unpickle=False)
    assert same(read(tmp_path / "clip.pt", unpickle=True), model)


def test_a_training_state_of_open_clip_is_read(tmp_path):
    model = tiny("clip", "match", **CLIPS["quick"]).eval()
    model.save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to", to="open_clip")
    weights = tmp_path / "to" / "open_clip_model.safetensors"
    state = {f"module.{name}": x for name, x in load_file(weights).items()}
    weights.unlink()
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "to" / "open_clip_pytorch_model.bin")
    assert same(read(tmp_path / "to", unpickle=True), model)


def test_a_pickle_of_something_else_is_refused_by_what_it_lacks(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"neither nanoGPT's.*nor OpenAI's CLIP"):
        read(tmp_path / "a.pt", unpickle=True)


def test_biases_that_a_nanogpt_leaves_out_are_zero(tmp_path):
    model = tiny("gpt2", "lm", gelu="erf", eps=1e-5, hidden=80).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    model.save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to", to="nanogpt")
    held = torch.load(tmp_path / "to" / "ckpt.pt")
    held["model"] = {n: x for n, x in held["model"].items() if not n.endswith("bias")}
    torch.save(held, tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match="bias is missing"):
        read(tmp_path / "whole.pt", unpickle=True)
    held["model_args"]["bias"] = False
    torch.save(held, tmp_path / "bare.pt")
    assert same(read(tmp_path / "bare.pt", unpickle=True), model)


def test_an_archive_of_code_is_refused_with_the_way_out(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"TorchScript archive.*torch.jit.load"):
        read(tmp_path / "a.pt", unpickle=True)


@pytest.mark.parametrize(("layout", "name"), [("timm", "vit"), ("open_clip", "clip")])
def test_the_pixels_go_along(tmp_path, layout, name):
    """What the first folder makes of a picture, the converted ones make too."""
    size = (12, 20) if name == "vit" else (12, 12)
    changes = {"eps": TIMM_EPS, "image": size} if name == "vit" else CLIPS["quick"]
    model = tiny(name, "image" if name == "vit" else "match", **changes).float()
    model.save_pretrained(tmp_path / "from")
    made = getattr(ImageProcessor, name)(size)
    made.save(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to", to=layout)
    (tmp_path / "to" / "preprocessor_config.json").unlink()  # its own words must do
    convert(tmp_path / "to", tmp_path / "back")
    picture = Image.effect_noise((40, 30), 90).convert("RGB")
    for folder in ("to", "back"):
        processor = ImageProcessor.from_folder(tmp_path / folder)
        assert torch.equal(processor(picture), made(picture)), folder


def write_timm(folder, edit=lambda about, state: None, **changes):
    model = tiny("vit", "image", eps=TIMM_EPS, **changes).float()
    model.save_pretrained(folder / "from")
    convert(folder / "from", folder / "to", to="timm")
    about = json.loads((folder / "to" / "config.json").read_text())
    state = load_file(folder / "to" / "model.safetensors")
    edit(about, state)
    (folder / "to" / "config.json").write_text(json.dumps(about))
    save_file(state, folder / "to" / "model.safetensors", metadata={"format": "pt"})
    return folder / "to"


def test_heads_come_from_the_name_or_from_the_caller(tmp_path):
    def without_arguments(about, state):
        about["architecture"] = "vit_odd_patch4"
        del about["model_args"]

    folder = write_timm(tmp_path, without_arguments, image=(12, 12), patch=(4, 4))
    with pytest.raises(CheckpointError, match="does not tell the number of heads: pass --heads"):
        read(folder, unpickle=False)
    assert read(folder, unpickle=False, heads=4).config.heads == 4


TIMM_REFUSED = {
    "another-model": (lambda a, s: a.update(architecture="resnet50"), "'resnet50'.*no plain ViT"),
    "an-argument": (lambda a, s: a["model_args"].update(qk_norm=True), "'qk_norm': True.*no plain"),
    "a-pooling": (lambda a, s: a["model_args"].update(global_pool="map"), "pooling 'map'"),
    "a-gelu": (lambda a, s: a["model_args"].update(act_layer="silu"), "'silu' is not supported"),
    "a-tensor": (
        lambda a, s: s.update({"norm_pre.bias": s["norm.bias"] + 1}),
        "norm_pre.bias is unexp",
    ),
    "a-norm-before": (
        lambda a, s: s.update({"norm_pre.weight": s["norm.weight"] + 1}),
        "normalises before its first block, as the towers of CLIP do",
    ),
    "norm-behind": (
        lambda a, s: a.update(architecture="vit_base_patch16_rpn_224"),
        "'vit_base_patch16_rpn_224'.*no plain",
    ),
    "a-far-block": (
        lambda a, s: s.update({"blocks.9000000.norm1.weight": s["norm.weight"] + 1}),
        r"4 of blocks.\{\}.norm1.weight, and the last has number 9000000",
    ),
    "blocks-cut-off": (
        lambda a, s: [s.pop(name) for name in list(s) if name.startswith("blocks.2.")],
        "the config says depth 3, the weights hold 2",
    ),
    "a-list-for-a-word": (
        lambda a, s: a["model_args"].update(act_layer=["gelu"]),
        r"\['gelu'\] is not supported",
    ),
    "a-missing-one": (lambda a, s: s.pop("blocks.1.norm2.bias"), "blocks.1.norm2.bias is missing"),
    "no-patches": (
        lambda a, s: s.pop("patch_embed.proj.weight"),
        "patch_embed.proj.weight is miss",
    ),
    "positions": (
        lambda a, s: s.update({"pos_embed": s["pos_embed"][:, :7].contiguous()}),
        r"7 positions, 1 of them or none before the patches: no grid of \[12, 10\] pixels",
    ),
}


@pytest.mark.parametrize(("edit", "sentence"), TIMM_REFUSED.values(), ids=TIMM_REFUSED)
def test_what_is_no_vit_of_ours_is_refused(tmp_path, edit, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        read(write_timm(tmp_path, edit), unpickle=False)


def vit(**changes):
    return lambda: tiny("vit", "image", **changes)


def clip(**changes):
    return lambda: tiny("clip", "match", **changes)


UNHOLDABLE = {
    "timm-eps": (vit(), "timm", "eps 1e-06, this model with 0.01.*--approximate"),
    "timm-head": (lambda: tiny("vit", "masked_image"), "timm", "not head 'masked_image'"),
    "timm-positions": (
        vit(eps=TIMM_EPS, registers=2, prefix_positions=1),
        "timm",
        "not 1 of 3",
    ),
    "timm-clip": (clip(), "timm", "holds ViT only, not clip"),
    "openai-gelu": (clip(**SQUARE), "openai", "this model's heads cannot be said there"),
    "openai-heads": (clip(**NARROW | {"image_heads": 4}), "openai", "this model's heads cannot"),
    "openai-vit": (vit(), "openai", "holds GPT-2 and CLIP, not vit"),
    "open-clip-eps": (clip(), "open_clip", "has eps 1e-05 and square patches"),
    "open-clip-end": (clip(**SQUARE, end=5), "open_clip", "largest id; here end = 5 of 97"),
    "open-clip-part": (lambda: tiny("clip", "image"), "open_clip", "holds a whole CLIP only"),
    "nanogpt-vit": (vit(), "nanogpt", "holds GPT-2 only, not vit"),
}


@pytest.mark.parametrize(("make", "layout", "sentence"), UNHOLDABLE.values(), ids=UNHOLDABLE)
def test_a_layout_that_cannot_hold_a_model_says_why(tmp_path, make, layout, sentence):
    make().save_pretrained(tmp_path / "from")
    with pytest.raises(ValueError, match=sentence):
        convert(tmp_path / "from", tmp_path / "to", to=layout)


def test_another_eps_passes_when_told_to(tmp_path):
    model = tiny("vit", "image", eps=1e-12).float().eval()
    model.save_pretrained(tmp_path / "from")
    done = convert(tmp_path / "from", tmp_path / "to", to="timm", approximate=True, verify=True)
    assert 0 < done.difference < 1e-4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("{}", "is no config of open_clip's"),
        ('{"model_cfg": []}', "is no config of open_clip's"),
        ('{"model_cfg": {"vision_cfg": {"timm_model_name": "x"}, "text_cfg": {}}}', "no knowledge"),
        ('{"model_cfg": {"vision_cfg": {}, "text_cfg": {"hf_model_name": "r"}}}', "no knowledge"),
    ],
    ids=range(4),
)
def test_a_config_of_open_clip_that_is_no_clip_is_refused(tmp_path, settings, sentence):
    (tmp_path / "open_clip_config.json").write_text(settings)
    with pytest.raises(CheckpointError, match=sentence):
        read(tmp_path, unpickle=False)


def test_a_custom_text_tower_is_refused(tmp_path):
    tiny("clip", "match", **CLIPS["quick"]).save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to", to="open_clip")
    path = tmp_path / "to" / "open_clip_model.safetensors"
    state = load_file(path)
    save_file({n if "visual" in n else f"text.{n}": x for n, x in state.items()}, path)
    with pytest.raises(CheckpointError, match=r"begin with 'text\.', as"):
        read(tmp_path / "to", unpickle=False)


OPEN_CLIP_REFUSED = {
    "layers": ("vision_cfg", {"layers": 9}, "the config says layers 9, the weights hold 2"),
    "context": ("text_cfg", {"context_length": 77}, "context_length 77, the weights hold 13"),
    "no-width": ("vision_cfg", {"head_width": 0}, "head_width 0 should be a whole number from 1"),
    "pooling": ("text_cfg", {"pool_type": "eos"}, "no knowledge of .*eos"),
    "prefix": (None, {"custom_text": True}, "no knowledge of .*custom_text"),
    "words": (None, {"quick_gelu": "false"}, "quick_gelu 'false' true or false"),
}


@pytest.mark.parametrize("case", [*OPEN_CLIP_REFUSED, None])
def test_a_config_of_open_clip_fits_its_weights(tmp_path, case):
    part, changes, sentence = OPEN_CLIP_REFUSED.get(case, ("text_cfg", {"pool_type": "argmax"}, ""))
    tiny("clip", "match", **CLIPS["quick"]).save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to", to="open_clip")
    path = tmp_path / "to" / "open_clip_config.json"
    about = json.loads(path.read_text())
    (about["model_cfg"][part] if part else about["model_cfg"]).update(changes)
    path.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=sentence) if sentence else nullcontext():
        read(tmp_path / "to", unpickle=False)


def test_families_are_what_they_were(tmp_path):
    assert isinstance(read(write_timm(tmp_path), unpickle=False), ViT)
    tiny("gpt2", "lm").save_pretrained(tmp_path / "gpt2")
    assert isinstance(read(tmp_path / "gpt2", unpickle=False), GPT2)
    tiny("clip", "image").save_pretrained(tmp_path / "clip")
    assert isinstance(read(tmp_path / "clip", unpickle=False), CLIP)
