"""Devices and dtypes: what is registered moves; what is not is named."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("device", "promotion")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)
        self.register_buffer("mean", torch.ones(4))

    def forward(self, x):
        noise = torch.zeros(4, device=x.device, dtype=x.dtype) + torch.zeros_like(x)
        place = torch.arange(x.size(1))
        return self.lin(x - self.mean + noise)[:, place]


class Attribute(Plain):
    def __init__(self):
        super().__init__()
        self.table = torch.ones(4)

    def forward(self, x):
        return self.lin(x * self.table)


class Created(Plain):
    def forward(self, x):
        return self.lin(x) + torch.ones(4)


class Indexed(Plain):
    def __init__(self):
        super().__init__()
        self.places = nn.Embedding(4, 4)

    def forward(self, x):
        return self.lin(x) + self.places(torch.arange(4)).sum(0)


class Sent(Plain):
    """What is made or kept on the host is sent to where the input is, in each way."""

    def __init__(self):
        super().__init__()
        self.table = torch.ones(4)

    def forward(self, x):
        x = x + self.table.to(x.device) * torch.ones(4).to(device=x.device, dtype=x.dtype)
        x = x * torch.ones(4).to(x) * torch.ones(4).type_as(x)
        wide = x.detach().cpu() * torch.arange(4)
        return self.lin(x) + wide.to(x.device)


class Promotes(Plain):
    def forward(self, x):
        return self.lin(x) * torch.ones(4, dtype=torch.float64, device=x.device)


def spec(build):
    return ModelSpec(build=build, batch=lambda size: {"x": torch.randn(size, 4)})


@pytest.mark.parametrize("build", [Plain, Sent])
def test_a_sound_module_passes(build):
    report = check_model(spec(build), only=CHECKS)
    assert report.findings == (), str(report)
    assert {o.status for o in report.outcomes} == {"passed"}


@pytest.mark.parametrize(
    ("build", "check", "kind", "said"),
    [
        (Attribute, "device", "device", "the attribute table"),
        (Created, "device", "device", "a tensor of shape (4,)"),
        (Indexed, "device", "device", "embedding in places"),
        (Promotes, "promotion", "dtype", "the output is float64"),
    ],
)
def test_a_saboteur_is_stopped(build, check, kind, said):
    found = check_model(spec(build), only=(check,)).failures
    assert found, "nothing was found"
    assert found[0].kind == kind and said in found[0].evidence
