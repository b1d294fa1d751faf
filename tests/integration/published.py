"""Hugging Face's models of each family and head: random configs, large weights, batches, answers.

Weights are large (deviation 0.3) and configs random, so that nothing hides behind small numbers;
everything is float64, where two right implementations differ by rounding only.
"""

import random
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from zoo.models import BERT, CLIP, GPT2, ViT

CLASSES = {
    ("gpt2", "lm"): "GPT2LMHeadModel",
    ("gpt2", "sequence"): "GPT2ForSequenceClassification",
    ("gpt2", "token"): "GPT2ForTokenClassification",
    ("gpt2", None): "GPT2Model",
    ("bert", "masked_lm"): "BertForMaskedLM",
    ("bert", "next_sentence"): "BertForNextSentencePrediction",
    ("bert", "sequence"): "BertForSequenceClassification",
    ("bert", "token"): "BertForTokenClassification",
    ("bert", "span"): "BertForQuestionAnswering",
    ("bert", "multiple_choice"): "BertForMultipleChoice",
    ("bert", None): "BertModel",
    ("vit", "image"): "ViTForImageClassification",
    ("vit", "masked_image"): "ViTForMaskedImageModeling",
    ("vit", None): "ViTModel",
    ("clip", "match"): "CLIPModel",
    ("clip", "image"): "CLIPForImageClassification",
    ("clip", "image_features"): "CLIPVisionModelWithProjection",
    ("clip", "text_features"): "CLIPTextModelWithProjection",
    ("clip", "image_hidden"): "CLIPVisionModel",
    ("clip", "text_hidden"): "CLIPTextModel",
}
OURS = {"gpt2": GPT2, "bert": BERT, "vit": ViT, "clip": CLIP}
TEXT = ("gpt2", "bert")
FIRST_COLUMN = ("next_sentence", "sequence", "multiple_choice")  # theirs pools it, padding or not


@dataclass(frozen=True)
class Case:
    """What is special about a batch: the side of its padding, or images of another size."""

    name: str
    side: str | None = None
    interpolate: bool = False


PLAIN = Case("plain")
RIGHT, LEFT = Case("right", side="right"), Case("left", side="left")
RESIZED = Case("resized", interpolate=True)


def cases(family: str, head: str | None) -> list[Case]:
    """Say which batches a head can be compared on."""
    if family in TEXT:
        # theirs pools column 0, which is padding then: other tests cover ours
        return [PLAIN, RIGHT] if family == "bert" and head in FIRST_COLUMN else [PLAIN, RIGHT, LEFT]
    if head in ("text_features", "text_hidden"):
        return [PLAIN, RIGHT]
    # their masked-image decoder is for square images only, their classifier passes no flag on
    return (
        [PLAIN]
        if head == "masked_image" or (family, head) == ("clip", "image")
        else [PLAIN, RESIZED]
    )


def sizes(draw: random.Random) -> dict[str, Any]:
    heads = draw.choice([1, 2, 3, 5])
    return {
        "hidden_size": heads * draw.choice([1, 2, 4, 6]),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": heads,
        "intermediate_size": draw.choice([7, 24]),
        "hidden_act": draw.choice(["gelu", "gelu_new", "quick_gelu"]),
        "layer_norm_eps": draw.choice([1e-12, 1e-2]),
    }


def random_config(family: str, head: str | None, seed: int) -> Any:
    draw = random.Random(f"{family}{seed}")
    classes = {"num_labels": 2 if head == "span" else draw.randint(1, 5)}
    if family == "gpt2":
        drawn = sizes(draw)
        return transformers.GPT2Config(
            vocab_size=draw.randint(50, 120),
            n_positions=draw.randint(16, 30),
            n_embd=drawn["hidden_size"],
            n_layer=drawn["num_hidden_layers"],
            n_head=drawn["num_attention_heads"],
            n_inner=draw.choice([None, 7, 24]),
            activation_function=draw.choice(["gelu_new", "gelu", "gelu_pytorch_tanh"]),
            layer_norm_epsilon=draw.choice([1e-5, 1e-2]),
            tie_word_embeddings=draw.random() < 0.7,
            pad_token_id=0,
            **classes,
        )
    if family == "bert":
        return transformers.BertConfig(
            vocab_size=draw.randint(50, 120),
            max_position_embeddings=draw.randint(16, 30),
            type_vocab_size=draw.choice([1, 2, 3]),
            tie_word_embeddings=draw.random() < 0.7,
            pad_token_id=0,
            **classes,
            **sizes(draw),
        )
    if family == "vit":
        bias = {"qkv_bias": draw.random() < 0.7}
        return transformers.ViTConfig(**pixels(draw), **classes, **sizes(draw), **bias)
    return clip_config(draw, head, classes)


def pixels(draw: random.Random) -> dict[str, Any]:
    """Draw a patch and an image of so many patches a side."""
    patch = draw.choice([2, 3, 4])
    return {
        "patch_size": patch,
        "image_size": patch * draw.choice([2, 3, 4]),
        "num_channels": draw.choice([1, 2, 3]),
    }


def clip_config(draw: random.Random, head: str | None, classes: dict[str, Any]) -> Any:
    vision, text = sizes(draw) | pixels(draw), sizes(draw)
    text |= {name: vision[name] for name in ("hidden_act", "layer_norm_eps")}
    vocab = draw.randint(50, 120)
    text |= {
        "vocab_size": vocab,
        "max_position_embeddings": draw.randint(12, 30),
        "eos_token_id": draw.choice([2, 5, vocab - 1]),
        "bos_token_id": 3,
    }
    embed = draw.choice([5, 9])
    if head in ("image_features", "image_hidden"):
        return transformers.CLIPVisionConfig(**vision, projection_dim=embed)
    if head in ("text_features", "text_hidden"):
        return transformers.CLIPTextConfig(**text, projection_dim=embed)
    return transformers.CLIPConfig(
        vision_config=vision, text_config=text, projection_dim=embed, **classes
    )


def random_model(family: str, head: str | None, seed: int) -> Any:
    """Make a Hugging Face model in float64 with large weights."""
    torch.manual_seed(seed)
    config = random_config(family, head, seed)
    if head == "masked_image":
        config.encoder_stride = config.patch_size
    made = getattr(transformers, CLASSES[family, head])(config).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made


def random_batch(family: str, head: str | None, config: Any, seed: int, case: Case) -> Any:
    """Make a batch that ours and theirs read, but for the names that `theirs_forward` changes."""
    generator = torch.Generator().manual_seed(seed)
    if family in TEXT:
        return text_batch(family, head, config, generator, case.side)
    batch = {}
    if not (family == "clip" and head in ("text_features", "text_hidden")):
        vision = getattr(config, "vision_config", config)
        image, patch = vision.image_size, vision.patch_size
        size = (image + patch, image + 2 * patch) if case.interpolate else (image, image)
        batch["pixel_values"] = torch.randn(
            (3, vision.num_channels, *size), dtype=torch.float64, generator=generator
        )
        if head == "masked_image":
            count = (image // patch) ** 2
            batch["bool_masked_pos"] = torch.rand((3, count), generator=generator) < 0.5
    if family == "clip" and head not in ("image", "image_features", "image_hidden"):
        batch |= caption_batch(getattr(config, "text_config", config), generator, case.side)
    return batch


def caption_batch(config: Any, generator: torch.Generator, side: str | None) -> Any:
    """Make four texts whose end token stands at different places, padded with it on the right."""
    end = config.vocab_size - 1 if config.eos_token_id == 2 else config.eos_token_id
    ids = torch.randint(6, config.vocab_size - 1, (4, 10), generator=generator)
    ids[ids == end] = 4
    mask = torch.ones_like(ids)
    for row, length in enumerate([10, 3, 7, 5]):
        ids[row, length - 1 :] = end
        mask[row, length:] = 0
    return {"input_ids": ids, "attention_mask": mask} if side else {"input_ids": ids}


def text_batch(
    family: str, head: str | None, config: Any, generator: torch.Generator, side: str | None
) -> Any:
    """Make rows of different lengths, padded on `side`; ids are never the padding id."""
    lengths = [5, 9, 2] if side else [7, 7, 7]
    t = max(lengths)
    ids = torch.randint(1, config.vocab_size, (3, t), generator=generator)
    mask = torch.ones(3, t, dtype=torch.long)
    for row, length in enumerate(lengths):
        if length < t:
            where = slice(length, None) if side == "right" else slice(None, t - length)
            ids[row, where], mask[row, where] = config.pad_token_id, 0
    batch = {"input_ids": ids}
    if side:
        batch["attention_mask"] = mask
    if family == "bert":
        types = config.type_vocab_size
        batch["token_type_ids"] = torch.randint(0, types, (3, t), generator=generator)
    if head == "multiple_choice":
        batch = {name: torch.stack([x, x.flip(0)], 1) for name, x in batch.items()}
    return batch


def ours_forward(model: Any, batch: Any, case: Case) -> torch.Tensor:
    return model(**batch, interpolate=True) if case.interpolate else model(**batch)


def theirs_forward(model: Any, head: str | None, batch: Any, case: Case) -> torch.Tensor:
    """Run Hugging Face's model with the positions that a mask implies."""
    batch = dict(batch)
    if "attention_mask" in batch and "pixel_values" not in batch and case is LEFT:
        shape = batch["input_ids"].shape
        mask = batch["attention_mask"].flatten(0, -2)
        batch["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0).view(shape)
    if isinstance(model, transformers.GPT2PreTrainedModel):
        batch["use_cache"] = False
    if case.interpolate:
        batch["interpolate_pos_encoding"] = True
    output = model(**batch)
    if head == "span":
        return torch.stack([output.start_logits, output.end_logits], -1)
    for name in ("logits", "logits_per_image", "reconstruction", "image_embeds", "text_embeds"):
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    return output.last_hidden_state


def real(output: torch.Tensor, family: str, head: str | None, batch: Any) -> torch.Tensor:
    """Keep the rows that stand for real tokens."""
    each_token = (family in TEXT and head not in FIRST_COLUMN) or head == "text_hidden"
    if "attention_mask" in batch and each_token:
        return output[batch["attention_mask"].bool()]
    return output
