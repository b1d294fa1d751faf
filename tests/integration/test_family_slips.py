"""Every planted slip of a GPT-2, a BERT, a ViT or a CLIP is told first, in its place, by name."""

import pytest

from unit.testing import family_rows
from unit.testing.family_slips import SLIPS
from unit.testing.family_sources import edited, told
from unit.testing.records import hold
from zoo.testing.family import compare

EVERY = {
    f"{family}: {name}": (family, *row) for family in SLIPS for name, row in SLIPS[family].items()
}
ROWS = [pytest.param(*EVERY[name], id=name) for name in family_rows.SLIPS]


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
