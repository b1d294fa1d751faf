"""Real checkpoints: texts that come and go are those of `generate`; batches keep rows' bits."""

import random

import pytest
import torch

from zoo.checkpoint.packaged import find
from zoo.generate import Continuous, Sampling, generate
from zoo.generate.request import make_requests
from zoo.models import load
from zoo.nn.steady import Counts, holds, steady
from zoo.tokenizers import Tokenizer

PROMPTS = ["The army", "I recommend", "The people of the United States, the", "In the year", "We"]


def asked_of(temperature):
    """Ask for texts that end by a stop string, by a length, and by a stop token."""
    ends = [{"stop_strings": (" of",)}, {}, {"stop_tokens": (11, 13)}, {"stop_strings": (".",)}, {}]
    return [
        Sampling(max_new_tokens=12 + 3 * i, temperature=temperature, top_p=0.9, seed=i, **end)
        for i, end in enumerate(ends)
    ]


@pytest.fixture(scope="module")
def english():
    place = find("gpt2-english")
    return load(place), Tokenizer.from_folder(place)


def told(continuous, requests, at):
    """Let requests join at the steps given; give each one's pieces, ids and log-probabilities."""
    found = {request: [] for request in requests}
    step = 0
    while step <= max(at) or continuous.rows or continuous.waiting:
        for request, when in zip(requests, at, strict=True):
            if when == step:
                continuous.join(request, top=2)
        for taken in continuous.advance():
            found[taken.request].append((taken.piece, taken.token, taken.logprob, taken.top))
        step += 1
    return [found[request] for request in requests]


@pytest.mark.parametrize("form", ["plain", "float32"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_texts_of_a_real_model_are_those_that_it_gives_alone(english, temperature, form):
    model, tokenizer = english
    if form != "plain":
        model.optimize_for_inference(form)
    options = asked_of(temperature)
    expected = generate(model, PROMPTS, options, tokenizer, at_once=1)
    requests = make_requests(model, PROMPTS, options, tokenizer)
    found = told(Continuous(model, rows=4), requests, at=[0, 0, 3, 5, 9])
    for i, each in enumerate(found):
        (request,) = make_requests(model, PROMPTS[i : i + 1], options[i], tokenizer)
        assert told(Continuous(model, rows=4), [request], at=[0]) == [each]
    model.restore_weights()
    answers = [request.result() for request in requests]
    assert [(a.ids, a.text, a.finish) for a in answers] == [
        (a.ids, a.text, a.finish) for a in expected
    ]
    assert ["".join(piece for piece, *_ in each) for each in found] == [a.text for a in answers]
    assert {a.finish for a in answers} == {"stop", "length"}


@pytest.mark.parametrize("threads", [1, 2])
def test_pictures_and_texts_of_real_models_have_their_bits(threads):
    bert, vit = load(find("bert-english")), load(find("vit-mnist"))
    rng, before = random.Random(1), torch.get_num_threads()
    ids = [[rng.randrange(5, bert.config.vocab) for _ in range(n)] for n in (3, 40, 17, 1)]
    pixels = list(torch.randn(5, vit.config.channels, *vit.config.image))

    def filled(texts):
        longest = max(map(len, texts))
        rows = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
        logits = bert(rows, mask)
        return [each[: len(text)] for each, text in zip(logits, texts, strict=True)]

    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), steady(Counts()):
            assert holds(filled, ids)
            assert holds(lambda some: list(vit(torch.stack(some))), pixels)
    finally:
        torch.set_num_threads(before)
