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


class Patches(nn.Module):
    """Reads pictures of a size that it names, and no convolution shows it."""

    def __init__(self):
        super().__init__()
        self.img_size, self.layer = (8, 12), nn.Linear(48, 5)

    def forward(self, pixel_values):
        if pixel_values.shape[2:] != self.img_size:
            raise ValueError("another size")
        b = len(pixel_values)
        return self.layer(pixel_values.unflatten(2, (2, 4)).unflatten(4, (3, 4)).reshape(b, 6, -1))


class Asks(nn.Module):
    """Says which of its optional inputs it needs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, first=None, second=None):
        if first is None or second is None:
            raise ValueError("You have to specify second")
        return self.layer(first + second)


class Ends(nn.Module):
    """Reads texts of one length that end."""

    def __init__(self):
        super().__init__()
        self.table, self.position = nn.Embedding(17, 6), nn.Parameter(torch.zeros(10, 6))

    def forward(self, text):
        if not (text == 16).any(1).all():
            raise ValueError("a text does not end")
        return self.table(text) + self.position


class Labelled(nn.Module):
    """Reads two signals of one shape, times and labels."""

    def __init__(self):
        super().__init__()
        self.conv, self.kinds = nn.Conv1d(2, 6, 3, padding=1), nn.Embedding(4, 6)

    def forward(self, x0, t, noise, label):
        return self.conv(x0 + noise * t.view(-1, 1, 1)) + self.kinds(label)[:, :, None]


class Adds(nn.Module):
    """Adds two channels of its own to a picture, as a coordinate convolution does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 3)

    def forward(self, image):
        return self.conv(torch.cat([image, torch.ones_like(image[:, :1]).expand(-1, 2, -1, -1)], 1))


INVENTED = {
    "pictures of a size that is named": (Patches, {"pixel_values": (3, 3, 8, 12)}),
    "an input that is asked for": (Asks, {"first": (3, 6), "second": (3, 6)}),
    "texts that end, of one length": (Ends, {"text": (3, 10)}),
    "signals, times and labels": (
        Labelled,
        {"x0": (3, 2, 32), "t": (3,), "noise": (3, 2, 32), "label": (3,)},
    ),
    "channels of its own": (Adds, {"image": (3, 2, 32, 32)}),
    "a norm of volumes": (lambda: nn.BatchNorm3d(2), {"input": (3, 2, 8, 8, 8)}),
    "a norm of one picture": (lambda: nn.InstanceNorm2d(2, affine=True), {"input": (3, 2, 16, 16)}),
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


class Never(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, a, b, c, d, e):
        raise ValueError("never")


def test_a_search_ends():
    with pytest.raises(SpecError, match=r"2001 were tried, the last one said: ValueError: never"):
        invented_spec(Never, {})


def test_what_cannot_be_invented_is_asked_for():
    with pytest.raises(SpecError, match=r"no invented input runs through Block.*Give batch="):
        invented_spec(Block, {})
