"""Draw loss, learning rate, gradient norm and speed of a run, or of several for comparison.

zoo plot RUN
zoo plot RUN OTHER --out compared.png

RUN is a folder that `zoo train` wrote to, also while it does. With --json there is a record a run:
its last step, the mean loss of its last part, and what was last validated.
"""

import argparse
import math
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say

FILE = "curves.png"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--out",
        metavar="FILE.png",
        help=f"the picture; default: RUN/{FILE}, or {FILE} here for several runs",
    )


def run(args: argparse.Namespace) -> None:
    out = Path(args.runs[0], FILE) if len(args.runs) == 1 else Path(FILE)
    if args.out is not None:
        out = Path(args.out)
    if out.suffix.lower() != ".png" or out.is_dir():
        raise UsageError(f"--out {out}; expected a file that ends in .png")
    if args.out is not None and not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    from zoo.train.plot import picture, read_runs

    runs = read_runs([Path(name) for name in args.runs])
    picture(runs, out)
    width = max(len(curves.name) for curves in runs)
    for curves in runs:
        valid = {key: known(values[-1]) for key, (_, values) in sorted(curves.valid.items())}
        told = {"run": curves.name, "step": curves.last, "loss": curves.loss(), "valid": valid}
        emit(args, told, f"{curves.name:<{width}}  {sentence(told)}")
    say(f"wrote {out}")


def sentence(told: dict[str, Any]) -> str:
    """Say where a run stands."""
    parts = [f"step {told['step']:>7,}"]
    if told["loss"] is not None:
        parts.append(f"loss {told['loss']:.4f}")
    numbers = told["valid"].items()
    parts += [f"validation {key} {value:.4f}" for key, value in numbers if value is not None]
    return "  ".join(parts)


def known(value: float) -> float | None:
    return value if math.isfinite(value) else None
