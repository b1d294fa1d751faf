"""A worker that dies comes back, and nobody but whoever killed it notices."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from integration.fleets import (
    LONG,
    Ears,
    Offline,
    ask,
    children,
    damage,
    serving,
    text_of,
    until,
    version_of,
    write_folders,
)
from zoo.serve.plan import plan_of
from zoo.serve.refusal import Refusal

TOKENS = 30


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("deaths") / "models")


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def ears():
    return Ears()


@pytest.fixture(scope="module")
def fleet(place, runner, ears):
    words = [f"gpt2={place / 'one'}", f"other={place / 'two'}"]
    context = serving(words, heard=ears, rows=4)
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))


def strike(fleet, number=signal.SIGKILL, model="gpt2"):
    """Send a signal to the worker of a model's default."""
    os.kill(version_of(fleet, model)["pid"], number)


async def back(fleet, restarts, model="gpt2"):
    """Wait until so many deaths are over."""

    def there():
        version = version_of(fleet, model)
        return version["restarts"] == restarts and version["state"] == "ready"

    await until(there)


def deaths(fleet):
    return version_of(fleet)["restarts"]


def test_a_kill_under_load_loses_doubles_and_changes_nothing(fleet, runner, place):
    async def main():
        before = deaths(fleet)
        asked = [ask(fleet, seed, tokens=TOKENS) for seed in range(12)]
        beside = [ask(fleet, seed, model="other", tokens=TOKENS) for seed in range(12)]
        first = asked[0].__aiter__()
        await anext(first)  # it streams already
        strike(fleet)
        await until(lambda: version_of(fleet)["state"] == "restarting")
        asked += [ask(fleet, seed, tokens=TOKENS) for seed in range(12, 16)]  # while it is away
        texts = await asyncio.gather(*map(text_of, asked[1:]), *map(text_of, beside))
        rest = [event async for event in first]
        await back(fleet, before + 1)
        others = version_of(fleet, "other")["restarts"]
        return texts, rest, others

    texts, rest, others = runner.run(main())
    offline = Offline(place)
    assert texts[:15] == [offline.text("one", seed, TOKENS) for seed in range(1, 16)]
    assert texts[15:] == [offline.text("two", seed, TOKENS) for seed in range(12)]
    (choice,) = rest[-1]["answer"]["choices"]
    streamed = [token for event in rest[:-1] for token in event["tokens"]]
    assert streamed == choice["tokens"][1:]  # the first came before the kill, and not again
    assert others == 0


def test_a_request_that_two_workers_died_of_fails_alone(fleet, ears, runner, place):
    async def main():
        before = deaths(fleet)
        strike(fleet, signal.SIGSTOP)  # it answers nothing
        poison = ask(fleet, 1)
        ears.at["version restarting"] = lambda: innocents.append(ask(fleet, 2))
        ears.at["version ready"] = lambda: strike(fleet)  # before it is asked again
        strike(fleet)
        with pytest.raises(Refusal) as raised:
            await poison.done()
        await back(fleet, before + 2)
        return raised.value, await text_of(*innocents)

    innocents = []
    refusal, text = runner.run(main())
    assert refusal.kind == "broken" and "died 2 times" in refusal.message
    assert text == Offline(place).text("one", 2)


def test_a_worker_that_is_deaf_holds_no_deadline_up(fleet, runner):
    async def main():
        before = deaths(fleet)
        strike(fleet, signal.SIGSTOP)
        with pytest.raises(Refusal) as raised:
            await ask(fleet, seconds=0.05).done()
        strike(fleet, signal.SIGCONT)
        return raised.value.kind, await text_of(ask(fleet)), deaths(fleet) - before

    kind, text, died = runner.run(main())
    assert (kind, died) == ("late", 0) and text


def test_while_it_is_away_who_can_wait_waits(fleet, ears, runner, place):
    def both():
        with pytest.raises(Refusal) as raised:
            ask(fleet, seconds=0.0)
        found.extend([raised.value, fleet.ready, ask(fleet, 5)])

    async def main():
        ears.at["version restarting"] = both
        before = deaths(fleet)
        strike(fleet)
        await back(fleet, before + 1)
        return await text_of(found[2])

    found = []
    text = runner.run(main())
    refusal, ready, _ = found
    assert (refusal.kind, ready) == ("unready", True)
    assert refusal.retry_after >= 1 and "gpt2@1 is restarting" in refusal.message
    assert text == Offline(place).text("one", 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_only_the_door_ends_a_worker(fleet, runner, number):
    async def main():
        before = deaths(fleet)
        for process in children():
            os.kill(process, number)
        return await text_of(ask(fleet)), deaths(fleet) - before

    text, died = runner.run(main())
    assert text and died == 0


def test_the_fork_server_comes_back_too(fleet, runner):
    async def main():
        before = deaths(fleet)
        (forks,) = [p for p in children() if version_of(fleet)["pid"] in children(p)]
        os.kill(forks, signal.SIGKILL)
        text = await text_of(ask(fleet))  # the workers live on
        strike(fleet)
        await back(fleet, before + 1)
        return text, await text_of(ask(fleet))

    text, after = runner.run(main())
    assert text == after


def test_a_folder_that_was_damaged_since_is_tried_at_longer_and_longer_intervals(
    fleet, ears, runner, place
):
    weights = place / "one" / "model.safetensors"
    whole = weights.read_bytes()

    async def main():
        before, seen = deaths(fleet), len(ears.records)
        await text_of(ask(fleet))  # a life that was of use
        damage(place / "one")
        strike(fleet)
        await until(lambda: deaths(fleet) == before + 3)
        why = version_of(fleet)["why"]
        weights.write_bytes(whole)
        await until(lambda: version_of(fleet)["state"] == "ready")
        return why, ears.records[seen:], await text_of(ask(fleet))

    why, records, text = runner.run(main())
    pauses = [r["pause"] for r in records if r["event"] == "version restarting"]
    assert "model.safetensors" in why and text
    assert pauses == [0.0, 0.0, 1.0]


def test_a_worker_that_dies_while_it_loads_is_refused(place):
    async def main():
        async with serving([f"gpt2={place / 'one'}"]) as fleet:
            more = plan_of([f"gpt2={place / 'one'}", f"gpt2@2={place / 'two'}"])
            applying = asyncio.create_task(fleet.apply(more))
            await until(lambda: len(fleet.models()[0]["versions"]) == 2)
            await until(lambda: version_of(fleet, version="2")["pid"])
            os.kill(version_of(fleet, version="2")["pid"], signal.SIGKILL)
            await applying
            with pytest.raises(Refusal) as raised:
                ask(fleet, model="gpt2@2")
            return version_of(fleet, version="2"), raised.value, await text_of(ask(fleet))

    version, refusal, text = asyncio.run(main())
    assert (version["state"], refusal.kind) == ("refused", "unready")
    assert "ended without a word" in version["why"]
    assert refusal.retry_after is None and text


@pytest.mark.scheduled
def test_a_worker_that_is_deaf_is_killed_at_the_end(place):
    async def main():
        before = set(children())
        async with serving([f"gpt2={place / 'one'}"]) as fleet:
            strike(fleet, signal.SIGSTOP)
        await until(lambda: set(children()) <= before)

    asyncio.run(main())


DOOR = """
import asyncio, sys
from zoo.serve.fleet import Fleet
from zoo.serve.limits import Limits
from zoo.serve.plan import plan_of

async def main():
    fleet = Fleet(plan_of(sys.argv[1:]), Limits())
    await fleet.start()
    print(fleet.ready, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_door_that_is_killed_leaves_no_orphans(place):
    words = [f"gpt2={place / 'one'}", f"other={place / 'two'}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", DOOR, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as door:
        said = door.stdout.readline()
        below = children(door.pid)
        door.kill()
    assert (said, len(below)) == (b"True\n", 3)
    end = time.monotonic() + LONG
    while any(alive(process) for process in below):
        assert time.monotonic() < end
        time.sleep(0.005)


def alive(process):
    """Tell whether a process computes still; one that waits to be reaped does not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
