"""What people see of a run while it goes on: lines in RUN/log.jsonl, and a bar."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from torch import Tensor

from zoo.train.learner import Result
from zoo.train.log import Log
from zoo.train.progress import Progress


def due(number: int, every: int, steps: int) -> bool:
    """Tell whether something that happens every so many steps does after this one."""
    return (number + 1) % every == 0 or number + 1 == steps


class Shown:
    """The log and the bar of a run's first process, open inside a `with`."""

    def __init__(self, run: Any, quiet: bool) -> None:
        self.run = run
        self.quiet = quiet
        self.ends = contextlib.ExitStack()
        self.began = 0.0  # of this start, in seconds

    def __enter__(self) -> "Shown":
        run, start = self.run, self.run.state.step
        board = run.config.keep.tensorboard
        self.log = self.ends.enter_context(Log(run.folder, start=start, tensorboard=board))
        steps, unit = run.config.train.steps, run.course.train.unit
        self.bar = self.ends.enter_context(
            Progress(steps, start=start, unit=unit, quiet=self.quiet)
        )
        self.began = time.monotonic()
        if run.note:
            self.bar.say(run.note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ends.close()

    def step(self, number: int, result: Result, rate: float) -> None:
        """Show a step that was taken; in the log, `seconds` are since this start of the run."""
        run = self.run
        self.bar.step(number, result.loss, rate, run.seen)
        if due(number, run.config.keep.log, run.config.train.steps):
            record = {
                "step": number,
                "loss": result.loss,
                "rate": rate,
                "norm": result.norm,
                "seconds": round(time.monotonic() - self.began, 6),
                "count": run.seen,
                "unit": run.course.train.unit,
            }
            self.log.write(record | ({"skipped": True} if result.skipped else {}))

    def judged(self, number: int, loss: float) -> None:
        """Show the loss of the rows kept back."""
        self.log.write({"step": number, "valid": {"loss": loss}})


def units(micros: Sequence[Mapping[str, Tensor]], unit: str) -> int:
    """Count the real tokens, or else the rows, of a process's share."""
    count = 0
    for batch in micros:
        mask, ids = batch.get("attention_mask"), batch.get("input_ids")
        if unit != "tokens" or ids is None:
            count += len(next(iter(batch.values())))
        else:
            count += ids.numel() if mask is None else int(mask.sum())
    return count
