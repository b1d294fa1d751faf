"""An HTTP client that costs little: a socket that is kept, and requests that are bytes already.

Server and client share two processors, so what the client spends is taken from what it measures.
"""

import json
import re
import socket
import time
from dataclasses import dataclass
from typing import Any

CHANGES = re.compile(rb'"(?:id|request_id|created)":\s*(?:"[^"]*"|\d+),?\s*')  # of the same answer
SECONDS = 120.0  # after which an answer counts as lost


@dataclass(frozen=True)
class Reply:
    """An answer; status 0 where there was none, and then `body` says why."""

    status: int
    body: bytes
    seconds: float
    first: float  # seconds until the first byte of the body
    retry_after: str | None = None


def request_bytes(host: str, item: dict[str, Any], key: str | None = None) -> bytes:
    """Write a request once, to be sent many times."""
    body = item["body"].encode()
    head = [
        f"{item['method']} {item['path']} HTTP/1.1",
        f"Host: {host}",
        f"Content-Type: {item.get('type', 'application/json')}",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Connection:
    """One connection; it is opened when it is needed, and again when the server has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.socket: socket.socket | None = None
        self.rest = b""

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket, self.rest = None, b""

    def ask(self, request: bytes) -> Reply:
        """Send a request and wait for its answer."""
        start = time.perf_counter()
        try:
            return self.answer(request, start)
        except OSError as error:
            self.close()
            taken = time.perf_counter() - start
            return Reply(0, str(error).encode(), taken, taken)

    def answer(self, request: bytes, start: float) -> Reply:
        self.send(request)
        head = self.until(b"\r\n\r\n").decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        first = None
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.until(b"\r\n"), 16):
                first = first or time.perf_counter()
                parts.append(self.exactly(size + 2)[:-2])
            self.until(b"\r\n")
            body = b"".join(parts)
        else:
            body = self.exactly(int(headers.get("content-length", 0)))
        end = time.perf_counter()
        if headers.get("connection") == "close":
            self.close()
        status = int(head[0].split()[1])
        return Reply(status, body, end - start, (first or end) - start, headers.get("retry-after"))

    def send(self, request: bytes) -> None:
        """Send; where a kept connection turns out to be closed, on a new one."""
        if self.socket is not None and closed(self.socket):
            self.close()
        if self.socket is None:
            self.socket = socket.create_connection(self.address, SECONDS)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)

    def more(self) -> None:
        assert self.socket is not None
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed the connection within an answer")
        self.rest += data

    def until(self, end: bytes) -> bytes:
        while end not in self.rest:
            self.more()
        found, _, self.rest = self.rest.partition(end)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            self.more()
        found, self.rest = self.rest[:size], self.rest[size:]
        return found


def closed(kept: socket.socket) -> bool:
    """Tell whether the other side has closed a connection on which nothing is to come."""
    kept.setblocking(False)
    try:
        return kept.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        kept.settimeout(SECONDS)


def told(reply: Reply) -> str:
    """Give what an answer says, alike for the same answer: ids and times are left out."""
    if reply.body.startswith(b"data: "):
        return streamed(reply.body)
    return CHANGES.sub(b"", reply.body).decode("utf-8", "replace")


def streamed(body: bytes) -> str:
    """Put the pieces of a stream together, into the JSON that the whole answer would have been."""
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    if not lines or lines[-1] != "[DONE]":
        return json.dumps({"broken": lines[-1:]})
    events = [json.loads(line) for line in lines[:-1]]
    choices = [choice for event in events for choice in event["choices"]]
    text = "".join(choice["text"] for choice in choices)
    finish = next((c["finish_reason"] for c in reversed(choices) if c["finish_reason"]), None)
    usage = next((event["usage"] for event in events if event.get("usage")), None)
    whole = {"model": events[0]["model"], "choices": [{"text": text, "finish_reason": finish}]}
    return json.dumps(whole | {"usage": usage})
