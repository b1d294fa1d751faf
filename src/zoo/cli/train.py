"""Train a model by a recipe, or go on with a run that was stopped.

  zoo train --list                                        what recipes there are
  zoo train vit-digits                                    learn from data that a package carries
  zoo train gpt2-text --data books/*.txt --out runs/books learn from your own files
  zoo train vit-digits --set optimizer.rate=1e-3          change a key of the recipe

The same command goes on where the run stopped, however it was stopped: Ctrl-C and SIGTERM write a
checkpoint first, and a kill loses only the steps since the last. On several processes:
torchrun --nproc-per-node N -m zoo train ...
"""

import argparse
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, stoppable

EXTRA = ("pandas", "pandera", "pyarrow")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help="a recipe's name, or a TOML file")
    parser.add_argument("--list", action="store_true", help="list the recipes and leave")
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="FILE", help="files or folders to learn from"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="KEY=VALUE",
        help="change a key of the recipe, such as train.steps=500; again for more",
    )
    parser.add_argument("--out", metavar="RUN", help="the run's folder (default: runs/RECIPE)")
    parser.add_argument(
        "--fallback",
        action="store_true",
        help="go on from an older checkpoint when the newest is damaged",
    )
    parser.add_argument("--show", action="store_true", help="print the whole config and leave")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    if args.list:
        return show_recipes(args)
    if args.recipe is None:
        raise UsageError("no recipe: name one of `zoo train --list`, or a TOML file")
    from zoo.train.config import read_recipe
    from zoo.train.settings import as_table, flat

    changes = [f"data.files={list_of(args.data)}"] if args.data else []
    config = read_recipe(args.recipe, [*changes, *args.changes])
    if args.show:
        for key, value in flat(as_table(config)).items():
            emit(args, {"key": key, "value": value}, f"{key} = {value!r}")
        return 0
    check_packages()
    return follow(args, config)


def follow(args: argparse.Namespace, config: Any) -> int:
    """Train, and say how it ended."""
    # torch: --help must not wait for it
    from zoo.train import LockedError, TrainingError, WorldError, train

    out = args.out or f"runs/{config.name}"
    try:
        with stoppable() as asked:
            outcome = train(
                config, out, stop=lambda: bool(asked), quiet=args.quiet, fallback=args.fallback
            )
    except (LockedError, TrainingError, WorldError) as error:
        raise UsageError(str(error)) from error
    if outcome.rank:
        return 128 + asked[0] if outcome.stopped and asked else 0
    record = {
        "run": str(outcome.folder),
        "step": outcome.step,
        "stopped": outcome.stopped,
        "metrics": outcome.metrics,
        "reached": outcome.reached,
    }
    emit(args, record, told(outcome, config))
    if outcome.stopped:
        return 128 + asked[0] if asked else 0
    return int(outcome.reached is False)


def told(outcome: Any, config: Any) -> str:
    """Say in words how a run ended."""
    if outcome.stopped:
        return (
            f"{outcome.folder}: stopped after {outcome.step} of {config.train.steps} steps; the "
            "same command goes on"
        )
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
    goal = {True: " It reaches what the recipe states.", None: ""}.get(
        outcome.reached,
        f" The recipe states {config.reaches.metric} of "
        f"{bounds(config.reaches)}: it was not reached.",
    )
    judged = f"On rows kept back: {numbers}." if numbers else "No rows were kept back."
    return f"{outcome.folder}/model: {outcome.step} steps. {judged}{goal}"


def bounds(goal: Any) -> str:
    low = [] if goal.at_least is None else [f"at least {goal.at_least:g}"]
    high = [] if goal.at_most is None else [f"at most {goal.at_most:g}"]
    return " and ".join(low + high)


def list_of(files: list[str]) -> str:
    """Write file names as a TOML list."""
    quoted = ", ".join('"' + f.replace("\\", "\\\\").replace('"', '\\"') + '"' for f in files)
    return f"[{quoted}]"


def show_recipes(args: argparse.Namespace) -> int:
    from zoo.train.config import read_recipe, recipes

    for name in recipes():
        config = read_recipe(name)
        emit(args, {"recipe": name, "says": config.says}, f"{name:<18} {config.says}")
    return 0


def check_packages() -> None:
    """Raise UsageError for what is not installed, before anything is read."""
    from importlib.util import find_spec

    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise UsageError(f'training needs {", ".join(missing)}: pip install "zoo[train]"')
