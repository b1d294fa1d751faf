"""The guard: who comes in, what it may bring, and how long it may take; one answer, one record."""

import asyncio
import logging

import pytest

from unit.serve.asgi import Client, Reply, ask, guarded, scope_of
from zoo.serve.keys import Keys
from zoo.serve.limits import Limits
from zoo.serve.problems import MEDIA, Problem
from zoo.serve.visit import ROOM

SHORT = Limits(body=100, body_seconds=0.02, request_seconds=0.02)


async def echo(scope, receive, send):
    """Answer with the body that came."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


UNDONE = []


async def never(scope, receive, send):
    """Work for ever."""
    UNDONE.clear()
    scope["state"]["visit"].undo.append(lambda: UNDONE.append(True))
    await asyncio.get_running_loop().create_future()


async def begin(scope, receive, send):
    """Begin an answer, and never end it."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await never(scope, receive, send)


async def fail(scope, receive, send):
    """Make a mistake."""
    raise RuntimeError("the secret of this request")


def put(app, *, limits=None, options=None, **how):
    """Ask a guarded app with POST; give the reply, its record and the gate."""
    guard, gate, records = guarded(app, limits, **(options or {}))
    reply = asyncio.run(ask(guard, "POST", "/v1/x", **how))
    assert (gate.inside, gate.held) == (0, 0)
    (record,) = records
    assert record["request_id"] == reply.headers.get("x-request-id", record["request_id"])
    assert record["status"] == reply.status or reply.status is None
    assert record["bytes"] == len(reply.body)
    return reply, record


def is_problem(reply, status, says):
    told = reply.json
    assert reply.headers["content-type"] == MEDIA
    assert reply.status == told["status"] == status
    assert says in told["detail"]
    assert told["request_id"] == reply.headers["x-request-id"]
    assert reply.whole
    return True


def test_an_app_gets_the_whole_body_at_once():
    reply, record = put(echo, client=Client([b"ab", b"", b"cd"]))
    assert (reply.status, reply.body) == (200, b"abcd")
    assert record["method"] == "POST" and record["route"] == "other"
    assert 0 <= record["seconds"] < 60


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a-B.9_", True), ("a" * 128, True), ("a" * 129, False), ("", False), ("a\nb", False)],
    ids=["sane", "long", "too long", "empty", "two lines"],
)
def test_a_sane_request_id_is_kept_and_another_is_made(given, kept):
    reply, _ = put(echo, headers={"x-request-id": given})
    assert (reply.headers["x-request-id"] == given) == kept
    assert 1 <= len(reply.headers["x-request-id"]) <= 128


def test_a_traced_request_says_so_in_its_record():
    _, record = put(echo, headers={"traceparent": "00-a-b-01", "tracestate": "x=y"})
    assert (record["traceparent"], record["tracestate"]) == ("00-a-b-01", "x=y")


WRONG = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer ke",
    "Bearer keyy",
    "Basic a2V5",
    "Basic key",
    "key",
    "bearer KEY",
    "é",
]


@pytest.mark.parametrize("sent", WRONG, ids=range(len(WRONG)))
def test_a_wrong_key_is_refused_before_a_byte_is_read(sent):
    client = Client([b"a" * 50])
    options = {"keys": ("key", "other")}
    reply, _ = put(echo, client=client, headers={"authorization": sent}, options=options)
    assert is_problem(reply, 401, "no API key that is known")
    assert reply.headers["www-authenticate"] == 'Bearer realm="zoo"'
    assert (reply.headers["connection"], client.taken) == ("close", 0)


@pytest.mark.parametrize("sent", ["Bearer key", "bearer other", "BEARER  key "])
def test_a_known_key_lets_in(sent):
    options = {"keys": ("key", "other")}
    assert put(echo, headers={"authorization": sent}, options=options)[0].status == 200


def test_no_key_is_needed_for_probes_and_what_is_public():
    guard, _, _ = guarded(echo, keys=("key",), public=["/page"])
    asked = ("/healthz", "/readyz", "/page", "/metrics", "/v1/models", "/page/", "/healthz/x")
    found = [asyncio.run(ask(guard, "GET", path)).status for path in asked]
    assert found == [200, 200, 200, 401, 401, 401, 401]


@pytest.mark.parametrize("key", ["", "a b", "é", "a\n"], ids=range(4))
def test_a_key_that_no_header_carries_is_no_key(key):
    with pytest.raises(ValueError, match="printable ASCII"):
        Keys([key])


def test_a_body_said_to_be_too_large_is_refused_before_a_byte_is_read():
    client = Client([b"a"])
    reply, _ = put(echo, limits=SHORT, client=client, headers={"content-length": "101"})
    assert is_problem(reply, 413, "larger than 100 bytes")
    assert (reply.headers["connection"], client.taken) == ("close", 0)


def test_a_body_that_grows_too_large_is_refused_when_it_does():
    client = Client([b"a" * 60] * 9)
    headers = {"transfer-encoding": "chunked", "content-length": "0"}
    reply, _ = put(echo, limits=SHORT, client=client, headers=headers)
    assert is_problem(reply, 413, "larger than 100 bytes")
    assert (reply.headers["connection"], client.taken) == ("close", 2)


def test_a_body_of_just_the_limit_passes():
    assert put(echo, limits=SHORT, body=b"a" * 100)[0].body == b"a" * 100


def test_a_post_says_how_long_its_body_is():
    guard, _, _ = guarded(echo)
    reply = Reply()
    asyncio.run(guard(scope_of("POST", "/", {}), Client([b""]).receive, reply.send))
    assert is_problem(reply, 411, "Content-Length")


def test_large_bodies_share_a_bounded_room():
    guard, gate, _ = guarded(echo, SHORT)
    gate.held = ROOM * 100 - 50
    assert is_problem(asyncio.run(ask(guard, "POST", "/", b"a" * 51)), 429, "too many large bodies")
    assert asyncio.run(ask(guard, "POST", "/", b"a" * 50)).status == 200
    assert gate.held == ROOM * 100 - 50


def test_a_slow_body_is_refused():
    class Slow(Client):
        async def receive(self):
            return await asyncio.get_running_loop().create_future()

    reply, _ = put(echo, limits=SHORT, client=Slow([b"a"]))
    assert is_problem(reply, 408, "within 0.02 seconds")
    assert reply.headers["connection"] == "close"


def test_what_the_protocol_finds_wrong_in_a_body_is_told():
    guard, _, records = guarded(echo)

    async def app(scope, receive, send):
        await guard(scope | {"state": {"fault": Problem(400, "a bad chunk")}}, receive, send)

    reply = asyncio.run(ask(app, "POST", "/", client=Client([b"a", b"b"])))
    assert is_problem(reply, 400, "a bad chunk")
    assert [record["status"] for record in records] == [400]


def test_work_that_is_not_done_in_time_is_ended_and_undone():
    reply, record = put(never, limits=SHORT, options={"grace": 0.0})
    assert is_problem(reply, 504, "not ready in time")
    assert (record["refused"], UNDONE) == ("late", [True])


def test_a_stream_that_is_not_done_in_time_is_left_unfinished():
    reply, record = put(begin, limits=SHORT, options={"grace": 0.0})
    assert (reply.status, reply.body, reply.whole) == (200, b"a", False)
    assert record["refused"] == "late"


@pytest.mark.parametrize("app", [never, begin], ids=["silent", "streaming"])
def test_work_ends_when_its_client_has_gone(app):
    reply, record = put(app, client=Client([b""], leaves=True))
    assert not reply.whole
    assert (record["refused"], UNDONE) == ("cancelled", [True])
    assert record["status"] == (reply.status or 499)


def test_an_answer_that_is_whole_is_not_taken_for_a_client_that_left():
    async def answered():
        guard, _, records = guarded(tidies)
        reply = Reply()

        async def receive():  # as uvicorn's: a whole answer ends what can be received
            while not reply.whole:
                await asyncio.sleep(0)
                if asked.taken == 0:
                    return await asked.receive()
            return {"type": "http.disconnect"}

        asked = Client([b"a"])
        await guard(scope_of("GET", "/", {}), receive, reply.send)
        return records

    async def tidies(scope, receive, send):
        await echo(scope, receive, send)
        for _ in range(9):
            await asyncio.sleep(0)

    (record,) = asyncio.run(answered())
    assert (record["status"], record.get("refused")) == (200, None)


def test_a_client_that_leaves_amid_its_body_is_told_nothing():
    class Leaving(Client):
        async def receive(self):
            message = await super().receive()
            return message | {"more_body": True}

    reply, record = put(echo, client=Leaving([b"a"], leaves=True))
    assert (reply.status, record["status"], record["refused"]) == (None, 499, "cancelled")


def test_a_mistake_of_ours_is_logged_and_tells_nothing(logged):
    reply, record = put(fail)
    assert is_problem(reply, 500, "its log has this request's id")
    assert b"secret" not in reply.body and b"Traceback" not in reply.body
    (said,) = logged
    assert record["request_id"] in said.getMessage() and said.exc_info[0] is RuntimeError


@pytest.fixture
def logged():
    """Hear what the guard logs."""
    heard = []
    handler = logging.Handler()
    handler.emit = heard.append
    logger = logging.getLogger("zoo.serve")
    logger.addHandler(handler)
    yield heard
    logger.removeHandler(handler)


def test_a_server_that_leaves_closes_connections_and_then_takes_nothing_new():
    guard, gate, _ = guarded(echo)
    gate.leaving = True
    reply = asyncio.run(ask(guard, "POST", "/v1/x", b"a"))
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    gate.draining = True
    reply = asyncio.run(ask(guard, "POST", "/v1/x", b"a"))
    assert is_problem(reply, 503, "about to leave")
    assert (reply.headers["connection"], reply.headers["retry-after"]) == ("close", "1")
    for path in ("/healthz", "/readyz", "/metrics"):
        assert asyncio.run(ask(guard, "GET", path)).status == 200


def test_what_is_no_request_is_not_answered():
    guard, _, records = guarded(fail)
    asyncio.run(guard({"type": "lifespan"}, None, None))
    assert records == []
