"""Requests as bytes, wrong in ways that a seed chooses, and what must be true of all answers."""

import contextlib
import json
import random
import re
import socket
import struct
from dataclasses import dataclass

from e2e.fuzz_bodies import GOOD, JSON, body_of

STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r]*\r\n(.*?)\r\n\r\n", re.DOTALL)
SECONDS = 30.0  # in which each answer must be whole
CLOSE = b"host: a\r\nconnection: close\r\n"


@dataclass
class Sent:
    """Parts that are sent one after the other; then the client reads, waits or leaves."""

    parts: list
    refused: bool = False  # whether every answer must be a 4xx, and there must be one
    leaves: bool = False  # whether it goes without reading to the end
    kind: str = ""


def post(body, framing):
    return b"POST %b HTTP/1.1\r\n%b%b%b" % (body.path.encode(), CLOSE, body.head, framing)


def plain(draw):
    """Send a body, whole."""
    body = body_of(draw)
    return Sent(
        [post(body, b"content-length: %d\r\n\r\n" % len(body.data)), body.data], body.refused
    )


def chunked(draw):
    """Send a body in chunks of any size."""
    body = body_of(draw)
    size = draw.choice([1, 7, 100, 10_000, 10**7])
    data = body.data[: size * 3000]
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return Sent([post(body, b"transfer-encoding: chunked\r\n\r\n"), sent], body.refused)


CHUNKS = [
    b"zz\r\n",
    b"-1\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloworld\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"\r\n\r\n",
    b"5;" + b"a" * 20_000 + b"\r\nhello\r\n",
    b"1\r\na\r\n" * 20_000,
    b"0\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    b"f" * 17 + b"\r\n",
]


def bad_chunks(draw):
    """Send chunks that are none."""
    body = body_of(draw)
    return Sent([post(body, b"transfer-encoding: chunked\r\n\r\n"), draw.choice(CHUNKS)], True)


LENGTHS = [
    b"content-length: 1073741824\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"content-length: -1\r\n",
    b"content-length: 5\r\ncontent-length: 6\r\n",
    b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
    b"content-length: 0x10\r\n",
    b"transfer-encoding: gzip\r\n",
    b"content-length: " + b"9" * 5000 + b"\r\n",
    b"",
]


def bad_length(draw):
    """Say a length that is too large, or none."""
    body = body_of(draw)
    return Sent(
        [post(body, draw.choice(LENGTHS) + b"\r\n"), b"a" * draw.choice([0, 5, 10**5])], True
    )


HEADERS = [
    (b"a: b\r\n" * 100_000, 1),
    (b"a: b\r\n" * 150, 5),
    (b"x: " + b"a" * 50_000 + b"\r\n", 5),
    (b"\0: b\r\n", 5),
    (b"a b: c\r\n", 5),
    (b": b\r\n", 5),
    (b"a\r\n", 5),
    (b"\xff\xfe: b\r\n", 5),
]


def bad_headers(draw):
    """Send headers that are too many, too long, or none."""
    head = draw.choices([h for h, _ in HEADERS], [weight for _, weight in HEADERS])[0]
    return Sent([b"GET /healthz HTTP/1.1\r\n" + CLOSE + head + b"\r\n"], True)


LINES = [
    b"GET /../../etc/passwd HTTP/1.1",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
    b"GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1",
    b"GET /v1/models/%00 HTTP/1.1",
    b"GET /v1/models/%ff%fe HTTP/1.1",
    b"GET http://127.0.0.1/ HTTP/1.1",
    b"GET //v1/models HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT a:80 HTTP/1.1",
    b"DELETE /v1/models/gpt2 HTTP/1.1",
    b"GET /v1/completions HTTP/1.1",
    b"TRACE / HTTP/1.1",
    b"GET / HTTP/2.0",
    b"GET /a b HTTP/1.1",
    b"GET / HTTP/1.1 x",
    b"get",
    b"GET /" + b"a" * 10_000 + b" HTTP/1.1",
]


def bad_line(draw):
    """Ask for what there is not, or in another language."""
    return Sent([draw.choice(LINES) + b"\r\n" + CLOSE + b"\r\n"], True)


def noise(draw):
    """Send bytes that mean nothing; a line ends them, or they would be waited for."""
    return Sent([draw.randbytes(draw.randint(1, 300)) + b"\r\n\r\n"], True)


def slow(draw):
    """Stop somewhere, and wait."""
    sent = b"".join(plain(draw).parts)
    return Sent([sent[: draw.randrange(1, min(len(sent), 2000))]], True)


def leaving(draw):
    """Go away while sending, while waiting, or amid a stream."""
    asked = GOOD["/v1/completions"] | {"stream": draw.random() < 0.7, "max_tokens": 20}
    data = json.dumps(asked).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nhost: a\r\n" + JSON
    sent = head + b"content-length: %d\r\n\r\n" % len(data) + data
    return Sent([sent[: draw.choice([draw.randrange(len(sent)), len(sent)])]], leaves=True)


def in_a_row(draw):
    """Send some good requests behind one another, and then any other."""
    get = b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n"
    return Sent([get * draw.randint(1, 4) + b"".join(plain(draw).parts)])


KINDS = [
    (plain, 50),
    (chunked, 10),
    (bad_chunks, 5),
    (bad_length, 5),
    (bad_headers, 5),
    (bad_line, 5),
    (noise, 5),
    (slow, 2),
    (leaving, 8),
    (in_a_row, 5),
]


def draw_request(seed):
    """Draw a request by its number."""
    draw = random.Random(seed)
    (kind,) = draw.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
    sent = kind(draw)
    sent.kind = kind.__name__
    return sent


def exchange(port, sent, seed):
    """Send a request; give all that came back."""
    draw = random.Random(seed)
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as wire:
        with contextlib.suppress(ConnectionError):
            for part in sent.parts:
                wire.sendall(part)
        if sent.leaves:
            leave(wire, draw)
            return b""
        return read_all(wire)


def leave(wire, draw):
    """Read a little or nothing, and go; sometimes with a reset."""
    wire.settimeout(0.01)
    with contextlib.suppress(OSError):
        wire.recv(draw.choice([1, 100]))
    if draw.random() < 0.5:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_all(wire):
    """Read until the server closes, or resets."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := wire.recv(65536):
            got += part
    return got


def fault_of(sent, got):
    """Say what is wrong with the answers to a request; nothing where all is well."""
    answers = [(int(status), head.lower()) for status, head in STATUS.findall(got)]
    statuses = [status for status, _ in answers]
    if b"Traceback" in got or b'File "' in got:
        return f"a traceback: {got[-300:]!r}"
    if any(status >= 500 and status not in (503, 504) for status in statuses):
        return f"statuses {statuses}: {got[-300:]!r}"
    if not sent.leaves and not statuses:
        return "no answer"
    if sent.refused and not all(400 <= status < 500 for status in statuses):
        return f"not refused: {statuses}: {got[-300:]!r}"
    if any(s >= 400 and b"content-type: application/problem+json" not in h for s, h in answers):
        return f"a refusal that is no problem: {got[-300:]!r}"
    return ""
