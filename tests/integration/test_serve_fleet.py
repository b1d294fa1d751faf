"""A fleet of workers answers as the models do offline, within its limits."""

import asyncio
import contextlib
import os
import time

import pytest

from integration.fleets import (
    LONG,
    Offline,
    ask,
    body,
    children,
    serving,
    text_of,
    until,
    version_of,
    write_folders,
)
from unit.serve.asgi import ask as asgi_ask
from unit.serve.asgi import guarded
from zoo.serve.crowd import Crowd
from zoo.serve.refusal import Refusal
from zoo.tasks import FillMask

LIMITS = {"queue": 12, "rows": 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("fleet") / "models")


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def fleet(place, runner):
    """Serve a GPT-2 and a BERT to all tests of this file."""
    words = [f"gpt2={place / 'one'}", f"bert={place / 'masked'}"]
    context = serving(words, **LIMITS)
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))


def embed(fleet, text):
    deadline = time.monotonic() + LONG
    return fleet.submit("bert", "embed", {"texts": [text]}, deadline=deadline)


def refusal_of(call):
    """Give what a call is refused with."""
    with pytest.raises(Refusal) as raised:
        call()
    return raised.value


def test_texts_are_those_of_the_task(fleet, runner, place):
    async def main():
        return await asyncio.gather(*(text_of(ask(fleet, seed)) for seed in range(10)))

    offline = Offline(place)
    assert runner.run(main()) == [offline.text("one", seed) for seed in range(10)]


def test_fillings_are_those_of_the_task(fleet, runner, place):
    text = "the [MASK] garden is green"

    async def main():
        asked = {"texts": [text], "top": 3}
        answers = fleet.submit("bert", "fill", asked, deadline=time.monotonic() + LONG)
        return answers.model, await answers.done()

    model, answer = runner.run(main())
    (guesses,) = FillMask.from_folder(place / "masked").fill(text, top=3)
    assert model == "bert@1"
    assert [g["filled"] for g in answer["texts"][0][0]] == [g.filled for g in guesses]
    said = [g["probability"] for g in answer["texts"][0][0]]
    assert said == pytest.approx([g.probability for g in guesses], rel=1e-5)


def test_what_a_model_says_of_itself(fleet):
    assert fleet.ready and not fleet.draining
    assert [m["name"] for m in fleet.models()] == ["gpt2", "bert"]
    gpt2, bert = version_of(fleet), version_of(fleet, "bert")
    assert (gpt2["state"], gpt2["about"]["verbs"], gpt2["version"]) == ("ready", ["complete"], "1")
    assert (bert["state"], bert["about"]["verbs"]) == ("ready", ["embed", "fill"])
    assert gpt2["ready_seconds"] > 0 and gpt2["restarts"] == 0 and gpt2["why"] is None


def test_stats_come_by_themselves(fleet, runner):
    def read():
        return version_of(fleet, "bert")["stats"].get("done", {}).get("embed", 0)

    async def main():
        await asyncio.gather(*(embed(fleet, "the cat").done() for _ in range(5)))
        await until(lambda: read() == 5)

    runner.run(main())


ASKED = [
    ("unknown", "gpt3", "complete", "no model 'gpt3'; there are gpt2, bert"),
    ("unknown", "gpt2@2", "complete", "no version '2' of gpt2; there are 1"),
    ("unknown", "gpt2@", "complete", "no version '' of gpt2; there are 1"),
    ("unknown", "", "complete", "no model ''; there are gpt2, bert"),
    ("invalid", "bert", "complete", "bert@1 does embed, fill, not complete"),
]


@pytest.mark.parametrize(("kind", "model", "verb", "says"), ASKED, ids=range(len(ASKED)))
def test_what_nobody_serves_is_refused_at_once(fleet, kind, model, verb, says):
    refusal = refusal_of(lambda: fleet.submit(model, verb, body(), deadline=time.monotonic() + 1))
    assert (refusal.kind, refusal.message, refusal.param) == (kind, says, "model")


def test_what_the_engine_refuses_is_raised(fleet, runner):
    async def main():
        await ask(fleet, tokens=1000).done()

    refusal = refusal_of(lambda: runner.run(main()))
    assert (refusal.kind, refusal.param) == ("invalid", "max_tokens")


def test_a_queue_that_is_full_refuses_and_says_when_to_come_back(fleet, runner):
    async def main():
        asked = [ask(fleet, seed, tokens=30) for seed in range(LIMITS["queue"])]
        refusal = refusal_of(lambda: ask(fleet))
        bert = await embed(fleet, "a").done()
        texts = await asyncio.gather(*map(text_of, asked))
        return refusal, bert, texts, await text_of(ask(fleet))

    refusal, bert, texts, after = runner.run(main())
    assert (refusal.kind, refusal.message) == (
        "busy",
        "gpt2@1 has 12 requests in flight, as many as it may",
    )
    assert refusal.retry_after >= 1 and refusal.retry_after == int(refusal.retry_after)
    assert bert["vectors"]  # another model's queue is its own
    assert len(set(texts)) > 1 and after


BODIES = [
    ("/v1/completions", b'{"model": "gpt2", "prompt"', 429),  # is no JSON, and nobody looked
    ("/v1/completions", b'{ "prompt": "a", "model" :"gpt2@1"}', 429),
    ("/v1/fill", b'{"model":"gpt2"}', 429),
    ("/v1/completions", b'{"model": "bert"}', 204),
    ("/v1/completions", b'{"model": "no-such-model"}', 204),
    ("/v1/completions", b'{"model": "gpt2@7"}', 204),
    ("/v1/completions", b'{"models": "gpt2"}', 204),
    ("/v1/models", b'{"model": "gpt2"}', 204),
    ("/v1/completions", b"", 204),
]


def test_a_body_for_a_model_that_is_full_is_not_understood(fleet, runner):
    crowd = Crowd(fleet, frozenset({"/v1/completions", "/v1/fill"}))
    passed = []

    async def app(scope, receive, send):
        passed.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard, _, records = guarded(app, crowd=crowd.check)

    async def main():
        free = [await asgi_ask(guard, "POST", path, body) for path, body, _ in BODIES]
        records.clear(), passed.clear()
        asked = [ask(fleet, seed, tokens=30) for seed in range(LIMITS["queue"])]
        full = [await asgi_ask(guard, "POST", path, body) for path, body, _ in BODIES]
        await asyncio.gather(*map(text_of, asked))
        return free, full

    free, full = runner.run(main())
    assert {reply.status for reply in free} == {204}
    assert [reply.status for reply in full] == [status for _, _, status in BODIES]
    assert passed == [body for _, body, status in BODIES if status == 204]
    for (path, _, status), reply, record in zip(BODIES, full, records, strict=True):
        if status == 429:
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.json["error"]["code"] == "busy"
            assert (record["route"], record["model"]) == (path, "gpt2@1")
            assert record["refused"] == "busy"


def test_a_deadline_ends_a_request_and_its_work(fleet, runner):
    async def main():
        with pytest.raises(Refusal) as raised:
            await ask(fleet, tokens=30, seconds=0.0).done()
        await until(lambda: version_of(fleet)["inflight"] == 0)
        return raised.value.kind, await text_of(ask(fleet, 3))

    kind, text = runner.run(main())
    assert kind == "late" and text


def test_requests_may_be_given_up(fleet, runner):
    def cancelled():
        return version_of(fleet)["stats"].get("refused", {}).get("cancelled", 0)

    async def main():
        before = cancelled()
        asked = [ask(fleet, seed, tokens=35) for seed in range(LIMITS["queue"])]
        for answers in asked[2:] * 2:
            answers.cancel()
        rest = await asyncio.gather(*(a.done() for a in asked), return_exceptions=True)
        asked[0].cancel()  # it is over
        await until(lambda: cancelled() >= before + len(asked[2:]))  # the worker heard of it
        return [getattr(answer, "kind", "done") for answer in rest]

    assert runner.run(main()) == ["done"] * 2 + ["cancelled"] * (LIMITS["queue"] - 2)


def test_who_was_given_up_takes_room_until_the_worker_has_let_go(fleet, runner):
    async def main():
        for seed in range(LIMITS["queue"]):
            ask(fleet, seed, tokens=35).cancel()
        refusal = refusal_of(lambda: ask(fleet))

        def room():
            with contextlib.suppress(Refusal):
                fleet.find("gpt2").check_room()
                return True

        await until(room)
        return refusal.kind, await text_of(ask(fleet, 3))

    kind, text = runner.run(main())
    assert kind == "busy" and text


def test_a_completion_without_a_seed_gets_one(fleet, runner):
    async def main():
        asked = [ask(fleet, None, tokens=12) for _ in range(3)]
        return await asyncio.gather(*map(text_of, asked))

    assert len(set(runner.run(main()))) > 1


def test_drain_answers_what_was_accepted_and_close_leaves_nothing(place):
    async def main():
        before, open_files = set(children()), len(os.listdir("/proc/self/fd"))
        async with serving([f"gpt2={place / 'one'}"]) as fleet:
            asked = [ask(fleet, seed, tokens=20) for seed in range(8)]
            drained = asyncio.create_task(fleet.drain())
            await asyncio.sleep(0)
            refusal = refusal_of(lambda: ask(fleet))
            assert not fleet.ready and fleet.draining
            await drained
            inflight = version_of(fleet)["inflight"]
            texts = [await text_of(answers) for answers in asked]
            below = set(children()) - before
        await until(lambda: not below & set(children()))
        return refusal, inflight, texts, below, len(os.listdir("/proc/self/fd")) - open_files

    refusal, inflight, texts, below, files = asyncio.run(main())
    assert (refusal.kind, inflight, len(below), files) == ("draining", 0, 2, 0)
    offline = Offline(place)
    assert texts == [offline.text("one", seed, tokens=20) for seed in range(8)]


def test_close_refuses_what_is_in_flight(place):
    async def main():
        async with serving([f"gpt2={place / 'one'}"]) as fleet:
            asked = [ask(fleet, seed, tokens=30) for seed in range(3)]
        return await asyncio.gather(*(a.done() for a in asked), return_exceptions=True)

    assert [refusal.kind for refusal in asyncio.run(main())] == ["draining"] * 3


def test_the_door_has_no_torch(run_python):
    script = "import sys, zoo.serve.fleet; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert run_python(script).split() == ["False", "False"]


def test_a_slow_model_lets_nobody_wait_long(place):
    async def main():
        words = [f"gpt2={place / 'three'}"]
        async with serving(words, rows=2, queue=50, wait_seconds=0.05) as fleet:
            for seed in range(40):  # so that it knows its pace
                await ask(fleet, seed, tokens=40).done()
            asked, refused = [], 0
            for seed in range(50):
                try:
                    asked.append(ask(fleet, seed, tokens=40))
                except Refusal as refusal:
                    refused += refusal.kind == "busy"
            texts = await asyncio.gather(*map(text_of, asked))
            return len(texts), refused, await text_of(ask(fleet))

    taken, refused, after = asyncio.run(main())
    assert taken + refused == 50 and taken >= 3 and refused >= 20 and after
