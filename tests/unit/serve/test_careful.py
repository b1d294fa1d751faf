"""HTTP read with limits: what h11 alone would let pass, or tells otherwise."""

import h11
import pytest

from zoo.serve.careful import CHUNKS, HEADERS, TARGET, Careful
from zoo.serve.limits import Limits

LIMITS = Limits(headers=16_384)
LINE = b"POST / HTTP/1.1\r\nhost: a\r\n"


def fault(sent):
    """Read bytes until they are refused; give the Problem."""
    connection = Careful(LIMITS)
    connection.receive_data(sent)
    with pytest.raises(h11.RemoteProtocolError):
        read_all(connection)
    return connection.fault


def read_all(connection):
    """Give the kinds of the events that come."""
    kinds = []
    while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        kinds.append(type(event).__name__)
    return kinds


def events(sent):
    """Read bytes; give the kinds of events that come."""
    connection = Careful(LIMITS)
    connection.receive_data(sent)
    return read_all(connection)


def many(count):
    return b"".join(b"x-%d: a\r\n" % number for number in range(count))


REFUSED = [
    (LINE + b"x: " + b"a" * 16_400 + b"\r\n\r\n", 431, "longer than 16,384 bytes"),
    (LINE + b"x: " + b"a" * 16_400, 431, "longer than 16,384 bytes"),
    (b"GET /" + b"a" * 17_000, 431, "longer than 16,384 bytes"),
    (LINE + many(HEADERS) + b"\r\n", 431, f"more than {HEADERS} headers"),
    (LINE + many(100_000) + b"\r\n", 431, "longer than 16,384 bytes"),
    (b"GET /" + b"a" * TARGET + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414, "address is longer"),
    (LINE + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400, "not both"),
    (LINE + b"transfer-encoding: gzip\r\n\r\n", 400, "not HTTP/1.1"),
    (LINE + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400, "not HTTP/1.1"),
    (LINE + b"content-length: -1\r\n\r\n", 400, "not HTTP/1.1"),
    (LINE + b"content-length: " + b"9" * 5000 + b"\r\n\r\n", 400, "not HTTP/1.1"),
    (LINE + b"bad header\r\n\r\n", 400, "not HTTP/1.1"),
    (LINE + b"a\0b: c\r\n\r\n", 400, "not HTTP/1.1"),
    (b"GET / HTTP/1.1\r\n\r\n", 400, "not HTTP/1.1"),
    (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 400, "speaks HTTP/1.1"),
    (b"\x16\x03\x01\x02\x00", 400, "not HTTP/1.1"),
    (b"hello\r\n\r\n", 400, "not HTTP/1.1"),
    (LINE + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400, "not HTTP/1.1"),
    (LINE + b"transfer-encoding: chunked\r\n\r\n1\r\nabc", 400, "not HTTP/1.1"),
    (
        LINE + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (CHUNKS + 1),
        400,
        f"more than {CHUNKS:,} chunks",
    ),
]


@pytest.mark.parametrize(("sent", "status", "says"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_over_a_limit_or_no_http_is_refused(sent, status, says):
    problem = fault(sent)
    assert problem.status == status
    assert says in problem.detail


FINE = [
    (LINE + b"content-length: 3\r\n\r\nabc", ["Request", "Data", "EndOfMessage"]),
    (LINE + many(HEADERS - 1) + b"\r\n", ["Request", "EndOfMessage"]),
    (LINE + b"x: " + b"a" * 16_000 + b"\r\n\r\n", ["Request", "EndOfMessage"]),
    (b"GET /" + b"a" * (TARGET - 1) + b" HTTP/1.1\r\nhost: a\r\n\r\n", ["Request", "EndOfMessage"]),
    (
        LINE + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        ["Request", "Data", "EndOfMessage"],
    ),
]


@pytest.mark.parametrize(("sent", "kinds"), FINE, ids=range(len(FINE)))
def test_what_is_within_the_limits_passes(sent, kinds):
    assert events(sent) == kinds


def test_chunks_are_counted_for_each_body():
    connection = Careful(LIMITS)
    for _ in range(2):
        connection.receive_data(
            LINE + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * CHUNKS
        )
        connection.receive_data(b"0\r\n\r\n")
        assert read_all(connection)[-1] == "EndOfMessage"
        connection.send(h11.Response(status_code=204, headers=[]))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()
