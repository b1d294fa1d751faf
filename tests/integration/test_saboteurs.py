"""The kit is two-sided: the sound module passes every check, each saboteur is stopped and named."""

import pytest

from unit.testing.saboteurs import FACTS, SABOTEURS, Sound, batch, loss
from zoo.testing import CHECKS, ModelSpec, check_model

SLOW = {"overfit", "compile"}  # they have tests of their own


def spec_of(build):
    return ModelSpec(build=build, batch=batch, loss=loss, **FACTS)


def test_the_sound_module_passes_every_check():
    report = check_model(spec_of(Sound), skip=sorted(SLOW & set(CHECKS)))
    assert not report.findings, str(report)
    assert not [o for o in report.outcomes if o.status == "error"], str(report)


@pytest.mark.thinned(3)
@pytest.mark.parametrize(("build", "kinds"), SABOTEURS, ids=[row[0].__name__ for row in SABOTEURS])
def test_a_saboteur_is_stopped_and_named(build, kinds):
    report = check_model(spec_of(build), skip=sorted(SLOW & set(CHECKS)))
    assert report.failures, str(report)
    assert report.failures[0].kind in kinds, str(report)
