"""Which recipes count as changed: those that give other weights, and no others."""

from dataclasses import replace

import pytest

from zoo.cli.golden_reproduce import changed_recipe, config_of
from zoo.train.config import KeepConfig, Reached, read_recipe, recipes
from zoo.train.settings import as_table

NAME = "gpt2-english"
CONFIG = read_recipe(NAME)
HARMLESS = {
    "reaches": {"reaches": Reached(metric="loss", at_most=9.0, data="sha256:1")},
    "says": {"says": "something else"},
    "keep": {"keep": KeepConfig(every=7, keep=9, log=3, evaluate=11, rows=13, tensorboard=True)},
    "where data lie": {"data": replace(CONFIG.data, folder="/elsewhere", files=("a.txt",))},
    "whether data are checked": {"data": replace(CONFIG.data, check=False)},
}
OTHERWISE = {
    "seed": ({"train": replace(CONFIG.train, seed=5)}, "train.seed was 5 and is 0"),
    "rate": ({"optimizer": replace(CONFIG.optimizer, rate=0.5)}, "optimizer.rate was 0.5 and is"),
    "width": (
        {"model": replace(CONFIG.model, config=CONFIG.model.config | {"width": 80})},
        "model.config.width was 80 and is 160",
    ),
    "vocab": ({"data": replace(CONFIG.data, vocab=99)}, "data.vocab was 99 and is 2048"),
}


def test_a_recipe_is_what_made_it_as_long_as_it_stands():
    assert changed_recipe(CONFIG) is None


@pytest.mark.parametrize("changes", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_changes_no_weight_is_no_other_recipe(changes):
    assert changed_recipe(replace(CONFIG, **changes)) is None


@pytest.mark.parametrize(("changes", "told"), OTHERWISE.values(), ids=OTHERWISE.keys())
def test_what_changes_weights_is_told_with_both_values(changes, told):
    said = changed_recipe(replace(CONFIG, **changes))
    assert said.startswith(f"the recipe {NAME} is no more what made it: ")
    assert told in said


def test_a_recipe_that_zoo_does_not_have_is_made_by_what_was_kept():
    assert "of-mine" not in recipes()
    assert (
        changed_recipe(replace(CONFIG, name="of-mine", train=replace(CONFIG.train, seed=5))) is None
    )


def test_settings_are_read_as_they_were_written_and_newer_keys_have_defaults():
    table = as_table(CONFIG)
    assert config_of({"config": table}) == CONFIG
    del table["model"]["near"], table["lora"]
    assert config_of({"config": table}) == CONFIG
