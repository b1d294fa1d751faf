"""The golden sets of the models that see: transformers' ViT and CLIP, in float64."""

import torch
import transformers
from recording import outputs_of, published_gradients, random_weights
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

VIT_PLACES = {
    "patch": "vit.embeddings.patch_embeddings",
    "drop": "vit.embeddings.dropout",
    "blocks.{}.norm1": "vit.layers.{}.layernorm_before",
    "blocks.{}.attn": "vit.layers.{}.attention",
    "blocks.{}.norm2": "vit.layers.{}.layernorm_after",
    "blocks.{}.mlp": "vit.layers.{}.mlp",
    "blocks.{}": "vit.layers.{}",
    "norm": "vit.layernorm",
    "logits": "classifier",
}
CLIP_PLACES = {
    "image.norm_in": "vision_model.pre_layrnorm",
    "image.blocks.{}.attn": "vision_model.encoder.layers.{}.self_attn",
    "image.blocks.{}.mlp": "vision_model.encoder.layers.{}.mlp",
    "image.blocks.{}": "vision_model.encoder.layers.{}",
    "image.norm": "vision_model.post_layernorm",
    "image_projection": "visual_projection",
    "text.tokens": "text_model.embeddings.token_embedding",
    "text.blocks.{}.attn": "text_model.encoder.layers.{}.self_attn",
    "text.blocks.{}.mlp": "text_model.encoder.layers.{}.mlp",
    "text.blocks.{}": "text_model.encoder.layers.{}",
    "text.norm": "text_model.final_layer_norm",
    "text_projection": "text_projection",
}
EXACT = "sdpa"  # their eager attention of pictures takes its softmax in float32
SIDES = {"num_channels": 3, "image_size": 12, "patch_size": 4}


def make_vit():
    config = transformers.ViTConfig(
        hidden_size=20, num_hidden_layers=3, num_attention_heads=4, intermediate_size=36,
        layer_norm_eps=1e-2, num_labels=7, attn_implementation=EXACT, **SIDES,
    )  # fmt: skip
    return random_weights(transformers.ViTForImageClassification(config), 4)


def make_clip():
    vision = {
        "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 36, "layer_norm_eps": 1e-2, **SIDES,
    }  # fmt: skip
    text = {
        "hidden_size": 18, "num_hidden_layers": 3, "num_attention_heads": 3,
        "intermediate_size": 28, "layer_norm_eps": 1e-2, "vocab_size": 97,
        "max_position_embeddings": 13, "bos_token_id": 95, "eos_token_id": 96,
    }  # fmt: skip
    config = transformers.CLIPConfig(
        vision_config=vision, text_config=text, projection_dim=14, attn_implementation=EXACT
    )
    return random_weights(transformers.CLIPModel(config), 5)


def vit_batches():
    generator = torch.Generator().manual_seed(6)
    pixels = torch.randn((3, 3, 12, 12), dtype=torch.float64, generator=generator)
    return {
        "noise": {"pixel_values": pixels, "labels": torch.tensor([0, 6, 3])},
        "black": {"pixel_values": torch.zeros_like(pixels[:1]), "labels": torch.tensor([2])},
    }


def clip_batches():
    """Texts end at different places; behind the end stands padding that nobody may read."""
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randn((3, 3, 12, 12), dtype=torch.float64, generator=generator)
    ids = torch.randint(0, 95, (3, 11), generator=generator)
    whole, ragged = ids.clone(), ids.clone()
    whole[:, -1] = 96
    for row, length in enumerate((4, 11, 7)):
        ragged[row, length - 1 :] = 96
    return {
        "whole": {"pixel_values": pixels, "input_ids": whole},
        "ragged": {"pixel_values": pixels.flip(0), "input_ids": ragged},
    }


def vit_loss(model, batch):
    logits = model(pixel_values=batch["pixel_values"]).logits
    return cross_entropy(logits, batch["labels"]), {}


def clip_loss(model, batch):
    logits = model(**batch).logits_per_image
    own = torch.arange(len(logits))
    loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    return loss, {"logits": logits.detach().clone()}


FAMILIES = {
    "vit": (make_vit, VIT_PLACES, vit_batches, vit_loss),
    "clip": (make_clip, CLIP_PLACES, clip_batches, clip_loss),
}


def record(family, folder):
    make, places, batches, loss_of = FAMILIES[family]
    model = make()
    model.save_pretrained(folder)
    inputs, expected = {}, {}
    for name, batch in batches().items():
        model.zero_grad()
        found, (loss, more) = outputs_of(model, places, lambda b=batch: loss_of(model, b))
        loss.backward()
        found |= more | {"loss": loss.detach()}
        gradients = published_gradients(model)
        found |= {f"gradient:{n}": gradient.norm() for n, gradient in gradients.items()}
        inputs |= {f"{name}/{key}": t.contiguous() for key, t in batch.items()}
        expected |= {f"{name}/{key}": t.contiguous() for key, t in found.items()}
    save_file(inputs, folder / "inputs.safetensors")
    save_file(expected, folder / "expected.safetensors")
    return {"model": family, "compare": {"dtype": "float64", "rtol": 1e-9, "atol": 1e-9}}
