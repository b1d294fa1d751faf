"""A model read in pieces, by rows that grow unevenly: it gives what one reading gives."""

import random

import pytest
import torch

from unit.generate.test_decode import MODEL, stress_model
from zoo.generate.reader import Reader, squeeze

CONTEXT = MODEL.config.context


def read_whole(ids):
    with torch.no_grad():
        return MODEL(torch.tensor([ids]))[0]


def near(logits, ids, columns):
    expected = read_whole(ids)[-columns:]
    assert (logits[-columns:] - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("seed", range(6))
def test_what_is_read_taken_back_and_read_again_is_what_one_reading_gives(seed):
    rng = random.Random(seed)
    rows = [[] for _ in range(rng.choice([1, 2, 4]))]
    reader = Reader(MODEL, len(rows), CONTEXT)
    squeezed = 0
    for _ in range(25):
        room = CONTEXT - reader.longest
        if room < 2:
            break
        new = [[rng.randrange(97) for _ in range(rng.randint(1, min(6, room)))] for _ in rows]
        before = reader.cache.length
        columns = min(map(len, new))
        logits = reader.read(new, columns)
        squeezed += reader.cache.length < before + max(map(len, new))
        rows = [row + ids for row, ids in zip(rows, new, strict=True)]
        for row, given in zip(rows, logits, strict=True):
            near(given, row, columns)
        back = [rng.randint(0, len(ids)) for ids in new]
        reader.forget(back)
        rows = [row[: len(row) - count] for row, count in zip(rows, back, strict=True)]
        assert reader.held == list(map(len, rows)) == reader.cache.real().tolist()
        if len(rows) > 1 and rng.random() < 0.1:
            kept = sorted(rng.sample(range(len(rows)), len(rows) - 1))
            reader.keep(kept)
            rows = [rows[i] for i in kept]
    assert squeezed or len(reader.held) == 1


def test_one_row_is_taken_back_without_a_hole():
    reader = Reader(MODEL, 1, 9)
    reader.read([[5, 6, 7, 8]], 1)
    reader.forget([2])
    assert (reader.cache.length, reader.cache.padded, reader.longest) == (2, False, 2)


def test_rows_that_take_back_unevenly_keep_the_columns_of_the_longest():
    reader = Reader(MODEL, 3, 9)
    reader.read([[5, 6, 7, 8], [1, 2], [3, 4, 5]], 1)
    reader.forget([1, 2, 3])
    assert reader.cache.mask[:, :3].int().tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert (reader.cache.length, reader.cache.padded, reader.held) == (3, True, [3, 0, 0])
    assert not reader.cache.mask[:, 3:].any()


def test_holes_are_squeezed_out_to_the_left():
    reader = Reader(MODEL, 2, 9)
    reader.read([[5, 6, 7], [1, 2, 3]], 1)
    reader.forget([0, 2])
    reader.read([[8], [4]], 1)
    cache = reader.cache
    assert cache.mask[:, :4].int().tolist() == [[1, 1, 1, 1], [1, 0, 0, 1]]
    before = [layer.keys.clone() for layer in cache.layers]
    squeeze(cache)
    assert cache.mask[:, :4].int().tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    for layer, keys in zip(cache.layers, before, strict=True):
        assert torch.equal(layer.keys[0, :, :4], keys[0, :, :4])
        assert torch.equal(layer.keys[1, :, 2:4], keys[1, :, [0, 3]])


def test_a_cache_of_whole_rows_is_squeezed_to_no_padding():
    reader = Reader(MODEL, 2, 9)
    reader.read([[5, 6, 7], [1, 2, 3]], 1)
    reader.forget([2, 1])
    reader.forget([0, 1])
    assert reader.cache.padded
    squeeze(reader.cache)
    assert (reader.cache.length, reader.cache.padded) == (1, False)


def test_logits_that_are_not_finite_are_refused_and_the_mode_is_left():
    model = stress_model().train()
    with torch.no_grad():
        model.norm.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite: its weights are damaged"):
        Reader(model, 1, 4).read([[1, 2]], 2)
    assert all(module.training for module in model.modules())
