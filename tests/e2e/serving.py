"""A real server on a real port: how a test starts it, asks it, looks into it and ends it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from e2e.door import ROOT, environment

LIMIT = 60.0  # seconds after which a wait counts as failed
JSON = {"Content-Type": "application/json"}


def until(true, limit=LIMIT):
    """Wait until a condition holds, and give what it gave; fail when it takes too long."""
    end = time.monotonic() + limit
    while not (found := true()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)
    return found


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Server:
    """A process that serves."""

    process: subprocess.Popen
    out: Path
    err: Path
    port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def records(self, event="request"):
        """Give what it has told so far."""
        lines = self.out.read_text().split("\n")[:-1]
        return [r for r in map(json.loads, lines) if r["event"] == event]

    def ask(self, method, path, body=None, headers=None, timeout=LIMIT):
        """Ask once, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            got = connection.getresponse()
            return Reply(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())

    def post(self, path, **fields):
        """Post a JSON object."""
        return self.ask("POST", path, json.dumps(fields), JSON)

    def connect(self, timeout=LIMIT):
        """Open a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, sent, timeout=LIMIT):
        """Send bytes; give all that comes until the server closes, or resets."""
        with self.connect(timeout) as wire:
            with contextlib.suppress(ConnectionError):
                wire.sendall(sent)
            return read_all(wire)

    def held(self):
        """Give how many files and threads it has open."""
        place = Path(f"/proc/{self.process.pid}")
        return len(os.listdir(place / "fd")), len(os.listdir(place / "task"))

    def told(self, event):
        """Wait until it has told of something."""
        return until(lambda: self.records(event) or self.gone())

    def gone(self):
        """Say whether it has ended, or will never be ready."""
        failed = self.records("start failed") or self.records("not ready")
        return failed or self.process.poll() is not None

    def end(self, number=signal.SIGTERM):
        """Tell it to end; give its exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)


def read_all(wire):
    """Read until the other side closes, or resets."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := wire.recv(65536):
            got += part
    return got


@contextlib.contextmanager
def serving(place, models, *, ready=True, limits=None, **door):
    """Serve models while something goes on; fail if the server said anything on stderr."""
    asked = {"models": models, "limits": limits or {}, "door": door}
    child = str(Path(__file__).with_name("serve_child.py"))
    files = [place / f"{time.monotonic_ns()}.{name}" for name in ("out", "err")]
    with files[0].open("w") as out, files[1].open("w") as err:
        process = subprocess.Popen(
            [sys.executable, child, json.dumps(asked)],
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env=environment(),
        )
    server = Server(process, *files)
    try:
        server.told("listening")
        server.port = server.records("listening")[0]["port"]
        if ready:
            server.told("ready")
            assert server.ask("GET", "/readyz").status == 200, server.err.read_text()
        yield server
        assert process.poll() is not None or server.end() == 0
    finally:
        process.kill()
        process.wait(LIMIT)
    assert server.err.read_text() == ""
