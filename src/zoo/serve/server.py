"""The server: uvicorn's with our signals, and an end in which nobody who was accepted is forgotten.

SIGTERM, SIGINT   /readyz falls at once; for `drain` seconds requests are taken all the same,
                  for a balancer needs time to notice; then new ones are refused, accepted ones
                  finished, idle connections closed, and `serve` returns 0
the same again    ends at once; `serve` returns 1
SIGHUP            calls `reload`

When a model cannot be had at the start, `serve` returns 1.
"""

import asyncio
import contextlib
import ctypes
import functools
import resource
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import uvicorn

from zoo.serve.app import create_app
from zoo.serve.crowd import Crowd
from zoo.serve.fleet import Fleet
from zoo.serve.guard import Guard
from zoo.serve.limits import Limits
from zoo.serve.metrics import Metrics
from zoo.serve.page import FILES
from zoo.serve.protocol import Protocol
from zoo.serve.routes import ROUTES, UNDOCUMENTED
from zoo.serve.visit import GRACE, Gate, Heard

BACKLOG = 2048  # connections that wait to be accepted
KEPT = 15  # seconds a connection is kept on which nothing is asked
TICK = 0.02  # seconds between two looks at what is still open
ATTACH_FILTER = 26  # SO_ATTACH_FILTER of Linux
Reload = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a server listens and whom it lets in."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free; the event "listening" says which
    keys: tuple[str, ...] = ()
    drain: float = 1.0  # seconds of taking requests when told to leave


class Server(uvicorn.Server):
    """uvicorn's server with another beginning and another end."""

    def __init__(self, config: uvicorn.Config, gate: Gate, heard: Heard, drain: float) -> None:
        super().__init__(config)
        self.gate, self.heard, self.drain = gate, heard, drain

    def told(self, number: int) -> None:
        """Hear a signal to end: once to leave, twice to go at once."""
        self.heard({"event": "signal", "says": signal.Signals(number).name})
        self.force_exit = self.should_exit
        self.should_exit = self.gate.leaving = True

    def give_up(self) -> None:
        """End at once; `serve` returns 1."""
        self.should_exit = self.force_exit = self.gate.leaving = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: `signals` does; uvicorn would raise each signal again at its end."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leave: see above."""
        end = time.monotonic() + self.drain + self.gate.limits.request_seconds + GRACE
        await self.until(lambda: False, time.monotonic() + self.drain)
        self.gate.draining = True
        self.heard({"event": "draining", "inside": self.gate.inside})
        await self.until(lambda: self.gate.inside == 0, end)
        await self.stop_listening(sockets or [])
        await self.until(self.all_ended, end)
        await self.end_rest()

    async def until(self, done: Callable[[], bool], end: float) -> None:
        """Wait until something is so, the time `end` (monotonic) has come, or we go at once."""
        while not done() and not self.force_exit and time.monotonic() < end:
            await asyncio.sleep(TICK)

    async def stop_listening(self, sockets: Sequence[socket.socket]) -> None:
        """Take in whoever has connected already, then close; what waited would be reset."""
        loop = asyncio.get_running_loop()
        for listener in sockets:
            loop.remove_reader(listener.fileno())
            take_no_more(listener)
            waiting = list(accept_all(listener))
            for server in self.servers:
                server.close()
            listener.close()
            for connection in waiting:
                await loop.connect_accepted_socket(self.protocol, connection)
        await asyncio.sleep(TICK)  # whoever was accepted just before gets its protocol

    def protocol(self) -> asyncio.Protocol:
        """Make the protocol of one connection."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def all_ended(self) -> bool:
        """Close what is idle; say whether nothing is left."""
        for connection in list(self.server_state.connections):
            cast("Protocol", connection).end_if_idle()
        return not self.server_state.connections

    async def end_rest(self) -> None:
        """Cut off what did not end in time."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def take_no_more(listener: socket.socket) -> None:
    """Let the kernel drop whoever asks for a connection from now on; only Linux can.

    They ask again a second later and find the port closed. Otherwise one who is let in between
    the last `accept` and `close` is reset, perhaps with a request that it has sent.
    """
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
    program = struct.pack("HL", 1, ctypes.addressof(drop))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)


def accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Give the connections that wait at a listening socket."""
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def serve(
    fleet: Fleet,
    limits: Limits,
    door: Door,
    *,
    heard: Heard,
    reload: Reload | None = None,
) -> int:
    """Serve a fleet until told to end; give the exit code. Raises OSError for a port in use.

    `heard` is told one record a request and what happens to the server: "listening" (host, port),
    "ready", "signal", "draining", "ended". `reload` is awaited at SIGHUP; what it raises is told.
    """
    listener = listen(door.host, door.port)
    with contextlib.closing(listener):
        allow_files(limits.connections)
        return asyncio.run(run(fleet, limits, door, listener, heard, reload))


async def run(
    fleet: Fleet,
    limits: Limits,
    door: Door,
    listener: socket.socket,
    heard: Heard,
    reload: Reload | None,
) -> int:
    """Listen while the models load, so that /healthz and /readyz can be asked from the start."""
    server = open_door(fleet, limits, door, heard)
    host, port = listener.getsockname()[:2]
    heard({"event": "listening", "host": host, "port": port})
    async with running(fleet, heard, server.give_up):
        with signals(server, heard, reload):
            await server.serve([listener])
    heard({"event": "ended"})
    return int(server.force_exit)


def open_door(fleet: Fleet, limits: Limits, door: Door, heard: Heard) -> Server:
    """Put app, guard, protocol and server together."""
    gate = Gate(limits)
    metrics = Metrics(fleet.models, {row.path for row in (*ROUTES, *UNDOCUMENTED)})
    hear = both(metrics.heard, heard)
    app = create_app(fleet, gate, metrics, keys=bool(door.keys))
    asks = frozenset(row.path for row in ROUTES if row.method == "POST")
    crowd = Crowd(fleet, asks).check
    guard = Guard(app, gate, hear, keys=door.keys, public=FILES, crowd=crowd)
    config = uvicorn.Config(
        guard,
        http=functools.partial(Protocol, gate=gate, heard=hear),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",  # bad requests are told as records
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEPT,
        backlog=BACKLOG,
    )
    return Server(config, gate, heard, door.drain)


def both(first: Heard, second: Heard) -> Heard:
    """Tell two what one hears; the first is for requests alone."""

    def heard(record: dict[str, Any]) -> None:
        first(record)
        second(record)

    return heard


async def _running(fleet: Fleet, heard: Heard, give_up: Callable[[], None]) -> AsyncIterator[None]:
    """Start a fleet beside what goes on inside, and end it behind it."""
    starting = asyncio.create_task(start(fleet, heard, give_up))
    try:
        yield
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await fleet.close()


running = contextlib.asynccontextmanager(_running)


async def start(fleet: Fleet, heard: Heard, give_up: Callable[[], None]) -> None:
    """Start a fleet, and say that it is ready; give up where some model is not to be had.

    Whoever starts a server looks at it; later, a version that is refused leaves the others alone.
    """
    try:
        await fleet.start()
    except Exception as error:
        heard({"event": "start failed", "level": "error", "says": str(error)})
    if fleet.ready or fleet.draining:
        heard({"event": "ready"})
    else:
        heard({"event": "not ready", "level": "error"})
        give_up()


def _signals(server: Server, heard: Heard, reload: Reload | None) -> Iterator[None]:
    """Hear signals while something goes on."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def again() -> None:
        task = asyncio.ensure_future(reloaded(reload, heard))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.told, number)
    loop.add_signal_handler(signal.SIGHUP, again)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
        for task in tasks:
            task.cancel()


signals = contextlib.contextmanager(_signals)


async def reloaded(reload: Reload | None, heard: Heard) -> None:
    """Reload; what goes wrong is told, and the server goes on as it was."""
    if reload is None:
        return
    try:
        await reload()
    except Exception as error:
        heard({"event": "reload failed", "level": "error", "says": str(error)})


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises OSError where the address is taken or is none of ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    # what it accepts inherits this: head and body are two writes, and the second would wait 40 ms
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def allow_files(connections: int) -> None:
    """Let this process have a file for each connection, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
