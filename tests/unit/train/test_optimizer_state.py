"""Where an optimizer's numbers lie, as what they are kept, and what generators keep."""

import numpy as np
import pytest
import torch
from torch import nn

from zoo.train.generators import generator_facts, generators, set_generators
from zoo.train.optimizer_state import adopt, device_of, zeros

META = nn.Parameter(torch.empty(2, 3, device="meta"))


@pytest.mark.parametrize(
    ("key", "group", "device"),
    [
        ("exp_avg", {}, "meta"),
        ("step", {}, "cpu"),
        ("step", {"fused": None, "capturable": False}, "cpu"),
        ("step", {"fused": True}, "meta"),
        ("step", {"capturable": True}, "meta"),
        ("exp_avg", {"fused": True}, "meta"),
    ],
)
def test_steps_are_counted_on_the_processor_unless_fused(key, group, device):
    assert device_of(META, key, group) == torch.device(device)


@pytest.mark.parametrize(
    ("key", "shape", "device"),
    [
        ("exp_avg", [2, 3], "meta"),
        ("exp_avg", [2], "meta"),
        ("step", [2, 3], "cpu"),
        ("step", [], "cpu"),
    ],
)
def test_room_is_made_in_the_dtype_that_is_asked_where_the_optimizer_wants_it(key, shape, device):
    made = zeros(META, key, torch.float64, shape, {})
    assert (made.dtype, list(made.shape), made.device.type) == (torch.float64, shape, device)
    on_cpu = zeros(nn.Parameter(torch.ones(2, 3)), key, torch.float16, shape, {})
    assert torch.equal(on_cpu, torch.zeros(shape, dtype=torch.float16))


@pytest.mark.parametrize("take", [True, False])
def test_numbers_that_are_taken_lie_where_the_optimizer_wants_them(take):
    parameter = nn.Parameter(torch.empty(2, device="meta"))
    optimizer = torch.optim.AdamW([parameter])
    given = {f"optimizer.w.{key}": torch.ones(2) for key in ("exp_avg", "exp_avg_sq")}
    given["optimizer.w.step"] = torch.tensor(3.0)
    adopt(optimizer, {id(parameter): "w"}, given, take=take)
    state = optimizer.state[parameter]
    devices = {key: state[key].device.type for key in state}
    assert devices == {"exp_avg": "meta", "exp_avg_sq": "meta", "step": "cpu"}
    assert float(state["step"]) == 3.0
    assert (state["step"] is given["optimizer.w.step"]) is take


def test_generators_are_kept_as_whole_numbers():
    before, facts = generators(), generator_facts()
    try:
        found = {name: state.dtype for name, state in before.items() if name[:4] != "cuda"}
        assert found == {"cpu": torch.uint8, "numpy": torch.int64, "python": torch.int64}
        np.random.seed(3)
        wanted = np.random.random_sample(4).tolist()
        np.random.seed(3)
        held = generators(), generator_facts()
        np.random.seed(4)
        set_generators(*held)
        assert np.random.random_sample(4).tolist() == wanted
    finally:
        set_generators(before, facts)
