"""Every planted slip of a GPT-2, a BERT, a ViT or a CLIP is told first, in its place, by name."""

import pytest

from unit.testing.family_slips import SLIPS
from unit.testing.family_sources import edited, told
from unit.testing.records import hold
from zoo.testing.family import compare

# every fourth one here; tests/integration/test_family.py runs them all
ROWS = [
    pytest.param(family, *row, id=f"{family}: {name}")
    for family, table in SLIPS.items()
    for name, row in list(table.items())[::4]
]


@pytest.mark.parametrize(("family", "edits", "step", "where", "found"), ROWS)
def test_a_slip_is_told_first(family, edits, step, where, found):
    made = compare(edited(family, edits), family)
    first = made.wrong[0]
    assert (first.name, first.where) == (step, where)
    assert found in first.found
    hold(told(made))


@pytest.mark.parametrize("family", SLIPS)
def test_every_slip_is_said_in_words_of_its_own(family):
    assert all(row[3] for row in SLIPS[family].values())


@pytest.mark.parametrize(
    ("family", "least"), [("gpt2", 60), ("bert", 30), ("vit", 40), ("clip", 39)]
)
def test_the_tables_stay_long(family, least):
    assert len(SLIPS[family]) >= least
