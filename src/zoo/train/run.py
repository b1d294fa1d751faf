"""A run: from a recipe to a folder with a trained model, that can be stopped at any moment.

    RUN/run.json              the config, the data's version, what it was begun with
    RUN/lock                  held by the one trainer; the kernel frees it when its owner dies
    RUN/tokenizer, RUN/tokens what was made of the data
    RUN/log.jsonl             losses, rates, norms
    RUN/checkpoints/step-N    everything that the run needs to go on; see zoo.train.store
    RUN/model                 at the end: weights, tokenizer or processor, metrics, model card

A step is a pure function of the weights before it and of (seed, step): which rows it takes, how
they are masked or moved, and what is dropped. So a run that went on from a checkpoint, on as many
processes or on others, takes the steps that it would have taken.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.data import DataError
from zoo.data.check import report_of, seen
from zoo.data.loader import Loader
from zoo.data.order import Order
from zoo.data.statistics import statistics_of
from zoo.train.config import RunConfig
from zoo.train.course import Course, add_adapters, prepare
from zoo.train.ema import EMA
from zoo.train.fault import told
from zoo.train.finish import finish
from zoo.train.judge import valid_loss
from zoo.train.learner import Learner, Result
from zoo.train.lock import Lock
from zoo.train.loop import TrainingError
from zoo.train.optimizer import freeze, make_optimizer
from zoo.train.record import check_config, check_data, known_data, write_record
from zoo.train.schedule import learning_rate
from zoo.train.seeds import seed_all
from zoo.train.shards import read_shards, write_shards
from zoo.train.shown import Shown, due, units
from zoo.train.state import TrainState
from zoo.train.store import Store
from zoo.train.world import World

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Run:
    """Everything that the steps of a run need."""

    config: RunConfig
    folder: Path
    world: World
    course: Course
    learner: Learner
    loader: Loader
    state: TrainState
    store: Store
    record: dict[str, Any]
    seen: int  # tokens, pictures or the like, by all starts and processes
    note: str = ""  # what is to be said before the first step


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the steps taken, whether it was stopped, and what its model reaches."""

    folder: Path
    step: int
    stopped: bool
    metrics: dict[str, float]
    reached: bool | None = None  # what the recipe states, if it is of these rows
    rank: int = 0  # of the process that says so


def train(
    config: RunConfig,
    folder: str | Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    fallback: bool = False,
) -> Outcome:
    """Begin a run in `folder`, or go on with the one that is there, to its last step.

    `stop` is asked after every step: when it says so, a checkpoint is written and the run can go
    on later. `fallback` allows an older checkpoint where the newest is damaged. Raises ConfigError,
    DataError, CheckpointError, LockedError, WorldError and TrainingError, each with what to do.
    """
    folder = Path(folder)
    with contextlib.ExitStack() as ends:
        world = ends.enter_context(join(config))
        if world.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            ends.enter_context(Lock(folder / "lock"))
        ends.callback(
            torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled()
        )
        torch.use_deterministic_algorithms(config.train.deterministic)
        run = begin(config, folder, world, fallback)
        ends.callback(run.loader.close)
        if run.state.step < config.train.steps and follow(run, stop, quiet):
            return Outcome(folder, run.state.step, True, {}, None, world.rank)
        metrics, reached = finish(run)
        return Outcome(folder, run.state.step, False, metrics, reached, world.rank)


def join(config: RunConfig) -> World:
    """Join the processes that torchrun started, if it did."""
    dtype = torch.bfloat16 if config.train.dtype == "bfloat16" else None
    mode: Any = config.train.mode
    shard = config.train.shard
    return World.from_environment(mode, config.train.device, dtype=dtype, shard=shard)


def begin(config: RunConfig, folder: Path, world: World, fallback: bool) -> Run:
    """Make a run's parts, and put its newest checkpoint into them if there is one."""
    if world.rank == 0:
        check_config(folder, config)
        write_record(folder, config)
    world.barrier()
    course = prepare(config, folder, world)
    record: dict[str, Any] = {}
    if world.rank == 0:
        check_data(folder, course.rows.version)
        record = write_record(folder, config, about_data(config, folder, course))
    learner = make_learner(config, course, world)
    store = Store(folder / "checkpoints", keep=config.keep.keep, world=world)
    order = Order(len(course.train), config.train.batch, config.train.seed, course.head == "match")
    state = TrainState(learner.model, learner.optimizer, scaler=learner.scaler, ema=learner.ema)
    note = resume(state, store, world, fallback)
    loader = Loader(
        course.train,
        order,
        seed=config.train.seed,
        start=state.step,
        rank=world.rank,
        world=world.size,
        micros=config.train.micros,
    )
    if state.step:
        loader.check_facts(state.about["loader"])
    seen = int(state.about.get("seen", 0))
    state.about = {"loader": loader.facts(), "seen": seen}
    return Run(config, folder, world, course, learner, loader, state, store, record, seen, note)


def about_data(config: RunConfig, folder: Path, course: Course) -> dict[str, Any]:
    """Say what the rows are; refuse bad ones unless the config lets them pass.

    Raises DataError with the report when a check of the data finds an error. Rows that a run was
    begun with are not looked at again.
    """
    rows = course.rows
    known = known_data(folder, rows.version)
    if known is not None:
        return known
    findings: list[str] = []
    view = seen(rows)
    if config.data.check:
        report = report_of(view)
        wrong = [finding for finding in report.findings if finding.level == "error"]
        if wrong:
            more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
            raise DataError(
                f"the rows are not fit to learn from: {wrong[0].check}: {wrong[0].text}{more}. "
                "`zoo data check` shows all. Repair them; data.together=true puts copies into one "
                "split, and data.check=false lets everything pass"
            )
        findings = [finding.text for finding in report.findings]
    counts = rows.frame["split"].value_counts()
    return {
        "version": rows.version,
        "rows": {str(name): int(counts[name]) for name in sorted(counts.index)},
        "labels": None if rows.labels is None else list(rows.labels),
        "findings": findings,
        "reference": statistics_of(view),
    }


def make_learner(config: RunConfig, course: Course, world: World) -> Learner:
    """Give the model what trains it."""
    c, model = config.optimizer, course.model
    if config.lora.rank:
        add_adapters(config, model)
    freeze(model, c.frozen)
    model.recompute = config.model.recompute
    model.to(world.device).train()
    return Learner(
        model,
        lambda laid_out: make_optimizer(
            laid_out,
            c.rate,
            decay=c.decay,
            betas=(c.beta1, c.beta2),
            eps=c.eps,
            layer_decay=c.layer_decay,
        ),
        course.head,
        clip=c.clip,
        dtype=DTYPES[config.train.dtype],
        ema=(lambda laid_out: EMA(laid_out, config.train.ema)) if config.train.ema else None,
        smoothing=config.train.smoothing,
        world=world,
        compile=config.train.compile,
    )


def resume(state: TrainState, store: Store, world: World, fallback: bool) -> str:
    """Put the newest checkpoint into the state, if there is one; sweep away what writers left.

    Gives what should be said of it.
    """
    store.clean()
    steps = store.steps()
    if not steps:
        return ""
    facts, tensors = store.read(fallback=fallback, into=state.room, read=read_shards)
    state.restore(facts, tensors, take=True)
    if state.step != steps[-1]:
        return f"step {steps[-1]} is damaged: going on from step {state.step}"
    return f"going on from step {state.step}"


def follow(run: Run, stop: Callable[[], bool], quiet: bool) -> bool:
    """Take the steps that are left; tell whether the run was stopped before the last."""
    steps, keep, world = run.config.train.steps, run.config.keep, run.world
    with contextlib.ExitStack() as ends:
        show = ends.enter_context(Shown(run, quiet)) if world.rank == 0 else None
        while run.state.step < steps:
            number = run.state.step
            share = next(run.loader)
            result, rate = take(run, share)
            run.state.step = number + 1
            run.seen += units(share.micros, run.course.train.unit) * world.size
            if show is not None:
                show.step(number, result, rate)
            loss = valid_loss(run) if due(number, keep.evaluate, steps) else None
            if show is not None and loss is not None:
                show.judged(number, loss)
            asked = world.agree(stop())
            if asked or due(number, keep.every, steps):
                if show is not None:
                    show.log.sync()  # a checkpoint without the lines before it would lose them
                save(run, loss)
            if asked and run.state.step < steps:
                return True
    return False


def take(run: Run, share: Any) -> tuple[Result, float]:
    """Take one step; where a number stops being finite, say where it began."""
    config, world = run.config, run.world
    rate = rate_of(config, share.step)
    micros = [{name: x.to(world.device) for name, x in batch.items()} for batch in share.micros]
    seed_all(config.train.seed, share.step, world.rank)
    try:
        return run.learner.step(micros, rate), rate
    except TrainingError as error:
        raise told(run, share, micros, rate, error) from None


def rate_of(config: RunConfig, step: int) -> float:
    c = config.optimizer
    return learning_rate(
        step, peak=c.rate, warmup=c.warmup, total=config.train.steps, shape=c.shape, floor=c.floor
    )


def save(run: Run, score: float | None) -> None:
    run.state.about["seen"] = run.seen
    write = write_shards if run.world.mode == "fsdp" else None
    run.store.save(run.state.step, run.state.tensors(), run.state.facts(), score=score, write=write)
