"""All checks, by name: a file of checks has ROWS, and a line here."""

from zoo.testing.checks import (
    accumulating,
    batches,
    flow,
    formula,
    losses,
    memory,
    memory_inputs,
    modes,
    neutrality,
    neutrality_layout,
    registration,
    resuming,
    running,
    slopes,
    targets,
    targets_first,
    training,
    training_eval,
    training_rates,
)
from zoo.testing.engine import Check

FILES = (
    running,
    flow,
    memory_inputs,
    memory,
    modes,
    registration,
    slopes,
    batches,
    formula,
    training,
    training_rates,
    training_eval,
    accumulating,
    resuming,
    losses,
    targets,
    targets_first,
    neutrality,
    neutrality_layout,
)
CHECKS: dict[str, Check] = {row.name: row for file in FILES for row in file.ROWS}
