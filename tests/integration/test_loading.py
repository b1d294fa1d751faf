"""Loading and saving whole folders: strict by default, every fault listed, nothing half-loaded."""

import dataclasses
import json
import random
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.checkpoint import CheckpointError
from zoo.models import BERT, GPT2, MODELS, load
from zoo.models.convert import convert


def tiny(family, head, dtype=torch.float64, **changes):
    torch.manual_seed(0)
    spec = MODELS[family]
    config = dataclasses.replace(spec.presets[f"{family}-tiny"], **changes)
    return spec.build(config, head).to(dtype).eval()


@pytest.fixture
def folder(tmp_path):
    """A sound GPT-2 folder without a probe, as others write it, and functions that edit it."""
    tiny("gpt2", "lm").save_pretrained(tmp_path)
    (tmp_path / "probe.json").unlink()
    return tmp_path


def edit_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(config))


def edit_weights(folder, edit):
    """Rewrite the weights as a file that no other tool of ours has touched."""
    path = folder / "model.safetensors"
    state = load_file(path)
    edit(state)
    save_file(state, path, metadata={"format": "pt"})


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("family", "head"), [(f, h) for f in MODELS for h in MODELS[f].heads])
def test_saving_and_loading_gives_the_same_bits(tmp_path, family, head, dtype):
    model = tiny(family, head, dtype, classes=3, labels=None)
    model.save_pretrained(tmp_path)
    again = load(tmp_path, dtype=dtype)
    assert (type(again), again.head_name, again.config) == (type(model), head, model.config)
    assert same(model, again) and not again.training
    assert all(p.dtype == dtype and p.requires_grad for p in again.parameters())


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_stay_tied_and_untied_ones_apart(tmp_path, family, tied):
    model = tiny(family, MODELS[family].heads[0], tied=tied)
    model.save_pretrained(tmp_path)
    again = load(tmp_path, dtype=torch.float64)
    assert (again.head.weight is again.tokens.weight) == tied
    assert same(model, again)


def test_shards_are_read_like_one_file(tmp_path):
    model = tiny("gpt2", "lm")
    model.save_pretrained(tmp_path, max_shard_bytes=20_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert same(load(tmp_path, dtype=torch.float64), model)


def drop(*names):
    return lambda state: [state.pop(name) for name in names]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (drop("transformer.h.1.mlp.c_fc.bias"), r"missing: transformer.h.1.mlp.c_fc.bias"),
        (drop("transformer.ln_f.weight", "transformer.wpe.weight"), r"ln_f.*, transformer.wpe"),
        (
            lambda s: s.update({"strange": torch.zeros(1), "h.0.other": torch.zeros(1)}),
            r"unexpected: h.0.other, strange",
        ),
        (
            lambda s: s.update({"transformer.wpe.weight": torch.zeros(25, 20)}),
            r"transformer.wpe.weight \(25, 20\) where positions.weight needs \(24, 20\)",
        ),
        (
            lambda s: s.update({"lm_head.weight": torch.zeros(97, 20)}),
            r"tied in the config but different in the file: lm_head.weight is not tokens.weight",
        ),
        (
            lambda s: s.update({"transformer.h.3.ln_1.bias": torch.zeros(20)}),
            r"config.json says 3 blocks, the weights hold 4",
        ),
        (
            lambda s: s.update({"transformer.ln_f.bias": torch.zeros(20, dtype=torch.int8)}),
            r"transformer.ln_f.bias is torch.int8; expected a floating point type",
        ),
    ],
    ids=["missing", "two-missing", "unexpected", "shape", "tie", "depth", "quantised"],
)
def test_weights_that_do_not_fit_are_listed(folder, edit, sentence):
    edit_weights(folder, edit)
    with pytest.raises(CheckpointError, match=sentence):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"activation_function": "relu"}, "activation_function = 'relu' is not supported"),
        ({"n_head": 5}, None),
        ({"n_head": 7}, "width 20 is not a multiple of heads 7"),
        ({"n_embd": 40}, "wrong shape"),
        ({"n_layer": 2}, "says 2 blocks, the weights hold 3"),
        ({"n_layer": 10**7}, "blocks, the weights hold 3"),
        ({"vocab_size": 98}, "wrong shape: transformer.wte.weight"),
        ({"model_type": "llama"}, "model_type is 'llama'; the zoo has"),
        ({"architectures": ["LlamaForCausalLM"]}, "is none of"),
        ({"architectures": "GPT2LMHeadModel"}, "not a list of names"),
        ({"tie_word_embeddings": False}, "missing: lm_head.weight"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_a_config_that_does_not_fit_is_refused(folder, changes, sentence):
    edit_config(folder, **changes)
    if sentence is None:  # five heads of four fit the same shapes: nothing can tell
        assert load(folder).config.heads == 5
        return
    with pytest.raises(CheckpointError, match=sentence):
        load(folder)


def test_a_fresh_head_is_asked_for_by_name(tmp_path):
    tiny("bert", None).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"missing: classifier.bias \(our head.linear.bias\)"):
        BERT.from_pretrained(tmp_path, head="sequence")
    model = BERT.from_pretrained(tmp_path, head="sequence", fresh=["head.*"], classes=5)
    assert model.head.linear.weight.shape == (5, 20)
    assert model.report.fresh == ("head.linear.bias", "head.linear.weight")
    assert model.head.linear.weight.std() > 0 and model.config.classes == 5


def test_what_another_head_needs_is_left_unread_and_reported(tmp_path):
    tiny("bert", "next_sentence").save_pretrained(tmp_path)
    body = BERT.from_pretrained(tmp_path, head=None)
    assert body.report.unread == ("cls.seq_relationship.bias", "cls.seq_relationship.weight")


def test_not_strict_lets_strange_tensors_pass_and_says_so(folder):
    edit_weights(folder, lambda s: s.update({"strange": torch.zeros(1)}))
    edit_config(folder, rotary_dim=64)
    assert load(folder, strict=False).report.ignored == ("strange",)


def test_openai_names_old_endings_and_mask_buffers_are_read(tmp_path):
    model = tiny("gpt2", "lm")
    model.save_pretrained(tmp_path)

    def as_openai(state):
        renamed = {n.removeprefix("transformer."): state.pop(n) for n in list(state)}
        mask = torch.ones(24, 24).tril().view(1, 1, 24, 24)
        state.update(renamed | {f"h.{i}.attn.bias": mask.clone() for i in range(3)})

    edit_weights(tmp_path, as_openai)
    assert same(load(tmp_path, dtype=torch.float64), model)

    bert = tiny("bert", "masked_lm")
    bert.save_pretrained(tmp_path / "bert")

    def as_google(state):
        for name in [n for n in state if "LayerNorm" in n]:
            old = name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
            state[old] = state.pop(name)

    edit_weights(tmp_path / "bert", as_google)
    assert same(load(tmp_path / "bert", dtype=torch.float64), bert)


def hostile_configs(count):
    """Draw configs with one to three fields replaced by what no model can be."""
    draw = random.Random(0)
    values = [
        10**9,
        2**63,
        -1,
        0,
        float("nan"),
        float("inf"),
        None,
        [],
        {},
        "x",
        1.5,
        True,
        10**400,
    ]
    for number in range(count):
        family = draw.choice(sorted(MODELS))
        table = MODELS[family].config_keys
        numbers = ("vocab", "context", "width", "depth", "heads", "hidden", "image", "patch")
        fields = [key.theirs[0] for name, key in table.keys.items() if name.endswith(numbers)]
        chosen = draw.sample(fields, draw.randint(1, 3))
        changes = {name: draw.choice(values) for name in chosen}
        if changes == {"n_inner": None}:  # null is how GPT-2 says 4 widths
            changes = {"n_inner": -1}
        yield number, family, changes


def changed(config, changes):
    """Set keys, of sections too."""
    for name, value in changes.items():
        *section, key = name.split(".")
        (config[section[0]] if section else config)[key] = value
    return config


def test_500_hostile_configs_are_each_one_clear_error(tmp_path):
    for family in MODELS:
        tiny(family, MODELS[family].heads[0]).save_pretrained(tmp_path / family)
    originals = {f: (tmp_path / f / "config.json").read_text() for f in MODELS}
    slowest = 0.0
    for number, family, changes in hostile_configs(500):
        config = changed(json.loads(originals[family]), changes)
        text = json.dumps(config) if number % 2 else json.dumps(config).replace("NaN", "1e999")
        (tmp_path / family / "config.json").write_text(text)
        start = time.process_time()
        with pytest.raises(CheckpointError):
            load(tmp_path / family)
        slowest = max(slowest, time.process_time() - start)
    assert slowest < 0.1  # CPU seconds, so another process's load does not count


@pytest.mark.parametrize("layout", ["hf", "openai", "nanogpt"])
def test_conversion_keeps_every_logit(tmp_path, layout):
    model = tiny("gpt2", "lm", torch.float32, gelu="erf", eps=1e-5, hidden=80)
    model.save_pretrained(tmp_path / "from")
    (tmp_path / "from" / "tokenizer.json").write_text("{}")
    done = convert(tmp_path / "from", tmp_path / "to", to=layout, verify=True)
    assert (done.layout, done.difference) == (layout, 0.0)
    assert (tmp_path / "to" / "tokenizer.json").exists()
    back = convert(tmp_path / "to", tmp_path / "back", verify=True, unpickle=layout == "nanogpt")
    assert back.difference == 0.0
    assert same(GPT2.from_pretrained(tmp_path / "back"), model)


def test_a_pickle_is_read_only_when_told_to(tmp_path):
    model = tiny("gpt2", "lm", gelu="erf", eps=1e-5, hidden=80)
    model.save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "nano", to="nanogpt")
    with pytest.raises(CheckpointError, match=r"is a pickle.*--unpickle"):
        convert(tmp_path / "nano", tmp_path / "to")


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({}, {"to": "onnx"}, "layout 'onnx'; expected one of"),
        ({"hidden": 80, "eps": 1e-5}, {"to": "nanogpt"}, "--approximate"),
        ({"gelu": "erf"}, {"to": "nanogpt"}, "nanoGPT has hidden = 4 width and eps = 1e-5"),
    ],
    ids=["layout", "gelu", "sizes"],
)
def test_a_layout_that_cannot_hold_the_model_says_so(tmp_path, changes, options, sentence):
    tiny("gpt2", "lm", **changes).save_pretrained(tmp_path / "from")
    with pytest.raises(ValueError, match=sentence):
        convert(tmp_path / "from", tmp_path / "to", **options)
    assert not (tmp_path / "to" / "ckpt.pt").exists()
