"""A folder that no longer answers as it did is refused with a sentence that says what changed."""

import pytest
import torch
from safetensors.torch import load_file

from unit.models.probed import edit, folder_of, weights
from zoo.checkpoint import CheckpointError
from zoo.models import MODELS, check_probe, load, write_probe

FAMILIES = sorted(MODELS)
TEXTS = ("bert", "clip", "gpt2")
PICTURES = ("clip", "vit")


def config(**values):
    return edit("config.json", **values)


def pixels(**values):
    return edit("preprocessor_config.json", **values)


def swap(one, other):
    def change(state):
        state[one], state[other] = state[other], state[one]

    return weights(change)


def change_of(name, make):
    def change(state):
        state[name] = make(state[name])

    return weights(change)


def swap_rows(tensor):
    result = tensor.clone()
    result[[3, 4]] = tensor[[4, 3]]
    return result


def noisy(tensor):
    return tensor * (1 + 1e-5 * torch.sin(torch.arange(tensor.numel())).view(tensor.shape))


def rounded(state):
    state.update({name: tensor.bfloat16().float() for name, tensor in state.items()})


def halved(state):
    state.update({name: tensor.bfloat16() for name, tensor in state.items()})


def one_head_off(tensor):
    result = tensor.clone()
    result[:5] = 0
    return result


def swap_tokens(found):
    """Exchange the ids of two tokens of a vocabulary."""
    vocab = dict(found["vocab"])
    ordered = sorted(vocab, key=vocab.__getitem__)
    vocab[ordered[20]], vocab[ordered[21]] = vocab[ordered[21]], vocab[ordered[20]]
    return vocab


def add_token(found):
    token = {
        "id": len(found["model"]["vocab"]) + 40,
        "content": "dogs",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": False,
    }
    return [*found["added_tokens"], token]


def mirrored(found):
    return found["image_mean"][::-1]


BERT, GPT2 = "bert.encoder.layer", "transformer.h"
SEEN, READ = "vision_model.encoder.layers", "text_model.encoder.layers"
TOKEN_FILE = "tokenizer.json"

# what was changed, how, and what is said: for each family
CHANGES = {
    "bert": {
        "another gelu": (config(hidden_act="gelu_new"), "config.json: hidden_act is 'gelu_new', "
                         "the probe was made with 'gelu'"),
        "another eps": (config(layer_norm_eps=1e-12), "config.json: layer_norm_eps is 1e-12, "
                        "the probe was made with 0.01"),
        "fewer heads": (config(num_attention_heads=2), "num_attention_heads is 2, .* with 4"),
        "labels exchanged": (
            config(id2label={"0": "spam", "1": "ham", "2": "eggs"}),
            r"config.json: id2label\[0\] is 'spam', the probe was made with 'ham'",
        ),
        "a label more": (
            config(id2label={str(i): f"L{i}" for i in range(4)}),
            "config.json: id2label has 4 entries, the probe was made with 3",
        ),
        "the case is kept": (
            edit("tokenizer_config.json", do_lower_case=False),
            r"tokenizer_config.json: .* gives \[.*\], gave \[",
        ),
        "layers exchanged": (
            swap(f"{BERT}.0.output.dense.weight", f"{BERT}.1.output.dense.weight"),
            rf"model.safetensors: {BERT}.0.output.dense.weight is not the tensor it was "
            r"\(and 1 more\)",
        ),
        "a vocabulary of other rows": (
            change_of("bert.embeddings.word_embeddings.weight", swap_rows),
            "model.safetensors: bert.embeddings.word_embeddings.weight is not the tensor it was",
        ),
    },
    "clip": {
        "another gelu": (
            config(text_config__hidden_act="gelu", vision_config__hidden_act="gelu"),
            "config.json: text_config.hidden_act is 'gelu', the probe was made with 'quick_gelu'",
        ),
        "another eps": (
            config(text_config__layer_norm_eps=1e-5, vision_config__layer_norm_eps=1e-5),
            "text_config.layer_norm_eps is 1e-05, the probe was made with 0.01",
        ),
        "fewer heads": (
            config(vision_config__num_attention_heads=2),
            "vision_config.num_attention_heads is 2, the probe was made with 4",
        ),
        "fewer heads that read": (
            config(text_config__num_attention_heads=2),
            "text_config.num_attention_heads is 2, the probe was made with 3",
        ),
        "layers exchanged": (
            swap(f"{READ}.1.mlp.fc1.weight", f"{READ}.2.mlp.fc1.weight"),
            rf"{READ}.1.mlp.fc1.weight is not the tensor it was \(and 1 more\)",
        ),
        "one head off": (
            change_of(f"{SEEN}.0.self_attn.v_proj.weight", one_head_off),
            rf"{SEEN}.0.self_attn.v_proj.weight is not the tensor it was\.",
        ),
        "another scale": (
            change_of("logit_scale", lambda scale: scale + 0.01),
            "model.safetensors: logit_scale is not the tensor it was",
        ),
    },
    "gpt2": {
        "another gelu": (config(activation_function="gelu"), "activation_function is 'gelu', "
                         "the probe was made with 'gelu_new'"),
        "another eps": (config(layer_norm_epsilon=1e-5), "layer_norm_epsilon is 1e-05, "),
        "fewer heads": (config(n_head=2), "config.json: n_head is 2, the probe was made with 4"),
        "another padding": (config(pad_token_id=3), "pad_token_id is 3, .* made with None"),
        "layers exchanged": (
            swap(f"{GPT2}.0.mlp.c_fc.weight", f"{GPT2}.2.mlp.c_fc.weight"),
            rf"{GPT2}.0.mlp.c_fc.weight is not the tensor it was \(and 1 more\)",
        ),
        "a vocabulary of other rows": (
            change_of("transformer.wte.weight", swap_rows),
            "model.safetensors: transformer.wte.weight is not the tensor it was",
        ),
    },
    "vit": {
        "another gelu": (config(hidden_act="quick_gelu"), "hidden_act is 'quick_gelu', "),
        "another eps": (config(layer_norm_eps=0.011), "layer_norm_eps is 0.011, .* with 0.01"),
        "fewer heads": (config(num_attention_heads=2), "num_attention_heads is 2, .* with 4"),
        "labels exchanged": (
            config(id2label={"0": "ham", "1": "eggs", "2": "spam"}),
            r"config.json: id2label\[1\] is 'eggs', the probe was made with 'spam'",
        ),
        "colours exchanged in the weights": (
            change_of("vit.embeddings.patch_embeddings.projection.weight", lambda w: w.flip(1)),
            "vit.embeddings.patch_embeddings.projection.weight is not the tensor it was",
        ),
    },
}  # fmt: skip

# and for all that have one
WEIGHTS = {
    "weights rounded": (weights(rounded), r"is not the tensor it was \(and [0-9]+ more\)"),
    "weights in bfloat16": (weights(halved), r" is BF16 [0-9x]+, it was F32 [0-9x]+ \(and "),
}
TOKENS = {
    "an added token": (
        edit(TOKEN_FILE, added_tokens=add_token),
        "tokenizer.json: 'The quick brown fox jumps over 13 lazy dogs.' gives",
    ),
    "tokens exchanged": (edit(TOKEN_FILE, model__vocab=swap_tokens), "tokenizer.json: "),
    "shorter texts": (
        edit("tokenizer_config.json", model_max_length=8),
        "tokenizer_config.json: model_max_length is 8, the probe was made with 9",
    ),
    "a damaged file": (edit(TOKEN_FILE, model__vocab=[]), "tokenizer.json is damaged"),
}
PIXELS = {
    "another mean": (pixels(image_mean=[0.4, 0.5, 0.6]), r"image_mean\[0\] is 0.4, "),
    "another deviation": (pixels(image_std__2=0.9), r"image_std\[2\] is 0.9, the probe was"),
    "another filter": (pixels(resample=1), "preprocessor_config.json: resample is 1, the probe"),
    "no scale": (pixels(do_rescale=False), "do_rescale is False, the probe was made with True"),
    "an unknown setting": (pixels(gamma=2.2), "preprocessor_config.json: no knowledge of"),
}
MIRRORED = (pixels(image_mean=mirrored), r"image_mean\[0\] is 0.40821073, .* with 0.48145466")
CASES = [
    pytest.param(family, change, sentence, id=f"{family}-{name}".replace(" ", "-"))
    for family in FAMILIES
    for name, (change, sentence) in {
        **CHANGES[family],
        **WEIGHTS,
        **(TOKENS if family in TEXTS else {}),
        **(PIXELS if family in PICTURES else {}),
        **({"colours exchanged": MIRRORED} if family == "clip" else {}),
    }.items()
]


@pytest.mark.parametrize(("family", "change", "sentence"), CASES)
def test_what_was_changed_is_said(tmp_path, tmp_path_factory, family, change, sentence):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    change(folder)
    with pytest.raises(CheckpointError, match=sentence) as refused:
        load(folder)
    said = str(refused.value)
    assert said.startswith(f"{folder} does not answer as it did when its probe was made: ")
    assert "load(..., probe=False) reads it all the same" in said
    assert f"zoo convert --probe {folder}, or write_probe(folder), accepts it" in said
    with pytest.raises(CheckpointError, match=sentence):
        check_probe(folder, load(folder, probe=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_that_float32_hides_is_told_by_the_file(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    name = sorted(load_file(folder / "model.safetensors"))[-1]
    change_of(name, noisy)(folder)
    with pytest.raises(CheckpointError, match=f"{name} is not the tensor it was"):
        load(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_probe_accepts_what_was_changed(tmp_path, tmp_path_factory, family):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    weights(rounded)(folder)
    write_probe(folder)
    load(folder)


def test_another_architecture_is_another_head(tmp_path, tmp_path_factory):
    folder = folder_of(tmp_path, tmp_path_factory, "bert")
    config(architectures=["BertForTokenClassification"])(folder)
    sentence = "architectures means head 'token', the probe was made with 'masked_lm'"
    with pytest.raises(CheckpointError, match=sentence):
        load(folder)
    load(folder, head="masked_lm")
