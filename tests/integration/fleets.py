"""Fleets of real workers on tiny folders, and what the same models say offline."""

import asyncio
import contextlib
import functools
import os
import time
from pathlib import Path

import torch

from e2e import models
from zoo.serve.fleet import Fleet
from zoo.serve.limits import Limits
from zoo.serve.plan import plan_of
from zoo.tasks import Generator

LONG = 60.0  # seconds; no test waits for so long, but one that fails


def write_folders(place):
    """Write three GPT-2 that answer differently, and a BERT that fills in."""
    tokenizer = models.byte_tokenizer(models.GPT2["vocab_size"])
    for name, layers in [("one", 2), ("two", 1), ("three", 3)]:
        config = models.GPT2 | {"n_layer": layers, "vocab_size": tokenizer.get_vocab_size()}
        models.write(place / name, config, models.gpt2_shapes(config), tokenizer)
    masked = models.BERT | {"architectures": ["BertForMaskedLM"]}
    models.write(place / "masked", masked, models.masked_shapes(masked), models.word_tokenizer())
    return place


def damage(folder):
    """Cut the last bytes off a folder's weights."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])


class Ears:
    """Hear a fleet; `at` says what to do, once, at the next record of an event."""

    def __init__(self):
        self.records = []
        self.at = {}

    def __call__(self, record):
        self.records.append(record)
        self.at.pop(record["event"], lambda: None)()

    def of(self, event):
        """Give the versions that an event was told of."""
        return [r["version"] for r in self.records if r["event"] == event]


@contextlib.asynccontextmanager
async def serving(words, *, heard=lambda record: None, **limits):
    """Start a fleet; end it, whatever happens."""
    fleet = Fleet(plan_of(words), Limits(**limits), heard=heard)
    try:
        await fleet.start()
        yield fleet
    finally:
        await fleet.close()


def body(seed=0, tokens=8, prompt="the house is", stream=True):
    return {
        "prompts": [prompt],
        "max_tokens": tokens,
        "temperature": 1.0,
        "seed": seed,
        "stream": stream,
    }


def ask(fleet, seed=0, model="gpt2", seconds=LONG, **options):
    """Ask for a completion."""
    asked = body(seed, **options)
    return fleet.submit(model, "complete", asked, deadline=time.monotonic() + seconds)


async def text_of(answers):
    """Give the streamed text of one choice, checked against the whole answer."""
    said, tokens = "", []
    async for event in answers:
        if event["is"] == "done":
            (choice,) = event["answer"]["choices"]
            assert (said, tokens) == (choice["text"], choice["tokens"])
        else:
            said += event["text"]
            tokens += event["tokens"]
    return said


class Offline:
    """What folders say to a prompt, without a server; each text is made once."""

    def __init__(self, place):
        self.place = Path(place)
        self.task = functools.cache(self._task)
        self.text = functools.cache(self._text)

    def _task(self, folder):
        task = Generator.from_folder(self.place / folder)
        task.model.eval().optimize_for_inference("float32")
        return task

    def _text(self, folder, seed=0, tokens=8, prompt="the house is"):
        """Continue a prompt as `body` asks."""
        options = {"temperature": 1.0, "seed": seed, "max_new_tokens": tokens}
        with torch.no_grad():
            (made,) = self.task(folder).generate([prompt], **options)
        return made.text


def version_of(fleet, model="gpt2", version=None):
    """Give the record of a version, the default without a name."""
    (found,) = [m for m in fleet.models() if m["name"] == model]
    name = version or found["default"]
    return next(v for v in found["versions"] if v["version"] == name)


async def until(true, seconds=LONG):
    """Wait until a condition holds; fail when it takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.002)


def children(pid=None):
    """Give the processes below a process, by their numbers."""
    pid = pid or os.getpid()
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += [int(child), *children(int(child))]
    return found
