"""Tiny checkpoint folders, written without zoo: published names, random weights, a tokenizer.

The widths are all different, and the weights large enough that every token changes the answer.
"""

import json
import shutil

import tokenizers
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from e2e.work_files import write_work

WORDS = "the a house garden cat dog red green is in of hello world and rain sun".split()
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": 300,
    "n_positions": 48,
    "n_embd": 20,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 80,
    "activation_function": "gelu_new",
}
BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 5 + len(WORDS),
    "max_position_embeddings": 40,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 36,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}
VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "image_size": [12, 16],
    "patch_size": [4, 4],
    "num_channels": 3,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 28,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "id2label": {"0": "circle", "1": "square", "2": "cross"},
}
TOWER = {"num_hidden_layers": 2, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"}
CLIP = {
    "model_type": "clip",
    "architectures": ["CLIPModel"],
    "projection_dim": 14,
    "logit_scale_init_value": 2.6592,
    "vision_config": TOWER
    | {
        "image_size": 16,
        "patch_size": 4,
        "num_channels": 3,
        "hidden_size": 20,
        "num_attention_heads": 4,
        "intermediate_size": 28,
    },
    "text_config": TOWER
    | {
        "max_position_embeddings": 13,
        "hidden_size": 18,
        "num_attention_heads": 3,
        "intermediate_size": 26,
    },
}
COLOURS = {"red": (200, 30, 20), "green": (20, 160, 60), "blue": (30, 60, 200)}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def affine(name, *shape):
    """Name a linear map's weight and its bias, one number for each output."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[-1:]}


def gpt2_shapes(c):
    d, m = c["n_embd"], c["n_inner"]
    shapes = {"transformer.wte.weight": (c["vocab_size"], d)}
    shapes |= {"transformer.wpe.weight": (c["n_positions"], d)}
    for i in range(c["n_layer"]):
        block = f"transformer.h.{i}"
        shapes |= affine(f"{block}.ln_1", d) | affine(f"{block}.ln_2", d)
        shapes |= affine(f"{block}.attn.c_attn", d, 3 * d) | affine(f"{block}.attn.c_proj", d, d)
        shapes |= affine(f"{block}.mlp.c_fc", d, m) | affine(f"{block}.mlp.c_proj", m, d)
    return shapes | affine("transformer.ln_f", d)


def map_of(name, wide, narrow):
    """BERT keeps (outputs, inputs), so the bias is as long as the first."""
    return {f"{name}.weight": (wide, narrow), f"{name}.bias": (wide,)}


def bert_shapes(c, prefix=""):
    d, m = c["hidden_size"], c["intermediate_size"]
    tables = {"word": "vocab_size", "position": "max_position_embeddings"}
    tables["token_type"] = "type_vocab_size"
    shapes = {
        f"{prefix}embeddings.{k}_embeddings.weight": (c[size], d) for k, size in tables.items()
    }
    shapes |= affine(f"{prefix}embeddings.LayerNorm", d)
    for i in range(c["num_hidden_layers"]):
        layer = f"{prefix}encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= map_of(f"{layer}.attention.self.{part}", d, d)
        shapes |= map_of(f"{layer}.attention.output.dense", d, d)
        shapes |= affine(f"{layer}.attention.output.LayerNorm", d)
        shapes |= map_of(f"{layer}.intermediate.dense", m, d)
        shapes |= map_of(f"{layer}.output.dense", d, m) | affine(f"{layer}.output.LayerNorm", d)
    return shapes


def masked_shapes(c):
    d = c["hidden_size"]
    head = map_of("cls.predictions.transform.dense", d, d)
    head |= affine("cls.predictions.transform.LayerNorm", d)
    return bert_shapes(c, "bert.") | head | {"cls.predictions.bias": (c["vocab_size"],)}


def vit_shapes(c):
    d, m, (high, wide) = c["hidden_size"], c["intermediate_size"], c["image_size"]
    patches = (high // c["patch_size"][0]) * (wide // c["patch_size"][1])
    tokens = "vit.embeddings"
    shapes = {
        f"{tokens}.cls_token": (1, 1, d),
        f"{tokens}.position_embeddings": (1, patches + 1, d),
        f"{tokens}.patch_embeddings.projection.weight": (d, c["num_channels"], *c["patch_size"]),
        f"{tokens}.patch_embeddings.projection.bias": (d,),
    }
    for i in range(c["num_hidden_layers"]):
        layer = f"vit.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            shapes |= map_of(f"{layer}.attention.attention.{part}", d, d)
        shapes |= map_of(f"{layer}.attention.output.dense", d, d)
        shapes |= affine(f"{layer}.layernorm_before", d) | affine(f"{layer}.layernorm_after", d)
        shapes |= map_of(f"{layer}.intermediate.dense", m, d)
        shapes |= map_of(f"{layer}.output.dense", d, m)
    return shapes | affine("vit.layernorm", d) | map_of("classifier", len(c["id2label"]), d)


def tower_shapes(tower, c):
    d, m = c["hidden_size"], c["intermediate_size"]
    shapes = {}
    for i in range(c["num_hidden_layers"]):
        layer = f"{tower}.encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= map_of(f"{layer}.self_attn.{part}", d, d)
        shapes |= affine(f"{layer}.layer_norm1", d) | affine(f"{layer}.layer_norm2", d)
        shapes |= map_of(f"{layer}.mlp.fc1", m, d) | map_of(f"{layer}.mlp.fc2", d, m)
    return shapes


def clip_shapes(c):
    see, read, e = c["vision_config"], c["text_config"], c["projection_dim"]
    d, t, patch = see["hidden_size"], read["hidden_size"], see["patch_size"]
    tokens, words = "vision_model.embeddings", "text_model.embeddings"
    shapes = {
        f"{tokens}.class_embedding": (d,),
        f"{tokens}.patch_embedding.weight": (d, see["num_channels"], patch, patch),
        f"{tokens}.position_embedding.weight": (1 + (see["image_size"] // patch) ** 2, d),
        f"{words}.token_embedding.weight": (read["vocab_size"], t),
        f"{words}.position_embedding.weight": (read["max_position_embeddings"], t),
        "visual_projection.weight": (e, d),
        "text_projection.weight": (e, t),
        "logit_scale": (),
    }
    shapes |= tower_shapes("vision_model", see) | tower_shapes("text_model", read)
    shapes |= affine("vision_model.pre_layrnorm", d) | affine("vision_model.post_layernorm", d)
    return shapes | affine("text_model.final_layer_norm", t)


def write(folder, config, shapes, tokenizer=None):
    generator = torch.Generator().manual_seed(7)
    folder.mkdir(parents=True)
    tensors = {n: 0.3 * torch.randn(s, generator=generator) for n, s in shapes.items()}
    if "logit_scale" in tensors:
        tensors["logit_scale"] += 3  # a logarithm: cosines are told apart
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))


def byte_tokenizer(vocab):
    """Make a byte-level BPE that learned a few merges."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 9, trainer)
    return tokenizer


def word_tokenizer():
    """Make a WordPiece of whole words."""
    ids = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def clip_vocabulary():
    """List CLIP's way: bytes, bytes that end a word, the merges of a few words, start and end."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    merges = []
    for word in WORDS:
        *rest, last = word
        parts = [*rest, last + "</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = [parts[0] + parts[1]]
    merges = list(dict.fromkeys(merges))
    made = dict.fromkeys(a + b for a, b in merges)
    tokens = [*letters, *(letter + "</w>" for letter in letters), *made]
    return [*tokens, "<|startoftext|>", "<|endoftext|>"], merges


def write_clip(folder):
    tokens, merges = clip_vocabulary()
    text = CLIP["text_config"] | {"vocab_size": len(tokens), "eos_token_id": len(tokens) - 1}
    config = CLIP | {"text_config": text}
    write(folder, config, clip_shapes(config))
    ids = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 13})
    )
    pixels = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 16},
        "crop_size": {"height": 16, "width": 16},
        "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))


def write_photos(folder):
    """Draw circles and squares in three colours; the last lies in a folder of its own."""
    (folder / "more").mkdir(parents=True)
    for i, (colour, paint) in enumerate(COLOURS.items()):
        for shape in ("circle", "square"):
            image = Image.new("RGB", (60 + 10 * i, 50), (240, 240, 225))
            draw = ImageDraw.Draw(image)
            (draw.ellipse if shape == "circle" else draw.rectangle)((10, 8, 44, 42), fill=paint)
            image.save(folder / ("more" if i == 2 else "") / f"{colour}-{shape}.png")


def write_all(place):
    """Write the folders that the calls of the verb table speak of."""
    gpt2 = byte_tokenizer(GPT2["vocab_size"])
    small = GPT2 | {"vocab_size": gpt2.get_vocab_size()}
    write(place / "gpt2", small, gpt2_shapes(small), gpt2)
    exact = small | {"activation_function": "gelu"}
    write(place / "exact", exact, gpt2_shapes(exact), gpt2)
    pooler = map_of("pooler.dense", BERT["hidden_size"], BERT["hidden_size"])
    write(place / "bert", BERT, bert_shapes(BERT) | pooler, word_tokenizer())
    masked = BERT | {"architectures": ["BertForMaskedLM"]}
    write(place / "masked", masked, masked_shapes(masked), word_tokenizer())
    write(place / "vit", VIT, vit_shapes(VIT))
    pixels = {"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 16}}
    (place / "vit" / "preprocessor_config.json").write_text(json.dumps(pixels))
    write_clip(place / "clip")
    write_photos(place / "photos")
    shutil.copy(place / "photos" / "red-circle.png", place / "photo.png")
    write_work(place)
