"""What an op itself says of a bad call: where annotations are checked they may speak first."""

import re

import jaxtyping
import pytest

from zoo.ops.table import OPS

REFUSALS = [
    pytest.param(info, refusal, id=f"{info.name}-{refusal.name}")
    for info in OPS.values()
    for refusal in info.errors()
]


@pytest.fixture
def _unchecked():
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize(("info", "refusal"), REFUSALS)
def test_an_op_refuses_in_its_own_words_without_any_hook(info, refusal):
    with pytest.raises(refusal.error) as caught:
        info.op(*refusal.args, **refusal.kwargs)
    assert re.search(refusal.match, str(caught.value)), str(caught.value)
