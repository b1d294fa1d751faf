"""Every step of the four models is what their papers' formulas give there.

Of the battery that the integration tier runs, this is the check that no scale, mask, norm, stream
or activation gets past.
"""

import pytest

from zoo.models import MODELS, promises
from zoo.testing import check_model


@pytest.mark.parametrize("name", MODELS)
def test_every_step_is_the_familys(name):
    (outcome,) = check_model(getattr(promises, name), only=("formula",)).outcomes
    told = [f"{f.severity} {f.kind} at {f.where}: {f.evidence}" for f in outcome.findings]
    assert outcome.status == "passed", [outcome.reason, *told]
