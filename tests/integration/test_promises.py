"""Every model keeps what its SPEC promises, and what it refuses is seen."""

import pytest

from zoo.models import MODELS, promises
from zoo.testing import CHECKS, check_model

SLOW = {"overfit", "compile"}  # the integration tier has them


@pytest.mark.thinned(3)
@pytest.mark.parametrize("check", sorted(set(CHECKS) - SLOW))
@pytest.mark.parametrize("name", MODELS)
def test_a_promise_is_kept(name, check):
    (outcome,) = check_model(getattr(promises, name), only=(check,)).outcomes
    told = [f"{f.severity} {f.kind} at {f.where}: {f.evidence}" for f in outcome.findings]
    assert outcome.status in ("passed", "skipped"), [outcome.reason, *told]


@pytest.mark.parametrize(
    ("name", "check"),
    [(name, check) for name, family in MODELS.items() for check in family.refuses],
)
def test_a_refusal_is_seen(name, check):
    spec = promises.refused(MODELS[name])[check]
    assert not check_model(spec, only=(check,)).ok


def test_every_refusal_is_of_a_check():
    assert {check for family in MODELS.values() for check in family.refuses} <= set(CHECKS)
