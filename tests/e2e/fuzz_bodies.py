"""Bodies that are wrong in ways that a seed chooses; each says whether it must be refused."""

import base64
import gzip
import io
import json
import struct
import zlib
from dataclasses import dataclass, field

from PIL import Image

JSON = b"content-type: application/json\r\n"


def picture(kind="PNG", size=(12, 16)):
    """Give a good picture's file."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, kind)
    return file.getvalue()


def encoded(file):
    return base64.b64encode(file).decode()


def chunk(kind, data):
    """Give a part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height, rows=b""):
    """Give a PNG of a size that nothing should decode; small as a file."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


FILES = [picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP")]
BOMBS = [
    bomb(60_000, 60_000),
    bomb(2**31 - 1, 2**31 - 1),
    bomb(100_000, 10_000, bytes(10**6)),
    bomb(0, 0),
]
GOOD = {
    "/v1/completions": {"model": "gpt2", "prompt": "the house", "max_tokens": 2},
    "/v1/embeddings": {"model": "masked", "input": ["the cat", "a dog"]},
    "/v1/fill": {"model": "masked", "input": "the [MASK]"},
    "/v1/classify": {"model": "vit", "image": encoded(FILES[0])},
    "/v1/match": {"model": "clip", "text": "red", "image": [encoded(FILES[0])]},
}
RAW = [  # values that no field takes, as bytes of JSON
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"9" * 400,
    b"9" * 5000,
    b"{}",
    b'{"a": {"b": []}}',
    b"[[[]]]",
    b"[null]",
    b'"\\ud800"',
    b'"\xff\xfe"',
    b'"a\nb"',
    b"tru",
    b"'a'",
    b"01",
    b"",
]
PATHS = ["/etc/passwd", "http://127.0.0.1:1/", "file:///etc/passwd", "gASVBQAAAAAAAABLAC4", "\0"]


@dataclass
class Body:
    """A body and how it is announced; `refused` is True where an answer must be a 4xx."""

    path: str
    data: bytes
    refused: bool = False
    head: bytes = field(default=JSON)


def good(draw):
    path = draw.choice(list(GOOD))
    return Body(path, json.dumps(GOOD[path]).encode())


def scratched(draw):
    """Change, drop, double or add some bytes."""
    body = good(draw)
    data = bytearray(body.data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        part = draw.choice([b"", draw.randbytes(draw.randint(1, 4)), bytes(data[at : at + 9]) * 2])
        data[at : at + draw.randint(0, 5)] = part
    return Body(body.path, bytes(data))


def cut(draw):
    """Leave out the end."""
    body = good(draw)
    return Body(body.path, body.data[: draw.randrange(len(body.data))], True)


def wrong_value(draw):
    """Put a value that nothing takes where a good one stood, or where none did."""
    body = good(draw)
    fields = GOOD[body.path]
    name = draw.choice(list(fields))
    rest = {key: value for key, value in fields.items() if key != name}
    data = json.dumps(rest)[1:-1].encode()
    return Body(body.path, b'{"%b": %b, %b}' % (name.encode(), draw.choice(RAW), data), True)


def more(draw):
    """Add a field that there is not, or one twice."""
    body = good(draw)
    name = draw.choice(["x", "path", "__class__", "Model", "model", "\0", "a" * 1000])
    return Body(body.path, b"{%b: 1, %b" % (json.dumps(name).encode(), body.data[1:]), True)


def deep(draw):
    """Nest lists or objects."""
    depth = draw.choice([33, 100, 5000, 100_000])
    opening, closing = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    inner = opening * depth + b"1" + closing * draw.choice([0, depth])
    return Body(draw.choice(list(GOOD)), inner, True)


def other_coding(draw):
    """Send it as something else than UTF-8, or packed."""
    body = good(draw)
    text = body.data.decode()
    how = draw.randrange(5)
    if how == 0:
        return Body(body.path, gzip.compress(body.data), True, JSON + b"content-encoding: gzip\r\n")
    if how == 1:
        packed = gzip.compress(bytes(10**7))
        return Body(body.path, packed, True, JSON + b"content-encoding: deflate\r\n")
    if how == 2:
        return Body(body.path, body.data, True, b"content-type: text/plain\r\n")
    if how == 3:
        return Body(body.path, text.encode("utf-16"), True)
    return Body(body.path, b"\xef\xbb\xbf" + body.data, True)


def bad_picture(draw):
    """Send a picture that is cut, scratched, huge, empty, or an address."""
    path = draw.choice(["/v1/classify", "/v1/match"])
    file = bytearray(draw.choice(FILES))
    how = draw.randrange(4)
    refused = True
    if how == 0:
        sent = encoded(bytes(file[: draw.randrange(20)]))
    elif how == 1:
        file[draw.randrange(len(file))] ^= draw.randint(1, 255)
        sent, refused = encoded(bytes(file)), False
    elif how == 2:
        sent = encoded(draw.choice(BOMBS))
    else:
        sent = draw.choice(PATHS)
    return Body(path, json.dumps(GOOD[path] | {"image": sent}).encode(), refused)


def too_many(draw):
    """Ask for more than a request may."""
    path, fields = draw.choice(
        [
            ("/v1/completions", {"prompt": ["a"] * 65}),
            ("/v1/completions", {"n": 65}),
            ("/v1/completions", {"max_tokens": 10**6}),
            ("/v1/completions", {"prompt": "a" * 100_000}),
            ("/v1/completions", {"prompt": [10**6]}),
            ("/v1/completions", {"prompt": [[1]] * 5000}),
            ("/v1/embeddings", {"input": "the cat " * 1000}),
            ("/v1/embeddings", {"dimensions": 3}),
            ("/v1/fill", {"input": "no mask"}),
            ("/v1/match", {"text": ["a"] * 65}),
            ("/v1/match", {"text": PATHS * 20_000}),
        ]
    )
    return Body(path, json.dumps(GOOD[path] | fields).encode(), True)


KINDS = [
    good,
    scratched,
    scratched,
    cut,
    wrong_value,
    wrong_value,
    more,
    deep,
    other_coding,
    bad_picture,
    bad_picture,
    too_many,
]


def body_of(draw):
    """Draw a body."""
    return draw.choice(KINDS)(draw)
