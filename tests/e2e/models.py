"""Tiny checkpoint folders, written without zoo: published names, random weights, a tokenizer.

The widths are all different, and the weights large enough that every token changes the answer.
"""

import json

import tokenizers
import torch
from safetensors.torch import save_file

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


def write(folder, config, shapes, tokenizer):
    generator = torch.Generator().manual_seed(7)
    folder.mkdir(parents=True)
    tensors = {n: 0.3 * torch.randn(s, generator=generator) for n, s in shapes.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
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
