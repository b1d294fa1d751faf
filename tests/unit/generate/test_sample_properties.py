"""What the filters keep and the draw takes, for any logits; greedy text at any split of a batch."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from unit.property_rows import drawn, examples, near, seeds
from zoo.generate import Sampling, sample
from zoo.generate.decode import groups
from zoo.generate.request import Request
from zoo.generate.stops import first_match

numbers = st.integers(-8, 8).map(lambda n: n / 2)  # exact, and with ties
logits_ = st.integers(1, 7).flatmap(
    lambda v: st.lists(st.lists(numbers, min_size=v, max_size=v), min_size=1, max_size=3)
)
shares = st.integers(1, 16).map(lambda n: n / 16)


def of(rows):
    return torch.tensor(rows, dtype=torch.float64)


def kept(rows):
    return rows > -torch.inf


@examples(17)
@given(rows=logits_, k=st.integers(1, 9))
def test_top_k_keeps_the_k_largest_and_what_ties_with_the_last(rows, k):
    left = sample.keep_top_k(of(rows), k)
    for row, found in zip(rows, kept(left).tolist(), strict=True):
        least = sorted(row, reverse=True)[min(k, len(row)) - 1]
        assert found == [x >= least for x in row]
    assert torch.equal(left[kept(left)], of(rows)[kept(left)])
    assert torch.equal(sample.keep_top_k(left, k), left)


@examples(17)
@given(rows=logits_, p=shares)
def test_top_p_keeps_the_fewest_tokens_that_reach_the_mass(rows, p):
    left = sample.keep_top_p(of(rows), p)
    mass = of(rows).softmax(-1)
    slack = 64 * 2.0**-53
    for found, weights in zip(kept(left), mass, strict=True):
        assert found.any()
        total = float(weights[found].sum())
        least = float(weights[found].min())
        assert total >= p - slack
        assert total - least <= p + slack or int(found.sum()) == 1  # without the last: too few
        assert all(weight <= least + slack for weight in weights[~found].tolist())
    assert torch.equal(left[kept(left)], of(rows)[kept(left)])


@examples(20)
@given(power=st.integers(0, 4), part=st.integers(1, 16))
def test_a_mass_that_is_reached_exactly_is_reached(power, part):
    """Of 2^n equals each has a mass of 2^-n without rounding."""
    count = 2**power
    part = min(part, count)
    left = sample.keep_top_p(torch.zeros(1, count, dtype=torch.float64), part / count)
    assert kept(left).tolist() == [[i < part for i in range(count)]]


@examples(17)
@given(rows=logits_, p=shares)
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(rows, p):
    left = sample.keep_min_p(of(rows), p)
    ratio = (of(rows) - of(rows).amax(-1, keepdim=True)).exp()
    clear = (ratio - p).abs() > 64 * 2.0**-53  # a tie may round either way
    assert torch.equal(kept(left)[clear], (ratio > p)[clear])
    assert kept(left).any(-1).all()


@examples(13)
@given(
    rows=logits_,
    shift=numbers,
    t=st.sampled_from([0.25, 1.0, 4.0]),
    k=st.none() | st.integers(1, 9),
    p=st.none() | shares,
    q=st.none() | shares,
)
def test_filters_see_differences_of_logits_alone(rows, shift, t, k, p, q):
    options = {"temperature": t, "top_k": k, "top_p": p, "min_p": q}
    one = sample.filtered(of(rows), **options)
    assert torch.equal(sample.filtered(of(rows) + shift, **options), one)
    best = of(rows) == of(rows).amax(-1, keepdim=True)
    assert (kept(one) & best).any(-1).all()  # one of the likeliest always stays
    assert torch.equal(
        sample.greedy(one), sample.greedy(torch.where(kept(one), of(rows), -torch.inf))
    )


@examples(13)
@given(rows=logits_, k=st.integers(1, 9), p=shares)
def test_a_looser_filter_keeps_no_less(rows, k, p):
    x = of(rows)
    for keep, tight, loose in (
        (sample.keep_top_k, k, k + 1),
        (sample.keep_top_p, p, min(1.0, p + 1 / 16)),
        (sample.keep_min_p, p, p - 1 / 16),
    ):
        assert not (kept(keep(x, tight)) & ~kept(keep(x, loose))).any()


@examples(17)
@given(rows=logits_, at=st.integers(0, 63), k=st.integers(1, 4))
def test_a_draw_inverts_the_distribution_and_takes_nothing_that_is_out(rows, at, k):
    left = sample.keep_top_k(of(rows), k)
    uniform = torch.full((len(rows),), at / 64, dtype=torch.float64)
    taken = sample.draw(left, uniform)
    assert kept(left).gather(1, taken[:, None]).all()
    mass = left.softmax(-1).cumsum(-1)
    slack = 64 * 2.0**-53
    for token, u, row in zip(taken.tolist(), uniform.tolist(), mass.tolist(), strict=True):
        assert row[token] >= u - slack
        assert token == 0 or row[token - 1] <= u + slack


@examples(8)
@given(seed=seeds, v=st.integers(1, 6))
def test_draws_spread_evenly_hit_each_token_as_often_as_it_is_likely(seed, v):
    x = drawn(seed, 1, v)
    count = 512
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    hits = torch.bincount(sample.draw(x.expand(count, v), uniform), minlength=v) / count
    # a step of the cumulative distribution falls between two of the numbers
    assert (hits - x.softmax(-1)[0]).abs().max() <= 1 / count + 1e-12


@examples(13)
@given(
    rows=logits_,
    seen=st.lists(st.booleans(), min_size=7, max_size=7),
    penalty=st.sampled_from([0.5, 1.0, 1.25, 2.0, 4.0]),
)
def test_a_penalty_moves_seen_tokens_down_and_no_others(rows, seen, penalty):
    x = of(rows)
    mask = torch.tensor(seen[: x.shape[1]]).expand(x.shape)
    y = sample.penalize(x, mask, penalty)
    assert torch.equal(y[~mask], x[~mask])
    assert ((y <= x) if penalty >= 1 else (y >= x))[mask].all()
    near(sample.penalize(y, mask, 1 / penalty), x, 4, x)  # its inverse undoes it


def test_greedy_takes_the_first_of_equals():
    assert sample.greedy(of([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])).tolist() == [1, 0]


@examples(13)
@given(
    asked=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=8),
    at_once=st.integers(1, 4),
)
def test_each_request_is_in_one_group_and_each_group_fits(asked, at_once):
    context = 20
    requests = [
        Request([0] * size, Sampling(max_new_tokens=new), None, 1)
        for size, new in asked
        if size + new <= context
    ]
    made = groups(requests, context, at_once)
    assert sorted(map(id, (r for group in made for r in group))) == sorted(map(id, requests))
    for group in made:
        assert 1 <= len(group) <= at_once
        longest = max(len(r.prompt) for r in group)
        assert longest + max(r.options.max_new_tokens for r in group) - 1 <= context


letters = st.text("ab", max_size=8)


@examples(26)
@example(text="abb", stops=["abb", "b"], more="")
@given(
    text=letters, stops=st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), more=letters
)
def test_the_first_match_is_the_one_that_ends_first(text, stops, more):
    ends = {
        (end, start)
        for stop in stops
        for start in range(len(text))
        if text[start : (end := start + len(stop))] == stop
    }
    found = first_match(text, stops)
    assert found == (min(ends)[1] if ends else None)
    if found is not None:  # text that comes later changes nothing
        assert first_match(text + more, stops) == found


WHOLE = ("max_new_tokens", "top_k", "beams")


@examples(26)
@given(
    name=st.sampled_from([*WHOLE, "temperature", "top_p", "min_p", "repetition_penalty"]),
    value=st.one_of(
        st.integers(-3, 3),
        st.floats(-3, 3, width=16),
        st.just(float("nan")),
        st.just(float("inf")),
        st.booleans(),
    ),
)
def test_options_hold_what_they_may_and_refuse_the_rest_by_name(name, value):
    ranges = {
        "temperature": lambda x: 0 <= x < float("inf"),
        "top_p": lambda x: 0 < x <= 1,
        "min_p": lambda x: 0 <= x <= 1,
        "repetition_penalty": lambda x: 0 < x < float("inf"),
    }
    whole = type(value) is int and value >= 1
    real = not isinstance(value, bool) and ranges.get(name, lambda x: False)(value)
    if whole if name in WHOLE else real:
        assert getattr(Sampling(**{name: value}), name) == value
        return
    with pytest.raises((ValueError, TypeError, TypeCheckError), match=name):
        Sampling(**{name: value})
