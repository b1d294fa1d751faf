"""Tiny models of each family in memory, with tokenizers and pictures, for the tests of tasks."""

import functools

import numpy as np
import torch
from PIL import Image

from zoo.images import ImageProcessor
from zoo.models import BERT, CLIP, GPT2, BERTConfig, CLIPConfig, GPT2Config, ViT, ViTConfig
from zoo.tasks import (
    Matcher,
)
from zoo.tokenizers import Tokenizer

TEXTS = ["sun", "the cat sat", "a dog ran in the garden and a cat sat in the house", "rain"]
SIZES = {"width": 20, "depth": 1, "heads": 4}
EYE = {"image": (12, 10), "patch": (3, 5)}
PROCESSOR = ImageProcessor.vit(size=EYE["image"])


@functools.cache
def tokenizer(kind):
    return Tokenizer.train(TEXTS * 3, kind, vocab={"bpe": 270, "wordpiece": 90, "clip": 560}[kind])


def loud(model, device="cpu"):
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval().to(device)


def bert(head=None, kind=BERT, device="cpu", **changes):
    sizes = SIZES | {"vocab": tokenizer("wordpiece").vocab_size, "context": 24} | changes
    return loud(kind(BERTConfig(**sizes), head), device)


def gpt2(head="lm", kind=GPT2, device="cpu", **changes):
    sizes = SIZES | {"vocab": tokenizer("bpe").vocab_size, "context": 24} | changes
    return loud(kind(GPT2Config(**sizes), head), device)


def vit(head="image", device="cpu", **changes):
    return loud(ViT(ViTConfig(**EYE, **SIZES, **changes), head), device)


def clip(head="match", kind=CLIP, device="cpu", **changes):
    towers = {f"{t}_{name}": size for t in ("image", "text") for name, size in SIZES.items()}
    tok = tokenizer("clip")
    sizes = {"vocab": tok.vocab_size, "end": tok.eos_id, "context": 13, "embed": 14}
    return loud(kind(CLIPConfig(**EYE, **towers, **sizes | changes), head), device)


def matcher(model=None):
    return Matcher(clip() if model is None else model, PROCESSOR, tokenizer("clip"))


def pictures(count):
    draw = np.random.default_rng(0)
    shape = (*EYE["image"], 3)
    return [Image.fromarray(draw.integers(0, 256, shape).astype(np.uint8)) for _ in range(count)]


def near(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
