"""Bytes on a wire: slow senders, readers that do not read, pipelines, and what is no HTTP."""

import contextlib
import json
import random
import re
import socket
import struct

import pytest

from e2e.serving import JSON, read_all, serving, until
from zoo.serve.careful import CHUNKS
from zoo.serve.problems import MEDIA

SMALL = {
    "body": 100_000,
    "header_seconds": 0.3,
    "body_seconds": 0.3,
    "connections": 20,
    "request_seconds": 20.0,
}
HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
BODY = json.dumps({"model": "gpt2", "prompt": "the house", "max_tokens": 2, "seed": 1}).encode()
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
GET = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    place = tmp_path_factory.mktemp("wire")
    with serving(place, [f"gpt2={models / 'gpt2'}"], limits=SMALL) as server:
        yield server


@pytest.fixture(autouse=True)
def steady(server):
    """See that a good request is answered after each test, and nothing is left open."""
    before = server.held()
    yield
    assert server.post("/v1/completions", **json.loads(BODY)).status == 200
    until(lambda: server.held() <= before)


def post(body, head=b""):
    return HEAD + head + b"content-length: %d\r\n\r\n" % len(body) + body


def chunked(*parts):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def status_of(got):
    """Give the status of an answer that is a whole problem, and says that this is the end."""
    head, _, body = got.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert b"connection: close" in head.lower()
    assert f"content-type: {MEDIA}".encode() in head.lower()
    assert head.startswith(b"HTTP/1.1 %d " % told["status"])
    assert told["request_id"].encode() in head
    return told["status"]


REFUSED = [
    (b"hello\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"\0" * 100, 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\nhost: a\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
    (b"GET /" + b"a" * 100_000, 431),
    (GET[:-2] + b"x: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    (GET[:-2] + b"a: b\r\n" * 100_000 + b"\r\n", 431),
    (GET[:-2] + b"a: b\r\n" * 200 + b"\r\n", 431),
    (HEAD + b"content-length: 1073741824\r\n\r\n", 413),
    (HEAD + b"content-length: 100001\r\n\r\n" + b"a" * 100_001, 413),
    (HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n", 400),
    (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab", 408),
    (HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\nab", 408),
    (HEAD + b"transfer-encoding: chunked\r\n\r\n5;" + b"a" * 20_000, 400),
    (chunked(*[b"a" * 50_000] * 3), 413),
    (chunked(*[b" "] * (CHUNKS + 1)), 400),
    (HEAD + b"content-length: 50\r\n\r\nabc", 408),
    (GET[:-2], 408),
    (b"G", 408),
]


@pytest.mark.parametrize(("sent", "status"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_good_request_is_refused_and_its_connection_ends(server, sent, status):
    assert status_of(server.raw(sent)) == status


def test_a_connection_on_which_nothing_is_said_ends_without_a_word(server):
    assert server.raw(b"") == b""


def test_a_huge_body_is_refused_before_it_is_sent_and_the_answer_can_be_read(server):
    with server.connect() as wire:
        wire.sendall(HEAD + b"content-length: 8000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(80):  # a client that sends first, and reads then
                wire.sendall(b"a" * 100_000)
        assert status_of(read_all(wire)) == 413


def test_a_client_that_waits_for_leave_to_send_is_given_it_or_refused(server):
    with server.connect() as wire:
        wire.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        assert wire.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(BODY)
        assert wire.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    refused = server.raw(HEAD + b"expect: 100-continue\r\ncontent-length: 200000\r\n\r\n")
    assert status_of(refused) == 413


def test_requests_in_a_row_are_answered_in_their_order(server):
    asks = [GET, post(BODY), chunked(BODY[:9], BODY[9:]), b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n"]
    last = GET.replace(b"host", b"connection: close\r\nhost")
    whole = b"".join([*asks, last])
    for pieces in ([whole], [whole[i : i + 7] for i in range(0, len(whole), 7)]):
        with server.connect() as wire:
            for piece in pieces:
                wire.sendall(piece)
            got = read_all(wire)
        assert STATUS.findall(got) == [b"200", b"200", b"200", b"404", b"200"]


def test_a_bad_request_in_a_row_is_refused_behind_good_ones(server):
    got = server.raw(GET + post(BODY) + b"nonsense\r\n\r\n" + GET)
    assert STATUS.findall(got) == [b"200", b"200", b"400"]
    assert status_of(got[got.rindex(b"HTTP/1.1 400") :]) == 400


def test_a_head_that_comes_slowly_is_timed_on_later_requests_too(server):
    with server.connect() as wire:
        wire.sendall(GET)
        got = b""
        while not got.endswith(b"}"):
            got += wire.recv(1000)
        wire.sendall(GET[:20])
        assert status_of(read_all(wire)) == 408


def test_a_client_that_asks_for_another_protocol_gets_this_one(server):
    upgrade = b"connection: upgrade, close\r\nupgrade: websocket\r\n"
    upgrade += b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with server.connect() as wire:
        wire.sendall(GET[:-2] + upgrade)
        assert wire.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_connections_are_bounded(server):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(SMALL["connections"])]
        for wire in held:
            wire.sendall(GET)
            assert wire.recv(1000).startswith(b"HTTP/1.1 200")
        got = server.raw(b"")
        assert status_of(got) == 503
        assert b"retry-after: 1" in got
    until(lambda: server.ask("GET", "/healthz").status == 200)


STREAM = {"model": "gpt2", "prompt": "the house", "max_tokens": 40, "stream": True, "n": 8}


def leave(wire):
    """Close with a reset, as a client does that has been killed."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


@pytest.mark.parametrize("how", [leave, socket.socket.close], ids=["reset", "closed"])
@pytest.mark.parametrize("seed", range(5))
def test_a_client_that_leaves_takes_its_work_with_it(server, how, seed):
    draw = random.Random(seed)
    sent = post(json.dumps(STREAM | {"stream": draw.random() < 0.7}).encode())
    wire = server.connect()
    wire.sendall(sent[: draw.randint(1, len(sent))] if draw.random() < 0.4 else sent)
    with contextlib.suppress(TimeoutError):
        wire.settimeout(draw.random() * 0.02)
        wire.recv(draw.randint(1, 500))
    how(wire)
    until(lambda: inflight(server) == 0)


def inflight(server):
    (model,) = server.ask("GET", "/v1/status").json["models"]
    return model["versions"][0]["inflight"]


def test_a_client_that_does_not_read_its_answers_is_cut_off(server):
    with server.connect() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = len(server.records())
        with contextlib.suppress(ConnectionError):
            while True:  # more answers than any buffer holds
                wire.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n" * 50)
        assert len(server.records()) > before


def test_headers_of_a_client_are_not_repeated(server):
    reply = server.ask("GET", "/healthz", headers={"x-request-id": "a\tb", "x-else": "secret"})
    assert "secret" not in str(reply.headers)
    assert len(reply.headers["x-request-id"]) == 32
    assert reply.headers.keys() == {
        "date",
        "content-length",
        "content-type",
        "x-request-id",
        "x-content-type-options",
    }


def test_json_of_every_kind_of_nonsense_is_refused(server):
    for body in (b"{", b"[" * 50_000, b'{"a": NaN}', b"\xff\xfe", b'{"model": "\\ud800"}', b""):
        reply = server.ask("POST", "/v1/completions", body, JSON)
        assert reply.status == 400
        assert reply.json["error"]["code"] == "malformed"
