"""A worker: the process that holds one model. It hears frames of the door, and tells its own.

The door says {"is": "open", "folder", "limits", "weights", "threads"} once, and then

    {"is": "submit", "id", "verb", "body", "deadline", "start"} and files; {"is": "cancel", "id"}

The worker says {"is": "hello", "pid"}, then {"is": "ready", "about"} or {"is": "refused", "why"},
then events as in zoo.serve.job, each with its "id", and {"is": "stats", "stats"} as they change;
{"is": "died", "why"} when its loop failed. One thread computes, one reads, one writes: a door that
is slow to read holds no computing up. When the socket ends, so does the process, at once: whoever
asked has gone, and nothing is kept on disk.
"""

import os
import queue
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from zoo.serve import frames
from zoo.serve.engine import Engine
from zoo.serve.job import Job
from zoo.serve.limits import Limits
from zoo.serve.opening import open_engine
from zoo.serve.refusal import Refusal

STATS_SECONDS = 0.25
Record = dict[str, Any]
Outbox = queue.SimpleQueue[Record | None]  # None: nothing follows
Opened = queue.SimpleQueue[Engine]


def work(end: socket.socket) -> None:
    """Serve one model to the door at the other end, until that ends."""
    stream = end.makefile("rb")
    end.sendall(frames.pack({"is": "hello", "pid": os.getpid()}))
    opening = frames.read(stream)
    if opening is None:
        return
    opened = Opened()
    outbox = Outbox()
    start(listen, stream, opened, outbox)
    try:
        engine = open_as_told(opening[0])
    except Exception as error:
        end.sendall(frames.pack({"is": "refused", "why": sentence(error)}))
        return
    outbox.put({"is": "ready", "about": engine.about})
    opened.put(engine)
    writer = start(write, end, outbox, engine.stats)
    compute(engine, outbox)
    writer.join()


def start(call: Callable[..., None], *arguments: Any) -> threading.Thread:
    """Run a call in a thread of its own; what it raises ends the process, which would be deaf."""

    def run() -> None:
        try:
            call(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def open_as_told(record: Record) -> Engine:
    """Open the engine that the door's first record speaks of."""
    limits = Limits(**record["limits"])
    return open_engine(
        record["folder"], limits, weights=record["weights"], threads=record["threads"]
    )


def sentence(error: Exception) -> str:
    """Say an error in one line; one that nobody foresaw leaves its traceback on stderr."""
    if not isinstance(error, OSError | ValueError):
        traceback.print_exception(error)
        return f"{type(error).__name__}: {error}"
    return " ".join(str(error).split())


def compute(engine: Engine, outbox: Outbox) -> None:
    """Run the engine's loop to its end; tell why it failed, if it does."""
    try:
        engine.run()
    except Exception as error:
        outbox.put({"is": "died", "why": sentence(error)})
    outbox.put(None)


def listen(stream: BinaryIO, opened: Opened, outbox: Outbox) -> None:
    """Hand the engine what the door says; leave when the door's end closes."""
    engine = None
    while (frame := frames.read(stream)) is not None:
        engine = engine or opened.get()  # the door asks nothing before it has heard "ready"
        hand(engine, *frame, outbox)
    os._exit(0)


def hand(engine: Engine, record: Record, files: list[bytes], outbox: Outbox) -> None:
    """Hand one record to the engine; a fault that it did not foresee fails that request alone."""
    if record["is"] == "cancel":
        engine.cancel(record["id"])
        return
    job = job_of(record, files, outbox.put)
    try:
        engine.submit(job)
    except Exception:
        traceback.print_exc()
        why = "the model cannot take this request; the server's log says why"
        job.tell(Refusal("broken", why).record())


def job_of(record: Record, files: list[bytes], put: Callable[[Record], None]) -> Job:
    """Make a job of a record; what it tells is put, with the job's id."""
    number = record["id"]
    return Job(
        id=number,
        verb=record["verb"],
        body=record["body"],
        tell=lambda event: put(event | {"id": number}),
        files=tuple(files),
        deadline=record["deadline"],
        start=record["start"],
    )


def write(end: socket.socket, outbox: Outbox, stats: Callable[[], Record]) -> None:
    """Send what is put into the outbox, and the stats when they have changed."""
    told: Record = {}
    due = time.monotonic()
    more = True
    while more:
        records, more = taken(outbox, STATS_SECONDS)
        if time.monotonic() >= due or not more:
            due = time.monotonic() + STATS_SECONDS
            if (now := stats()) != told:
                told = now
                records.append({"is": "stats", "stats": now})
        try:
            end.sendall(b"".join(frames.pack(record) for record in records))
        except ConnectionError:  # the door has gone; `listen` hears it too
            return


def taken(outbox: Outbox, seconds: float) -> tuple[list[Record], bool]:
    """Take all that waits in an outbox, or the first that comes in time; tell if more may come."""
    records = []
    try:
        record = outbox.get(timeout=seconds)
        while record is not None:
            records.append(record)
            record = outbox.get_nowait()
        return records, False
    except queue.Empty:
        return records, True
