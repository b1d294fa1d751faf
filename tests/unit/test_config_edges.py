"""Configs at their edges: the largest and the smallest number, wrong types, sections."""

import dataclasses
import types

import pytest

from zoo.config import (
    LARGEST,
    ConfigError,
    as_dict,
    check_grid,
    check_numbers,
    check_shared,
    from_theirs,
    nested,
    pair_of,
    refuse_unknown,
    to_theirs,
    typed,
)
from zoo.models import MODELS, BERTConfig, GPT2Config, ViTConfig

CLIP = MODELS["clip"].config_keys


def having(**values):
    return types.SimpleNamespace(**values)


@pytest.mark.parametrize("value", [1, 2, LARGEST])
def test_a_count_from_one_to_the_largest_passes(value):
    check_numbers(having(n=value), whole=("n",), rates=())


@pytest.mark.parametrize("value", [0, -1, LARGEST + 1, True, False, 2.0, "2", None])
def test_any_other_count_is_refused(value):
    with pytest.raises(ValueError, match=r"^n is .*; expected"):
        check_numbers(having(n=value), whole=("n",), rates=())


@pytest.mark.parametrize("value", [0, 0.0, 0.999])
def test_a_rate_from_zero_to_below_one_passes(value):
    check_numbers(having(p=value), whole=(), rates=("p",))


@pytest.mark.parametrize("value", [1, 1.0, -0.001, True, False, "0.1", None])
def test_any_other_rate_is_refused(value):
    with pytest.raises(ValueError, match=r"^p is .*; expected"):
        check_numbers(having(p=value), whole=(), rates=("p",))


GOOD = {"image": (8, 4), "patch": (2, 4)}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"patch": (1, 1)},
        {"image": (LARGEST, 1), "patch": (1, 1)},
        {"image": (1, 1), "patch": (1, 1)},
    ],
    ids=["small", "a-pixel", "largest", "one-pixel"],
)
def test_a_grid_of_whole_patches_passes(change):
    check_grid(having(**GOOD | change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": [8, 4]}, r"image is \[8, 4\]; expected \(height, width\)"),
        ({"image": (8, 4, 2)}, r"expected \(height, width\)"),
        ({"patch": (2,)}, r"expected \(height, width\)"),
        ({"patch": 2}, r"expected \(height, width\)"),
        ({"patch": (0, 4)}, "expected two sizes from 1"),
        ({"patch": (2.0, 4)}, "expected two sizes from 1"),
        ({"image": (LARGEST + 1, 4)}, "expected two sizes from 1"),
        ({"patch": (3, 4)}, "not a multiple"),
        ({"patch": (2, 3)}, "not a multiple"),
    ],
    ids=range(9),
)
def test_a_grid_that_is_none_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        check_grid(having(**GOOD | change))


@pytest.mark.parametrize(
    "change", [{"pad": True}, {"pad": "x"}, {"pad": 1.5}, {"tied": 1}, {"tied": None}], ids=repr
)
def test_what_every_transformer_has_is_checked(change):
    with pytest.raises(ValueError, match=f"^{next(iter(change))} is .*; expected"):
        check_shared(having(**dataclasses.asdict(GPT2Config()) | change))


@pytest.mark.parametrize("value", [[8, 4, 2], [8], [8.0, 4], [8, "4"], (8, True), "84", 8.5, []])
def test_what_is_no_pair_of_sizes_is_refused(value):
    with pytest.raises(ConfigError, match=r"^size is .*expected a size or \[height, width\]"):
        pair_of("size", value)


def test_one_size_or_two_make_a_pair():
    assert [pair_of("size", value) for value in (8, [8, 4], (4, 8))] == [(8, 8), (8, 4), (4, 8)]


def test_only_names_below_a_section_go_into_it():
    flat = {"text_config.width": 1, "other.width": 2, "text_config": 3, "plain": 4}
    del flat["text_config"]
    want = {"text_config": {"width": 1}, "other.width": 2, "plain": 4}
    assert nested(CLIP, flat) == want
    assert nested(CLIP, {"vision_config": 3}) == {"vision_config": 3}


def test_a_name_in_a_section_is_known_whatever_dots_it_has():
    table = dataclasses.replace(CLIP, harmless=frozenset({"a.b"}))
    refuse_unknown(table, {"text_config.a.b": 1})
    for name in ("text_config.a.c", "text_config.a", "other.a.b"):
        with pytest.raises(ConfigError, match="no knowledge"):
            refuse_unknown(table, {name: 1})


@pytest.mark.parametrize(
    ("image", "written"), [((6, 6), 6), ((6, 12), [6, 12]), ((12, 6), [12, 6])], ids=str
)
def test_a_pair_of_one_size_is_written_as_that_size(image, written):
    config = ViTConfig(image=image, patch=(3, 3))
    theirs = to_theirs(MODELS["vit"].config_keys, config, "X")
    assert theirs["image_size"] == written
    assert theirs["patch_size"] == 3


def test_the_published_form_says_what_it_is_of():
    theirs = to_theirs(MODELS["bert"].config_keys, BERTConfig(), "BertModel")
    assert theirs["model_type"] == "bert"
    assert theirs["architectures"] == ["BertModel"]


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 10**400])
def test_a_whole_number_too_large_is_no_float(value):
    with pytest.raises(ConfigError, match=r"^eps is .*; expected float"):
        typed(GPT2Config, {"eps": value})


@pytest.mark.parametrize("value", [LARGEST - 1, 1 - LARGEST, 3])
def test_a_whole_number_serves_as_a_float(value):
    (read,) = typed(GPT2Config, {"eps": value}).values()
    assert type(read) is float
    assert read == value


def test_a_config_is_given_as_its_fields_by_name():
    config = GPT2Config()
    given = as_dict(config)
    assert given["width"] == config.width
    assert GPT2Config(**given) == config


def test_another_model_type_is_refused_unless_it_is_an_alias():
    table = dataclasses.replace(MODELS["gpt2"].config_keys, aliases=("gpt3",))
    assert from_theirs(table, GPT2Config, {"model_type": "gpt3"}) == GPT2Config()
    with pytest.raises(ConfigError, match="model_type is 'gpt4', not 'gpt2'"):
        from_theirs(table, GPT2Config, {"model_type": "gpt4"})
