"""What is left of a run: the model as others read it, its metrics, its card and its curves."""

import contextlib
import importlib.util
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.evaluate.measure import measure
from zoo.models import load, write_probe
from zoo.train.adapter import save_adapter
from zoo.train.card import CURVES, write_card
from zoo.train.config import RunConfig, differences, read_recipe, recipes
from zoo.train.judge import averaged, plain_batches
from zoo.train.lora import merge_lora
from zoo.train.record import write_json
from zoo.train.settings import as_table, flat

MODEL = "model"
ADAPTER = "adapter"  # in it: the low-rank adapters alone, as peft reads them
TOLD = ("optimizer.rate", "train.steps", "train.batch")  # settings that a card always names


def finish(run: Any) -> tuple[dict[str, float], bool | None]:
    """Write RUN/model and give its metrics, measured on what was written.

    All processes must call; the first one writes and measures, the others give {}.
    """
    weights = gathered(run)
    run.world.close()  # what follows is one process's: objectives must not wait for others
    if run.world.rank:
        return {}, None
    place = run.folder / MODEL
    with replaced(place) as beside:
        export(run, weights, beside)
        metrics = measured(run, beside)
        write_json(beside / "metrics.json", metrics)
        draw(run, beside)
        write_card(beside, about(run, metrics))
    return metrics, reached(run.config, run.course.rows.version, metrics)


def gathered(run: Any) -> dict[str, Tensor]:
    """Give the weights to publish on the CPU of the first process: the averaged ones, if any."""
    with averaged(run.learner):
        if run.world.mode == "fsdp":
            return run.world.whole(run.learner.model)
        model = run.learner.model
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        return {n: t.detach().to("cpu", copy=True) for n, t in tensors.items()}


def export(run: Any, weights: dict[str, Tensor], folder: Path) -> None:
    """Write the model and what belongs to it into a new folder."""
    model = run.course.fresh_model(run.config)
    with torch.no_grad():
        for name, parameter in (*model.named_parameters(), *model.named_buffers()):
            parameter.copy_(weights[name])
    if run.config.lora.rank:
        save_adapter(model, folder / ADAPTER, base=run.config.model.base)
        merge_lora(model)
    model.eval().save_pretrained(folder)
    run.course.save_assets(folder)
    write_probe(folder)  # of weights, tokenizer and settings for pictures: last


def measured(run: Any, folder: Path) -> dict[str, float]:
    """Measure the model that was written, on all rows kept back."""
    course = run.course
    if course.valid is None:
        return {}
    model = load(folder, head=course.head)
    seed, size = run.config.train.seed, run.config.train.batch
    batches = (
        course.valid.batch(chosen, generator, slice(0, len(chosen)))
        for chosen, generator in plain_batches(
            course.valid, rows=len(course.valid), size=size, seed=seed
        )
    )
    return measure(model, course.head, batches, tokenizer=course.tokenizer)


def reached(config: RunConfig, version: str, metrics: dict[str, float]) -> bool | None:
    """Tell whether the recipe reached what it states.

    None where it states nothing: of other rows, and of one of ours with other settings.
    """
    goal = config.reaches
    if goal.metric not in metrics or goal.data not in (None, version):
        return None
    if config.name in recipes():
        stated, table = as_table(read_recipe(config.name)), as_table(config)
        if differences(stated, table):
            return None
    value = metrics[goal.metric]
    low = -float("inf") if goal.at_least is None else goal.at_least
    high = float("inf") if goal.at_most is None else goal.at_most
    return low <= value <= high


def _replaced(place: Path) -> Iterator[Path]:
    """Give a folder beside `place` that takes its place when the block ends well."""
    for left in place.parent.glob(f".{place.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    beside.mkdir()
    try:
        yield beside
        if place.exists():
            place.rename(place.with_name(f".{place.name}.{secrets.token_hex(4)}.old"))
        beside.rename(place)
    finally:
        for left in place.parent.glob(f".{place.name}.*"):
            shutil.rmtree(left, ignore_errors=True)


replaced = contextlib.contextmanager(_replaced)


def draw(run: Any, folder: Path) -> None:
    """Draw the run's curves beside its model where matplotlib is."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    from zoo.train.plot import plot  # an extra

    plot(run.folder, folder / CURVES)


def about(run: Any, metrics: dict[str, float]) -> dict[str, Any]:
    """Give the facts of the model card."""
    course, config = run.course, run.config
    usual = flat(as_table(RunConfig()))
    chosen = {k: v for k, v in flat(run.record["config"]).items() if v != usual.get(k) or k in TOLD}
    left_out = ("name", "says", "reaches.")  # what the card says elsewhere
    return {
        "name": config.name,
        "says": config.says,
        "family": course.spec.name,
        "head": course.head,
        "parameters": course.model.parameter_count(),
        "config": {k: v for k, v in chosen.items() if not k.startswith(left_out)},
        "data": run.record["data"],
        "metrics": metrics,
        "steps": run.state.step,
        "seed": config.train.seed,
        "versions": run.record["versions"],
    }
