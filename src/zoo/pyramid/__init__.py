"""Tools that test a test suite: does it notice bugs, does it tell the truth, how long does it take.

The standard library alone, so that they start at once and work on anybody's tests.
"""
