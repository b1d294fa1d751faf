"""A fault is found in a model that runs compiled."""

import pytest
import torch

from unit.models.tiny import labelled, tiny
from unit.train.test_blame import fill
from zoo.objectives import classification
from zoo.train.blame import find_fault


@pytest.mark.compile
def test_a_compiled_step_is_blamed_as_a_plain_one():
    model = tiny("vit", "image")
    batch = labelled("vit", "image", model)
    step = torch.compile(lambda: classification(model, batch), backend="eager")
    step().backward()
    assert find_fault(model, step) is None
    fill("blocks.1.mlp.down.weight", 1e308)(model, batch)
    fault = find_fault(model, step)
    assert (fault.module, fault.kind, fault.where) == ("blocks.1.mlp.down", "Linear", "output")
    assert not step().isfinite()  # it still runs, and runs as it did
