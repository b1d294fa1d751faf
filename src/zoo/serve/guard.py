"""What every request passes before FastAPI sees it; plain ASGI, knows no models.

In this order: a request id, the key, the server's leaving, the size of the body before a byte of
it is read, the body in its time, then the work until its deadline or until the client has gone.
One answer and one record come of every request, whatever happens inside.
"""

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any

from zoo.serve.keys import CHALLENGE, Keys
from zoo.serve.problems import CLIENT_GONE, Problem, encoded, of_refusal
from zoo.serve.refusal import Refusal
from zoo.serve.visit import GRACE, Gate, Heard, Visit

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Crowd = Callable[[str, bytes, dict[str, Any]], None]

PROBES = frozenset({"/healthz", "/readyz"})  # asked by machines that hold no key
ALWAYS = PROBES | {"/metrics"}  # answered while the server leaves
SANE = re.compile(rb"[A-Za-z0-9._-]{1,128}")
TRACES = (b"traceparent", b"tracestate")
logger = logging.getLogger("zoo.serve")


class Gone(Exception):
    """The client has closed its side."""


def nobody(path: str, body: bytes, noted: dict[str, Any]) -> None:
    """Find no model full."""


class Guard:
    """An ASGI app around another."""

    def __init__(
        self,
        app: App,
        gate: Gate,
        heard: Heard,
        *,
        keys: Sequence[str] = (),
        public: Collection[str] = (),
        crowd: Crowd = nobody,
        grace: float = GRACE,
    ) -> None:
        """Let requests with one of `keys` (all, if there are none) or for `public` through.

        `crowd` raises Refusal for a body whose model is full, as zoo.serve.crowd does.
        `grace` is how many seconds after its deadline an app may still say so itself.
        """
        self.app, self.gate, self.heard = app, gate, heard
        self.limits, self.crowd, self.grace = gate.limits, crowd, grace
        self.open = PROBES | frozenset(public)
        self.keys = Keys(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.visit(scope, receive, send)

    async def visit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and tell of it."""
        headers = dict(scope["headers"])
        visit = Visit(request_id(headers), time.monotonic() + self.limits.request_seconds)
        answer = Answer(visit, self.gate, send)
        try:
            self.admit(scope["path"], headers)
            await self.accepted(scope, headers, visit, receive, answer)
        except Gone:
            visit.status = visit.status or CLIENT_GONE
            visit.noted.setdefault("refused", "cancelled")
        except Problem as problem:
            visit.noted.setdefault("refused", problem.code)
            await answer.refuse(problem)
        finally:
            self.heard(record(scope, headers, visit))

    def admit(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise Problem for whoever may not come in; nothing of the body has been read."""
        if path not in self.open and not self.keys.let_in(headers.get(b"authorization")):
            said = "no API key that is known here; send it as `Authorization: Bearer KEY`"
            raise unread(Problem(401, said, headers={"www-authenticate": CHALLENGE}))
        if self.gate.draining and path not in ALWAYS:
            raise unread(of_refusal(Refusal("draining", "the server is about to leave")))

    async def accepted(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        visit: Visit,
        receive: Receive,
        answer: "Answer",
    ) -> None:
        """Read the body and work on it; the gate counts both."""
        self.gate.inside += 1
        holding = Holding(self.gate)
        try:
            body = await self.read(scope, headers, receive, holding)
            self.shed(scope["path"], body, visit)
            visit.deadline = time.monotonic() + self.limits.request_seconds
            await self.work(scope, body, visit, receive, answer)
        finally:
            holding.release()
            visit.leave()
            self.gate.inside -= 1

    def shed(self, path: str, body: bytes, visit: Visit) -> None:
        """Raise Problem where it is known already that the work cannot be done now."""
        try:
            self.crowd(path, body, visit.noted)
        except Refusal as refusal:
            raise of_refusal(refusal) from None

    async def read(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, holding: "Holding"
    ) -> bytes:
        """Give the whole body; raise Problem where it is too large or too slow."""
        told = headers.get(b"content-length")
        if told is None and b"transfer-encoding" not in headers and scope["method"] == "POST":
            raise Problem(411, "a POST needs Content-Length, or chunks")
        holding.check(int(told or 0))
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await whole(scope, receive, holding)
        except TimeoutError:
            said = f"the body did not come within {self.limits.body_seconds:g} seconds"
            raise unread(Problem(408, said)) from None

    async def work(
        self, scope: Scope, body: bytes, visit: Visit, receive: Receive, answer: "Answer"
    ) -> None:
        """Run the app until it is done, its time is up, or the client has gone."""
        scope["state"] = scope.get("state", {}) | {"visit": visit}
        inner = asyncio.ensure_future(self.app(scope, once(body), answer.send))
        gone = asyncio.ensure_future(disconnected(receive))
        left = visit.deadline + self.grace - time.monotonic()
        try:
            await asyncio.wait({inner, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if answer.complete:  # uvicorn calls that a disconnect too
                await asyncio.wait({inner}, timeout=GRACE)
            if inner.done():
                self.ended(inner, visit, answer)
            elif gone.done():
                raise Gone
            else:
                raise Problem(504, "the answer was not ready in time", code="late")
        finally:
            await ended((inner, gone))

    def ended(self, inner: "asyncio.Future[None]", visit: Visit, answer: "Answer") -> None:
        """Raise Problem where the app failed, and write down why."""
        error = inner.exception()
        if error is not None:
            logger.error("request %s failed", visit.id, exc_info=error)
            raise Problem(500, "the server made a mistake; its log has this request's id")


class Answer:
    """The sending side: adds what every answer has, and counts."""

    def __init__(self, visit: Visit, gate: Gate, send: Send) -> None:
        self.visit, self.gate, self.raw = visit, gate, send
        self.complete = False

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.visit.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self.added(message)]
        else:
            self.visit.sent += len(message.get("body", b""))
            self.complete = not message.get("more_body")
        await self.raw(message)

    def added(self, message: Message) -> list[tuple[bytes, bytes]]:
        """Give the headers that every answer has."""
        own = [(b"x-request-id", self.visit.id.encode()), (b"x-content-type-options", b"nosniff")]
        names = {name for name, _ in message.get("headers", ())}
        if self.gate.leaving and b"connection" not in names:
            own.append((b"connection", b"close"))
        return own

    async def refuse(self, problem: Problem) -> None:
        """Send a problem; an answer that has begun is left unfinished, which closes it."""
        if self.visit.status:
            return
        headers, body = encoded(problem, self.visit.id)
        await self.send(
            {"type": "http.response.start", "status": problem.status, "headers": headers}
        )
        await self.send({"type": "http.response.body", "body": body})


class Holding:
    """The bytes of one body, counted with those of all others."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.size = gate, 0

    def check(self, size: int) -> None:
        """Raise Problem where a body of `size` bytes in all is too large, or too much now."""
        if size > self.gate.limits.body:
            said = f"the body is larger than {self.gate.limits.body:,} bytes"
            raise unread(Problem(413, said))
        if not self.gate.room(size - self.size):
            raise unread(of_refusal(Refusal("busy", "too many large bodies at once")))

    def add(self, size: int) -> None:
        """Count bytes that have come; raise Problem as `check` does."""
        self.check(self.size + size)
        self.size += size
        self.gate.held += size

    def release(self) -> None:
        """Give the room back."""
        self.gate.held -= self.size
        self.size = 0


def request_id(headers: dict[bytes, bytes]) -> str:
    """Take the client's name for its request where it is a sane one, else make one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if SANE.fullmatch(given) else uuid.uuid4().hex


def unread(problem: Problem) -> Problem:
    """Close the connection with this answer: the rest of the request is not waited for."""
    problem.headers["connection"] = "close"
    return problem


async def whole(scope: Scope, receive: Receive, holding: Holding) -> bytes:
    """Read a body into memory.

    Raises Gone where the client leaves before its end, and the Problem that the protocol has with
    what comes.
    """
    parts = []
    while True:
        message = await receive()
        fault = scope.get("state", {}).get("fault")
        if fault is not None:
            raise unread(fault)
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        holding.add(len(parts[-1]))
        if not message.get("more_body"):
            return b"".join(parts)


def once(body: bytes) -> Receive:
    """Give an app its body, and then nothing more: who leaves is our matter, not its."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        return await asyncio.get_running_loop().create_future()

    return receive


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def ended(tasks: Sequence["asyncio.Future[None]"]) -> None:
    """Cancel what still runs, and wait for its end."""
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


def record(scope: Scope, headers: dict[bytes, bytes], visit: Visit) -> dict[str, Any]:
    """Say what a request was and what became of it; see zoo.serve.metrics."""
    carried = {name.decode(): headers[name].decode("latin-1") for name in TRACES if name in headers}
    first = None if visit.first is None else visit.first - visit.start
    return {
        "event": "request",
        "request_id": visit.id,
        "method": scope["method"],
        "route": getattr(scope.get("route"), "path", "other"),
        "status": visit.status,
        "seconds": time.monotonic() - visit.start,
        "first_seconds": first,
        "bytes": visit.sent,
        **visit.noted,
        **carried,
    }
