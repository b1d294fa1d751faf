"""Batches under `steady`: every row has the bits that it has alone, and off it costs nothing."""

import random
import threading
from dataclasses import replace

import pytest
import torch

from zoo.models import BERT, CLIP, GPT2, ViT, preset
from zoo.nn import Linear
from zoo.nn.steady import (
    COUNTS,
    LADDER,
    Counts,
    climbed,
    current,
    each,
    good_counts,
    holds,
    in_counts,
    pointwise,
    same_bits,
    shares,
    steady,
    whole_vectors,
)
from zoo.ops.packed import FORMS

TRIED = Counts()  # what was found serves all tests here


def built(family, name, form=None, **options):
    """Build a tiny model of exaggerated weights, for inference."""
    torch.manual_seed(4)
    changes = {key: value for key, value in options.items() if key != "head"}
    model = family(replace(preset(name)[1], **changes), head=options["head"]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.requires_grad_(False)
    return model if form is None else model.optimize_for_inference(form)


def texts_of(rng, count):
    return [[rng.randrange(1, 90) for _ in range(rng.randint(1, 19))] for _ in range(count)]


def ended(texts):
    return [[*text[:12], preset("clip-tiny")[1].end] for text in texts]


def padded(texts, left):
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask = torch.zeros(len(texts), longest, dtype=torch.long)
    for i, text in enumerate(texts):
        start = longest - len(text) if left else 0
        ids[i, start : start + len(text)] = torch.tensor(text)
        mask[i, start : start + len(text)] = 1
    return ids, mask


def of_texts(call, left=False):
    """Give what a model makes of each text: of its real tokens, or of the whole."""

    def compute(texts):
        ids, mask = padded(texts, left)
        found = call(ids, mask)
        if found.dim() < 3:
            return list(found)
        return [rows[real.bool()] for rows, real in zip(found, mask, strict=True)]

    return compute


def of_pictures(call):
    return lambda pictures: list(call(torch.stack(pictures)))


def pictures_of(name):
    config = preset(name)[1]

    def draw(rng, count):
        torch.manual_seed(rng.randrange(1000))
        return list(torch.randn(count, config.channels, *config.image).unbind(0))

    return draw


def bert(form, head, pooling=None):
    model = built(BERT, "bert-tiny", form, head=head)
    if pooling is None:
        return of_texts(model), texts_of
    return of_texts(lambda ids, mask: model.embed(ids, mask, pooling=pooling)), texts_of


def gpt2(form, head, left):
    return of_texts(built(GPT2, "gpt2-tiny", form, head=head), left), texts_of


def vit(form, **options):
    return of_pictures(built(ViT, "vit-tiny", form, **options)), pictures_of("vit-tiny")


def clip(form, what, **options):
    model = built(CLIP, "clip-tiny", form, **options)
    if what == "text":
        return of_texts(model.encode_text), lambda rng, count: ended(texts_of(rng, count))
    call = model.encode_image if what == "image" else lambda pixels: model(None, pixels)
    return of_pictures(call), pictures_of("clip-tiny")


CASES = {
    "bert mean": lambda form: bert(form, None, "mean"),
    "bert max": lambda form: bert(form, None, "max"),
    "bert cls": lambda form: bert(form, None, "cls"),
    "bert masked_lm": lambda form: bert(form, "masked_lm"),
    "bert sequence": lambda form: bert(form, "sequence"),
    "bert token": lambda form: bert(form, "token"),
    "gpt2 lm": lambda form: gpt2(form, "lm", left=False),
    "gpt2 sequence": lambda form: gpt2(form, "sequence", left=False),
    "gpt2 sequence, padded on the left": lambda form: gpt2(form, "sequence", left=True),
    "vit image": lambda form: vit(form, head="image"),
    "vit image, mean": lambda form: vit(form, head="image", pooling="mean"),
    "vit hidden": lambda form: vit(form, head=None),
    "clip image": lambda form: clip(form, "image", head="match"),
    "clip text": lambda form: clip(form, "text", head="match"),
    "clip classify": lambda form: clip(form, "classify", head="image"),
}


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))
def test_a_row_has_the_bits_that_it_has_alone(case, count):
    compute, draw = case(None)
    with torch.inference_mode(), steady(TRIED):
        assert holds(compute, draw(random.Random(count), count))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))
def test_a_row_has_them_with_packed_weights(case, form):
    compute, draw = case(form)
    with torch.inference_mode(), steady(TRIED):
        assert holds(compute, draw(random.Random(1), 4))


@pytest.mark.scheduled
@pytest.mark.parametrize("form", [None, *FORMS], ids=str)
@pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))
def test_ten_thousand_batches_have_the_bits_of_their_rows(case, form):
    compute, draw = case(form)
    rng = random.Random(2)
    with torch.inference_mode(), steady(TRIED):
        for _ in range(170):  # of 15 cases and 4 forms
            items = draw(rng, rng.randint(2, 24))
            alone = [compute([item])[0] for item in items]
            assert all(map(same_bits, compute(items), alone))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e38], ids=str)
@pytest.mark.parametrize("form", [None, *FORMS], ids=str)
def test_a_damaged_row_leaves_the_others_their_bits(form, value):
    model = built(BERT, "bert-tiny", form, head="sequence")
    model.tokens.weight[96] = value
    compute, texts = of_texts(model), texts_of(random.Random(3), 5)
    with torch.inference_mode(), steady(TRIED):
        clean = compute(texts)
        found = compute([*texts[:2], [5, 96, 7], *texts[2:]])
    assert all(map(same_bits, [*found[:2], *found[3:]], clean))


def test_outside_of_it_a_batch_goes_as_it_did():
    compute, draw = CASES["bert mean"](None)
    texts = draw(random.Random(5), 6)
    before = compute(texts)
    with steady(TRIED), steady(None):
        within = compute(texts)
    assert all(map(same_bits, before, within))
    assert current() is None


def test_another_thread_knows_nothing_of_it():
    seen = []
    with steady(TRIED):
        thread = threading.Thread(target=lambda: seen.append(COUNTS.get()))
        thread.start()
        thread.join()
        assert current() is TRIED
    assert seen == [None]


def test_what_was_tried_is_not_tried_again():
    counts, layer, x = Counts(), Linear(8, 6), torch.ones(3, 8)
    with torch.no_grad(), steady(counts):
        layer(x)
        (found,) = counts.found.values()
        assert set(found) <= set(LADDER)
        Linear(8, 6)(x)
        assert len(counts.found) == 1
        Linear(8, 7)(x), Linear(8, 6, bias=False)(x), layer.double()(x.double())
        assert len(counts.found) == 4


def few_differ(x):
    """Multiply by one, but with a rounding that fewer than four rows do not have."""
    return x * 3 if len(x) > 3 else x * 3 * (1 + 2**-20)


def last_differs(x):
    y = x * 3
    y[-1] *= 1 + 2**-20
    return y


def odd_differ(x):
    return x * 3 if len(x) % 2 == 0 else last_differs(x)


@pytest.mark.parametrize(
    ("product", "good"),
    [
        (lambda x: x * 3, (1, 2, 4, 8)),
        (few_differ, (4, 8)),
        (last_differs, (1,)),  # places differ in every number of rows but one
        (odd_differ, (2, 4, 8)),
        (lambda x: last_differs(x) if len(x) == 8 else x * 3, (1, 2, 4)),
    ],
)
def test_the_numbers_of_rows_that_agree_are_found(product, good):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    assert climbed(product, x, (1, 2, 4, 8)) == good


def test_none_are_good_where_the_place_matters():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    assert good_counts(last_differs, x, (1, 2, 4)) == ()
    assert good_counts(few_differ, x, (1, 2, 4)) == (4,)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(0, [2]), (1, [2]), (2, [2]), (3, [5]), (5, [5]), (6, [5, 2]), (13, [5, 5, 5])],
)
def test_rows_are_filled_up_to_numbers_that_are_good(rows, sizes):
    asked = []

    def product(x):
        asked.append(len(x))
        return x.sum(1, keepdim=True)

    x = torch.arange(3.0 * rows).view(1, rows, 3)
    y = in_counts(product, x, (2, 5))
    assert asked == sizes
    assert torch.equal(y, x.sum(2, keepdim=True))


@pytest.mark.parametrize(
    ("numbers", "threads", "count"),
    [
        (1, 4, 1),
        (32768, 4, 1),
        (32769, 4, 2),
        (98305, 4, 4),
        (10**6, 4, 4),
        (10**6, 1, 1),
        (0, 2, 1),
    ],
)
def test_threads_share_what_is_large(numbers, threads, count):
    assert shares(numbers, threads) == count


@pytest.mark.parametrize("rows", [1, 3, 11, 100])
@pytest.mark.parametrize("width", [1, 36, 64, 3072])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_share_is_of_whole_vectors(rows, width, threads):
    tall, wide = whole_vectors(rows, width, threads)
    assert rows <= tall < rows + 64 * threads and width <= wide < width + 64
    assert tall * wide % (64 * shares(tall * wide, threads)) == 0 == wide % 64
    assert threads > 1 or tall == rows


def rest_differs(x):
    """Double, but for what is left behind whole vectors of 16 numbers."""
    y = 2 * x.flatten()
    y[y.numel() // 16 * 16 :] += 1
    return y.view(x.shape)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 20), (1, 64), (7,)], ids=str)
def test_no_number_is_left_behind_the_vectors(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(pointwise(rest_differs, x), 2 * x)


def test_each_goes_row_by_row_and_with_the_switch_off():
    seen = []

    def function(x, y):
        seen.append((tuple(x.shape), y is None, current()))
        return x + 1

    x = torch.zeros(3, 2)
    each(function, x, None)
    with steady(TRIED):
        assert torch.equal(each(function, x, None), x + 1)
        assert current() is TRIED
        each(function, x[:0], x[:0])
    assert seen[0] == ((3, 2), True, None)
    assert seen[1:4] == [((1, 2), True, None)] * 3
    assert seen[4] == ((0, 2), False, TRIED)


def test_a_row_is_given_as_one_that_was_alone():
    places = []

    def function(x):
        places.append(x.data_ptr() % 64)
        return x

    with steady(TRIED):
        each(function, torch.zeros(5, 3))
    assert places == [0] * 5


@pytest.mark.parametrize(
    ("compute", "held"),
    [
        (lambda items: [2 * x for x in items], True),
        (lambda items: [x + len(items) for x in items], False),
        (lambda items: [x + (len(items) == 2) for x in items], False),
        (lambda items: [x + (i > 2) for i, x in enumerate(items)], False),
        (lambda items: [x + (items[0] > 1).float() for x in items], False),
    ],
    ids=["alone", "number", "two", "place", "company"],
)
def test_what_does_not_hold_is_found(compute, held):
    items = [torch.tensor(float(n)) for n in range(4)]
    assert holds(compute, items) is held


def test_bits_are_compared_and_not_numbers():
    nan = torch.tensor(torch.nan)
    assert same_bits(nan, nan.clone())
    assert not same_bits(torch.tensor(0.0), torch.tensor(-0.0))
    assert not same_bits(torch.tensor(0.0), torch.tensor(0.0, dtype=torch.float64))
    assert not same_bits(torch.zeros(2), torch.zeros(2, 1))
