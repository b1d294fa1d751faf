"""Texts that come and go: each has the bits that it has alone, whatever happens to the others."""

import gc
import random
import weakref
from dataclasses import replace

import pytest
import torch

from zoo.generate import Continuous, Sampling, generate
from zoo.generate.request import make_requests
from zoo.models import GPT2, preset
from zoo.ops.packed import FORMS

_, TINY = preset("gpt2-tiny")
CHUNK = 8  # tokens


def model_of(form=None, **options):
    torch.manual_seed(3)
    model = GPT2(replace(TINY, context=64, **options)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model if form is None else model.optimize_for_inference(form)


def request_of(model, prompt, options):
    return make_requests(model, [prompt], options, None)[0]


def asked_of(rng, count):
    """Draw prompts and options."""
    return [
        (
            [rng.randrange(97) for _ in range(rng.randint(1, 30))],
            Sampling(
                max_new_tokens=rng.randint(1, 12),
                temperature=rng.choice([0, 0.7, 1.3]),
                top_k=rng.choice([None, 5]),
                repetition_penalty=rng.choice([1.0, 1.2]),
                seed=rng.randrange(1000),
                stop_tokens=tuple(rng.sample(range(97), 4)),
            ),
        )
        for _ in range(count)
    ]


def told(taken):
    """Give what a Taken says, to the bit."""
    return (taken.token, taken.logprob, taken.top, taken.error)


def emptied(continuous):
    """Go on until all have left; give what was told, by request."""
    found = {}
    while continuous.rows or continuous.waiting:
        for taken in continuous.advance():
            found.setdefault(taken.request, []).append(told(taken))
    return found


def alone(model, asked, rows):
    continuous = Continuous(model, rows=rows, chunk=CHUNK)
    request = request_of(model, *asked)
    continuous.join(request, top=2)
    return emptied(continuous)[request]


def mixed(model, asked, rows, rng, leaving=0.0):
    """Let requests join at random steps, and some leave; give what each that stayed was told."""
    continuous = Continuous(model, rows=rows, chunk=CHUNK)
    found, gone, coming = {}, set(), list(enumerate(asked))
    number = {}
    while coming or continuous.rows or continuous.waiting:
        while coming and rng.random() < 0.5:
            i, each = coming.pop()
            request = request_of(model, *each)
            number[request] = i
            found[i] = []
            continuous.join(request, top=2)
        for taken in continuous.advance():
            found[number[taken.request]].append(told(taken))
        if number and rng.random() < leaving:
            request = rng.choice(list(number))
            if request.finish is None:
                continuous.leave(request)
                gone.add(number[request])
    return {i: each for i, each in found.items() if i not in gone}


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("form", [None, *FORMS], ids=str)
def test_a_text_has_its_bits_whoever_comes_and_goes(form, rows):
    model, rng = model_of(form), random.Random(rows)
    asked = asked_of(rng, 10)
    found = mixed(model, asked, rows, rng, leaving=0.1)
    assert len(found) > 4
    for i, each in found.items():
        assert each == alone(model, asked[i], rows)


@pytest.mark.scheduled
@pytest.mark.parametrize("form", [None, *FORMS], ids=str)
def test_ten_thousand_texts_have_their_bits(form):
    model = model_of(form)
    for seed in range(250):
        rng = random.Random(seed)
        asked, rows = asked_of(rng, 10), rng.randint(1, 16)
        for i, each in mixed(model, asked, rows, rng, leaving=0.05).items():
            assert each == alone(model, asked[i], rows), (seed, i)


def called(model):
    """Make the model call its blocks, by a hook that does nothing."""
    model.blocks[1].mlp.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    ("change", "together"),
    [
        (lambda model: model, True),
        (lambda model: model.optimize_for_inference("float32"), True),
        (lambda model: model.double(), True),
        (called, False),
        (lambda model: model.bfloat16(), False),
    ],
    ids=["plain", "packed", "float64", "hooked", "bfloat16"],
)
def test_texts_are_those_of_generate(change, together):
    model, rng = change(model_of()), random.Random(5)
    continuous = Continuous(model, rows=4, chunk=64)
    assert bool(continuous.widths) is together
    asked = asked_of(rng, 6)
    requests = [request_of(model, *each) for each in asked]
    for request in requests:
        continuous.join(request)
    emptied(continuous)
    for request, (prompt, options) in zip(requests, asked, strict=True):
        expected = generate(model, [prompt], options)[0]
        found = request.result()
        assert (found.ids, found.finish) == (expected.ids, expected.finish)
        assert found.logprob == pytest.approx(expected.logprob, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "answers"),
    [(torch.nan, 3), (torch.inf, 3), (1e38, 9)],  # of 1e38 a norm makes something finite
    ids=["nan", "inf", "1e38"],
)
@pytest.mark.parametrize("form", [None, *FORMS], ids=str)
def test_a_row_of_damaged_numbers_fails_alone(form, value, answers):
    rng = random.Random(7)
    model = model_of()
    with torch.no_grad():  # 96 is in no other prompt and never chosen
        model.head.weight = torch.nn.Parameter(model.tokens.weight.clone())
        model.head.weight[96] = 0
        model.tokens.weight[96] = value
    if form is not None:
        model.optimize_for_inference(form)
    options = Sampling(max_new_tokens=9, temperature=0.8, top_k=3)
    asked = [([rng.randrange(96) for _ in range(rng.randint(1, 20))], options) for _ in range(5)]
    continuous = Continuous(model, rows=6, chunk=CHUNK)
    requests = [request_of(model, *each) for each in asked]
    poison = request_of(model, [1, 2, 3], Sampling(max_new_tokens=9))
    for request in (*requests[:2], poison, *requests[2:]):
        continuous.join(request, top=2)
    found = {}
    while continuous.rows or continuous.waiting:
        for taken in continuous.advance():
            found.setdefault(taken.request, []).append(told(taken))
        if poison.ids and poison.ids[-1] != 96:
            poison.ids[-1] = 96  # what it reads next
    assert len(found[poison]) == answers
    assert (found[poison][-1][3] is None) is (answers == 9)
    assert [found[request] for request in requests] == [alone(model, each, 6) for each in asked]


def test_a_prompt_of_damaged_numbers_fails_before_its_first_token():
    model = model_of()
    with torch.no_grad():
        model.positions.weight[2] = torch.nan
    continuous = Continuous(model, rows=2)
    continuous.join(request_of(model, [1, 2, 3], Sampling(max_new_tokens=9)))
    (taken,) = continuous.advance()
    assert "not finite" in taken.error
    assert (taken.token, taken.piece, continuous.rows, continuous.cache_tokens) == (-1, "", 0, 0)


def test_no_row_reads_what_another_left_behind():
    """Room of caches that nobody has written to, and caches of rows that left, hold NaN."""
    model, rng = model_of(), random.Random(11)
    asked = asked_of(rng, 8)
    continuous = Continuous(model, rows=3, chunk=CHUNK)
    requests = [request_of(model, *each) for each in asked]
    for request in requests:
        continuous.join(request, top=2)
    found, held = {}, {}
    while continuous.rows or continuous.waiting:
        for taken in continuous.advance():
            found.setdefault(taken.request, []).append(told(taken))
        here = {row.request: row.cache for row in continuous.growing}
        held |= here
        for request, cache in held.items():
            cache.buffer[..., cache.length if request in here else 0 :, :] = torch.nan
    assert [found[request] for request in requests] == [alone(model, each, 3) for each in asked]


def test_a_cache_is_as_long_as_its_text_needs_and_goes_with_it():
    model = model_of()
    continuous = Continuous(model, rows=2, chunk=4)
    options = Sampling(max_new_tokens=5)
    first, second, third = (request_of(model, [1] * n, options) for n in (3, 6, 2))
    for request in (first, second, third):
        continuous.join(request)
    assert continuous.cache_tokens == 0
    continuous.advance()
    assert (continuous.rows, continuous.waiting, continuous.cache_tokens) == (1, 2, 3 + 4)
    continuous.advance()
    assert (continuous.rows, continuous.waiting, continuous.cache_tokens) == (1, 2, 7 + 6 + 4)
    gone = weakref.ref(continuous.growing[0].cache)
    continuous.leave(first)
    continuous.leave(third)
    continuous.leave(third)  # nothing happens
    gc.collect()
    assert gone() is None
    assert (continuous.rows, continuous.waiting, continuous.cache_tokens) == (0, 1, 10)
    assert emptied(continuous)
    assert (second.finish, len(second.ids), continuous.cache_tokens) == ("length", 5, 0)


def test_a_long_prompt_holds_nobody_up():
    model = model_of()
    continuous = Continuous(model, rows=2, chunk=4)
    short = request_of(model, [1, 2], Sampling(max_new_tokens=20))
    long = request_of(model, [3] * 30, Sampling(max_new_tokens=2))
    continuous.join(short)
    continuous.join(long)
    steps = [len(continuous.advance()) for _ in range(9)]
    assert steps == [2, 1, 1, 1, 1, 1, 1, 1, 3]


def test_no_more_rows_grow_than_may():
    model = model_of()
    continuous = Continuous(model, rows=2)
    for _ in range(5):
        continuous.join(request_of(model, [1, 2], Sampling(max_new_tokens=4)))
    most = 0
    while continuous.rows or continuous.waiting:
        continuous.advance()
        most = max(most, continuous.rows)
    assert most == 2


def test_the_likeliest_ids_come_with_the_log_probabilities_of_the_model():
    model = model_of()
    continuous = Continuous(model, rows=2)
    request = request_of(model, [4, 5], Sampling(max_new_tokens=3, repetition_penalty=1.5))
    continuous.join(request, top=97)
    (taken, *_) = continuous.advance()
    with torch.no_grad():
        expected = model(torch.tensor([[4, 5]]))[0, -1].double().log_softmax(-1)
    ids, logprobs = zip(*taken.top, strict=True)
    assert sorted(ids) == list(range(97)) and list(logprobs) == sorted(logprobs, reverse=True)
    torch.testing.assert_close(torch.tensor(logprobs), expected[list(ids)].float())
    assert (taken.token, taken.logprob) in taken.top


@pytest.mark.parametrize(
    ("options", "top", "said"),
    [
        (Sampling(beams=2, max_new_tokens=3), 0, "beams 2: rows that join have one"),
        (Sampling(max_new_tokens=3), -1, "top -1; expected 0 to 97"),
        (Sampling(max_new_tokens=3), 98, "top 98; expected 0 to 97"),
    ],
)
def test_what_cannot_join_is_refused(options, top, said):
    model = model_of()
    with pytest.raises(ValueError, match=said):
        Continuous(model, rows=1).join(request_of(model, [1], options), top=top)


@pytest.mark.parametrize(("rows", "chunk"), [(0, 4), (2, 0)])
def test_less_than_one_row_or_token_is_refused(rows, chunk):
    with pytest.raises(ValueError, match=f"rows {rows} and chunk {chunk}; expected at least 1"):
        Continuous(model_of(), rows=rows, chunk=chunk)


def test_a_model_in_training_mode_stays_in_it_and_drops_nothing():
    model = model_of(dropout=0.5).train()
    request = request_of(model, [1, 2, 3], Sampling(max_new_tokens=6))
    continuous = Continuous(model, rows=3)
    assert continuous.widths
    continuous.join(request)
    emptied(continuous)
    assert model.training and model.blocks[0].drop.training
    assert request.ids == generate(model, [[1, 2, 3]], request.options)[0].ids
