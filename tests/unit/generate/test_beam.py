"""Beam search: with beams enough it finds the best continuation of all."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from zoo.generate import Sampling, generate
from zoo.generate.beam import Beam, extend, score, settled
from zoo.generate.request import Request
from zoo.models import GPT2, preset
from zoo.tokenizers import Tokenizer

VOCAB = 5


def small_model(vocab=VOCAB, seed=0):
    torch.manual_seed(seed)
    _, config = preset("gpt2-tiny")
    model = GPT2(replace(config, vocab=vocab, context=12, depth=1, tied=False)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model


def best_by_hand(model, prompt, length, stops, length_penalty):
    """Score every continuation there is, in one batch without a cache."""
    rows = torch.tensor(list(itertools.product(range(VOCAB), repeat=length)))
    ids = torch.cat([torch.tensor([prompt]).expand(len(rows), -1), rows], 1)
    with torch.no_grad():
        logprobs = model(ids).log_softmax(-1)[:, len(prompt) - 1 : -1]
    steps = logprobs.gather(-1, rows[..., None]).squeeze(-1)
    found = {}
    for row, step in zip(rows.tolist(), steps.tolist(), strict=True):
        end = next((i + 1 for i, token in enumerate(row) if token in stops), length)
        found[tuple(row[:end])] = sum(step[:end])
    return max(found.items(), key=lambda item: item[1] / len(item[0]) ** length_penalty)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stops", [(), (3,)], ids=["no stop", "stop"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beams_enough_find_the_best_of_all(seed, stops, length_penalty):
    model = small_model(seed=seed)
    options = Sampling(
        max_new_tokens=3, beams=125, stop_tokens=stops, length_penalty=length_penalty
    )
    (answer,) = generate(model, [[1, 4]], options)
    ids, logprob = best_by_hand(model, [1, 4], 3, stops, length_penalty)
    assert tuple(answer.ids) == ids
    assert abs(answer.logprob - logprob) < 1e-12
    assert answer.finish == ("stop" if ids[-1] in stops else "length")


def test_more_beams_find_no_less():
    model = small_model(seed=11)  # here each width finds another text
    found = [
        generate(model, [[2]], Sampling(max_new_tokens=6, beams=beams))[0].logprob
        for beams in (1, 2, 25)
    ]
    assert found[0] + 1e-3 < found[1] < found[2] - 1e-3


@pytest.mark.parametrize("beams", [2, 3, 4])
def test_the_logprob_of_the_best_beam_is_that_of_its_tokens(beams):
    for seed in range(4):
        model = small_model(vocab=11, seed=seed)
        (answer,) = generate(model, [[2, 7]], Sampling(max_new_tokens=8, beams=beams))
        ids = torch.tensor([[2, 7, *answer.ids]])
        with torch.no_grad():
            steps = model(ids)[0, 1:-1].log_softmax(-1).gather(-1, ids[0, 2:, None])
        assert abs(answer.logprob - float(steps.sum())) < 1e-12


def test_a_negative_length_penalty_prefers_short_answers():
    model = small_model(seed=1)
    lengths = {
        penalty: len(generate(model, [[1]], options(penalty))[0].ids) for penalty in (-9.0, 9.0)
    }
    assert lengths[-9.0] < lengths[9.0]


def options(penalty):
    return Sampling(max_new_tokens=7, beams=4, length_penalty=penalty, stop_tokens=(0, 3))


def test_stop_strings_end_beams():
    tokenizer = Tokenizer.train(["abc cab"] * 2, "bpe", vocab=258)
    model = small_model(vocab=tokenizer.vocab_size)
    free = Sampling(max_new_tokens=6, beams=3, stop_tokens=())
    (whole,) = generate(model, ["ab"], free, tokenizer)
    stop = tokenizer.decode(whole.ids[1:3])
    assert len(stop) == 2
    stopped = replace(free, stop_strings=(stop,), length_penalty=-1.0)
    (answer,) = generate(model, ["ab"], stopped, tokenizer)
    assert answer.finish == "stop"
    assert tokenizer.decode(answer.ids) == answer.text + stop


def test_beams_and_draws_share_a_call():
    model = small_model()
    plans = [Sampling(max_new_tokens=5, beams=3), Sampling(max_new_tokens=4, temperature=1.0)]
    both = generate(model, [[1], [2, 3]], plans)
    assert both == [generate(model, [p], o)[0] for p, o in zip([[1], [2, 3]], plans, strict=True)]


@pytest.mark.parametrize(
    ("running", "finished", "done"),
    [
        (-4.0, [-1.0], False),  # the finished are not yet two
        (-4.0, [-1.0, -1.9], True),
        (-4.0, [-1.0, -2.0], True),
        (-4.0, [-1.0, -2.1], False),
        (-4.0, [-3.0, -2.1], False),
    ],
)
def test_the_search_ends_when_no_running_beam_is_better_than_the_worst(running, finished, done):
    request = Request([1], Sampling(beams=2, length_penalty=1.0), None, VOCAB)
    ended = [Beam([1], total, total) for total in finished]
    ended = sorted(ended, key=lambda beam: -score(beam, 1.0))
    assert settled([Beam([1, 2], running, running)], ended, request) == done


@pytest.mark.parametrize(
    ("penalty", "expected"), [(0.0, -6.0), (1.0, -2.0), (2.0, -6 / 9), (-1.0, -18.0)]
)
def test_the_score_is_the_sum_over_a_power_of_the_length(penalty, expected):
    assert score(Beam([7, 8, 9], -6.0, -5.0), penalty) == expected


@pytest.mark.parametrize(("stops", "count"), [((), 4), ((1,), 4), ((1, 3, 3), 6)], ids=str)
def test_extensions_are_enough_that_stopping_ones_leave_a_full_set(stops, count):
    request = Request([0], Sampling(beams=2, stop_tokens=stops), None, 7)
    logits = torch.randn(2, 7, dtype=torch.float64)
    found = extend(logits, [Beam([4], -1.0, -1.0), Beam([5], -1.1, -1.1)], request)
    assert len(found) == count
    assert [beam.total for beam in found] == sorted((b.total for b in found), reverse=True)


def test_sums_of_beams_are_kept_in_float64():
    request = Request([0], Sampling(beams=2), None, 7)
    tiny = -1.0 - 2.0**-40  # float32 would round it to -1
    (best, *_) = extend(torch.zeros(1, 7, dtype=torch.float64), [Beam([4], tiny, tiny)], request)
    assert abs(best.total - (tiny - math.log(7))) < 1e-15
