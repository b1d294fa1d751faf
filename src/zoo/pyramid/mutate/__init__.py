"""Mutate source files the way real bugs do, and see which tests notice.

from zoo.pyramid.mutate import mutants_of, run_mutants
for result in run_mutants(mutants_of("mypkg/model.py"), "pytest -x tests/test_model.py"):
    print(result.line())
"""

from zoo.pyramid.mutate.find import mutants_of
from zoo.pyramid.mutate.mutant import Mutant, MutateError, diff, mutant_from_edit, mutated
from zoo.pyramid.mutate.results import Result, Score, score
from zoo.pyramid.mutate.runner import run_mutants

__all__ = [
    "Mutant",
    "MutateError",
    "Result",
    "Score",
    "diff",
    "mutant_from_edit",
    "mutants_of",
    "mutated",
    "run_mutants",
    "score",
]
