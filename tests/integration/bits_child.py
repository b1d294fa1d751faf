"""Whether batches keep rows' bits: golden checkpoints by their engines, and blocks of sizes that
are published.

python -m integration.bits_child THREADS      prints a JSON object: name -> whether it holds
"""

import json
import random
import sys

import torch

from unit.nn.test_steady import built, of_pictures, of_texts, pictures_of
from zoo.checkpoint.packaged import find
from zoo.models import BERT, CLIP, ViT
from zoo.nn.steady import Counts, holds, steady
from zoo.serve.limits import Limits
from zoo.serve.opening import open_engine

GOLDEN = ("bert-english", "bert-spam", "vit-mnist", "clip-openmoji")
END = 49407  # the token at which a CLIP of the published size reads a text


def bert():
    model = built(BERT, "bert-base-uncased", head=None, depth=2)
    return of_texts(lambda ids, mask: model.embed(ids, mask, pooling="mean")), texts


def vit():
    model = built(ViT, "vit-base-patch32-224", head="image", depth=2)
    return of_pictures(model), pictures_of("vit-base-patch32-224")


def clip():
    return built(CLIP, "clip-vit-base-patch32", head="match", image_depth=2, text_depth=2)


def clip_texts():
    return of_texts(clip().encode_text), lambda rng, count: [[*t, END] for t in texts(rng, count)]


def clip_pictures():
    return of_pictures(clip().encode_image), pictures_of("clip-vit-base-patch32")


def texts(rng, count):
    """Draw texts, of which the first is long enough to be shared out among threads."""
    lengths = [50, *(rng.randint(1, 30) for _ in range(count - 1))]
    return [[rng.randrange(1, 30000) for _ in range(length)] for length in lengths]


PUBLISHED = (bert, vit, clip_texts, clip_pictures)


def kept(case):
    """Tell whether rows of a model of a published size keep their bits."""
    compute, draw = case()
    with torch.inference_mode(), steady(Counts()):
        return holds(compute, draw(random.Random(1), 3))


def main(threads):
    torch.set_num_threads(threads)
    found = {name: open_engine(find(name), Limits()).about["batches"] for name in GOLDEN}
    print(json.dumps(found | {case.__name__: kept(case) for case in PUBLISHED}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
