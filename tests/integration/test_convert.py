"""Conversion: which layout a folder is read as, what goes along, and what is compared."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError, read_folder
from zoo.images import ImageProcessor
from zoo.models.convert import (
    Conversion,
    compare,
    config_beside,
    convert,
    copy_companions,
    inputs_of,
    pixels_of,
    processor_of,
    read,
    read_file,
    widest,
    with_config_of,
    write,
)

SQUARE = {"image": (12, 12), "patch": (4, 4), "eps": 1e-5, "gelu": "quick"}
NARROW = SQUARE | {"image_width": 128, "image_heads": 2, "text_width": 64, "text_heads": 1}
# layout -> (family, head, how its tiny preset is another)
HELD = {
    "hf": ("bert", "masked_lm", {}),
    "openai": ("clip", "match", NARROW),
    "nanogpt": ("gpt2", "lm", {"gelu": "erf", "eps": 1e-5, "hidden": 80}),
    "open_clip": ("clip", "match", SQUARE),
    "timm": ("vit", "image", {"eps": 1e-6}),
}


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder in each layout, with the model that it holds; tests only read them."""
    made = {}
    for layout, (family, head, changes) in HELD.items():
        model = tiny(family, head, **changes).float().eval()
        place = tmp_path_factory.mktemp(layout) / "folder"
        write(model, place, layout, approximate=False, pixels={"mean": [0.5]})
        made[layout] = (place, model)
    return made


def link(place, target, *names):
    """Put files of a folder into another one."""
    target.mkdir(exist_ok=True)
    for name in names or [p.name for p in place.iterdir()]:
        (target / name).hardlink_to(place / name)
    return target


def fault(function, *arguments, kind=CheckpointError, **options):
    with pytest.raises(kind) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("layout", HELD)
def test_every_layout_is_told_from_what_lies_there(folders, layout):
    place, model = folders[layout]
    back = read(str(place), unpickle=True)
    assert type(back) is type(model) and back.head_name == model.head_name
    assert same(back, model)
    if layout == "nanogpt":
        said = f"{place / 'ckpt.pt'} is a pickle; reading one is off by default. "
        assert fault(read, place, unpickle=False).startswith(said)
    else:
        assert same(read(place, unpickle=False), model)


def test_a_pickle_beside_a_config_is_not_looked_at(folders, tmp_path):
    link(folders["hf"][0], tmp_path)
    (tmp_path / "ckpt.pt").write_bytes(b"")
    assert same(read(tmp_path, unpickle=False), folders["hf"][1])


def test_open_clips_settings_go_before_another_config(folders, tmp_path):
    link(folders["open_clip"][0], tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "vit_tiny"}')
    assert same(read(tmp_path, unpickle=False), folders["open_clip"][1])


def test_a_model_type_goes_before_an_architecture(folders, tmp_path):
    place, model = folders["hf"]
    link(place, tmp_path, "model.safetensors")
    config = json.loads((place / "config.json").read_text()) | {"architecture": "vit_tiny"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert same(read(tmp_path, unpickle=False), model)


def test_heads_are_for_timm(folders, tmp_path):
    place, _ = folders["timm"]
    link(place, tmp_path, "model.safetensors")
    about = json.loads((place / "config.json").read_text()) | {"architecture": "vit_odd"}
    del about["model_args"]
    (tmp_path / "config.json").write_text(json.dumps(about))
    assert fault(read, tmp_path, unpickle=False) == (
        f"{tmp_path}: 'vit_odd' does not tell the number of heads: pass --heads (heads=...)"
    )
    assert read(tmp_path, unpickle=False, heads=5).config.heads == 5


def test_openais_clip_needs_no_config(folders, tmp_path):
    place, model = folders["openai"]
    link(place, tmp_path / "bare", "model.safetensors")
    assert same(read(tmp_path / "bare", unpickle=False), model)
    state = load_file(place / "model.safetensors")
    (tmp_path / "pickled").mkdir()
    torch.save(state, tmp_path / "pickled" / "pytorch_model.bin")
    assert same(read(tmp_path / "pickled", unpickle=True), model)
    torch.save({"state_dict": state}, tmp_path / "clip.pt")
    assert same(read(tmp_path / "clip.pt", unpickle=True), model)
    said = f"{tmp_path / 'clip.pt'} is a pickle; reading one is off by default."
    assert fault(read_file, tmp_path / "clip.pt", unpickle=False).startswith(said)
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pt")
    assert fault(read, tmp_path / "other.pt", unpickle=True) == (
        f"{tmp_path / 'other.pt'} is neither nanoGPT's, which has 'model' and 'model_args', nor "
        "OpenAI's CLIP, which has visual.conv1.weight"
    )


def test_bare_weights_of_another_family_lack_a_config(folders, tmp_path):
    link(folders["hf"][0], tmp_path, "model.safetensors")
    assert fault(read, tmp_path, unpickle=False) == f"{tmp_path} holds no config.json"


def test_openais_names_beside_transformers_config_take_its_scale(folders, tmp_path):
    place, model = folders["openai"]
    link(place, tmp_path, "model.safetensors")
    config = json.loads((place / "config.json").read_text()) | {"logit_scale_init_value": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    back = read(tmp_path, unpickle=False)
    assert same(back, model) and back.config.scale == 3.0
    assert type(back.config.scale) is float
    scaled = with_config_of({}, SimpleNamespace(config=replace(model.config, scale=1.5)))
    assert scaled.config.scale == 1.5


def test_a_config_beside_is_read_as_far_as_it_can_be(tmp_path):
    assert config_beside(tmp_path) == {}
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert config_beside(tmp_path) == {"a": 1}
    (tmp_path / "config.json").write_text("{")
    assert config_beside(tmp_path) == {}


WIDEST = {
    "float16": ["float16"],
    "bfloat16": ["bfloat16"],
    "float32": ["float16", "bfloat16"],
    "float32 ": ["float16", "float32", "int64"],
    "float64": ["bfloat16", "float64", "float32"],
    "float16 ": ["float16", "int64", "bool"],
    "bfloat16 ": ["int64"],
    "bfloat16  ": [],
}


@pytest.mark.parametrize("row", WIDEST)
def test_a_model_is_read_in_the_widest_dtype_that_is_stored(row):
    held = [SimpleNamespace(dtype=getattr(torch, name)) for name in WIDEST[row]]
    assert widest(iter(held)) == getattr(torch, row.strip())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_a_model_is_converted_in_the_dtype_that_it_is_stored_in(tmp_path, dtype):
    model = tiny("gpt2", "lm", depth=1).to(dtype)
    model.save_pretrained(tmp_path / "from")
    assert {p.dtype for p in read(tmp_path / "from", unpickle=False).parameters()} == {dtype}
    done = convert(tmp_path / "from", tmp_path / "to", to="openai", verify=True)
    count = len(model.published_state())
    assert done == Conversion("gpt2", "lm", "openai", count, 0.0)
    folder = read_folder(tmp_path / "to")
    assert {t.dtype for t in folder.tensors.values()} == {dtype}
    assert "wte.weight" in folder.tensors and "h.0.ln_1.bias" in folder.tensors
    assert folder.config == model.published_config()


@pytest.mark.parametrize("layout", ["nanogpt", "timm"])
def test_a_conversion_says_what_was_written(folders, tmp_path, layout):
    place, model = folders[layout]
    done = convert(str(place), str(tmp_path / "to"), unpickle=layout == "nanogpt")
    count = len(model.published_state())
    assert done == Conversion(HELD[layout][0], HELD[layout][1], "hf", count, None)
    assert (tmp_path / "to" / "probe.json").is_file()
    there = convert(tmp_path / "to", tmp_path / "back", to=layout, verify=True)
    assert there == replace(done, layout=layout, difference=0.0)
    assert not (tmp_path / "back" / "probe.json").exists()
    assert same(read(tmp_path / "back", unpickle=True), model)


def test_a_difference_is_the_largest_of_both_ways(tmp_path):
    model = tiny("vit", "image", eps=1e-3).float()
    model.save_pretrained(tmp_path / "from")
    options = {"to": "timm", "verify": True}
    said = fault(convert, tmp_path / "from", tmp_path / "to", kind=ValueError, **options)
    assert said.startswith("timm's ViT computes with eps 1e-06, this model with 0.001")
    done = convert(tmp_path / "from", tmp_path / "to", approximate=True, **options)
    back = read(tmp_path / "to", unpickle=False)
    expected = max(compare(model, back), compare(back, model))
    assert done.difference == expected and expected > 0


def test_a_probe_that_lies_there_is_removed_before_other_weights_come(folders, tmp_path):
    place, _ = folders["timm"]
    (tmp_path / "probe.json").write_text("{}")
    convert(place, tmp_path, to="timm")
    assert not (tmp_path / "probe.json").exists()


def test_an_unknown_layout_and_one_that_cannot_hold_a_model_are_refused(folders, tmp_path):
    place, _ = folders["timm"]
    said = "layout 'keras'; expected one of ('hf', 'openai', 'nanogpt', 'open_clip', 'timm')"
    assert fault(convert, place, tmp_path / "to", to="keras", kind=ValueError) == said
    said = "layout 'openai' holds GPT-2 and CLIP, not vit"
    assert fault(convert, place, tmp_path / "to", to="openai", kind=ValueError) == said
    assert not (tmp_path / "to").exists()


def test_files_beside_the_weights_go_along_and_none_is_written_over(tmp_path):
    source, target = tmp_path / "from", tmp_path / "to"
    names = (
        "tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json "
        "vocab.txt merges.txt bpe_simple_vocab_16e6.txt.gz generation_config.json"
    ).split()
    for folder in (source, target):
        folder.mkdir()
    for name in (*names, "preprocessor_config.json", "README.md", "config.json"):
        (source / name).write_text(name)
    (target / "merges.txt").write_text("mine")
    (source / "vocab.txt").unlink()
    (source / "vocab.txt").mkdir()
    copy_companions(source, target)
    found = {p.name: p.read_text() for p in target.iterdir()}
    expected = {n: n for n in (*names, "preprocessor_config.json") if n != "vocab.txt"}
    assert found == expected | {"merges.txt": "mine"}


def test_settings_of_another_layout_become_a_file_of_ours(tmp_path):
    pixels = {"input_size": [3, 12, 12], "mean": [0.5], "std": [0.25], "crop_pct": 1.0}
    pixels |= {"interpolation": "bilinear", "crop_mode": "squash"}
    about = {"architecture": "vit_tiny", "pretrained_cfg": pixels}
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "config.json").write_text(json.dumps(about))
    (tmp_path / "to").mkdir()
    copy_companions(tmp_path / "from", tmp_path / "to")
    made = processor_of(tmp_path / "from")
    assert made is not None
    assert ImageProcessor.from_folder(tmp_path / "to") == made
    assert processor_of(tmp_path) is None


def test_pixels_are_said_in_the_words_of_the_layout(tmp_path):
    assert pixels_of(tmp_path, "timm") == {}
    crop = replace(
        ImageProcessor.clip((12, 12)), size={"shortest_edge": 16}, image_mean=(0.1, 0.2, 0.3)
    )
    squash = ImageProcessor.vit((12, 20))
    for name, processor in {"crop": crop, "squash": squash}.items():
        (tmp_path / name).mkdir()
        processor.save(tmp_path / name)
    both = {"mean": [0.1, 0.2, 0.3], "std": list(crop.image_std), "interpolation": "bicubic"}
    plain = {"mean": list(squash.image_mean), "std": list(squash.image_std)}
    plain["interpolation"] = "bilinear"
    found = {(n, to): pixels_of(tmp_path / n, to) for n in ("crop", "squash") for to in HELD}
    assert {key: said for key, said in found.items() if said} == {
        ("crop", "timm"): both | {"crop_pct": 0.75, "crop_mode": "center"},
        ("crop", "open_clip"): both | {"resize_mode": "shortest"},
        ("squash", "timm"): plain | {"crop_pct": 1.0, "crop_mode": "squash"},
        ("squash", "open_clip"): plain | {"resize_mode": "squash"},
    }


def test_a_comparison_is_of_outputs_in_float64(folders):
    place, model = folders["nanogpt"]
    assert compare(model, read(place, unpickle=True)) == 0.0
    other = tiny("gpt2", "lm", gelu="erf", eps=1e-5, hidden=80).float()
    with torch.no_grad():
        other.norm.bias += 1e-3
    batch = model.spec.example(model.config, seed=7)
    with torch.no_grad():
        mine = tiny("gpt2", "lm", gelu="erf", eps=1e-5, hidden=80)
        mine.load_state_dict(model.state_dict())
        one = mine.eval()(**batch)
        mine.load_state_dict(other.state_dict())
        two = mine(**batch)
    assert compare(model, other) == compare(other, model) == float((one - two).abs().max()) > 0
    assert {p.dtype for p in model.parameters()} == {torch.float32}


HEADS = {
    ("gpt2", "lm"): {"input_ids": 2},
    ("bert", "multiple_choice"): {"input_ids": 3, "token_type_ids": 3},
    ("vit", "image"): {"pixel_values": 4},
    ("clip", "match"): {"input_ids": 2, "pixel_values": 4},
    ("clip", "image"): {"pixel_values": 4},
    ("clip", "image_features"): {"pixel_values": 4},
    ("clip", "text_hidden"): {"input_ids": 2},
}


@pytest.mark.parametrize(("family", "head"), HEADS)
def test_a_batch_is_what_the_head_reads(family, head):
    model = tiny(family, head)
    batch = inputs_of(model)
    expected = HEADS[family, head]
    assert {name: x.dim() for name, x in batch.items() if name in expected} == expected
    made = model.spec.example(model.config, seed=7)
    for name, x in batch.items():
        assert torch.equal(x.reshape(made[name].shape), made[name].to(x.dtype))
        assert x.dtype == (torch.float64 if name == "pixel_values" else made[name].dtype)
    with torch.no_grad():
        assert model(**batch).isfinite().all()
