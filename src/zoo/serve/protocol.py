"""A connection: uvicorn's HTTP/1.1 with limits on what a client sends and on how slowly.

uvicorn bounds what a body may hold in memory and what waits to be written. Here is the rest: time
for headers, the number of connections, a reader that does not read, refusals as problems where
uvicorn tells them as plain text, and a close that lets a client that still sends read its answer
(a bare close with unread bytes sends a reset, which takes the answer away).
"""

import asyncio
import contextlib
import select
import socket
import struct
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from zoo.serve.careful import Careful
from zoo.serve.problems import CODES, Problem, encoded, of_refusal, title
from zoo.serve.refusal import Refusal
from zoo.serve.visit import Gate, Heard

LINGER = 2.0  # seconds in which what a client still sends is thrown away
YOUNG = 0.5  # seconds in which a client that has just connected is expected to speak
NOW = struct.pack("ii", 1, 0)  # of SO_LINGER: no seconds for what is unsent
SLICE = 16 * 2**10  # bytes that are parsed at once


class Gentle:
    """A transport whose `close` lets the answer be read first, and does not wait for ever."""

    def __init__(self, raw: asyncio.Transport, patience: float, unread: Callable[[], bool]) -> None:
        """Give a reader `patience` seconds; `unread` says if the client may still be sending."""
        self.raw, self.patience, self.unread = raw, patience, unread
        self.closed = False
        self.last: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def is_closing(self) -> bool:
        return self.closed or self.raw.is_closing()

    def close(self) -> None:
        """Send what is left, then end."""
        if self.is_closing():
            return
        self.closed = True
        loop = asyncio.get_running_loop()
        if self.raw.get_write_buffer_size():
            self.last = loop.call_later(self.patience, self.abort)
        else:  # the kernel has the answer, and may go on giving it
            self.last = loop.call_later(LINGER, self.raw.abort)
        if self.unread() and self.raw.can_write_eof():
            self.raw.write_eof()
            self.raw.resume_reading()
        else:
            self.raw.close()

    def abort(self) -> None:
        """End at once by a reset; else the kernel keeps megabytes for a client that never reads."""
        with contextlib.suppress(OSError):  # it has ended already
            self.raw.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
        self.raw.abort()

    def lost(self) -> None:
        """Forget the connection: it has ended."""
        if self.last is not None:
            self.last.cancel()


class Protocol(H11Protocol):
    """One connection of one client."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        gate: Gate,
        heard: Heard,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.gate, self.heard, self.limits = gate, heard, gate.limits
        self.careful = self.conn = Careful(gate.limits)
        self.head_timer: asyncio.TimerHandle | None = None
        self.stall_timer: asyncio.TimerHandle | None = None
        self.begun = time.monotonic()  # the connection, or the head that is read now

    def connection_made(self, transport: Any) -> None:
        """Begin; refuse a connection too many."""
        self.gentle = Gentle(transport, self.limits.request_seconds, self.unread)
        super().connection_made(self.gentle)  # type: ignore[arg-type]
        if len(self.connections) > self.limits.connections:
            self.refuse(of_refusal(Refusal("unready", "too many connections at once")))
        self.watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        stop(self.head_timer)
        stop(self.stall_timer)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self.gentle.lost()

    def data_received(self, data: bytes) -> None:
        """Read a little at a time, so that no head is parsed that is much over its limit."""
        for start in range(0, len(data), SLICE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + SLICE])
        self.watch_head()

    def on_response_complete(self) -> None:
        """Go on with what came behind the request that is answered."""
        super().on_response_complete()
        self.watch_head()

    def watch_head(self) -> None:
        """Time a head from the connection's start or its own first byte until it is whole."""
        fresh = self.cycle is None
        waiting = self.conn.their_state is h11.IDLE and (fresh or self.trailing())
        if waiting and self.head_timer is None and not self.transport.is_closing():
            self.begun = time.monotonic()
            self.head_timer = self.loop.call_later(self.limits.header_seconds, self.head_late)
        elif not waiting:
            stop(self.head_timer)
            self.head_timer = None

    def head_late(self) -> None:
        """Refuse a head that is not whole in time; one that never began is told nothing."""
        if self.transport.is_closing():
            return
        if self.trailing():
            said = f"the headers did not come within {self.limits.header_seconds:g} seconds"
            self.refuse(Problem(HTTPStatus.REQUEST_TIMEOUT, said))
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Give a reader time to read on."""
        super().pause_writing()
        self.stall_timer = self.loop.call_later(self.limits.body_seconds, self.gentle.abort)

    def resume_writing(self) -> None:
        """Go on: it reads."""
        super().resume_writing()
        stop(self.stall_timer)
        self.stall_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what `careful` refused; the guard does it while it waits for that body."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.scope["state"]["fault"] = self.careful.fault
            self.cycle.message_event.set()
        else:
            self.refuse(self.careful.fault)

    def refuse(self, problem: Problem) -> None:
        """Answer for a request that reaches no app, tell of it, and close."""
        if self.transport.is_closing():
            return
        name = uuid.uuid4().hex
        headers, body = encoded(problem, name)
        extra = [(b"x-request-id", name.encode()), (b"connection", b"close")]
        extra += self.server_state.default_headers
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.write(problem.status, headers + extra, body)
            self.heard(record(problem, name, time.monotonic() - self.begun, len(body)))
        self.transport.close()

    def write(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Write an answer at once."""
        reason = title(status).encode()
        events = [
            h11.Response(status_code=status, headers=headers, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")

    def end_if_idle(self) -> None:
        """Close the connection if nothing is asked on it, not even by bytes that wait."""
        if self.transport.is_closing():
            return
        if self.cycle is None:
            busy = time.monotonic() < self.begun + YOUNG
        else:
            busy = not self.cycle.response_complete
        descriptor = self.transport.get_extra_info("socket").fileno()
        if not (busy or self.trailing() or readable(descriptor)):
            self.shutdown()

    def unread(self) -> bool:
        """Say whether the client may still be sending what nobody will read."""
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR) or self.trailing()

    def trailing(self) -> bool:
        """Say whether bytes have come that are not parsed yet."""
        return bool(self.conn.trailing_data[0])

    def _should_upgrade(self) -> bool:
        return False  # to no other protocol; the request is answered as it is


def stop(timer: asyncio.TimerHandle | None) -> None:
    """Stop a timer, if there is one."""
    if timer is not None:
        timer.cancel()


def readable(descriptor: int) -> bool:
    """Say whether a socket has bytes, or an end, that nobody has read."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def record(problem: Problem, name: str, seconds: float, sent: int) -> dict[str, Any]:
    """Say what became of a request that reached no app."""
    return {
        "event": "request",
        "request_id": name,
        "method": "other",
        "route": "other",
        "status": int(problem.status),
        "seconds": seconds,
        "bytes": sent,
        "refused": problem.code or CODES.get(problem.status),
    }
