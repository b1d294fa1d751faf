"""A worker process, seen from the door: frames to it, frames from it, and its end."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

from zoo.serve import frames
from zoo.serve.fork_server import ForkServer

GRACE = 5.0  # seconds that a worker has to leave before it is killed


class WorkerLink:
    """One worker; `pid` is known once it has said hello, which the first `receive` hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid: int | None = None
        self._reader = reader
        self._writer = writer

    def send(self, record: dict[str, Any], parts: Sequence[bytes] = ()) -> None:
        """Send a frame without waiting; to a worker that is dead it is lost."""
        if not self._writer.is_closing():
            self._writer.write(frames.pack(record, parts))

    async def receive(self) -> dict[str, Any] | None:
        """Wait for what the worker says next; None: it has ended, or says what is no frame."""
        with contextlib.suppress(ValueError):
            frame = await frames.receive(self._reader)
            if frame is not None and frame[0]["is"] == "hello":
                self.pid = frame[0]["pid"]
                frame = await frames.receive(self._reader)
            return frame[0] if frame else None
        return None

    async def end(self) -> None:
        """Close the socket, which ends the worker, and wait until it has gone; kill a deaf one."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()
        try:
            async with asyncio.timeout(GRACE):
                while await self.receive() is not None:
                    pass
        except TimeoutError:
            self._kill()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def _kill(self) -> None:
        """Kill the process; its socket is open still, so the number is its own."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


async def open_link(forks: ForkServer, opening: dict[str, Any]) -> WorkerLink:
    """Start a worker that opens what `opening` says (zoo.serve.worker); raise OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            forks.fork(theirs)
        except OSError:
            ours.close()
            raise
    link = WorkerLink(*await asyncio.open_unix_connection(sock=ours))
    link.send({"is": "open"} | opening)
    return link
