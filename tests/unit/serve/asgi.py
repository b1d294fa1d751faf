"""ASGI apps asked directly: no server, no socket, and a client that may be slow or leave."""

import asyncio
import json
from dataclasses import dataclass, field

from zoo.serve.guard import Guard
from zoo.serve.limits import Limits
from zoo.serve.visit import Gate


@dataclass
class Reply:
    """What came back."""

    status: int | None = None
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False  # whether the answer was ended

    @property
    def json(self):
        return json.loads(self.body)

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)


@dataclass
class Client:
    """Sends its parts one after the other; then leaves, or waits for ever."""

    parts: list
    leaves: bool = False
    taken: int = 0  # parts that somebody asked for

    async def receive(self):
        if self.taken < len(self.parts):
            part = self.parts[self.taken]
            self.taken += 1
            more = self.taken < len(self.parts)
            return {"type": "http.request", "body": part, "more_body": more}
        if self.leaves:
            return {"type": "http.disconnect"}
        return await asyncio.get_running_loop().create_future()


def scope_of(method, path, headers):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }


async def ask(app, method, path, body=b"", headers=None, client=None):
    """Ask an app once; give its Reply."""
    client = client or Client([body])
    length = {"content-length": str(sum(map(len, client.parts)))} if method == "POST" else {}
    reply = Reply()
    await app(scope_of(method, path, length | (headers or {})), client.receive, reply.send)
    return reply


def guarded(app, limits=None, **options):
    """Put the guard before an app; give it, its gate, and the records that it tells."""
    gate, records = Gate(limits or Limits()), []
    return Guard(app, gate, records.append, **options), gate, records
