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
        self.seen = 0  # tokens or rows since this start
        self.before = 0.0  # when the step before ended, in seconds

    def __enter__(self) -> "Shown":
        run, start = self.run, self.run.state.step
        board = run.config.keep.tensorboard
        self.log = self.ends.enter_context(Log(run.folder, start=start, tensorboard=board))
        steps, unit = run.config.train.steps, run.course.train.unit
        self.bar = self.ends.enter_context(
            Progress(steps, start=start, unit=unit, quiet=self.quiet)
        )
        self.before = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ends.close()

    def step(self, number: int, result: Result, rate: float, share: Any) -> None:
        """Show a step that was taken; `seconds` in the log go from one end to the next."""
        now = time.monotonic()
        self.seen += units(share.micros) * self.run.world.size
        self.bar.step(number, result.loss, rate, self.seen)
        if due(number, self.run.config.keep.log, self.run.config.train.steps):
            record = {
                "step": number,
                "loss": result.loss,
                "rate": rate,
                "norm": result.norm,
                "seconds": round(now - self.before, 6),
                "rows": (number + 1) * self.run.config.train.batch,
            }
            self.log.write(record | ({"skipped": True} if result.skipped else {}))
        self.before = now

    def judged(self, number: int, loss: float) -> None:
        """Show the loss of the rows kept back."""
        self.log.write({"step": number, "valid": {"loss": loss}})
        self.before = time.monotonic()


def units(micros: Sequence[Mapping[str, Tensor]]) -> int:
    """Count the pictures, or else the real tokens, of a process's share."""
    count = 0
    for batch in micros:
        if "pixel_values" in batch:
            count += len(batch["pixel_values"])
        elif "attention_mask" in batch:
            count += int(batch["attention_mask"].sum())
        else:
            count += batch["input_ids"].numel()
    return count
