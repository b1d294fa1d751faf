"""How a server ends, and whom it lets in: signals at any moment, keys of any kind."""

import contextlib
import http.client
import json
import random
import signal
import socket
import threading

import pytest

from e2e.serving import JSON, read_all, serving, until
from zoo.serve.server import listen

BODY = {"model": "gpt2", "prompt": "the house", "max_tokens": 40, "temperature": 0}
ENDS = [pytest.param(seed, marks=pytest.mark.scheduled) for seed in range(5, 50)]


@pytest.fixture
def started(models, tmp_path):
    """Start a server; what goes on the wire at its end is the test's matter."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            serving(tmp_path, [f"gpt2={models / 'gpt2'}"], **options)
        )


class Load(threading.Thread):
    """A client that asks one request after the other until the server takes no connection.

    `answers` are statuses; `lost` counts requests that were sent on a new connection and got no
    answer at all.
    """

    def __init__(self, server, seed):
        super().__init__()
        self.server, self.draw = server, random.Random(seed)
        self.answers, self.lost, self.wrong = [], 0, 0

    def run(self):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                self.visit(self.server.connect())

    def visit(self, wire):
        """Ask on one connection until it ends; only the first request must be answered."""
        connection = http.client.HTTPConnection("127.0.0.1")
        connection.sock = wire
        first = True
        with contextlib.closing(connection):
            while connection.sock is not None:
                stream = self.draw.random() < 0.5
                try:
                    connection.request(
                        "POST", "/v1/completions", json.dumps(BODY | {"stream": stream}), JSON
                    )
                    reply = connection.getresponse()
                    body = reply.read()
                except (http.client.HTTPException, ConnectionError):
                    self.lost += first
                    return
                first = False
                self.note(reply, body, stream)

    def note(self, reply, body, stream):
        """Keep a status, and whether a good answer is whole."""
        self.answers.append(reply.status)
        if reply.status == 200:
            whole = body.endswith(b"[DONE]\n\n") if stream else json.loads(body)["usage"]
            self.wrong += not whole
        elif not (reply.getheader("retry-after") and json.loads(body)["status"] == reply.status):
            self.wrong += 1


@pytest.mark.parametrize("seed", [*range(5), *ENDS])
def test_whoever_was_accepted_is_answered_when_the_server_is_told_to_end(started, seed):
    draw = random.Random(seed)
    server = started(drain=draw.choice([0.0, 0.1, 0.3]))
    clients = [Load(server, draw.random()) for _ in range(6)]
    for client in clients:
        client.start()
    least = draw.randint(1, 60)
    until(lambda: sum(len(client.answers) for client in clients) >= least)
    assert server.end(draw.choice([signal.SIGTERM, signal.SIGINT])) == 0
    for client in clients:
        client.join()
    answers = [status for client in clients for status in client.answers]
    assert set(answers) <= {200, 429, 503}
    assert [client.lost for client in clients] == [0] * 6
    assert [client.wrong for client in clients] == [0] * 6
    assert sum(r["status"] == 200 for r in server.records()) >= answers.count(200)


def test_readiness_falls_first_and_requests_are_taken_for_a_while(started):
    server = started(drain=1.0)
    server.process.send_signal(signal.SIGTERM)
    server.told("signal")
    reply = server.ask("GET", "/readyz")
    assert (reply.status, reply.headers["connection"]) == (503, "close")
    assert server.ask("GET", "/healthz").status == 200
    assert server.post("/v1/completions", **BODY).status == 200
    assert not server.records("draining")
    assert server.process.wait(30) == 0


def test_what_has_begun_is_finished_while_new_requests_are_refused(started):
    server = started(drain=0.0)
    with server.connect() as slow, server.connect() as idle:
        body = json.dumps(BODY).encode()
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\n")
        slow.sendall(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
        until(lambda: "zoo_" in server.ask("GET", "/metrics").body.decode())
        server.process.send_signal(signal.SIGTERM)
        server.told("draining")
        refused = server.post("/v1/completions", **BODY)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["connection"] == "close"
        slow.sendall(body)
        assert read_all(slow).startswith(b"HTTP/1.1 200 OK")
        assert read_all(idle) == b""
    assert server.process.wait(30) == 0


def test_a_second_signal_ends_at_once(started):
    server = started(drain=60.0)
    server.process.send_signal(signal.SIGTERM)
    server.told("signal")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 1


def test_a_server_that_loads_is_alive_and_can_be_ended(started):
    server = started(ready=False)
    assert server.ask("GET", "/healthz").status == 200
    assert server.ask("GET", "/readyz").status == 503
    assert server.end() == 0


def test_a_signal_to_reload_reloads(started):
    server = started()
    server.process.send_signal(signal.SIGHUP)
    server.told("reloaded")
    assert server.post("/v1/completions", **BODY).status == 200


KEY = "sk-the-right-one"
FEW, MANY = 300, 10_000


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.scheduled)])
def test_wrong_keys_are_refused_and_the_right_one_lets_in(started, count):
    server = started(keys=("another", KEY))
    draw = random.Random(count)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with contextlib.closing(connection):
        for _ in range(count):
            headers = {"Authorization": f"Bearer {wrong(draw)}"}
            connection.request("GET", "/v1/models", headers=headers)
            reply = connection.getresponse()
            assert (reply.status, json.loads(reply.read())["status"]) == (401, 401)
            assert reply.getheader("www-authenticate") == 'Bearer realm="zoo"'
    good = server.ask("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    assert good.status == 200
    assert server.ask("GET", "/readyz").status == 200
    assert KEY not in server.out.read_text()
    assert [r["status"] for r in server.records()].count(401) == count


def wrong(draw):
    """Give a key that is near the right one, or not."""
    place = draw.randrange(len(KEY))
    other = draw.choice([c for c in "abcXYZ019-" if c != KEY[place]])
    near = KEY[:place] + other + KEY[place + 1 :]
    return draw.choice([near, KEY[:place], KEY + other, KEY.upper(), other * draw.randint(1, 99)])


def test_a_port_that_is_taken_is_told():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = taken.getsockname()
        with pytest.raises(OSError, match="in use"):
            listen(*address)
