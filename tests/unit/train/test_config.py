"""Recipes and their changes: what fits is read, what does not is named with what was meant."""

import json
import re

import pytest

from zoo.config import ConfigError
from zoo.train.config import RunConfig, differences, read_recipe, recipes
from zoo.train.settings import as_table, flat, from_table, parsed

RECIPE = """
name = "one"
[optimizer]
rate = 1            # a whole number serves as a float
frozen = ["tokens.*"]
[model]
family = "gpt2"
config = {width = 48, depth = 2}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "one.toml"
    path.write_text(RECIPE)
    return str(path)


def test_a_recipe_is_its_file_over_the_defaults(recipe):
    config = read_recipe(recipe)
    assert config.optimizer.rate == 1.0 and isinstance(config.optimizer.rate, float)
    assert config.optimizer.frozen == ("tokens.*",)
    assert config.model.config == {"width": 48, "depth": 2}
    assert config.train == RunConfig().train


CHANGES = [
    ("optimizer.rate=1e-3", "optimizer.rate", 1e-3),
    ("optimizer.warmup=7", "optimizer.warmup", 7),
    ("data.files=a.txt", "data.files", ["a.txt"]),
    ('data.files=["a.txt", "b c.txt"]', "data.files", ["a.txt", "b c.txt"]),
    ("data.flip=true", "data.flip", True),
    ("data.labels=spam", "data.labels", ["spam"]),
    ("model.config.width=12", "model.config.width", 12),
    ("data.columns.text=body", "data.columns.text", "body"),
    ("name=true blue", "name", "true blue"),
    ('optimizer.shape="linear"', "optimizer.shape", "linear"),
]


@pytest.mark.parametrize(
    ("change", "key", "value"), CHANGES, ids=[c[0].split("=")[0] for c in CHANGES]
)
def test_a_change_reaches_its_field_and_nothing_else(recipe, change, key, value):
    before, after = (flat(as_table(read_recipe(recipe, c))) for c in ([], [change]))
    assert after[key] == value
    changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    assert changed == {key} or (key.startswith("data.columns") and changed == {"data.columns", key})


WRONG = [
    ("optimiser.rate=1", "no key optimiser; did you mean optimizer?"),
    ("optimizer.rte=1", "no key optimizer.rte; did you mean optimizer.rate?"),
    ("rate=1", "no key rate; did you mean optimizer.rate?"),
    ("train.warmup=3", "no key train.warmup; did you mean optimizer.warmup?"),
    ("train.qqqqqqqqqqqq=3", "no key train.qqqqqqqqqqqq$"),
    ("optimizer.rate=fast", "optimizer.rate is 'fast'; expected float"),
    ("train.steps=1.5", "train.steps is '1.5'; expected int"),
    ("train.steps=true", "train.steps is 'True'; expected int"),
    ("data.files=[1]", "data.files holds 1; expected str only"),
    ("optimizer=3", "optimizer is 3; expected a table"),
    ("name.x=3", "name is a value, not a table"),
    ("train.steps=0", "train.steps is 0; expected 1 or more"),
    ("optimizer.rate=0", "optimizer.rate is 0.0; expected more than 0"),
    ("train.ema=1", "train.ema is 1.0; expected at least 0 and below 1"),
    ("data.masked=-0.1", "data.masked is -0.1; expected at least 0"),
    ("optimizer.shape=cosin", "optimizer.shape is 'cosin'; expected one of constant, cosine"),
    ("train.dtype=float64", "train.dtype is 'float64'; expected one of float32"),
    ("train.mode=dp", "train.mode is 'dp'; expected one of ddp, fsdp"),
    ("optimizer.warmup=2000", "optimizer.warmup is 2000; expected 0 to train.steps, 1000"),
    ("train.seed=-1", "train.seed -1"),
    ("optimizer.rate", "expected key=value, such as optimizer.rate=1e-3"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[w[0].replace("\\", "") for w in WRONG])
def test_a_change_that_does_not_fit_is_told(recipe, change, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        read_recipe(recipe, [change])


def test_every_default_is_of_its_type_and_in_range():
    assert from_table(RunConfig, as_table(RunConfig())) == RunConfig()


def test_a_config_comes_back_from_json(recipe):
    config = read_recipe(recipe, ['data.labels=["b", "a"]', "reaches.at_most=2.5"])
    assert from_table(RunConfig, json.loads(json.dumps(as_table(config)))) == config


def test_a_recipe_that_is_not_there_is_told(tmp_path):
    name = next(iter(recipes()))
    with pytest.raises(ConfigError, match=f"no recipe '{name}x'; did you mean {name}"):
        read_recipe(name + "x")


def test_a_file_that_is_not_toml_is_told(tmp_path):
    (tmp_path / "bad.toml").write_text("[optimizer\nrate = 1")
    with pytest.raises(ConfigError, match=r"bad.toml is not TOML: .*line 1"):
        read_recipe(str(tmp_path / "bad.toml"))


def test_what_may_change_when_a_run_goes_on_is_no_difference(recipe):
    old = as_table(read_recipe(recipe))
    same = as_table(read_recipe(recipe, ["keep.every=3", "train.mode=fsdp", "says=more"]))
    other = as_table(read_recipe(recipe, ["train.batch=3", "model.config.width=12"]))
    assert differences(old, same) == {}
    assert differences(old, other) == {"model.config.width": (48, 12), "train.batch": (32, 3)}


@pytest.mark.parametrize("text", ["3", "1e-3", "[1, 2]", "true", '"3"'])
def test_values_are_toml(text):
    import tomllib

    assert parsed(f"a.b={text}") == (["a", "b"], tomllib.loads(f"v={text}")["v"])


ONE_OR_MORE = (
    "train.steps", "train.batch", "train.micros", "keep.every", "keep.keep", "keep.log",
    "keep.evaluate", "keep.rows",
)  # fmt: skip
POSITIVE = ("optimizer.rate", "optimizer.clip", "optimizer.layer_decay", "optimizer.eps")
SHARES = (
    "data.valid", "data.masked", "train.ema", "train.smoothing", "optimizer.beta1",
    "optimizer.beta2",
)  # fmt: skip
EDGES = [
    *((name, "0", "1", "0; expected 1 or more") for name in ONE_OR_MORE),
    *((name, "0", "1e-30", "0.0; expected more than 0") for name in POSITIVE),
    *((name, "nan", "2.5", "nan; expected more than 0") for name in POSITIVE),
    *((name, "1", "0.999", "1.0; expected at least 0 and below 1") for name in SHARES),
    *((name, "-0.01", "0", "-0.01; expected at least 0 and below 1") for name in SHARES),
    ("optimizer.warmup", "1001", "1000", "1001; expected 0 to train.steps, 1000"),
    ("optimizer.warmup", "-1", "0", "-1; expected 0 to train.steps, 1000"),
]


@pytest.mark.parametrize(("key", "bad", "good", "said"), EDGES)
def test_a_number_is_refused_just_beyond_its_range_and_by_its_name(recipe, key, bad, good, said):
    found = flat(as_table(read_recipe(recipe, [f"{key}={good}"])))[key]
    assert found == float(good)
    with pytest.raises(ConfigError, match=f": {re.escape(f'{key} is {said}')}$"):
        read_recipe(recipe, [f"{key}={bad}"])


@pytest.mark.parametrize(
    ("seed", "rank", "good"), [(0, 0, True), (-1, 0, False), (0, -1, False), (3, 4, True)]
)
def test_seeds_and_ranks_are_counts(recipe, seed, rank, good):
    changes = [f"train.seed={seed}", f"lora.rank={rank}"]
    if good:
        assert read_recipe(recipe, changes).lora.rank == rank
    else:
        with pytest.raises(ConfigError, match=f"train.seed {seed}, lora.rank {rank}; expected 0"):
            read_recipe(recipe, changes)


def test_only_what_changes_no_weight_may_differ_when_a_run_goes_on():
    """A key that begins like one of these is another."""
    old = {"keep": {"every": 1}, "name": "a", "names": 1, "data": {"files": ["a"], "filesx": 1}}
    new = {"keep": {"every": 2}, "name": "b", "names": 2, "data": {"files": [], "filesx": 2}}
    assert differences(old, new) == {"data.filesx": (1, 2), "names": (1, 2)}
    assert differences({}, {"train": {"seed": 1}}) == {"train.seed": (None, 1)}
