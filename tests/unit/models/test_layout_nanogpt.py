"""nanoGPT's checkpoint: what is read of one, what is written as one, and what both refuse."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError
from zoo.models.gpt2 import GPT2Config
from zoo.models.layouts import nanogpt

HERE = Path("some/ckpt.pt")
SAID = {
    "n_layer": 3,
    "n_head": 4,
    "n_embd": 20,
    "block_size": 24,
    "vocab_size": 97,
    "dropout": 0.25,
    "bias": True,
}


def gpt2(**changes):
    return tiny("gpt2", "lm", gelu="erf", eps=1e-5, hidden=80, **changes).float()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What torch reads of a file of ours, and the model that was written."""
    place = tmp_path_factory.mktemp("nanogpt") / "deep" / "folder"
    model = gpt2(dropout=0.25)
    nanogpt.write(model, place, approximate=False)
    assert [p.name for p in place.iterdir()] == ["ckpt.pt"]
    nanogpt.write(model, place, approximate=False)  # over what is there
    return torch.load(place / "ckpt.pt"), model


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_the_file_has_the_names_and_shapes_of_nanogpt(written):
    held, model = written
    assert held.keys() == {"model", "model_args"}
    assert held["model_args"] == SAID | {"n_layer": model.config.depth}
    shapes = {n: tuple(t.shape) for n, t in held["model"].items() if ".h.0." in n or ".h." not in n}
    block = {
        "ln_1.weight": (20,), "ln_1.bias": (20,), "attn.c_attn.weight": (60, 20),
        "attn.c_attn.bias": (60,), "attn.c_proj.weight": (20, 20), "attn.c_proj.bias": (20,),
        "ln_2.weight": (20,), "ln_2.bias": (20,), "mlp.c_fc.weight": (80, 20),
        "mlp.c_fc.bias": (80,), "mlp.c_proj.weight": (20, 80), "mlp.c_proj.bias": (20,),
    }  # fmt: skip
    assert shapes == {
        "transformer.wte.weight": (97, 20),
        "transformer.wpe.weight": (24, 20),
        **{f"transformer.h.0.{name}": shape for name, shape in block.items()},
        "transformer.ln_f.weight": (20,),
        "transformer.ln_f.bias": (20,),
        "lm_head.weight": (97, 20),
    }
    assert not any(t.requires_grad for t in held["model"].values())
    ours = model.state_dict()["blocks.1.mlp.up.weight"]
    assert torch.equal(held["model"]["transformer.h.1.mlp.c_fc.weight"], ours)
    assert torch.equal(held["model"]["lm_head.weight"], held["model"]["transformer.wte.weight"])


def test_a_file_comes_back(written):
    held, model = written
    back = nanogpt.read(HERE, held)
    assert same(back, model) and not back.training and back.head_name == "lm"
    said = {"gelu": "erf", "dropout": 0.25, "attention_dropout": 0.25}
    assert back.config == replace(back.config, **said)
    for name in ("width", "depth", "heads", "hidden", "context", "vocab", "eps", "tied"):
        assert getattr(back.config, name) == getattr(model.config, name)


def without(held, *endings, **changes):
    state = {n: t for n, t in held["model"].items() if not n.endswith(endings)}
    return {"model": state, "model_args": held["model_args"] | changes}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_biases_that_are_left_out_are_zero_and_of_the_others_dtype(written, dtype):
    held = without(written[0], "bias", bias=False)
    held["model"] = {name: t.to(dtype) for name, t in held["model"].items()}
    model = nanogpt.read(HERE, held)
    state = model.state_dict()
    biases = [n for n in state if n.endswith("bias")]
    assert len(biases) == 6 * model.config.depth + 1
    assert not any(state[name].any() for name in biases)
    assert {t.dtype for t in state.values()} == {dtype}
    weight = written[1].state_dict()["blocks.0.mlp.up.weight"].to(dtype)
    assert torch.equal(state["blocks.0.mlp.up.weight"], weight)


def test_biases_that_are_there_are_kept_whatever_the_arguments_say(written):
    held = without(written[0], bias=False)
    assert same(nanogpt.read(HERE, held), written[1])


def test_what_arguments_leave_out_is_as_nanogpt_has_it(written):
    held = without(written[0])
    del held["model_args"]["dropout"], held["model_args"]["bias"]
    model = nanogpt.read(HERE, held)
    plain = GPT2Config()
    assert (model.config.dropout, model.config.attention_dropout) == (plain.dropout, 0.0)
    assert same(model, written[1])


def test_without_any_tensor_what_is_missing_is_said(written):
    held = {"model": {}, "model_args": SAID | {"bias": False}}
    with pytest.raises(CheckpointError, match=r"ckpt\.pt: blocks\.0\.attn\.out\.weight is missing"):
        nanogpt.read(HERE, held)


def moved(held):
    return {"lm_head.weight": held["model"]["lm_head.weight"] + 1}


# name -> (other arguments, what tensors become, what is said)
REFUSED = {
    "unknown": (
        {"rotary": 1, "alibi": True},
        None,
        "model_args holds ['alibi', 'rotary'], unknown to nanoGPT",
    ),
    "heads": ({"n_head": 7}, None, "model_args: width 20 is not a multiple of heads 7"),
    "a size": (
        {"n_embd": 20.5},
        None,
        "model_args: width is 20.5; expected a whole number",
    ),
    "another width": (
        {"block_size": 12},
        None,
        "positions.weight is (24, 20), expected (12, 20)",
    ),
    "untied": ({}, moved, "lm_head.weight is not tokens.weight, which nanoGPT ties"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_no_nanogpt_is_refused(written, row):
    changes, change, said = REFUSED[row]
    held = without(written[0], **changes)
    held["model"] |= change(held) if change else {}
    with pytest.raises(CheckpointError) as caught:
        nanogpt.read(HERE, held)
    assert str(caught.value) == f"{HERE}: {said}"


MOVED = (
    "nanoGPT computes the exact gelu, this model the tanh form: its logits would move a little. "
    "Pass --approximate (approximate=True) to write it all the same"
)
SIZES = "nanoGPT has hidden = 4 width and eps = 1e-5; here hidden = {}, width = 20, eps = {}"
UNHOLDABLE = {
    "another family": (lambda: tiny("vit", None), "layout 'nanogpt' holds GPT-2 only, not vit"),
    "another head": (
        lambda: tiny("gpt2", "token", gelu="erf", eps=1e-5, hidden=80),
        "nanoGPT has a tied language-model head only",
    ),
    "no head": (
        lambda: tiny("gpt2", None, gelu="erf", eps=1e-5, hidden=80),
        "nanoGPT has a tied language-model head only",
    ),
    "an untied head": (lambda: gpt2(tied=False), "nanoGPT has a tied language-model head only"),
    "another MLP": (lambda: tiny("gpt2", "lm", eps=1e-5, hidden=60), SIZES.format(60, 1e-5)),
    "another eps": (lambda: tiny("gpt2", "lm", eps=1e-4, hidden=80), SIZES.format(80, 1e-4)),
    "another gelu": (lambda: tiny("gpt2", "lm", eps=1e-5, hidden=80, gelu="tanh"), MOVED),
}


@pytest.mark.parametrize("row", UNHOLDABLE)
def test_what_nanogpt_does_not_compute_is_not_written(tmp_path, row):
    make, said = UNHOLDABLE[row]
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        nanogpt.write(make(), tmp_path, approximate=row != "another gelu")
    assert str(caught.value) == said
    assert not any(tmp_path.iterdir())


def test_another_gelu_passes_when_told_to(tmp_path):
    model = tiny("gpt2", "lm", eps=1e-5, hidden=80, gelu="tanh")
    nanogpt.write(model, tmp_path, approximate=True)
    back = nanogpt.read(HERE, torch.load(tmp_path / "ckpt.pt"))
    assert same(back, model) and back.config.gelu == "erf"
