"""HTTP/1.1 read with limits: h11's connection, which also counts what a client sends.

Headers are bounded in size and number, addresses in length, bodies in chunks; a request that says
two things about its length is refused, for two readers of it may each believe another one.
"""

from typing import Any

import h11

from zoo.serve.limits import Limits
from zoo.serve.problems import Problem

HEADERS = 100  # lines
TARGET = 8 * 2**10  # bytes of a request's address
CHUNKS = 4096  # of a body; 2 KB each where it is 8 MB


class Careful(h11.Connection):
    """h11's connection, which also counts; `fault` is the Problem of what it refused."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(h11.SERVER, limits.headers)
        self.limits = limits
        self.fault = Problem(400, "this is not HTTP/1.1 as it should be")
        self.chunks = 0

    def next_event(self) -> Any:
        """Give the next event; raise RemoteProtocolError where it is over a limit."""
        head = self.their_state is h11.IDLE
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if head and error.error_status_hint == 431:
                self.fault = too_long(self.limits)
            raise
        fault = self.fault_of(event)
        if fault is not None:
            self.fault = fault
            raise h11.RemoteProtocolError(fault.detail)
        return event

    def fault_of(self, event: Any) -> Problem | None:
        """Give the Problem of an event that is over a limit."""
        if isinstance(event, h11.Request):
            self.chunks = 0
            return fault_of_head(event, self.limits)
        if isinstance(event, h11.Data):
            self.chunks += event.chunk_start
            if self.chunks > CHUNKS:
                return Problem(400, f"a body comes in more than {CHUNKS:,} chunks")
        return None


def fault_of_head(request: h11.Request, limits: Limits) -> Problem | None:
    """Give the Problem of a request line and headers that are over a limit, or that contradict."""
    headers = list(request.headers)
    size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if len(request.target) > TARGET:
        return Problem(414, f"the address is longer than {TARGET:,} bytes")
    if size > limits.headers:
        return too_long(limits)
    if len(headers) > HEADERS:
        return Problem(431, f"there are more than {HEADERS} headers")
    if request.http_version not in (b"1.0", b"1.1"):
        return Problem(400, "this server speaks HTTP/1.1")
    names = {name for name, _ in headers}
    if {b"content-length", b"transfer-encoding"} <= names:
        return Problem(400, "a body has Content-Length or Transfer-Encoding, not both")
    return None


def too_long(limits: Limits) -> Problem:
    return Problem(431, f"the headers are longer than {limits.headers:,} bytes")
