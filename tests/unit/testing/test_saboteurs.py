"""The saboteurs before the checks of what hangs on what: all that is said of each (records/)."""

import pytest

from unit.testing import saboteurs
from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

TOLD = {
    saboteurs.LooksAheadByOne: ("cache",),
    saboteurs.LooksEverywhere: ("causality",),
    saboteurs.MeanOverTime: ("padding", "batch_independence"),
    saboteurs.ReadsPadding: ("padding",),
    saboteurs.MaskFromIds: ("padding", "inputs_matter"),
    saboteurs.MaskOfFirstRow: ("batch_independence",),
    saboteurs.MixesRows: ("cache",),
    saboteurs.RowsThroughReshape: ("influence", "causality", "cache"),
    saboteurs.WrongSmallBackward: ("cache",),
    saboteurs.DropoutInEval: ("causality", "determinism"),
    saboteurs.KeepsCount: ("positions", "state"),
    saboteurs.EditsInput: ("padding", "inputs_untouched"),
    saboteurs.CacheForgetsPositions: ("cache",),
    saboteurs.CacheDropsFirst: ("cache",),
    saboteurs.Flattened: ("padding", "causality", "cache", "lengths"),
    saboteurs.ForgetsParameter: ("save_load",),
}


@pytest.mark.parametrize("build", TOLD, ids=lambda build: build.__name__)
def test_what_is_said_of_a_saboteur(build):
    spec = ModelSpec(build=build, batch=saboteurs.batch, loss=saboteurs.loss, **saboteurs.FACTS)
    report = check_model(spec, only=TOLD[build])
    assert not [outcome for outcome in report.outcomes if outcome.status == "error"]
