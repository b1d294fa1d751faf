"""Speculative decoding keeps the distribution: each text, each probability, and many draws."""

import itertools
import random
from dataclasses import replace

import pytest
import torch

from unit.generate.test_decode import stress_model
from unit.generate.test_speculate import Read
from zoo.checkpoint.packaged import find
from zoo.generate import DraftModel, NGram, Sampling, generate
from zoo.models import load
from zoo.tokenizers import Tokenizer

VOCAB, CONTEXT = 11, 60


@pytest.fixture(scope="module")
def models():
    """Three blocks, a disturbed copy of them, and one block that knows nothing of them."""
    large, near = (stress_model(vocab=VOCAB, context=CONTEXT) for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in near.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    far = stress_model(vocab=VOCAB, context=CONTEXT, seed=3, depth=1)
    drafts = [NGram(), NGram(longest=2, tokens=3), DraftModel(near), DraftModel(far, 2), large]
    return large, drafts


@pytest.mark.thinned(3)
@pytest.mark.parametrize("seed", range(12))
def test_rows_of_all_kinds_share_a_batch_with_their_drafts(models, seed):
    large, drafts = models
    rng = random.Random(seed)
    prompts = [[rng.randrange(VOCAB) for _ in range(rng.randint(1, 20))] for _ in range(7)]
    options = [
        Sampling(
            max_new_tokens=rng.randint(1, 40),
            temperature=rng.choice([0, 0.3, 1.0, 2.0]),
            top_k=rng.choice([None, 4]),
            top_p=rng.choice([None, 0.8]),
            min_p=rng.choice([None, 0.05]),
            repetition_penalty=rng.choice([1.0, 1.3]),
            stop_tokens=rng.choice([(), (3,), (1, 2)]),
            seed=rng.randrange(2**64),
        )
        for _ in prompts
    ]
    expected = generate(large, prompts, options)
    for draft, at_once in itertools.product(drafts, (1, 3, 7)):
        answers = generate(large, prompts, options, draft=draft, at_once=at_once)
        for answer, other in zip(answers, expected, strict=True):
            assert (answer.ids, answer.finish) == (other.ids, other.finish)
            assert abs(answer.logprob - other.logprob) <= 1e-12 * abs(other.logprob)


# the next token by the last: of the model, and of two drafts with other probabilities
MODEL_ROWS = [[0.40, 0.35, 0.25], [0.20, 0.30, 0.50], [0.55, 0.25, 0.20]]
DRAFT_ROWS = {
    "other": [[0.25, 0.30, 0.45], [0.45, 0.35, 0.20], [0.30, 0.40, 0.30]],
    "near": [[0.50, 0.20, 0.30], [0.35, 0.30, 0.35], [0.40, 0.25, 0.35]],
}
LENGTH = 3


def cells(rows, told):
    """Give the ends of the intervals of [0, 1) on which neither model changes its choice."""
    sums = {0.0, 1.0}
    for table in rows:
        sums |= set(itertools.accumulate(table[told][:-1]))
    return sorted(sums)


def chosen(row, number):
    return next(i for i, total in enumerate(itertools.accumulate(row)) if number < total or i == 2)


def outcomes(draft):
    """Yield every run of cells: their bounds, and the text that plain sampling gives in them."""

    def follow(text, bounds):
        if len(bounds) == LENGTH:
            yield text[1:], bounds
            return
        for low, high in itertools.pairwise(cells([MODEL_ROWS, draft], text[-1])):
            token = chosen(MODEL_ROWS[text[-1]], (low + high) / 2)
            yield from follow([*text, token], [*bounds, (low, high)])

    return list(follow([0], []))


@pytest.fixture(scope="module")
def numbers():
    """What the generators of many seeds give first."""
    drawn = []
    for seed in range(20_000):
        generator = torch.Generator().manual_seed(seed)
        drawn.append(
            [torch.rand((), generator=generator, dtype=torch.float64) for _ in range(LENGTH)]
        )
    return torch.tensor(drawn)


@pytest.mark.parametrize("name", DRAFT_ROWS)
def test_each_text_has_the_probability_that_the_model_gives_it(name, numbers):
    """All ways in which a draft is accepted or refused, one seed each; their widths add up.

    Where the numbers of the first, second and third place lie between sums of probabilities of
    the model and the draft, every choice of both is fixed: one seed stands for all of a cell.
    """
    draft = DRAFT_ROWS[name]
    seeds, widths = [], []
    for _, bounds in outcomes(draft):
        low, high = torch.tensor(bounds, dtype=torch.float64).T
        inside = ((low < numbers) & (numbers < high)).all(1).nonzero()
        seeds.append(int(inside[0]))  # else no seed of these lies there: draw more
        widths.append(float((high - low).prod()))
    large, small = (
        Read(torch.tensor(rows, dtype=torch.float64).log()) for rows in (MODEL_ROWS, draft)
    )
    options = [Sampling(max_new_tokens=LENGTH, temperature=1.0, seed=seed) for seed in seeds]
    answers = generate(large, [[0]] * len(seeds), options, draft=small, at_once=1)
    found = dict.fromkeys(itertools.product(range(3), repeat=LENGTH), 0.0)
    for answer, width in zip(answers, widths, strict=True):
        found[tuple(answer.ids)] += width
    for text, probability in found.items():
        expected = 1.0
        for last, token in itertools.pairwise([0, *text]):
            expected *= MODEL_ROWS[last][token]
        assert abs(probability - expected) < 1e-14
    # the first round drafts one token: it is refused in some cells and accepted in others
    assert {(a.drafted, a.accepted) for a in answers} >= {(2, 0), (1, 1)}


def test_draws_follow_the_models_own_probabilities():
    """Chi-square over the 64 texts of three tokens of four; 125 is passed once in 10^5 seeds."""
    model, draft = (stress_model(vocab=4, context=6, seed=seed, depth=1) for seed in (0, 2))
    count = 4000
    options = [Sampling(max_new_tokens=3, temperature=7.0, seed=seed) for seed in range(count)]
    texts = torch.tensor(list(itertools.product(range(4), repeat=3)))
    with torch.no_grad():
        logits = model(torch.cat([torch.tensor([[2, 1, 2]]).expand(64, 3), texts], 1))[:, 2:-1]
    each = (logits / 7).softmax(-1).gather(-1, texts[..., None]).squeeze(-1)
    expected = each.prod(-1) * count
    assert expected.min() > 3
    for guess in (DraftModel(draft), NGram()):
        answers = generate(model, [[2, 1, 2]] * count, options, draft=guess, at_once=count)
        assert 0 < sum(a.accepted for a in answers) < sum(a.drafted for a in answers)
        index = torch.tensor([a.ids for a in answers]) @ torch.tensor([16, 4, 1])
        counts = index.bincount(minlength=64)
        assert ((counts - expected) ** 2 / expected).sum() < 125


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_real_models_text_is_the_same_in_float64(temperature):
    place = find("gpt2-english")
    model, tokenizer = load(place, dtype=torch.float64), Tokenizer.from_folder(place)
    shallow = load(place, dtype=torch.float64)  # its first blocks alone: a poor draft of itself
    shallow.blocks = shallow.blocks[:2]
    shallow.config = replace(shallow.config, depth=2)
    prompts = [
        "The army, the navy, the army, the",
        "I recommend",
        "The people of the United States",
    ]
    options = [Sampling(max_new_tokens=60, temperature=temperature, seed=i) for i in range(3)]
    expected = generate(model, prompts, options, tokenizer)
    for draft in (NGram(), shallow):
        answers = generate(model, prompts, options, tokenizer, draft=draft)
        assert [a.text for a in answers] == [a.text for a in expected]
        assert sum(a.accepted for a in answers) > 5
