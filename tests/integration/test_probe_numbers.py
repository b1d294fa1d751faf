"""A file of ours tells when a config computes something else than its weights were written with."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from unit.models.tiny import MAIN, tiny
from zoo.checkpoint import CheckpointError, read_folder
from zoo.models import MODELS, load
from zoo.models.probe import PROBE, far, fixed_input, kept, take

FAMILIES = pytest.mark.parametrize("family", sorted(MODELS))
WORDS = {"erf": "gelu", "tanh": "gelu_new", "quick": "quick_gelu"}


def say_gelu(folder, form):
    """Edit the word for gelu in config.json, wherever it stands."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part in (config, *(config.get(n, {}) for n in ("text_config", "vision_config"))):
        for key in {"hidden_act", "activation_function"} & part.keys():
            part[key] = WORDS[form]
    path.write_text(json.dumps(config))


@FAMILIES
@pytest.mark.parametrize("written", WORDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_another_form_of_gelu_is_noticed_and_the_right_one_named(tmp_path, family, written, dtype):
    tiny(family, MAIN[family], gelu=written).save_pretrained(tmp_path)
    (tmp_path / "probe.json").unlink()  # files of before it have only what stands in the weights
    for form in WORDS:
        say_gelu(tmp_path, form)
        if form == written:
            assert load(tmp_path, dtype=dtype).config.gelu == form
        else:
            sentence = (
                f"with gelu '{form}'.*; with gelu '{written}' they do: the config names another"
            )
            with pytest.raises(CheckpointError, match=sentence):
                load(tmp_path, dtype=dtype)


@FAMILIES
@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("read", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_rounding_is_no_reason_to_complain(tmp_path, family, stored, read):
    tiny(family, MAIN[family]).to(stored).save_pretrained(tmp_path)
    load(tmp_path, dtype=read)


@FAMILIES
def test_each_stack_of_blocks_has_its_numbers(tmp_path, family):
    model = tiny(family, MAIN[family])
    model.save_pretrained(tmp_path)
    found = kept(read_folder(tmp_path).metadata)
    assert sorted(found) == sorted(model.stacks())
    assert {len(numbers) for numbers in found.values()} == {8}
    assert all(abs(number) > 1e-6 for numbers in found.values() for number in numbers)


def test_a_model_in_training_is_probed_without_its_dropout(tmp_path):
    model = tiny("gpt2", "lm", dropout=0.5).train()
    model.save_pretrained(tmp_path)
    assert model.training
    load(tmp_path)


@FAMILIES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_probing_leaves_the_model_as_it_is(family, dtype):
    model = tiny(family, MAIN[family], gelu="erf").to(dtype).train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    assert take(model, model.stacks(), "quick") != take(model, model.stacks())
    after = model.state_dict()
    assert all(x.dtype == dtype and torch.equal(x, before[name]) for name, x in after.items())
    assert all(part.training for part in model.modules())
    assert {part.gelu for part in model.modules() if hasattr(part, "gelu")} == {"erf"}


@pytest.mark.parametrize("said", ["{", "[]", '{"blocks": 1}', '{"blocks": ["a"]}', '{"b": [1.0]}'])
def test_a_strange_probe_is_no_probe(tmp_path, said):
    tiny("gpt2", "lm").save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt", PROBE: said})
    load(tmp_path)


def test_a_probe_of_other_numbers_is_a_complaint(tmp_path):
    tiny("gpt2", "lm").save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    for numbers in ([1.0] * 8, [1.0]):
        said = {PROBE: json.dumps({"blocks": numbers})}
        save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"} | said)
        with pytest.raises(CheckpointError, match="do not give the numbers that were kept"):
            load(tmp_path)


def test_distances_are_shares_of_the_size():
    assert far([3.0, 4.0], [3.0, 4.0]) == 0
    assert far([3.0, 9.0], [3.0, 4.0]) == pytest.approx(1.0)
    assert far([1.0], [1.0, 2.0]) == float("inf")


def test_the_input_is_like_a_normalised_stream():
    x = fixed_input(50)
    assert x.shape == (1, 3, 50)
    assert x.square().mean().item() == pytest.approx(1, rel=0.05)
    assert not torch.allclose(x[0, 0], x[0, 1])
