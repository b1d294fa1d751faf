"""Long tables, of which the always-run form takes some rows and the scheduled form all."""

import pytest


def thinned(rows, every=8):
    """Mark all but every eighth row as scheduled."""
    return [
        row if i % every == 0 else pytest.param(row, marks=pytest.mark.scheduled)
        for i, row in enumerate(rows)
    ]
