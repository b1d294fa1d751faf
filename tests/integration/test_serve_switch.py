"""Versions come and go under load, and no request notices more than another name."""

import asyncio
import shutil
from pathlib import Path

import pytest

from integration.fleets import (
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
from zoo.serve.plan import ModelPlan, Plan
from zoo.serve.refusal import Refusal

GOLDEN = Path(__file__).parents[2] / "golden" / "vit-mnist"
FOLDERS = ["one", "two", "three"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = write_folders(tmp_path_factory.mktemp("switch") / "models")
    shutil.copytree(place / "two", place / "broken")
    damage(place / "broken")
    shutil.copytree(GOLDEN, place / "other-maths")
    config = place / "other-maths" / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"quick_gelu"'))
    return place


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def shared(place, runner):
    ears = Ears()
    context = serving([f"gpt2={place / 'one'}"], heard=ears, queue=32)
    yield runner.run(context.__aenter__()), ears
    runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def fleet(place, runner, shared):
    """Serve `one` as gpt2@1, whatever the test before has left."""
    fleet, ears = shared
    runner.run(fleet.apply(plan(place, {"1": "one"}, "1")))
    ears.records.clear()
    return fleet


@pytest.fixture
def ears(shared):
    return shared[1]


def plan(place, versions, default, **others):
    """Plan versions of gpt2; others are models of one version."""
    models = {"gpt2": ModelPlan({v: str(place / f) for v, f in versions.items()}, default)}
    alone = {name: ModelPlan({"1": str(folder)}, "1") for name, folder in others.items()}
    return Plan(models | alone)


def states(fleet, model="gpt2"):
    """Give the state of each version of a model."""
    (found,) = [m for m in fleet.models() if m["name"] == model]
    return found["default"], {v["version"]: v["state"] for v in found["versions"]}


async def keep_asking(fleet, client, answered, stop):
    """Ask again and again; note who answered which seed with which text."""
    while not stop.is_set():
        seed = (len(answered) * 7 + client) % 10
        answers = ask(fleet, seed)
        answered.append((answers.model, seed, await text_of(answers)))


@pytest.mark.parametrize(
    "switches", [10, pytest.param(100, marks=pytest.mark.scheduled)], ids="{} switches".format
)
def test_switches_under_load_fail_no_request(fleet, runner, place, switches):
    async def main():
        answered, stop = [], asyncio.Event()
        clients = [asyncio.create_task(keep_asking(fleet, i, answered, stop)) for i in range(4)]
        for i in range(2, switches + 2):
            await fleet.apply(plan(place, {f"{i}": FOLDERS[(i - 1) % 3]}, f"{i}"))
            enough = len(answered) + 4
            await until(lambda enough=enough: len(answered) >= enough)
        stop.set()
        await asyncio.gather(*clients)
        await until(lambda: len(fleet.models()[0]["versions"]) == 1)
        return answered

    before = len(children())
    answered = runner.run(main())
    offline = Offline(place)
    for model, seed, text in answered:
        folder = FOLDERS[(int(model.removeprefix("gpt2@")) - 1) % 3]
        assert text == offline.text(folder, seed), model
    assert {model for model, _, _ in answered} == {f"gpt2@{i}" for i in range(1, switches + 2)}
    assert len(children()) == before  # what left is gone


def test_an_old_version_finishes_what_it_has(fleet, ears, runner, place):
    async def main():
        asked = [ask(fleet, seed, tokens=35) for seed in range(16)]
        old = version_of(fleet)["pid"]
        await fleet.apply(plan(place, {"2": "two"}, "2"))
        with pytest.raises(Refusal) as raised:
            ask(fleet, model="gpt2@1")
        texts = [await text_of(answers) for answers in asked]
        return raised.value.message, {a.model for a in asked}, texts, old

    message, models, texts, old = runner.run(main())
    assert (message, models) == ("no version '1' of gpt2; there are 2", {"gpt2@1"})
    offline = Offline(place)
    assert texts == [offline.text("one", seed, tokens=35) for seed in range(16)]
    assert old not in children()
    told = [record["event"] for record in ears.records]
    assert told == [
        "version loading",
        "version ready",
        "default switched",
        "version leaving",
        "version gone",
    ]


def test_versions_are_asked_by_name_while_the_default_stays(fleet, runner, place):
    async def main():
        await fleet.apply(plan(place, {"1": "one", "new": "two"}, "1"))
        asked = [ask(fleet, 4, model=name) for name in ("gpt2", "gpt2@1", "gpt2@new")]
        return [(answers.model, await text_of(answers)) for answers in asked]

    one, two = (Offline(place).text(folder, 4) for folder in ("one", "two"))
    assert runner.run(main()) == [("gpt2@1", one), ("gpt2@1", one), ("gpt2@new", two)]


def test_the_same_folder_is_not_loaded_again_and_another_one_is(fleet, ears, runner, place):
    async def main():
        pid = version_of(fleet)["pid"]
        await fleet.apply(plan(place, {"1": "../models/one"}, "1"))
        assert version_of(fleet)["pid"] == pid and not ears.records
        await fleet.apply(plan(place, {"1": "three"}, "1"))
        assert version_of(fleet)["pid"] != pid
        return await text_of(ask(fleet, 3))

    assert runner.run(main()) == Offline(place).text("three", 3)
    assert ears.of("version gone") == ["1"]


BROKEN = [
    ("as the default", {"1": "one", "2": "broken"}, "2", {"1": "ready", "2": "refused"}),
    ("alone", {"2": "broken"}, "2", {"1": "ready", "2": "refused"}),
    ("beside", {"1": "one", "2": "broken"}, "1", {"1": "ready", "2": "refused"}),
    ("under the old name", {"1": "broken"}, "1", {"1": "ready"}),
    (
        "with a good one",
        {"2": "two", "3": "broken"},
        "3",
        {"1": "ready", "2": "ready", "3": "refused"},
    ),
]


@pytest.mark.parametrize(
    ("versions", "default", "after"),
    [row[1:] for row in BROKEN],
    ids=[row[0] for row in BROKEN],
)
def test_a_broken_version_changes_nothing(fleet, ears, runner, place, versions, default, after):
    async def main():
        pid = version_of(fleet)["pid"]
        await fleet.apply(plan(place, versions, default))
        assert version_of(fleet)["pid"] == pid
        return await text_of(ask(fleet, 2))

    assert runner.run(main()) == Offline(place).text("one", 2)
    assert states(fleet) == ("1", after) and fleet.ready
    (refused,) = [r for r in ears.records if r["event"] == "version refused"]
    assert "model.safetensors" in refused["why"] and "default switched" not in str(ears.records)


def test_a_broken_version_that_was_mended_is_tried_again(fleet, runner, place):
    async def main():
        folder = place / "mended"
        shutil.copytree(place / "two", folder)
        damage(folder)
        wanted = plan(place, {"2": "mended"}, "2")
        await fleet.apply(wanted)
        first = states(fleet)
        shutil.copy(place / "two" / "model.safetensors", folder)
        await fleet.apply(wanted)
        return first, states(fleet), await text_of(ask(fleet, 1))

    first, second, text = runner.run(main())
    assert first == ("1", {"1": "ready", "2": "refused"})
    assert second == ("2", {"2": "ready"}) and text == Offline(place).text("two", 1)


def test_a_model_that_fails_its_probe_is_refused_and_the_others_serve(fleet, runner, place):
    async def main():
        await fleet.apply(plan(place, {"1": "one"}, "1", vit=place / "other-maths"))
        with pytest.raises(Refusal) as raised:
            ask(fleet, model="vit")
        refused = states(fleet, "vit"), fleet.ready, raised.value, await text_of(ask(fleet))
        why = version_of(fleet, "vit")["why"]
        await fleet.apply(plan(place, {"1": "one"}, "1", vit=GOLDEN))
        return *refused, why, states(fleet, "vit"), fleet.ready

    state, ready, refusal, text, why, mended, after = runner.run(main())
    assert (state, ready) == (("1", {"1": "refused"}), False) and text
    assert (refusal.kind, refusal.message) == ("unready", "vit@1 is refused, as the log says")
    assert "probe" in why
    assert (mended, after) == (("1", {"1": "ready"}), True)


def test_while_a_new_model_loads_it_is_unready(fleet, runner, place):
    async def main():
        applying = asyncio.create_task(fleet.apply(plan(place, {"1": "one"}, "1", more=GOLDEN)))
        await until(lambda: len(fleet.models()) == 2)
        with pytest.raises(Refusal) as raised:
            ask(fleet, model="more")
        state = states(fleet, "more"), fleet.ready, await text_of(ask(fleet))
        await applying
        return raised.value, *state

    refusal, state, ready, text = runner.run(main())
    assert (refusal.kind, refusal.message) == ("unready", "more@1 is loading")
    assert refusal.retry_after >= 1 and text
    assert (state, ready) == (("1", {"1": "loading"}), False)


def test_plans_wait_for_each_other_and_the_last_one_holds(fleet, runner, place):
    async def main():
        first = fleet.apply(plan(place, {"2": "two"}, "2", more=GOLDEN))
        second = fleet.apply(plan(place, {"3": "three"}, "3"))
        await asyncio.gather(first, second)
        return [model["name"] for model in fleet.models()], states(fleet)

    assert runner.run(main()) == (["gpt2"], ("3", {"3": "ready"}))


def test_whoever_gives_a_plan_up_leaves_no_process(fleet, runner, place):
    async def main():
        before = set(children())
        applying = asyncio.create_task(fleet.apply(plan(place, {"1": "two"}, "1", more=GOLDEN)))
        await until(lambda: len(set(children()) - before) == 2)
        applying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await applying
        await until(lambda: set(children()) <= before)
        return states(fleet), await text_of(ask(fleet, 6))

    state, text = runner.run(main())
    assert state == ("1", {"1": "ready"}) and text == Offline(place).text("one", 6)
