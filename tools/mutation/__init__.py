"""Mutation testing on schedule: mutmut's mutants, run room by room. docs/mutation.md tells how."""
