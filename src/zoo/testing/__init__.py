"""The testing kit: checks to point at any module, and tables to test ops with."""

from zoo.testing.checks import (
    CHECKS,
    CheckFailed,
    check_batch_independence,
    check_cached_decoding,
    check_causality,
    check_determinism,
    check_gradient_flow,
    check_inputs_untouched,
    check_overfit,
    check_padding_invariance,
    check_parameter_gradients,
    check_save_load,
)
from zoo.testing.opinfo import OpInfo, Refusal, Sample
from zoo.testing.tolerances import assert_near, tolerance

__all__ = [
    "CHECKS",
    "CheckFailed",
    "OpInfo",
    "Refusal",
    "Sample",
    "assert_near",
    "check_batch_independence",
    "check_cached_decoding",
    "check_causality",
    "check_determinism",
    "check_gradient_flow",
    "check_inputs_untouched",
    "check_overfit",
    "check_padding_invariance",
    "check_parameter_gradients",
    "check_save_load",
    "tolerance",
]
