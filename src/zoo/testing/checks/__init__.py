"""Checks to point at any module: each takes it with a table of inputs, and raises CheckFailed.

A check works on a copy, so the module is left as it was.
"""

from collections.abc import Callable

from zoo.testing.checks.common import CheckFailed
from zoo.testing.checks.gradients import (
    check_gradient_flow,
    check_overfit,
    check_parameter_gradients,
)
from zoo.testing.checks.invariance import (
    check_batch_independence,
    check_cached_decoding,
    check_causality,
    check_padding_invariance,
)
from zoo.testing.checks.state import check_determinism, check_inputs_untouched, check_save_load

CHECKS: dict[str, Callable[..., None]] = {
    "batch_independence": check_batch_independence,
    "cached_decoding": check_cached_decoding,
    "causality": check_causality,
    "determinism": check_determinism,
    "gradient_flow": check_gradient_flow,
    "inputs_untouched": check_inputs_untouched,
    "overfit": check_overfit,
    "padding_invariance": check_padding_invariance,
    "parameter_gradients": check_parameter_gradients,
    "save_load": check_save_load,
}

__all__ = [
    "CHECKS",
    "CheckFailed",
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
]
