"""Inputs are invented for bare modules, and what cannot be invented is asked for."""

import pytest
import torch
from torch import nn

from unit.testing.models import Block, Classifier, Decoder
from zoo.testing.guard import Untouched
from zoo.testing.invent import invented_spec
from zoo.testing.subject import SpecError, Subject


class Times(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps, self.layer = nn.Embedding(10, 6), nn.Linear(6, 6)

    def forward(self, x, timesteps):
        return self.layer(x + self.steps(timesteps))


class Carries(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(77, 2)

    def example_inputs(self):
        return {"weird": torch.randn(2, 3, 77)}

    def forward(self, weird):
        assert weird.shape[1] == 3
        return self.layer(weird)


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 26 * 26, 10)

    def forward(self, pixel_values):
        return self.head(self.conv(pixel_values).flatten(1))


INVENTED = {
    "a classifier": (Classifier, {"x": (3, 5)}),
    "a decoder of ids": (Decoder, {"input_ids": (3, 8)}),
    "a module as it is": (Classifier(), {"x": (3, 5)}),
    "noise and time": (Times, {"x": (3, 6), "timesteps": (3,)}),
    "one that carries its own": (Carries, {"weird": (3, 3, 77)}),
    "pictures of one size": (Images, {"pixel_values": (3, 1, 28, 28)}),
    "a bilinear map": (lambda: nn.Bilinear(3, 4, 5), {"input1": (3, 3), "input2": (3, 4)}),
    "a recurrent net": (lambda: nn.LSTM(4, 5, batch_first=True), {"input": (3, 8, 4)}),
    "a recurrent net, time first": (lambda: nn.GRU(4, 5), {"input": (8, 3, 4)}),
    "a transformer layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16), {"src": (8, 3, 8)}),
    "a norm": (lambda: nn.BatchNorm2d(7), {"input": (3, 7, 16, 16)}),
    "a volume": (lambda: nn.Conv3d(2, 3, 3), {"input": (3, 2, 32, 32, 32)}),
}


@pytest.mark.parametrize(("given", "shapes"), INVENTED.values(), ids=INVENTED)
def test_inputs_are_invented(given, shapes):
    spec = invented_spec(given, {})
    with Untouched():
        subject = Subject(spec)
        batch = subject.batch(3)
        assert {name: tuple(x.shape) for name, x in batch.items()} == shapes
        subject.call(subject.fresh(), batch)


def test_a_module_is_copied_not_used():
    module = Classifier()
    spec = invented_spec(module, {})
    built = spec.build()
    assert built is not module
    assert torch.equal(built.head.weight, module.head.weight)
    assert built.head.weight is not module.head.weight


def test_facts_go_into_the_spec():
    spec = invented_spec(Decoder, {"causal": "input_ids", "name": "mine"})
    assert (spec.causal, spec.name) == ("input_ids", "mine")


def test_what_cannot_be_invented_is_asked_for():
    with pytest.raises(SpecError, match=r"no invented input runs through Block.*Give batch="):
        invented_spec(Block, {})
