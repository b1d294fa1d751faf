"""What the property tests share.

They draw plain data, sizes and seeds, and make tensors of it: what fails can so be written down
as a row (see zoo_pytest.found), and shrinks to small sizes.
"""

import math

import hypothesis
import torch
from hypothesis import strategies as st

#: 0 and 1 are where shapes go wrong; the first is what is tried first, and 3 shows more than 0
sizes = st.sampled_from([3, 2, 1, 0, 4, 5])
some = st.sampled_from([3, 2, 1, 4, 5, 6])
seeds = st.integers(0, 2**31 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

#: half the distance of two float64 beside 1: one rounding
UNIT = 2.0**-53


def examples(count):
    """So many examples where nothing is random; a random search keeps the number of its profile.

    How long an example takes says how busy the machine is, so no health check asks; tracing every
    line of a failing example takes longer than finding it.
    """
    quiet = {
        "suppress_health_check": [hypothesis.HealthCheck.too_slow],
        "phases": [p for p in hypothesis.settings.default.phases if p.name != "explain"],
    }
    if hypothesis.settings.default.derandomize:
        quiet["max_examples"] = count
    return hypothesis.settings(**quiet)


def drawn(seed, *shape, dtype=torch.float64):
    """Normal numbers that follow from the seed and the shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def chosen(seed, high, *shape):
    """Whole numbers from 0 below `high`."""
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def leaves(*tensors):
    """Copies that ask for gradients."""
    return tuple(x.detach().clone().requires_grad_() for x in tensors)


def inner(a, b):
    """The sum of products; two empty tensors have 0."""
    assert a.shape == b.shape, f"{tuple(a.shape)} and {tuple(b.shape)}"
    return (a * b).sum()


def near(actual, expected, roundings, *inputs):
    """Assert that two float64 results differ by so many roundings of what went into them.

    An error is as large as what was added up, not as what is left of it, so the inputs' sizes
    count: a product of one element of each bounds every term.
    """
    assert actual.shape == expected.shape, f"{tuple(actual.shape)}, not {tuple(expected.shape)}"
    largest = [float(x.detach().abs().max()) for x in (expected, *inputs) if x.numel()]
    scale = math.prod(1 + size for size in largest)
    bound = roundings * UNIT
    torch.testing.assert_close(actual, expected, rtol=bound, atol=bound * scale)
