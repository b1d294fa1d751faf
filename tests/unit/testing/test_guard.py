"""Nothing is left changed: generators, settings, and every bit of a module."""

import copy
import os
import random
import warnings

import numpy
import pytest
import torch
from torch import nn

from zoo.testing.guard import Untouched, fingerprint, generators, seed_all, settings


def draws():
    return torch.rand(3).tolist(), random.random(), numpy.random.rand()


DISTURB = {
    "torch's generator": lambda: torch.manual_seed(5),
    "Python's generator": lambda: random.seed(5),
    "numpy's generator": lambda: numpy.random.seed(5),
    "the default dtype": lambda: torch.set_default_dtype(torch.float64),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(False),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "the matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "the working folder": lambda: os.chdir("/"),
    "a warning filter": lambda: warnings.simplefilter("always"),
}


@pytest.mark.parametrize("disturb", DISTURB.values(), ids=DISTURB)
def test_a_guarded_block_leaves_no_trace(disturb):
    torch.manual_seed(3)
    before, state, filters = settings(), generators(), list(warnings.filters)
    with Untouched():
        disturb()
        draws()
    assert settings() == before
    assert torch.equal(generators()["torch"], state["torch"])
    assert generators()["python"] == state["python"]
    assert str(generators()["numpy"]) == str(state["numpy"])
    assert warnings.filters == filters


def test_an_exception_passes_and_leaves_no_trace():
    def disturb():
        with Untouched():
            torch.set_default_dtype(torch.float64)
            raise KeyError("x")

    before = settings()
    with pytest.raises(KeyError):
        disturb()
    assert settings() == before


def test_a_guarded_block_is_seeded():
    with Untouched(4):
        first = draws()
    with Untouched(4):
        again = draws()
    with Untouched(5):
        other = draws()
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_seeding_covers_all_three():
    with Untouched():
        seed_all(1)
        first = draws()
        seed_all(1)
        assert draws() == first


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("fleeting", torch.zeros(2), persistent=False)
        self.plain = torch.zeros(2)
        self.count = 0
        self.kept = {"a": [torch.zeros(1)]}


CHANGES = {
    "a weight": lambda m: m.layer.weight.data.add_(1e-7),
    "a buffer": lambda m: m.norm.running_mean.add_(1),
    "a buffer that is not saved": lambda m: m.fleeting.add_(1),
    "a plain tensor": lambda m: m.plain.add_(1),
    "a counter": lambda m: setattr(m, "count", 1),
    "a tensor in a list in a dict": lambda m: m.kept["a"][0].add_(1),
    "a mode": lambda m: m.norm.eval(),
    "a gradient": lambda m: setattr(m.layer.weight, "grad", torch.ones(2, 2)),
    "a flag": lambda m: m.layer.weight.requires_grad_(False),
    "a hook": lambda m: m.layer.register_forward_hook(lambda *_: None),
    "a dtype": lambda m: m.layer.double(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_fingerprint_sees(change):
    module = Net()
    before = fingerprint(module)
    assert fingerprint(module) == before == fingerprint(copy.deepcopy(module))
    change(module)
    assert fingerprint(module) != before
