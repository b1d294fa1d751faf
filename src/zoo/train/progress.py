"""How far a run is, on stderr: a bar on a terminal, elsewhere a line now and then.

    step    400 of  1,000   40%   loss 2.3145   rate 4.1e-04   12.3k tokens/s   1:02 left

The loss is smoothed as TensorBoard does it; speed and time left are those of the last steps.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

SMOOTHING = 0.9  # of the loss: how much of the smoothed value stays a step
WINDOW = 50  # steps that speed is measured over
SHARE = 10  # lines in a run
LEAST, MOST = 2.0, 600.0  # seconds between two lines
FORM = "{percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt}  {desc}"


class Progress:
    """Show a run of `total` steps that begins, or goes on, at step `start`.

    `step` is called with a step's number from 0, its loss, the learning rate and how many of
    `unit` (tokens, images) the run has seen so far. A bar needs a terminal and tqdm, and
    TQDM_DISABLE turns it into lines; `quiet` shows nothing. What else is to be said meanwhile
    goes through `say`, so that it does not run into the bar.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        unit: str = "tokens",
        quiet: bool = False,
        stream: Any = None,  # a text file; stderr
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.unit = unit
        self.quiet = quiet
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self.pace = Pace(start)
        self.said: tuple[float, int] | None = None  # when the last line was, and its tenth
        self.bar = None if quiet else open_bar(self.stream, total, start)

    def step(self, number: int, loss: float, rate: float, count: int) -> None:
        """Show that step `number` is done."""
        if self.quiet:
            return
        now = self.clock()
        self.pace.step(now, number + 1, loss, count)
        if self.bar is not None:
            self.bar.set_description_str("  ".join(self.parts(rate)), refresh=False)
            self.bar.update(number + 1 - self.bar.n)
        elif self.due(now, number + 1):
            self.said = (now, self.tenth(number + 1))
            self.say(self.line(number + 1, rate))

    def due(self, now: float, done: int) -> bool:
        """Tell whether it is time for a line: the first, the last, each tenth, or long after."""
        if self.said is None or done >= self.total:
            return True
        since, tenth = now - self.said[0], self.said[1]
        return since >= MOST or (since >= LEAST and self.tenth(done) > tenth)

    def tenth(self, done: int) -> int:
        return done * SHARE // max(1, self.total)

    def line(self, done: int, rate: float) -> str:
        width = len(f"{self.total:,}")
        share = done / max(1, self.total)
        first = f"step {done:>{width},} of {self.total:,}  {share:4.0%}"
        return "   ".join([first, *self.parts(rate)])

    def parts(self, rate: float) -> list[str]:
        """Give what there is to say of a step, in the order of importance."""
        said = [f"loss {self.pace.loss:.4f}", f"rate {rate:.1e}"]
        if self.pace.speed is not None:
            said.append(f"{short(self.pace.speed)} {self.unit}/s")
        left = self.pace.left(self.total)
        return said if left is None else [*said, f"{hours(left)} left"]

    def say(self, text: str) -> None:
        """Print a message on a line of its own."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.clear()
        print(text, file=self.stream, flush=True)
        if self.bar is not None:
            self.bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is; a second time does nothing."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Pace:
    """The smoothed loss of a run, its speed and the time that it still takes."""

    def __init__(self, start: int) -> None:
        self.done = start
        self.speed: float | None = None  # of the run's unit, a second
        self.loss = 0.0
        self.weight = 0.0  # of the losses seen: at first they are few
        self.past: deque[tuple[float, int, int]] = deque(maxlen=WINDOW + 1)

    def step(self, now: float, done: int, loss: float, count: int) -> None:
        self.done = done
        if loss == loss:  # a step without a number says nothing of the others
            weight = SMOOTHING * self.weight
            self.loss = (weight * self.loss + (1 - SMOOTHING) * loss) / (weight + 1 - SMOOTHING)
            self.weight = weight + 1 - SMOOTHING
        self.past.append((now, done, count))
        # counted from the end of the first step, which may have compiled something
        seconds, _, counted = self.since()
        self.speed = counted / seconds if seconds > 0 else None

    def since(self) -> tuple[float, int, int]:
        """Give seconds, steps and units between the first and the last step that are kept."""
        first, last = self.past[0], self.past[-1]
        return last[0] - first[0], last[1] - first[1], last[2] - first[2]

    def left(self, total: int) -> float | None:
        """Give the seconds that the rest takes, when that can be told."""
        if not self.past:
            return None
        seconds, steps, _ = self.since()
        return seconds / steps * (total - self.done) if steps > 0 else None


def open_bar(stream: Any, total: int, start: int) -> Any:
    """Give a bar of tqdm's where it can be seen and is wanted; otherwise nothing."""
    if not stream.isatty() or os.environ.get("TQDM_DISABLE", "") not in ("", "0"):
        return None
    if not has_room(stream):
        return None
    try:
        from tqdm import tqdm  # an extra
    except ImportError:
        return None
    # no colour, whatever TQDM_COLOUR says: a bar that is read needs none
    options: dict[str, Any] = {"bar_format": FORM, "dynamic_ncols": True, "colour": None}
    return tqdm(total=total, initial=start, file=stream, **options)


def has_room(stream: Any) -> bool:
    """Tell whether a terminal has a size: in one without, as containers have, tqdm is silent."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return True
    return size.lines > 0 and size.columns > 0


def short(number: float) -> str:
    """Write a number with three digits: 7.25, 812, 12.3k, 1.20M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{three(number / size)}{letter}"
    return three(number)


def three(number: float) -> str:
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f}"


def hours(seconds: float) -> str:
    """Write a duration as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    whole, minutes = divmod(minutes, 60)
    return f"{whole}:{minutes:02}:{rest:02}" if whole else f"{minutes}:{rest:02}"
