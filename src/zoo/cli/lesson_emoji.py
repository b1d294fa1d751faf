"""The tour's third pupil: a small CLIP learns which drawing has which name.

For the drawings see zoo.data.sources_emoji. All emojis designed by OpenMoji, CC BY-SA 4.0.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.cli.lesson_time import taught
from zoo.cli.lesson_views import View, moved
from zoo.data.sources_emoji import Emoji, draw
from zoo.images import ImageProcessor
from zoo.models import CLIP, CLIPConfig
from zoo.objectives import match
from zoo.tokenizers import Tokenizer
from zoo.train import Step

SHAPES = ("{}", "{}", "a {}", "a drawing of a {}", "the picture of a {}")
LEFT_OUT = 0.2  # how often a word of a name is
KIND_TOLD, KIND_ALONE = 0.25, 0.3  # how often a caption says the kind, and then nothing else

SEEN = (64, 64)  # pixels of a drawing from which the views are taken
VOCAB, CONTEXT = 2048, 32
CONFIG = CLIPConfig(
    embed=96,
    image=(32, 32),
    patch=(8, 8),
    image_width=96,
    image_depth=3,
    image_heads=3,
    image_hidden=384,
    text_width=96,
    text_depth=2,
    text_heads=3,
    text_hidden=384,
    vocab=VOCAB,
    context=CONTEXT,
    end=VOCAB - 1,
)
PROCESSOR = ImageProcessor.clip(CONFIG.image)
BATCH, PEAK, WARMUP, DECAY = 256, 2e-3, 40, 0.1
STEPS = 300  # of a whole lesson
VIEW = View(turn=8.0, scale=0.12, shift=0.05, flip=True)
COLOURED, DARKEST = 0.3, 0.5  # how often the paper is not white, and the least of its colours


def layers(emoji: Sequence[Emoji]) -> Float[Tensor, "n 4 64 64"]:
    """Give drawings from 0 to 1 as colours times opacity, and opacity."""
    rows = [np.asarray(draw(e.code).convert("RGBa").resize(SEEN)) for e in emoji]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2) / 255


def caption(emoji: Emoji, dice: random.Random) -> str:
    """Write one of the captions that a drawing may have: words of its name, its kind, both."""
    words = emoji.name.split()
    # what is left of "cat face with tears of joy" is still true of the drawing
    said = " ".join([word for word in words if dice.random() >= LEFT_OUT] or words)
    if emoji.kind and dice.random() < KIND_TOLD:
        alone = dice.random() < KIND_ALONE
        said = emoji.kind if alone else f"{said}, a kind of {emoji.kind}"
    return dice.choice(SHAPES).format(said)


def enrol(learnt: Sequence[Emoji], *, seed: int) -> tuple[CLIP, Tokenizer]:
    """Make a tokenizer of the names that are learnt, and a CLIP that knows nothing yet."""
    texts = [caption(e, random.Random(i)) for i, e in enumerate([*learnt] * 4)]
    tokenizer = Tokenizer.train(texts, "clip", vocab=VOCAB, longest=CONTEXT)
    torch.manual_seed(seed)
    return CLIP(CONFIG), tokenizer


def lessons(
    model: CLIP,
    tokenizer: Tokenizer,
    learnt: Sequence[Emoji],
    *,
    seconds: float,
    steps: int,
    seed: int,
) -> Iterator[tuple[float, Step]]:
    """Train for so many steps, or seconds; give the share that is over and the step taken."""
    batches = pairs(tokenizer, learnt, layers(learnt), seed)  # drawn before the clock runs
    return taught(
        model, batches, match, peak=PEAK, warmup=WARMUP, seconds=seconds, most=steps, decay=DECAY
    )


def pairs(
    tokenizer: Tokenizer, learnt: Sequence[Emoji], drawn: Float[Tensor, "n 4 y x"], seed: int
) -> Iterator[dict[str, Tensor]]:
    """Give batches of drawings and captions for ever, each time in other views and words."""
    generator, dice = torch.Generator().manual_seed(seed), random.Random(seed)
    while True:
        order = torch.randperm(len(learnt), generator=generator)
        for chosen in order.split(BATCH)[: max(1, len(order) // BATCH)]:
            captions = [caption(learnt[i], dice) for i in chosen.tolist()]
            ids = tokenizer.batch(captions)["input_ids"]
            yield {"pixel_values": views(drawn[chosen], generator), "input_ids": ids}


def views(
    drawn: Float[Tensor, "b 4 y x"],
    generator: torch.Generator,
    *,
    view: View = VIEW,
    coloured: float = COLOURED,
) -> Float[Tensor, "b 3 h w"]:
    """Lay drawings, each a little moved, on white or coloured paper, as the model reads them."""
    seen = moved(drawn, CONFIG.image, generator, view)
    tinted = torch.rand(len(seen), 1, 1, 1, generator=generator) < coloured
    colour = 1 - DARKEST * torch.rand(len(seen), 3, 1, 1, generator=generator)
    paper = torch.where(tinted, colour, 1.0)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PROCESSOR.image_mean, PROCESSOR.image_std))
    return (seen[:, :3] + (1 - seen[:, 3:]) * paper - mean) / std
