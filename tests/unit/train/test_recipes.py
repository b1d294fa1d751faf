"""Every recipe reads, names itself, and describes a model that its family can be."""

import dataclasses

import pytest
import torch

from zoo.data.sources import SOURCES
from zoo.models import MODELS
from zoo.objectives import OBJECTIVES
from zoo.train.config import read_recipe, recipes
from zoo.train.course import KINDS, MAIN, chosen_fields

NAMES = sorted(recipes())


def test_there_are_recipes_for_every_family():
    families = {read_recipe(name).model.family for name in NAMES}
    assert families >= set(MODELS)


def test_every_objective_that_a_run_can_have_knows_its_rows():
    assert KINDS.keys() == OBJECTIVES.keys() - {"multiple_choice"}
    assert MAIN.keys() == MODELS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_names_itself_and_says_what_it_does(name):
    config = read_recipe(name)
    assert config.name == name
    assert 20 < len(config.says) < 100 and config.says.endswith((".", ")."))
    assert config.data.source is None or config.data.source in SOURCES
    assert config.data.source is not None or "--data" in config.says


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_with_a_source_states_what_it_reaches(name):
    config = read_recipe(name)
    goal = config.reaches
    stated = goal.metric is not None and (goal.at_least is None) != (goal.at_most is None)
    assert stated == (config.data.source is not None)


@pytest.mark.parametrize("name", [n for n in NAMES if read_recipe(n).model.family])
def test_a_recipe_builds_its_model(name):
    config = read_recipe(name)
    spec = MODELS[config.model.family]
    fields = chosen_fields(spec, config.model.config)
    known = {f.name for f in dataclasses.fields(spec.config)}
    fields |= {"vocab": config.data.vocab} if "vocab" in known else {}
    fields |= {"end": 1} if "end" in known else {}
    with torch.device("meta"):
        model = spec.build(spec.config(**fields), head=config.model.head or MAIN[spec.name])
    assert 50_000 < model.parameter_count() < 20_000_000
