"""Parts of the load tests: the client, what is asked, what an answer is held against, the table."""

import json
import socket
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.load import stages, table, versus  # noqa: E402
from benchmarks.load.client import Connection, Reply, request_bytes, told  # noqa: E402
from benchmarks.load.drive import Run, counts, judged  # noqa: E402
from benchmarks.load.items import items_of, nonsense  # noqa: E402
from benchmarks.load.offline import UNDECIDED, agreed, far, far_pairs, fault, forms_of  # noqa: E402
from benchmarks.load.serving import counted, gained  # noqa: E402
from benchmarks.load.stats import Asked, summary  # noqa: E402

PLAIN = b'{"id": "cmpl-1", "object": "text_completion", "created": 17, "model": "m@1"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
ABOUT = {"verbs": ["complete"], "image": None, "head": "lm"}
MODELS = [
    {
        "name": "gpt2",
        "default": "2",
        "versions": [{"version": "1", "about": None}, {"version": "2", "about": ABOUT}],
    },
]


def length(body):
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
def answering():
    """Give a client whose server says given bytes to one request after the other."""
    threads, listener = [], socket.create_server(("127.0.0.1", 0))

    def serve(answers):
        accepted, _ = listener.accept()
        with accepted:
            for answer in answers:
                accepted.recv(1 << 16)
                accepted.sendall(answer)

    def start(*answers):
        threads.append(threading.Thread(target=serve, args=(answers,)))
        threads[-1].start()
        made.append(Connection(*listener.getsockname()))
        return made[-1]

    made = []
    with listener:
        yield start
        for thread in threads:
            thread.join(10)
        for connection in made:
            connection.close()


def test_a_connection_is_kept_and_reads_both_kinds_of_body(answering):
    client = answering(length(b"first"), CHUNKED, length(b""))
    assert [client.ask(b"x").body for _ in range(3)] == [b"first", b"abc0123456789", b""]


def test_an_answer_that_breaks_off_is_none(answering):
    reply = answering(length(b"whole")[:-2]).ask(b"x")
    assert reply.status == 0 and b"closed the connection" in reply.body


def test_status_and_when_to_come_back_are_read(answering):
    busy = b"HTTP/1.1 429 Busy\r\nRetry-After: 3\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    client = answering(busy)
    reply = client.ask(b"x")
    assert (reply.status, reply.retry_after, client.socket) == (429, "3", None)


def test_a_request_is_written_once():
    item = {"method": "POST", "path": "/v1/fill", "body": '{"ü": 1}'}
    head, body = request_bytes("h:1", item, "sesame").split(b"\r\n\r\n")
    assert body == item["body"].encode()
    assert b"Content-Length: 9\r\n" in head + b"\r\n" and b"Authorization: Bearer sesame" in head


def test_the_same_answer_says_the_same_whatever_its_id():
    other = PLAIN.replace(b"cmpl-1", b"cmpl-2").replace(b"17", b"18")
    assert told(Reply(200, PLAIN, 0, 0)) == told(Reply(200, other, 0, 0))
    assert json.loads(told(Reply(200, PLAIN, 0, 0))) == {
        "object": "text_completion",
        "model": "m@1",
    }


def event(text, finish=None, usage=None):
    choices = [] if usage else [{"text": text, "finish_reason": finish}]
    return b"data: " + json.dumps({"model": "m@1", "choices": choices, "usage": usage}).encode()


def test_a_stream_is_put_together():
    usage = {"prompt_tokens": 2, "completion_tokens": 3}
    lines = [event("a "), event("b"), event("", "length"), event("", usage=usage), b"data: [DONE]"]
    whole = {
        "model": "m@1",
        "choices": [{"text": "a b", "finish_reason": "length"}],
        "usage": usage,
    }
    assert json.loads(told(Reply(200, b"\n\n".join(lines), 0, 0))) == whole
    assert "broken" in told(Reply(200, b"\n\n".join(lines[:-1]), 0, 0))


def test_items_are_for_the_default_version_and_of_the_seed():
    made = items_of(MODELS, seed=1, tokens=4)
    assert made == items_of(MODELS, seed=1, tokens=4) != items_of(MODELS, seed=2, tokens=4)
    assert {item["verb"] for item in made} == {"complete"}
    assert all(json.loads(item["body"])["model"] == "gpt2" for item in made)
    with pytest.raises(ValueError, match=r"no model does any of \['match'\]"):
        items_of(MODELS, seed=1, tokens=4, only=["match"])
    assert not any(item["good"] for item in nonsense("gpt2"))


@pytest.mark.parametrize(
    ("verb", "expected", "answer", "wrong"),
    [
        ("complete", {"text": "a"}, {"choices": [{"text": "a"}]}, None),
        ("complete", {"text": "a"}, {"choices": [{"text": "b"}]}, "'b', not 'a'"),
        ("complete", {"text": "a"}, {"choices": []}, "no such answer: IndexError"),
        ("embed", [[1.0, 2.0]], {"data": [{"embedding": [1.0, 2.00001]}]}, None),
        ("embed", [[1.0, 2.0]], {"data": [{"embedding": [1.0, 2.1]}]}, "off by"),
        ("embed", [[1.0, 2.0]], {"data": [{"embedding": [1.0]}]}, "1 numbers, not 2"),
        ("match", [[0.5]], {"cosines": [[0.5]]}, None),
        ("match", [[0.5]], {}, "no such answer: KeyError"),
        (
            "fill",
            [[["a", 0.6]]],
            {"data": [{"masks": [[{"token": "a", "probability": 0.6}]]}]},
            None,
        ),
        (
            "classify",
            [["a", 0.6], ["b", 0.4]],
            {"data": [{"labels": [{"label": "c", "probability": 0.6}]}]},
            "['c'], not ['a', 'b']",
        ),
    ],
    ids=range(10),
)
def test_an_answer_is_held_against_the_offline_one(verb, expected, answer, wrong):
    found = fault({"verb": verb}, expected, json.dumps(answer))
    assert found == wrong if wrong is None else wrong in found


def test_a_text_that_rounding_decides_has_no_right_answer():
    def text_of(model, asked):
        return {"text": model + asked}

    assert agreed(text_of, ["a", "a"], "x") == {"text": "ax"}
    assert agreed(text_of, ["a", "b"], "x") == UNDECIDED
    assert forms_of("complete", None) == (None, "float32")
    assert forms_of("fill", None) == (None,) and forms_of("complete", "int8") == ("int8",)


def test_names_with_like_numbers_may_change_places_at_the_end():
    assert far_pairs([("a", 0.5), ("b", 0.1)], [("a", 0.5), ("c", 0.1)]) is None
    assert far_pairs([("a", 0.5), ("b", 0.1)], [("a", 0.5), ("c", 0.2)]) is not None
    assert far([1.0], [float("nan")]) is not None


def test_client_and_server_count_alike():
    text = """# TYPE zoo_requests_total counter
zoo_requests_total{method="POST",route="/v1/fill",status="200",model="b",version="1"} 3
zoo_requests_total{method="POST",route="/v1/fill",status="429",model="b",version="1"} 1
zoo_requests_total{method="POST",route="other",status="429",model="",version=""} 1
zoo_requests_total{method="GET",route="/metrics",status="200",model="",version=""} 9
# TYPE zoo_prompt_tokens_total counter
zoo_prompt_tokens_total{model="b",version="1"} 12
"""
    before = {"/v1/fill 200": 1.0, "prompt_tokens": 4.0}
    theirs = gained(before, counted(text))
    assert theirs == {"/v1/fill 200": 2, "any 429": 2, "prompt_tokens": 8}
    said = json.dumps({"usage": {"prompt_tokens": 4}})
    run = Run([row(200), row(200), row(429, 1), row(429, 1), row(0, 1)], [(0, said), (0, "busy")])
    ours = counts(run, [{"path": "/v1/fill"}])
    assert ours == theirs and stages.different(ours, theirs) == []
    assert stages.different(ours | {"any 429": 3}, theirs) == ["any 429"]


def row(status, variant=0, at=0.0, seconds=0.1):
    return Asked(at, seconds, seconds, status, 0, variant, None)


def test_only_what_was_answered_is_judged():
    item = {"name": "gpt2 complete", "verb": "complete", "good": True}
    said = json.dumps({"choices": [{"text": "b"}]})
    run = Run(
        [row(200), row(200, 1), row(429, 2)], [(0, said.replace("b", "a")), (0, said), (0, "")]
    )
    right, faults = judged(run, [item], [{"text": "a"}])
    assert right == [True, False, True]
    assert faults == ["gpt2 complete: 'b', not 'a'"]


def test_the_table_says_what_was_measured():
    one = summary([row(200, at=float(i)) for i in range(4)], [True], [True])
    one |= {"rss_mib": 10.0, "counts_differ": {}, "by_verb": {}}
    for name in ("rss", "files", "threads"):
        one[f"{name}_growth"] = (100.0, 101.0)
    over = {"phases": dict.fromkeys(("before", "over", "after"), one), "wrong": 0}
    over |= {"goodput_share": 0.95, "recovered_seconds": 1.5}
    result = {"baseline": one, "ramp": [one | {"users": 2}], "ceiling": 7.0, "soak": one}
    text = table.table(result | {"overload": over, "ready_seconds": 3.0})
    assert "| one user | 100 ms | 100 ms | 100 ms | 1.3 | 0 | 0 | 10 MiB |" in text
    assert "| 2 users |" in text and "half again" in text
    assert "Ceiling: 7.0 right answers a second." in text
    assert "(+1.00%); files 100 to 101" in text and "goodput 95% of the peak" in text
    assert "client and /metrics: equal" in text
    one["counts_differ"] = {"any 429": [1, 2]}
    assert "client and /metrics: DIFFERENT" in table.table(result)


def test_two_servers_are_compared_by_their_rounds():
    def run(text, seconds):
        usage = {"completion_tokens": 10}
        said = json.dumps({"choices": [{"text": text}], "usage": usage})
        return Run([row(200, seconds=seconds), row(500, 0, seconds=seconds)], [(0, said)])

    found = versus.compared({"zoo": [run("a", 1.0), run("a", 2.0)], "peer": [run("a", 4.0)] * 2})
    assert found["zoo"]["tokens_per_second"] == [10.0, 5.0]
    assert (found["ratios"], found["ratio"]) == ([4.0, 2.0], 3.0)
    assert found["same_texts"] == [1, 1] and found["zoo"]["errors"] == 2
    assert "3.00 times the tokens a second (rounds: 2.00 to 4.00)" in versus.table(found)
