"""What is left of a run: the model that was trained, its metrics, its card, or all as it was."""

import contextlib

import pytest
import torch

from unit.train.lesson import config_of, write_rows
from zoo.evaluate.measure import measure
from zoo.models import load
from zoo.models.probe_folder import check_probe
from zoo.train.config import Reached, RunConfig, read_recipe, recipes
from zoo.train.finish import about, export, gathered, measured, reached, replaced
from zoo.train.run import begin, follow
from zoo.train.settings import as_table, from_table
from zoo.train.world import World


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("files"), "text")


def trained(config, folder):
    folder.mkdir(exist_ok=True)
    run = begin(config, folder, World(), False)
    follow(run, lambda: False, True)
    run.loader.close()
    return run


@pytest.fixture(scope="module")
def run(texts, tmp_path_factory):
    config = config_of("gpt2", texts, train={"ema": 0.5, "steps": 2}, says="so it is")
    return trained(config, tmp_path_factory.mktemp("run"))


def test_the_averaged_weights_are_published_and_the_model_keeps_its_own(run):
    before = {n: p.clone() for n, p in run.learner.model.named_parameters()}
    found = gathered(run)
    averages = run.learner.ema.state()
    assert all(torch.equal(found[n], averages[n]) for n in before)
    assert not all(torch.equal(found[n], before[n]) for n in before)
    assert all(torch.equal(p, before[n]) for n, p in run.learner.model.named_parameters())
    names = {
        n for n, _ in (*run.learner.model.named_parameters(), *run.learner.model.named_buffers())
    }
    assert found.keys() == names
    assert {(t.device.type, t.requires_grad) for t in found.values()} == {("cpu", False)}


def test_what_is_written_is_the_model_with_its_tokenizer_and_a_probe(run, tmp_path):
    weights = gathered(run)
    place = tmp_path / "model"
    place.mkdir()
    export(run, weights, place)
    model = load(place)
    assert (model.head_name, model.config) == ("lm", run.course.model.config)
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())
    held = {path.name for path in place.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "probe.json"} <= held
    assert "adapter" not in held
    assert len(check_probe(place, None)) > 0
    batches = [run.course.valid.batch(torch.arange(2), torch.Generator(), slice(0, 2))]
    wanted = measure(model, "lm", batches, tokenizer=run.course.tokenizer)
    assert measured(run, place) == pytest.approx(wanted, rel=1e-6)


def test_without_rows_kept_back_nothing_is_measured(run, tmp_path):
    valid, run.course.valid = run.course.valid, None
    try:
        assert measured(run, tmp_path) == {}
    finally:
        run.course.valid = valid


def test_adapters_are_written_apart_and_merged_into_the_model(texts, tmp_path):
    config = config_of("gpt2", texts, train={"steps": 2}, lora={"rank": 2})
    run = trained(config, tmp_path / "run")
    place = tmp_path / "model"
    place.mkdir()
    export(run, gathered(run), place)
    assert (place / "adapter" / "adapter_model.safetensors").is_file()
    merged, base = load(place).blocks[0].attn.qkv.weight, run.learner.model.blocks[0].attn.qkv
    wanted = base.weight.detach() + base.scale * (base.up @ base.down).detach()
    torch.testing.assert_close(merged, wanted, rtol=1e-6, atol=1e-7)


def test_the_facts_of_a_card_are_the_runs(run):
    found = about(run, {"loss": 1.5})
    assert found == {
        "name": "gpt2 lesson",
        "says": "so it is",
        "family": "gpt2",
        "head": "lm",
        "parameters": sum(p.numel() for p in run.learner.model.parameters()),
        "config": found["config"],
        "data": run.record["data"],
        "metrics": {"loss": 1.5},
        "steps": 2,
        "seed": 5,
        "versions": run.record["versions"],
    }
    assert found["config"] == {
        "data.files": run.record["config"]["data"]["files"],
        "data.vocab": 300,
        "data.check": False,
        "model.family": "gpt2",
        "model.config.width": 8,
        "model.config.depth": 1,
        "model.config.heads": 2,
        "model.config.context": 8,
        "optimizer.rate": 1e-2,
        "optimizer.warmup": 2,
        "train.steps": 2,
        "train.batch": 4,
        "train.ema": 0.5,
        "train.seed": 5,
        "keep.every": 3,
        "keep.keep": 2,
        "keep.log": 1,
        "keep.evaluate": 2,
    }


def test_settings_that_matter_most_are_named_though_they_are_usual(run):
    usual = as_table(RunConfig())
    record, run.record = run.record, run.record | {"config": usual}
    try:
        assert about(run, {})["config"] == {
            "optimizer.rate": usual["optimizer"]["rate"],
            "train.steps": usual["train"]["steps"],
            "train.batch": usual["train"]["batch"],
        }
    finally:
        run.record = record


def goal(name="mine", **reaches):
    return from_table(RunConfig, {"name": name, "reaches": reaches})


REACHED = {
    "nothing is stated": ({}, None),
    "another metric": ({"metric": "loss", "at_least": 0.0}, None),
    "other rows": ({"metric": "accuracy", "at_least": 0.5, "data": "v2"}, None),
    "these rows": ({"metric": "accuracy", "at_least": 0.5, "data": "v1"}, True),
    "just so": ({"metric": "accuracy", "at_least": 0.75}, True),
    "too low": ({"metric": "accuracy", "at_least": 0.8}, False),
    "at most just so": ({"metric": "accuracy", "at_most": 0.75}, True),
    "too high": ({"metric": "accuracy", "at_most": 0.7}, False),
    "within": ({"metric": "accuracy", "at_least": 0.7, "at_most": 0.8}, True),
    "below both": ({"metric": "accuracy", "at_least": 0.8, "at_most": 0.9}, False),
}


@pytest.mark.parametrize("what", REACHED)
def test_a_goal_is_reached_within_its_bounds_on_its_rows(what):
    stated, wanted = REACHED[what]
    assert reached(goal(**stated), "v1", {"accuracy": 0.75}) is wanted


def test_a_recipe_of_ours_with_other_settings_states_nothing():
    name = next(n for n in recipes() if read_recipe(n).reaches.metric is not None)
    recipe = read_recipe(name)
    stated = recipe.reaches
    value = stated.at_least if stated.at_least is not None else stated.at_most
    found = {stated.metric: value}
    assert reached(recipe, stated.data, found) is True
    other = read_recipe(name, [f"train.steps={recipe.train.steps + 1}"])
    assert reached(other, stated.data, found) is None
    live = read_recipe(name, ["keep.every=7"])
    assert reached(live, stated.data, found) is True
    assert reached(goal(name="mine"), "v1", found) is None
    assert Reached().metric is None


def names(folder):
    return {p.name: (p / "a").read_text() for p in folder.iterdir()}


def test_a_folder_is_replaced_when_all_went_well_and_stays_otherwise(tmp_path):
    place = tmp_path / "model"
    (tmp_path / ".model.0a.partial").mkdir()  # of a run that died
    for text in ("first", "second"):
        with replaced(place) as beside:
            assert beside.name.startswith(".model.") and beside.name.endswith(".partial")
            assert [p.name for p in tmp_path.iterdir() if p.name == ".model.0a.partial"] == []
            (beside / "a").write_text(text)
        assert names(tmp_path) == {"model": text}
    with contextlib.suppress(KeyError), replaced(place) as beside:
        (beside / "a").write_text("third")
        raise KeyError
    assert names(tmp_path) == {"model": "second"}
