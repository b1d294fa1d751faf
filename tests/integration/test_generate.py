"""Generation against transformers': the same tokens, filters and beams; and many prompts."""

import random
from dataclasses import replace

import pytest
import torch
import transformers
from transformers.generation import logits_process as theirs

from zoo.generate import Sampling, generate, sample, stream
from zoo.models import GPT2, preset
from zoo.tokenizers import Tokenizer

VOCAB, CONTEXT = 61, 40


def pair(seed, **changes):
    """Build one model twice, ours and theirs, in float64 with weights that matter."""
    torch.manual_seed(seed)
    _, config = preset("gpt2-tiny")
    ours = GPT2(replace(config, vocab=VOCAB, context=CONTEXT, tied=False, **changes))
    ours = ours.double().eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.5)
        ours.norm.weight.fill_(1.0)
        ours.norm.bias.zero_()
    return ours


@pytest.fixture
def both(tmp_path):
    """Give our model of a seed, and theirs read from what ours wrote."""

    def make(seed):
        ours = pair(seed)
        ours.save_pretrained(tmp_path / str(seed))
        other = transformers.GPT2LMHeadModel.from_pretrained(
            tmp_path / str(seed), dtype=torch.float64
        )
        return ours, other.eval()

    return make


def random_prompts(count, longest=15, vocab=VOCAB, seed=0):
    rng = random.Random(seed)
    return [[rng.randrange(vocab) for _ in range(rng.randint(1, longest))] for _ in range(count)]


def left_padded(prompts):
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


def theirs_generate(model, prompts, **options):
    ids, mask = left_padded(prompts)
    settings = transformers.GenerationConfig(
        do_sample=False, pad_token_id=0, bos_token_id=None, **options
    )
    with torch.no_grad():
        out = model.generate(ids, attention_mask=mask, generation_config=settings)
    return out[:, ids.shape[1] :].tolist()


def cut(ids, stops):
    """End a row with its first stop token: what follows is padding."""
    at = next((i for i, token in enumerate(ids) if token in stops), len(ids) - 1)
    return ids[: at + 1]


@pytest.mark.parametrize("stops", [(), (7,), (3, 11, 30)], ids=str)
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_greedy_is_theirs_in_left_padded_batches(both, stops, penalty):
    ours, other = both(1)
    prompts = random_prompts(9)
    options = Sampling(max_new_tokens=20, stop_tokens=stops, repetition_penalty=1.0)
    expected = theirs_generate(other, prompts, max_new_tokens=20, eos_token_id=list(stops) or None)
    answers = generate(ours, prompts, options)
    assert [a.ids for a in answers] == [cut(ids, stops) for ids in expected]
    # their penalty counts padding among the tokens seen: one prompt at a time
    options = replace(options, repetition_penalty=penalty)
    for prompt, answer in zip(prompts, generate(ours, prompts, options), strict=True):
        (ids,) = theirs_generate(
            other,
            [prompt],
            max_new_tokens=20,
            eos_token_id=list(stops) or None,
            repetition_penalty=penalty,
        )
        assert answer.ids == cut(ids, stops)


@pytest.mark.thinned(8)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("beams", [2, 3, 5])
@pytest.mark.parametrize("length_penalty", [1.0, 0.0, -1.0, 2.5])
def test_beams_are_theirs(both, seed, beams, length_penalty):
    ours, other = both(seed)
    with torch.no_grad():  # probabilities near enough to one another for beams to change places
        ours.head.weight.mul_(0.3)
        other.lm_head.weight.mul_(0.3)
    stops = ((), (5, 9, 33, 41, 50))[seed % 2]
    prompts = random_prompts(3, seed=seed)
    options = Sampling(
        max_new_tokens=9, beams=beams, length_penalty=length_penalty, stop_tokens=stops
    )
    for prompt, answer in zip(prompts, generate(ours, prompts, options), strict=True):
        (ids,) = theirs_generate(
            other,
            [prompt],
            max_new_tokens=9,
            num_beams=beams,
            early_stopping=False,
            length_penalty=length_penalty,
            eos_token_id=list(stops) or None,
        )
        assert answer.ids == cut(ids, stops)
        assert answer.finish == ("stop" if answer.ids[-1] in stops else "length")


def test_beams_with_a_repetition_penalty_are_theirs(both):
    ours, other = both(2)
    for prompt in random_prompts(5, seed=2):
        options = Sampling(max_new_tokens=7, beams=3, repetition_penalty=1.3)
        (answer,) = generate(ours, [prompt], options)
        expected = theirs_generate(
            other, [prompt], max_new_tokens=7, num_beams=3, repetition_penalty=1.3
        )
        assert [answer.ids] == expected


def random_logits(seed):
    return 3 * torch.randn(17, VOCAB, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("ours", "other"),
    [(lambda x, k=k: sample.keep_top_k(x, k), theirs.TopKLogitsWarper(k)) for k in (1, 7, 61, 99)]
    + [
        (lambda x, p=p: sample.keep_top_p(x, p), theirs.TopPLogitsWarper(p))
        for p in (0.01, 0.3, 0.9, 0.999, 1.0)
    ]
    + [
        (lambda x, p=p: sample.keep_min_p(x, p), theirs.MinPLogitsWarper(p))
        for p in (0.0, 0.02, 0.5, 1.0)
    ],
    ids=[f"top_k-{k}" for k in (1, 7, 61, 99)]
    + [f"top_p-{p}" for p in (0.01, 0.3, 0.9, 0.999, 1.0)]
    + [f"min_p-{p}" for p in (0.0, 0.02, 0.5, 1.0)],
)
def test_each_filter_is_theirs(seed, ours, other):
    logits = random_logits(seed)
    assert torch.equal(ours(logits), other(None, logits.clone()))


@pytest.mark.parametrize("penalty", [0.5, 1.3])
def test_the_repetition_penalty_is_theirs(penalty):
    logits = random_logits(9)
    ids = torch.randint(VOCAB, (17, 8), generator=torch.Generator().manual_seed(1))
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, ids, True)
    expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    assert torch.equal(sample.penalize(logits, seen, penalty), expected)


@pytest.mark.parametrize("seed", range(3))
def test_filters_in_a_row_are_theirs(seed):
    logits = random_logits(seed)
    chain = transformers.LogitsProcessorList(
        [
            theirs.TemperatureLogitsWarper(1.7),
            theirs.TopKLogitsWarper(30),
            theirs.TopPLogitsWarper(0.8),
            theirs.MinPLogitsWarper(0.1),
        ]
    )
    expected = chain(None, logits.clone()).softmax(-1)
    ours = sample.filtered(logits, temperature=1.7, top_k=30, top_p=0.8, min_p=0.1).softmax(-1)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)


TEXTS = ["the quick brown fox", "jumps over a lazy dog, naïve café 你好"] * 2


@pytest.mark.thinned(2)
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5, 4.0])
@pytest.mark.parametrize("stops", [(), ("e", " th", "\ufffd", "o\n")], ids=str)
def test_many_prompts_get_the_same_text_alone_batched_and_streamed(temperature, stops):
    tokenizer = Tokenizer.train(TEXTS, "bpe", vocab=263)
    torch.manual_seed(0)
    _, config = preset("gpt2-tiny")
    model = GPT2(replace(config, vocab=263, context=48, tied=False)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    prompts = random_prompts(40, longest=24, vocab=263, seed=7)
    options = [
        Sampling(max_new_tokens=24, temperature=temperature, seed=i, stop_strings=stops)
        for i in range(40)
    ]
    model = model.double()
    together = generate(model, prompts, options, tokenizer)
    for prompt, asked, answer in zip(prompts, options, together, strict=True):
        (alone,) = generate(model, [prompt], asked, tokenizer)
        assert (alone.ids, alone.text, alone.finish) == (answer.ids, answer.text, answer.finish)
        assert "".join(stream(model, prompt, asked, tokenizer)) == answer.text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_new_tokens", [1.0, "3", True, None]),
        ("top_k", [2.5, False, "4"]),
        ("beams", [1.5, None]),
        ("seed", [1.0, True, None]),
        ("temperature", ["hot", None, True]),
        ("top_p", ["0.9", True]),
        ("min_p", ["0.9"]),
        ("repetition_penalty", [None]),
        ("length_penalty", [None, "1"]),
        ("stop_strings", [("a", 3), (b"a",)]),
        ("stop_tokens", [3, (1.0,), ("a",), (True,)]),
    ],
)
def test_options_of_the_wrong_kind_are_refused_by_name(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name} .*expected"):
            Sampling(**{name: value})


def test_one_row_of_ids_is_no_list_of_prompts():
    with pytest.raises(TypeError, match=r"one row of ids; pass a list of rows: \[ids\]"):
        generate(pair(0), [1, 2], Sampling(max_new_tokens=2))
