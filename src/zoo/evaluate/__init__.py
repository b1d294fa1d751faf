"""Judging what the house computes: golden sets."""

from zoo.evaluate.golden import GoldenError, GoldenSet, Report, compare, find_sets, open_set, verify

__all__ = ["GoldenError", "GoldenSet", "Report", "compare", "find_sets", "open_set", "verify"]
