"""The fixed inputs of a probe: ids and pixels by formulas from a config."""

import math
from types import SimpleNamespace

import pytest
import torch

from zoo.models import probe_inputs
from zoo.models.probe_inputs import pixels_for, texts_for, wave


def config(**changes):
    return SimpleNamespace(**{"context": 9, "vocab": 1000} | changes)


def rows(config, tokens, short):
    ids = [[(1 + 7919 * n * n + 31 * n) % config.vocab for n in range(tokens)]]
    ids.append([(1 + 7919 * n * n + 31 * n) % config.vocab for n in range(tokens, 2 * tokens)])
    ids[1][short:] = [0] * (tokens - short)
    return ids


@pytest.mark.parametrize(
    ("context", "tokens", "short"), [(9, 9, 6), (99, 9, 6), (7, 7, 6), (5, 5, 5), (1, 1, 1)]
)
def test_ids_are_spread_over_the_vocabulary(context, tokens, short):
    batch = texts_for(config(context=context))
    assert batch.keys() == {"input_ids", "attention_mask"}
    assert batch["input_ids"].tolist() == rows(config(), tokens, short)
    assert batch["attention_mask"].tolist() == [[1] * tokens, [1] * short + [0] * (tokens - short)]


def test_no_token_is_one_of_a_meaning_but_the_ends():
    plain = rows(config(), 9, 6)
    end, pad = plain[0][2], plain[1][1]
    ids = texts_for(config(end=end, pad=pad))["input_ids"].tolist()
    expected = [list(row) for row in plain]
    expected[0][2], expected[1][1] = end + 1, pad + 1
    expected[0][8] = expected[1][5] = end
    assert ids == expected
    assert texts_for(config(end=None, pad=None))["input_ids"].tolist() == plain
    last = rows(config(vocab=11), 9, 6)
    assert 10 in last[0]
    wrapped = [[0 if n == 10 else n for n in row] for row in last]
    assert texts_for(config(vocab=11, pad=10))["input_ids"].tolist() == wrapped


def test_types_change_in_the_middle():
    types = texts_for(config(types=2))["token_type_ids"]
    assert types.tolist() == [[0] * 5 + [1] * 4] * 2
    assert texts_for(config(types=1))["token_type_ids"].tolist() == [[0] * 9] * 2


@pytest.mark.parametrize(
    ("grid", "cut"), [((2, 3), (2, 3)), ((8, 8), (8, 8)), ((5, 13), (5, 7)), ((33, 2), (5, 2))]
)
def test_a_picture_of_many_patches_is_cut(grid, cut):
    pixels = pixels_for(SimpleNamespace(grid=grid, channels=2, patch=(3, 5)))
    assert pixels.shape == (1, 2, cut[0] * 3, cut[1] * 5)
    assert torch.equal(pixels.view(-1), wave(pixels.numel(), 0))


def test_a_wave_is_a_formula():
    place = torch.arange(5, dtype=torch.float64)
    for draw in (0, 3):
        expected = math.sqrt(2) * torch.sin(1 + draw + (1.7 + 0.13 * draw) * place)
        assert torch.equal(wave(5, draw), expected)


@pytest.mark.parametrize(
    ("parts", "reads", "sees"),
    [(("tokens",), 1, 0), (("text", "image"), 1, 1), (("patch",), 0, 1), (("text",), 1, 0)],
    ids=lambda v: str(v),
)
def test_a_model_reads_or_sees_by_what_it_has(parts, reads, sees):
    model = SimpleNamespace(**dict.fromkeys(parts))
    assert (probe_inputs.reads(model), probe_inputs.sees(model)) == (reads, sees)
