"""From logits to a token: filters by hand, draws against exact probabilities."""

import math

import pytest
import torch

from zoo.generate import sample

INF = float("inf")
# probabilities 0.1, 0.4, 0.2, 0.05, 0.25
LOGITS = torch.tensor([[0.1, 0.4, 0.2, 0.05, 0.25]], dtype=torch.float64).log()


def kept(logits):
    return [torch.nonzero(row > -INF).flatten().tolist() for row in logits]


@pytest.mark.parametrize(
    ("k", "tokens"), [(1, [1]), (2, [1, 4]), (3, [1, 2, 4]), (5, [0, 1, 2, 3, 4]), (9, [*range(5)])]
)
def test_top_k_keeps_the_k_largest(k, tokens):
    assert kept(sample.keep_top_k(LOGITS, k)) == [tokens]


def test_top_k_keeps_what_ties_with_the_last():
    assert kept(sample.keep_top_k(torch.tensor([[1.0, 3.0, 1.0, 0.0]]), 2)) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("p", "tokens"),
    [
        (0.01, [1]),
        (0.39, [1]),
        (0.41, [1, 4]),
        (0.64, [1, 4]),
        (0.66, [1, 2, 4]),
        (0.86, [0, 1, 2, 4]),
        (0.96, [*range(5)]),
        (1.0, [*range(5)]),
    ],
)
def test_top_p_keeps_the_fewest_tokens_whose_mass_reaches_p(p, tokens):
    assert kept(sample.keep_top_p(LOGITS, p)) == [tokens]


def test_top_p_stops_when_the_mass_is_exactly_p():
    halves = torch.tensor([[0.5, 0.25, 0.25]]).log()
    assert kept(sample.keep_top_p(halves, 0.5)) == [[0]]
    assert kept(sample.keep_top_p(halves, 1.0)) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("p", "tokens"),
    [(0.0, [*range(5)]), (0.2, [0, 1, 2, 4]), (0.49, [1, 2, 4]), (0.6, [1, 4]), (1.0, [1])],
)
def test_min_p_keeps_what_has_a_share_of_the_largest(p, tokens):
    assert kept(sample.keep_min_p(LOGITS, p)) == [tokens]


@pytest.mark.parametrize(
    "keep",
    [
        lambda x: sample.keep_top_k(x, 2),
        lambda x: sample.keep_top_p(x, 0.5),
        lambda x: sample.keep_min_p(x, 0.3),
    ],
    ids=["top_k", "top_p", "min_p"],
)
def test_filters_leave_what_they_keep_and_look_at_one_row_at_a_time(keep):
    logits = torch.randn(7, 11, dtype=torch.float64)
    before = logits.clone()
    out = keep(logits)
    assert torch.equal(logits, before)
    assert torch.equal(torch.where(out > -INF, out, logits), logits)
    for row, each in zip(logits, out, strict=True):
        assert torch.equal(keep(row[None])[0], each)


def test_repetition_is_penalised_on_both_sides_of_zero():
    logits = torch.tensor([[2.0, -2.0, 3.0, -3.0, 0.0]])
    seen = torch.tensor([[True, True, False, False, True]])
    assert sample.penalize(logits, seen, 4.0).tolist() == [[0.5, -8.0, 3.0, -3.0, 0.0]]
    assert sample.penalize(logits, seen, 0.5).tolist() == [[4.0, -1.0, 3.0, -3.0, 0.0]]


@pytest.mark.parametrize("penalty", [5e-324, 1e-300, 1e300, 1.7e308])
def test_no_penalty_makes_an_infinity(penalty):
    logits = torch.tensor([[2.0, -2.0, 3.0, -1e9]], dtype=torch.float64)
    seen = torch.tensor([[True, True, False, True]])
    left = sample.filtered(sample.penalize(logits, seen, penalty), temperature=0.7)
    assert not left.isnan().any() and left.amax() == 0
    assert 0 <= int(sample.draw(left, torch.tensor([1 - 2**-53], dtype=torch.float64))) < 4


def test_temperature_divides_before_the_filters():
    hot = sample.filtered(LOGITS, temperature=4.0, top_p=0.5).softmax(-1)
    by_hand = (LOGITS / 4).softmax(-1)
    assert kept(hot.log()) == kept(sample.keep_top_p(by_hand.log(), 0.5)) == [[1, 2, 4]]
    assert kept(sample.filtered(LOGITS, top_p=0.5)) == [[1, 4]]
    torch.testing.assert_close(hot[0, 1] / hot[0, 4], (by_hand[0, 1] / by_hand[0, 4]))


def test_filters_follow_one_another():
    # top-k leaves 0.4, 0.25, 0.2 of 0.85: the mass 0.75 is now reached by the first two
    assert kept(sample.filtered(LOGITS, top_k=3, top_p=0.75)) == [[1, 4]]
    assert kept(sample.filtered(LOGITS, top_p=0.75)) == [[1, 2, 4]]
    # min-p comes last: 0.25 / 0.4 is under 0.7
    assert kept(sample.filtered(LOGITS, top_k=3, min_p=0.7)) == [[1]]


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e300])
def test_any_temperature_gives_probabilities(temperature):
    mass = sample.filtered(LOGITS, temperature=temperature).softmax(-1)
    assert math.isclose(float(mass.sum()), 1.0, abs_tol=1e-12)
    assert (mass[0, 1] == 1.0) == (temperature < 1)


def test_greedy_takes_the_first_of_the_largest():
    assert sample.greedy(torch.tensor([[0.0, 2.0, 1.0, 2.0], [5.0, 1.0, 5.0, 5.0]])).tolist() == [
        1,
        0,
    ]


@pytest.mark.parametrize(
    ("u", "token"),
    [
        (0.0, 0),
        (0.0999, 0),
        (0.1001, 1),
        (0.4999, 1),
        (0.5001, 2),
        (0.7001, 3),
        (0.7501, 4),
        (1 - 2**-53, 4),
    ],
)
def test_a_draw_inverts_the_cumulative_distribution(u, token):
    assert sample.draw(LOGITS, torch.tensor([u], dtype=torch.float64)).tolist() == [token]


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-53])
def test_what_is_filtered_out_is_never_drawn(u):
    logits = torch.tensor([[-INF, 1.0, -INF, 2.0, -INF]], dtype=torch.float64)
    (token,) = sample.draw(logits, torch.tensor([u], dtype=torch.float64)).tolist()
    assert token in (1, 3)


def test_draws_come_as_often_as_their_probability():
    """Chi-square of 20,000 draws with 4 degrees of freedom: under 23.5 but once in 10,000."""
    count = 20_000
    uniform = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    tokens = sample.draw(LOGITS.expand(count, -1), uniform)
    expected = LOGITS.exp()[0] * count
    chi = ((tokens.bincount(minlength=5) - expected) ** 2 / expected).sum()
    assert chi < 23.5


def test_each_row_draws_from_its_own_generator():
    def made(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    several = made(5, 6, 5)
    first, second = sample.uniforms(several), sample.uniforms(several)
    assert first[0] == first[2] != first[1]
    assert torch.stack([first[1], second[1]]).tolist() == [
        sample.uniforms(alone).item() for alone in [made(6)] for _ in range(2)
    ]
    assert first.dtype == torch.float64
    assert first.min() >= 0 and first.max() < 1


PLACES = {  # of the largest logits of a row of 200: blocks of 64, and 8 behind them
    "alone": [70],
    "two in a block": [70, 71],
    "in two blocks": [63, 64],
    "at the ends": [0, 199],
    "behind the blocks": [192],
    "the last": [199],
    "in a block and behind": [130, 195],
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", PLACES)
def test_greedy_takes_the_first_of_the_largest_of_long_rows(name, dtype):
    logits = torch.randn(3, 200, generator=torch.Generator().manual_seed(0)).to(dtype)
    logits[1, PLACES[name]] = 9.0
    logits[2] = -torch.inf  # as where a filter left nothing else
    logits[2, PLACES[name]] = -3.0
    expected = [logits[0].double().argmax().item(), PLACES[name][0], PLACES[name][0]]
    assert sample.greedy(logits).tolist() == expected
    assert sample.greedy(logits[:, :192]).tolist()[0] == logits[0, :192].double().argmax().item()


@pytest.mark.parametrize("vocab", [2, 97, 5000])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_log_probabilities_are_those_of_float64(dtype, scale, vocab):
    """Of float32 within (log v + 5) 2^-24, a few roundings of sums, and one of a difference."""
    drawn = torch.randn(4, vocab, generator=torch.Generator().manual_seed(1))
    logits = (scale * drawn).to(dtype)
    tokens = torch.tensor([0, 1, vocab - 1, int(logits[3].argmax())])
    exact = logits.double().log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)
    given = sample.logprobs(logits, tokens)
    unit = 2.0**-53 if dtype == torch.float64 else 2.0**-24
    assert given.dtype == torch.float64
    bound = unit * (math.log(vocab) + 5 + math.log2(vocab) + exact.abs())
    assert bool(((given - exact).abs() <= bound).all())


def test_a_log_probability_of_huge_logits_is_finite():
    logits = torch.tensor([[1e30, -1e30, 3e38], [500.0, 500.0, -500.0]])
    given = sample.logprobs(logits, torch.tensor([2, 0]))
    assert given.tolist() == [0.0, pytest.approx(-math.log(2), abs=1e-7)]
