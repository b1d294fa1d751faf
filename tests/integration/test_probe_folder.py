"""What changes no answer is read, in any dtype and with any head; a save replaces what was kept."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from unit.models.probed import edit, folder_of, weights
from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError
from zoo.models import MODELS, check_probe, load, write_probe
from zoo.nn import MLP
from zoo.tokenizers import Tokenizer

FAMILIES = sorted(MODELS)


def in_another_order(folder):
    state = load_file(folder / "model.safetensors")
    save_file(
        dict(reversed([(name, tensor.clone()) for name, tensor in state.items()])),
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def config_rewritten(folder):
    found = json.loads((folder / "config.json").read_text())
    found |= {"transformers_version": "5.0.0", "_name_or_path": "somewhere", "use_cache": True}
    (folder / "config.json").write_text(json.dumps(dict(reversed(found.items()))))


def tokenizer_rewritten(folder):
    if (folder / "tokenizer.json").exists():
        Tokenizer.from_folder(folder).save(folder)
        found = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        (folder / "tokenizer.json").write_text(json.dumps(found))


def only_the_model(folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        (folder / name).unlink(missing_ok=True)


def in_shards(folder):
    load(folder).save_pretrained(folder, max_shard_bytes=20_000)
    assert not (folder / "model.safetensors").exists()
    write_probe(folder)


HARMLESS = {
    "nothing": lambda folder: None,
    "the weights saved by another library": in_another_order,
    "config.json written anew": config_rewritten,
    "another dropout": edit("config.json", attention_probs_dropout_prob=0.3, attn_pdrop=0.3),
    "the tokenizer written anew": tokenizer_rewritten,
    "the model alone": only_the_model,
    "shards": in_shards,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", HARMLESS.values(), ids=[n.replace(" ", "-") for n in HARMLESS])
def test_what_changes_no_answer_is_read(tmp_path, tmp_path_factory, family, change):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    change(folder)
    check_probe(folder, load(folder, strict=False))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "read", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str
)
def test_a_reader_in_any_dtype_gives_the_answers(tmp_path, tmp_path_factory, family, stored, read):
    load(folder_of(tmp_path, tmp_path_factory, family, stored), dtype=read)


HEADS = [
    pytest.param(family, options, id=f"{family}-{i}")
    for family, rows in {
        "bert": [
            {"head": None, "fresh": ["pooler.*"]},
            {"head": "sequence", "fresh": ["pooler.*", "head.*"], "classes": 5},
            {"head": "token", "fresh": ["head.*"]},
        ],
        "clip": [
            {"head": "image_features"},
            {"head": "text_features"},
            {"head": "text_hidden"},
            {"head": "image", "fresh": ["head.*"], "classes": 7},
        ],
        "gpt2": [{"head": None}, {"head": "sequence", "fresh": ["head.*"], "classes": 2}],
        "vit": [
            {"head": None, "fresh": ["pooler.*"]},
            {"head": "masked_image", "fresh": ["head.*", "mask_token"]},
        ],
    }.items()
    for i, options in enumerate(rows)
]


@pytest.mark.parametrize(("family", "options"), HEADS)
def test_another_head_is_read_and_its_body_compared(tmp_path, tmp_path_factory, family, options):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    load(folder, **options)
    edit("probe.json", answers__exact__output__values=[9.0])(folder)
    load(folder, **options)  # of which the body knows nothing
    part = "text.blocks" if str(options["head"]).startswith("text") else "image.blocks"
    part = part if family == "clip" else "blocks"
    edit("probe.json", **{f"answers__exact__stacks__{part}__1__rms": 9.0})(folder)
    with pytest.raises(CheckpointError, match=f"computes other numbers: {part}.1 is the first"):
        load(folder, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_body_made_anew_is_not_compared(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    first = {"bert": "types.weight", "clip": "text.tokens.weight"}.get(family, "positions*")
    theirs = {"bert": "token_type", "clip": "token_embedding", "gpt2": "wpe"}.get(
        family, "position"
    )

    def forget(state):
        for name in [n for n in state if theirs in n and not n.startswith("vision")]:
            del state[name]

    weights(forget)(folder)
    load(folder, fresh=[first])


PROBED = [(f, head) for f in FAMILIES for head in MODELS[f].heads]


@pytest.mark.parametrize(("family", "head"), PROBED, ids=[f"{f}-{h}" for f, h in PROBED])
def test_every_head_has_answers_that_its_reader_gives(tmp_path, family, head):
    model = tiny(family, head).float().train()
    model.save_pretrained(tmp_path)
    assert model.training
    found = json.loads((tmp_path / "probe.json").read_text())
    assert found["answers"].keys() == {"exact", "float16", "bfloat16"}
    assert all(abs(number) > 1e-6 for number in found["answers"]["exact"]["output"]["values"])
    load(tmp_path)
    edit("probe.json", answers__exact__output__rms=1e3)(tmp_path)
    with pytest.raises(CheckpointError, match="the blocks are as they were, what the head gives"):
        load(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_place_of_the_largest_number_is_compared(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    other = {"vit": lambda places: (places[0] + 1) % 3, "clip": 5}.get(family, 5)
    edit("probe.json", answers__exact__output__argmax__0=other)(folder)
    with pytest.raises(CheckpointError, match=r"in line 0 of the answer [0-9]+ is the largest"):
        load(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_save_replaces_the_probe_of_the_one_before(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    before = (folder / "probe.json").read_text()
    model = load(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.25)
    model.save_pretrained(folder)
    after = (folder / "probe.json").read_text()
    assert after != before
    assert json.loads(after)["tokenizer"] is None  # what lies there may be replaced next
    assert check_probe(folder) == ("config", "weights", "answers")
    write_probe(folder)
    assert {"tokenizer", "pixels"} & set(check_probe(folder))


def test_a_folder_without_a_probe_is_read_and_has_none_to_check(tmp_path):
    tiny("gpt2", "lm").save_pretrained(tmp_path)
    (tmp_path / "probe.json").unlink()
    load(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no probe\.json; write_probe makes one"):
        check_probe(tmp_path)


def test_weights_that_are_no_numbers_are_kept_without_answers(tmp_path):
    model = tiny("gpt2", "lm")
    with torch.no_grad():
        model.norm.weight.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    assert check_probe(tmp_path) == ("config", "weights")


def test_weights_that_float16_cannot_hold_have_no_answers_in_it(tmp_path):
    model = tiny("gpt2", "lm").float()
    with torch.no_grad():
        model.norm.weight.fill_(1e5)
    model.save_pretrained(tmp_path)
    found = json.loads((tmp_path / "probe.json").read_text())
    assert found["answers"].keys() == {"exact", "bfloat16"}
    load(tmp_path, dtype=torch.float16)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_folder_has_the_same_probe(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    before = (folder / "probe.json").read_bytes()
    write_probe(folder)
    assert (folder / "probe.json").read_bytes() == before
    assert 2_000 < len(before) < 30_000


def test_a_model_of_another_folder_is_not_what_the_probe_is_of(tmp_path, tmp_path_factory):
    folder = folder_of(tmp_path, tmp_path_factory, "gpt2")
    model = load(folder)
    with torch.no_grad():
        model.blocks[1].mlp.up.bias.add_(0.1)
    with pytest.raises(CheckpointError, match=r"blocks\.1 is the first that differs, by"):
        check_probe(folder, model)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_library_that_computes_otherwise_is_told(tmp_path, tmp_path_factory, family, dtype):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    model = load(folder, dtype=dtype)
    check_probe(folder, model)
    for form in sorted({"erf", "tanh", "quick"} - {model.config.gelu}):
        for part in model.modules():
            if isinstance(part, MLP):
                part.gelu = form
        with pytest.raises(CheckpointError, match=r"computes other numbers: .*blocks\.0 is the fi"):
            check_probe(folder, model)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("dtype", "finer"),
    [(torch.float32, 1.0), (torch.float64, 2.0**-29)],
    ids=["float32", "float64"],
)
def test_a_number_may_be_as_far_off_as_its_tolerance_says(
    tmp_path, tmp_path_factory, family, dtype, finer
):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    stack = "text.blocks" if family == "clip" else "blocks"
    answers = json.loads((folder / "probe.json").read_text())["answers"]["exact"]
    for path, kept in {
        "output": answers["output"],
        f"stacks__{stack}__1": answers["stacks"][stack][1],
    }.items():
        number = kept["values"][0]
        allowed = kept["tolerance"] * finer + 1e-9  # numbers are kept to ten digits
        step = allowed * max(abs(number), kept["rms"])
        place = f"answers__exact__{path}__values__0"
        edit("probe.json", **{place: number + 0.6 * step})(folder)
        load(folder, dtype=dtype)
        edit("probe.json", **{place: number + 1.6 * step})(folder)
        with pytest.raises(CheckpointError, match="computes other numbers"):
            load(folder, dtype=dtype)
        edit("probe.json", **{place: number})(folder)


@pytest.mark.parametrize("family", ["clip", "vit"])
def test_other_pixels_of_the_same_settings_are_told(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    pixels = json.loads((folder / "probe.json").read_text())["pixels"]
    level = pixels["settings"]["rescale_factor"] / min(pixels["settings"]["image_std"])
    first = pixels["values"][0]
    edit("probe.json", pixels__values__0=first + 0.9 * level)(folder)
    load(folder)  # other builds of Pillow may round the other way
    for changes in ({"pixels__values__0": first + 1.2 * level}, {"pixels__shape__2": 1}):
        edit("probe.json", **changes)(folder)
        with pytest.raises(CheckpointError, match="and the library gives other pixels"):
            load(folder)
        edit("probe.json", pixels__values__0=first)(folder)


@pytest.mark.parametrize("family", ["bert", "clip", "gpt2"])
def test_other_ids_of_the_same_files_are_told(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    edit("probe.json", tokenizer__texts__2__1__1=699)(folder)
    with pytest.raises(CheckpointError, match="as they were, and its library gives other ids"):
        load(folder)
