"""Settings one by one, and the bytes of which a fingerprint is made."""

import os
import random

import numpy
import pytest
import torch
from torch import nn

from unit.testing.records import hold
from zoo.testing import guard
from zoo.testing.guard import (
    DefaultDtype,
    Untouched,
    described,
    fingerprint,
    put_back,
    raw,
    settings,
)


def test_settings_are_named():
    assert list(settings()) == [
        "default dtype",
        "grad mode",
        "threads",
        "deterministic algorithms",
        "deterministic warn only",
        "anomaly mode",
        "float32 matmul precision",
        "cudnn benchmark",
        "cudnn deterministic",
        "working folder",
        "attention fast path",
    ]


def flip_deterministic():
    now = settings()
    warn = not now["deterministic warn only"]
    torch.use_deterministic_algorithms(True, warn_only=warn)


FLIPS = {
    "default dtype": lambda: torch.set_default_dtype(torch.float16),
    "grad mode": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "deterministic warn only": flip_deterministic,
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(not torch.is_anomaly_enabled()),
    "float32 matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "cudnn benchmark": lambda: setattr(
        torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark
    ),
    "cudnn deterministic": lambda: setattr(
        torch.backends.cudnn, "deterministic", not torch.backends.cudnn.deterministic
    ),
    "working folder": lambda: os.chdir("/"),
    "attention fast path": lambda: torch.backends.mha.set_fastpath_enabled(
        not torch.backends.mha.get_fastpath_enabled()
    ),
}


@pytest.mark.parametrize("name", FLIPS)
def test_a_setting_is_seen_and_put_back(name):
    before = settings()
    try:
        FLIPS[name]()
        now = settings()
        assert now[name] != before[name]
        assert [k for k in now if now[k] != before[k]] in (
            [name],
            ["deterministic algorithms", name],
        )
    finally:
        put_back(before)
    assert settings() == before


def test_inside_a_guarded_block_gradients_are_on_and_the_fast_path_is_off():
    with torch.no_grad(), Untouched(3) as nothing:
        assert nothing is None and torch.is_grad_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
        drawn = torch.rand(2).tolist(), random.random(), numpy.random.rand()
        torch.manual_seed(3)
        random.seed(3)
        numpy.random.seed(3)
        assert drawn == (torch.rand(2).tolist(), random.random(), numpy.random.rand())
    assert Untouched().seed == 0


def test_a_seed_may_be_larger_than_numpy_takes():
    with Untouched():
        guard.seed_all(2**32 + 5)
        drawn = numpy.random.rand()
        numpy.random.seed(5)
        assert drawn == numpy.random.rand()


def test_a_default_dtype_is_put_back_after_an_error():
    def run():
        with DefaultDtype(torch.float64):
            assert torch.ones(1).dtype is torch.float64
            raise KeyError("x")

    with pytest.raises(KeyError):
        run()
    assert torch.ones(1).dtype is torch.float32


DESCRIBED = {
    "a tensor": torch.tensor([1.0, 2.0]),
    "ids of two axes": torch.tensor([[1, 2]], dtype=torch.int16),
    "nothing": torch.empty(0, 3),
    "a transposed one": torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).T,
    "a conjugate": torch.tensor([1 + 2j]).conj(),
    "a sparse one": torch.tensor([0.0, 3.0]).to_sparse(),
    "on no device": torch.empty(2, device="meta"),
    "a lazy one": nn.parameter.UninitializedParameter(),
    "a word": "x",
    "bytes": b"x",
    "a flag": True,
    "none": None,
    "a mapping": {"a": 1, 2: [3.5]},
    "lists": [1, (2,), []],
    "four deep": [[[[1]]]],
    "three mappings deep": {"a": {"b": {"c": {"d": 1}}}},
    "another object": object(),
}


@pytest.mark.parametrize("value", DESCRIBED.values(), ids=DESCRIBED)
def test_values_are_described_byte_by_byte(value):
    hold([piece.hex(" ") for piece in described(value)] + [str(len(list(described(value))))])


def test_bytes_of_a_tensor_are_in_the_order_of_its_numbers():
    x = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    assert (raw(x), raw(x.T), raw(x[:0])) == (b"\1\2\3\4", b"\1\3\2\4", b"")


def test_a_module_that_does_not_know_its_sizes_yet_has_a_fingerprint():
    module = nn.LazyLinear(2)
    before = fingerprint(module)
    assert fingerprint(module) == before
    assert fingerprint(nn.LazyLinear(2, dtype=torch.float64)) != before
