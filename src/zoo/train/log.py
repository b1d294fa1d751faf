"""What a run writes down as it goes: RUN/log.jsonl, an object a line, and TensorBoard if wanted.

    {"step": 7, "loss": 2.31, "rate": 4e-4, "norm": 0.9, "seconds": 1.8, "count": 8192, ...}
    {"step": 7, "valid": {"loss": 2.4, "accuracy": 0.31}}

`step` counts from 0; `seconds` and `count` (tokens, images, ...: see `unit`) are those of the run
so far. A line is one append, so a kill leaves whole lines; a lost machine may leave half a line at
the end, which readers pass over and the next run removes. A number that is not finite is null.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.checkpoint.write import synchronise, write_new

FILE = "log.jsonl"
PARTIAL = ".partial"  # after a name while a file is written
BOARD = "tensorboard"  # the folder of TensorBoard's event files, in the run's
BOARD_SECONDS = 10  # between two writes of TensorBoard's
UNDRAWN = ("step", "seconds", "count")  # numbers that are no curves


class LogError(ValueError):
    """A log that cannot be read or written."""


class Log:
    """Append records to a run's log.

    Opening it for step `start` drops what an earlier process wrote at that step or later, and half
    a line at the end: the file is replaced whole or stays as it was. Raises LogError for another
    broken line and for a record without a step, OSError when the disk refuses; `tensorboard=True`
    writes event files to RUN/tensorboard too, and raises ImportError without that package.
    """

    def __init__(self, folder: str | Path, *, start: int = 0, tensorboard: bool = False) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self.board = open_board(folder / BOARD, start) if tensorboard else None
        forget(self.path, start)
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; what is no plain JSON number gives its `item()`."""
        append(self.descriptor, line_of(record))
        if self.board is not None:
            for name, value in scalars(record):
                self.board.add_scalar(name, value, record["step"])

    def sync(self) -> None:
        """Wait until all lines are on disk: before a checkpoint that relies on them."""
        os.fsync(self.descriptor)
        if self.board is not None:
            self.board.flush()

    def close(self) -> None:
        """Close the files; a second time does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        if self.board is not None:
            self.board.close()
            self.board = None

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """Give a run's records in the order they were written, without half a line at the end.

    Raises LogError when there is no log, or when another line is broken.
    """
    path = Path(folder) / FILE
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise LogError(
            f"{folder} has no {FILE}; expected the folder that a run was told to write to"
        ) from None
    return [record for _, record in records(data, path)]


def records(data: bytes, path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Give each line with what it says; raise LogError that names the one that says nothing."""
    lines = data.split(b"\n")
    found = []
    for number, line in enumerate(lines, 1):
        record = parsed(line)
        if record is not None:
            found.append((line, record))
        elif number < len(lines):
            raise LogError(
                f"{path}, line {number}: {line[:80]!r} is not a JSON object with a step; "
                "remove the line"
            )
    return found


def parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:  # text that is not UTF-8 too
        return None
    return record if isinstance(record, dict) and is_step(record.get("step")) else None


def is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def forget(path: Path, start: int) -> None:
    """Drop the records of `start` and later, and half a line at the end."""
    beside = path.with_name(path.name + PARTIAL)
    beside.unlink(missing_ok=True)
    if not path.exists():
        return
    old = path.read_bytes()
    if start == 0:  # nothing stays, so nothing needs to be understood
        new = b""
    else:
        kept = (line for line, record in records(old, path) if record["step"] < start)
        new = b"".join(line + b"\n" for line in kept)
    if new == old:
        return
    try:
        write_new(beside, new)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    synchronise(path.parent)


def line_of(record: Mapping[str, Any]) -> bytes:
    """Write a record as one line of JSON; raise LogError without a step."""
    if not is_step(record.get("step")):
        raise LogError(f"a record's step is {record.get('step')!r}; expected a number from 0")
    try:
        text = ENCODER.encode(record)
    except ValueError:  # a number that JSON does not know, of which there are few
        text = ENCODER.encode(finite(record))
    return text.encode() + b"\n"


def plain(value: Any) -> Any:
    """Give what JSON can hold for a number of torch's or numpy's."""
    if not hasattr(value, "item"):
        raise LogError(f"{value!r} cannot be written to a log; expected numbers and text")
    return finite(value.item())


ENCODER = json.JSONEncoder(allow_nan=False, separators=(", ", ": "), default=plain)


def finite(value: Any) -> Any:
    """Give a value with null for each number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def append(descriptor: int, data: bytes) -> None:
    """Write all bytes at the end of a file, or none of them."""
    before = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        os.ftruncate(descriptor, before)  # half a line would swallow the next
        raise


def scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Give the numbers of a record that make a curve, `valid/loss` for one within another."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", number) for inner, number in scalars(value))
        elif name not in UNDRAWN and not isinstance(value, str | bool) and value is not None:
            yield name, float(value)


def open_board(folder: Path, start: int) -> Any:
    """Open TensorBoard's event files; what they hold of `start` and later is not shown."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            'tensorboard is not installed; use pip install "zoo[tensorboard]", or run without it'
        ) from None
    return SummaryWriter(str(folder), purge_step=start, flush_secs=BOARD_SECONDS)
