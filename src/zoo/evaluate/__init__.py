"""Judging what the house computes: golden sets, and metrics of ranks.

What needs more is imported from its own file: rows (`rows`, `sets`), a model's answers to them
(`subject`, `judges`), their metrics and gates (`tally`, `gate`), and `accept`.
"""

from zoo.evaluate.golden import GoldenError, GoldenSet, Report, compare, find_sets, open_set, verify
from zoo.evaluate.metrics import Retrieval, median_rank, ranks, recall_at, retrieval, top_k_accuracy

__all__ = [
    "GoldenError",
    "GoldenSet",
    "Report",
    "Retrieval",
    "compare",
    "find_sets",
    "median_rank",
    "open_set",
    "ranks",
    "recall_at",
    "retrieval",
    "top_k_accuracy",
    "verify",
]
