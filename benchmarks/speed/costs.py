"""What users wait for beside computing: imports, loading, the first token, words and pictures."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.clock import Took
from benchmarks.speed.families import Pair, Sizes, quiet
from benchmarks.speed.job import Absent, Answer, Job, Side, need

from zoo.generate import Sampling, generate
from zoo.models import load

ROOT = Path(__file__).parents[2]
IMPORT = (
    "import time\n{first}\n"
    "began = time.process_time(), time.perf_counter()\n"
    "{line}\n"
    "print(time.process_time() - began[0], time.perf_counter() - began[1])"
)


def importing(sizes: Sizes, *, alone: bool = False) -> Job:
    """Import in a fresh process that has torch already."""
    first = "import torch"
    lines = {"zoo": "import zoo.models", "hf": "from transformers import GPT2LMHeadModel"}
    if sizes.tiny:  # the same path without the long wait
        first, lines = "", {"zoo": "import zoo", "hf": "import wave"}
    sides: dict[str, Callable[[], Side]] = {
        name: partial(fresh, IMPORT.format(first=first, line=line), name)
        for name, line in lines.items()
    }
    return Job(sides, unit="imports")


def fresh(code: str, name: str) -> Side:
    if name == "hf":
        need("transformers")
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}

    def call() -> Took:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        cpu, wall = map(float, done.stdout.split())
        return Took(cpu, wall)

    return Side(call, arithmetic=None, opaque=True)


class Place:
    """A folder that lives as long as this does."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, self.folder)


def loading(sizes: Sizes, *, alone: bool = False) -> Job:
    """Read a checkpoint folder; what is asked for new tokens writes them too."""
    pair = Pair(sizes)
    place = Place()
    pair.ours.save_pretrained(place.folder)

    def made(open_: Callable[[], Any], write: Callable[[Any], torch.Tensor]) -> Side:
        def call() -> Any:
            model = open_()
            return write(model) if sizes.new else model

        def answer() -> Answer:
            model = open_()
            found: Answer = {"tokens": write(model)} if sizes.new else {}
            with torch.no_grad():
                output = model(pair.batch["input_ids"])
            return found | {"output": getattr(output, "logits", output)}

        return Side(call, answer, arithmetic=None)

    def ours() -> Side:
        options = Sampling(max_new_tokens=max(1, sizes.new), stop_tokens=())
        prompts = pair.batch["input_ids"].tolist()
        return made(
            lambda: load(place.folder),
            lambda model: torch.tensor([g.ids for g in generate(model, prompts, options)]),
        )

    def theirs() -> Side:
        transformers = need("transformers")
        ids = pair.batch["input_ids"]

        def open_() -> Any:
            return transformers.GPT2LMHeadModel.from_pretrained(place.folder).eval()

        def write(model: Any) -> torch.Tensor:
            how = model.generation_config
            how.eos_token_id, how.pad_token_id, how.do_sample = None, 0, False
            mask = torch.ones_like(ids)
            found = model.generate(ids, attention_mask=mask, max_new_tokens=sizes.new)
            return found[:, ids.shape[1] :]

        return made(open_, write)

    return Job({"zoo": ours, "hf": theirs}, unit="loads", bound=pair.bound)


def exact(arithmetic: str) -> float:
    return 0.0


def tokenising(sizes: Sizes, *, alone: bool = False) -> Job:
    """Turn the pages of this project's documents into ids, line by line in batches."""
    folder = ROOT / "golden" / "gpt2-english"
    pages = "\n".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
    lines = [line for line in pages.splitlines() if line.strip()][: 20 if sizes.tiny else 3000]

    def ours() -> Side:
        from zoo.tokenizers import Tokenizer

        tokenizer = Tokenizer.from_folder(folder)
        return rows_of(lambda: [tokenizer.encode(line) for line in lines])

    def theirs() -> Side:
        transformers = need("transformers")
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return rows_of(lambda: tokenizer(lines, return_attention_mask=False)["input_ids"])

    def rows_of(call: Callable[[], list[list[int]]]) -> Side:
        def answer() -> Answer:
            rows = call()
            return {
                "ids": torch.tensor([i for row in rows for i in row]),
                "lengths": torch.tensor([len(row) for row in rows]),
            }

        return Side(call, answer, arithmetic=None, opaque=True)

    count = sum(len(line.encode()) for line in lines) / 1e6
    return Job({"zoo": ours, "hf": theirs}, count=count, unit="MB", bound=exact)


def picturing(sizes: Sizes, *, alone: bool = False) -> Job:
    """Decode JPEGs of 640 by 480 and make a ViT's pixels of them."""
    count = 2 if sizes.tiny else sizes.rows

    @cache
    def files() -> list[bytes]:
        return [photograph(number) for number in range(count)]

    def ours() -> Side:
        files()
        from zoo.images import ImageProcessor, read_image

        make = ImageProcessor.vit()
        return pixels(lambda: make([read_image(io.BytesIO(data)) for data in files()]))

    def theirs() -> Side:
        module = need("transformers")
        from PIL import Image

        kind = getattr(module, "ViTImageProcessorPil", None) or module.ViTImageProcessor
        make = kind()

        def call() -> torch.Tensor:
            images = [Image.open(io.BytesIO(data)).convert("RGB") for data in files()]
            return make(images, return_tensors="pt")["pixel_values"]

        return pixels(call)

    def pixels(call: Callable[[], torch.Tensor]) -> Side:
        return Side(call, lambda: {"pixels": call()}, arithmetic=None)

    return Job({"zoo": ours, "hf": theirs}, count=count, unit="images", bound=exact)


def photograph(seed: int) -> bytes:
    """Draw a picture as smooth and as rough as photographs are, as a JPEG."""
    try:
        from PIL import Image
    except ImportError:
        raise Absent("not installed: pip install pillow") from None
    draw = torch.Generator().manual_seed(seed)
    planes = torch.zeros(1, 3, 480, 640)
    for side in (4, 16, 64, 256):
        rough = torch.rand(1, 3, side, side, generator=draw)
        planes += torch.nn.functional.interpolate(rough, (480, 640), mode="bilinear") / side**0.5
    planes = (planes / planes.max() * 255).byte()
    file = io.BytesIO()
    Image.fromarray(planes[0].permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=90)
    return file.getvalue()
