"""Masks, positions, poolings, caches and resized positions, whatever their sizes."""

import itertools

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from unit.property_rows import chosen, drawn, examples, near, seeds, some
from zoo.nn import KVCache, Patches
from zoo.nn.patch import check_pixels, positions_for, resizing, with_prefix
from zoo.nn.tokens import check_ids, first_real, last_real, pool, positions_of, real_tokens

bits = st.lists(st.booleans(), min_size=1, max_size=7)
masks = st.integers(1, 7).flatmap(
    lambda t: st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=1, max_size=4)
)
with_a_token = masks.filter(lambda rows: all(map(any, rows)))


@examples(17)
@given(rows=masks)
def test_positions_count_the_real_tokens_before(rows):
    mask = torch.tensor(rows)
    positions = positions_of(mask.shape[1], mask, None, mask.device)
    for row, found in zip(rows, positions.tolist(), strict=True):
        assert [p for p, real in zip(found, row, strict=True) if real] == list(range(sum(row)))
        assert min(found) >= 0


def cache_of(batch, capacity, heads=2, size=3, depth=2):
    return KVCache(
        depth=depth,
        batch=batch,
        heads=heads,
        capacity=capacity,
        size=size,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


@examples(13)
@given(rows=masks, cuts=st.lists(st.integers(0, 7), max_size=3))
def test_positions_in_pieces_are_those_at_once(rows, cuts):
    mask = torch.tensor(rows)
    b, t = mask.shape
    edges = sorted({0, t, *(cut for cut in cuts if cut < t)})
    cache, found = cache_of(b, t), []
    for start, stop in itertools.pairwise(edges):
        piece = mask[:, start:stop]
        given_mask = None if piece.all() else piece
        found.append(positions_of(stop - start, given_mask, cache, mask.device).expand(b, -1))
        cache.extend(b, stop - start, given_mask)
    expected = positions_of(t, mask, None, mask.device)
    assert torch.equal(torch.cat(found, 1)[mask], expected[mask])
    assert cache.real().tolist() == mask.sum(1).tolist()
    held = cache.padding()
    assert torch.equal(mask, torch.ones_like(mask) if held is None else held)


@examples(13)
@given(rows=with_a_token, seed=seeds)
def test_a_pooled_row_is_that_of_its_real_tokens_alone(rows, seed):
    mask = torch.tensor(rows)
    hidden = drawn(seed, *mask.shape, 3)
    junk = hidden.masked_fill(~mask[..., None], 1e3)
    for how in ("cls", "mean", "max"):
        pooled = pool(junk, mask, how)
        for row, real in enumerate(mask):
            near(pooled[row : row + 1], pool(hidden[row : row + 1, real], None, how), 32, hidden)
    assert torch.equal(
        first_real(junk, mask), torch.stack([h[m][0] for h, m in zip(hidden, mask, strict=True)])
    )
    assert torch.equal(
        last_real(junk, mask), torch.stack([h[m][-1] for h, m in zip(hidden, mask, strict=True)])
    )


@examples(13)
@given(
    rows=masks,
    dtype=st.sampled_from([torch.bool, torch.int64, torch.float32, torch.uint8]),
    bad=st.none() | st.integers(2, 9),
    pad=st.booleans(),
)
def test_a_mask_means_its_ones_and_nothing_else(rows, dtype, bad, pad):
    mask = torch.tensor(rows)
    ids = torch.where(mask, 5, 0)
    given_mask = mask.to(dtype)
    if bad is not None and dtype != torch.bool:
        given_mask[0, 0] = bad
        with pytest.raises(ValueError, match="values other than 0"):
            real_tokens(ids, given_mask, None)
        return
    found = real_tokens(ids, given_mask, 0)
    assert torch.equal(mask, torch.ones_like(mask) if found is None else found)
    if pad and not mask.all():
        with pytest.raises(ValueError, match=r"padding id 0 but no attention_mask.*input_ids != 0"):
            real_tokens(ids, None, 0)


@examples(17)
@example(b=1, t=1, vocab=3, context=8, past=0, wrong=3, seed=0)
@given(
    b=st.integers(0, 3),
    t=st.integers(0, 6),
    vocab=some,
    context=st.integers(1, 8),
    past=st.integers(0, 4),
    wrong=st.none() | st.integers(-2, 8) | st.integers(-(2**40), 2**40),
    seed=seeds,
)
def test_ids_pass_or_are_refused_with_what_is_wrong_about_them(
    b, t, vocab, context, past, wrong, seed
):
    ids = chosen(seed, vocab, b, t)
    if wrong is not None and ids.numel():
        ids.view(-1)[seed % ids.numel()] = wrong
    beyond = wrong is not None and ids.numel() and not 0 <= wrong < vocab
    if past + t > context:
        with pytest.raises(
            ValueError, match=rf"^{t} tokens.*context is {context}.*{context - past}"
        ):
            check_ids(ids, vocab=vocab, context=context, past=past)
    elif beyond:
        with pytest.raises(ValueError, match=rf"^input_ids holds {wrong}; .* 0 to {vocab - 1}:"):
            check_ids(ids, vocab=vocab, context=context, past=past)
    else:
        check_ids(ids, vocab=vocab, context=context, past=past)


@examples(13)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    seed=seeds,
    keep=st.integers(0, 12),
    rows=st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
def test_a_cache_holds_what_it_was_given_in_any_pieces(sizes, seed, keep, rows):
    total = sum(sizes)
    k, v = drawn(seed, 2, 3, 2, total, 3), drawn(seed + 1, 2, 3, 2, total, 3)  # depth first
    mask = drawn(seed + 2, 3, total) > -1
    cache, start = cache_of(3, total + 1), 0
    for size in sizes:
        stop = start + size
        cache.extend(3, size, mask[:, start:stop])
        for layer, (keys, values) in zip(cache.layers, zip(k, v, strict=True), strict=True):
            held = layer.append(keys[:, :, start:stop], values[:, :, start:stop])
            assert torch.equal(held[0], keys[:, :, :stop])
            assert torch.equal(held[1], values[:, :, :stop])
        start = stop
    at = torch.tensor(rows)
    cache.select(at)
    keep = min(keep, total)
    cache.truncate(keep)
    assert (cache.batch, cache.length) == (len(rows), keep)
    assert cache.real().tolist() == mask[at, :keep].sum(1).tolist()
    for layer, keys in zip(cache.layers, k, strict=True):
        assert torch.equal(layer.keys[:, :, :keep], keys[at][:, :, :keep])
    for wrong in (-1, keep + 1):
        with pytest.raises(ValueError, match=f"^cannot keep {wrong} of {keep} tokens"):
            cache.truncate(wrong)
    room = total + 1 - keep
    with pytest.raises(ValueError, match=f"^{keep} tokens held and {room + 1} new do not fit"):
        cache.extend(len(rows), room + 1, None)


grids = st.tuples(st.integers(1, 5), st.integers(1, 5))


@examples(8)
@given(held=grids, wanted=grids, prefix=st.integers(0, 2), antialias=st.booleans(), seed=seeds)
def test_resized_positions_keep_the_prefix_and_what_is_the_same_everywhere(
    held, wanted, prefix, antialias, seed
):
    table = drawn(seed, prefix + held[0] * held[1], 3)
    made = positions_for(table, held, wanted, antialias=antialias)
    assert made.shape == (prefix + wanted[0] * wanted[1], 3)
    assert torch.equal(made[:prefix], table[:prefix])
    rows = resizing(held[0], wanted[0], antialias)
    near(rows.sum(1), torch.ones(wanted[0], dtype=torch.float64), 64)
    other = drawn(seed + 1, *table.shape)
    together = positions_for(2 * table - other, held, wanted, antialias=antialias)
    apart = 2 * made - positions_for(other, held, wanted, antialias=antialias)
    near(together, apart, 256, table, other)
    turned = table[prefix:].unflatten(0, held).transpose(0, 1).flatten(0, 1)
    back = positions_for(turned, held[::-1], wanted[::-1], antialias=antialias)
    near(back.unflatten(0, wanted[::-1]).transpose(0, 1).flatten(0, 1), made[prefix:], 256, table)


@examples(6)
@given(b=st.integers(0, 3), grid=grids, patch=grids, channels=st.integers(1, 3), seed=seeds)
def test_patches_are_those_of_a_strided_convolution(b, grid, patch, channels, seed):
    layer = Patches(channels, patch, 5).double()
    with torch.no_grad():
        layer.weight.copy_(drawn(seed, *layer.weight.shape))
        layer.bias.copy_(drawn(seed + 1, 5))
    size = (grid[0] * patch[0], grid[1] * patch[1])
    images = drawn(seed + 2, b, channels, *size)
    kernel = layer.weight.view(5, channels, *patch)
    expected = torch.nn.functional.conv2d(images, kernel, layer.bias, stride=patch)
    near(layer(images), expected.flatten(2).transpose(1, 2), 512, images, layer.weight)
    tokens = with_prefix(layer(images), drawn(seed + 3, 5), drawn(seed + 4, 2, 5))
    assert tokens.shape == (b, 3 + grid[0] * grid[1], 5)
    assert torch.equal(tokens[:, 3:], layer(images))


@examples(13)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    patch=grids,
    grid=grids,
    interpolate=st.booleans(),
)
def test_pixels_give_their_grid_or_are_refused_with_their_size(size, patch, grid, interpolate):
    image = (grid[0] * patch[0], grid[1] * patch[1])
    pixels = torch.zeros(1, 2, *size)
    about = {"channels": 2, "image": image, "patch": patch, "interpolate": interpolate}
    tiles = all(side % step == 0 for side, step in zip(size, patch, strict=True))
    if (size == image or interpolate) and tiles:
        down, across = check_pixels(pixels, **about)
        assert (down * patch[0], across * patch[1]) == size
        return
    with pytest.raises(ValueError, match=f"^pixel_values are {size[0]}×{size[1]}"):
        check_pixels(pixels, **about)
