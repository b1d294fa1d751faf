"""Every model keeps what its SPEC promises, and fails what it refuses."""

import pytest
import torch

from zoo.models import MODELS
from zoo.testing.checks import CHECKS, CheckFailed


def rows(which):
    return [
        pytest.param(spec, check, options, id=f"{name}-{check}")
        for name, spec in MODELS.items()
        for check, options in getattr(spec, which).items()
    ]


def made(spec):
    torch.manual_seed(0)
    config = spec.presets[f"{spec.name}-tiny"]
    return spec.build(config), spec.example(config)


@pytest.mark.parametrize(("spec", "check", "options"), rows("promises"))
def test_a_promise_is_kept(spec, check, options):
    CHECKS[check](*made(spec), **options)


@pytest.mark.parametrize(("spec", "check", "options"), rows("refuses"))
def test_a_refusal_is_seen(spec, check, options):
    with pytest.raises(CheckFailed):
        CHECKS[check](*made(spec), **options)
